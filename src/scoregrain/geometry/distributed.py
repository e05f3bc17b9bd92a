"""One measurement by several processes: the ranks of an initialised ``torch.distributed``, as torchrun starts them.

Everything that is exchanged is a tensor of bytes (JSON) or of float64 numbers.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.geometry.moments import Group

TIMEOUT = timedelta(minutes=30)  # the most that ranks may be apart after a few leaves each


class Team:
    """The processes that measure together; one alone without a process group."""

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self._group = group
        self._interrupted = False
        self.rank = dist.get_rank(group) if group is not None else 0
        self.size = dist.get_world_size(group) if group is not None else 1

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that every rank runs: when it fails on one rank it fails on all, at its end.

        Raises:
            ScoregrainError: another rank failed (KeyboardInterrupt where it was interrupted), or is gone.
        """
        try:
            if self._interrupted:  # since the last block, while ranks exchanged something
                self._interrupted = False
                raise KeyboardInterrupt
            yield
        except (Exception, KeyboardInterrupt) as error:
            if not isinstance(error, LostRankError):
                self.exchange({"error": type(error).__name__, "text": str(error)})
            raise
        for rank, status in enumerate(self.exchange({})):
            if status:
                raise _failure(rank, **status)

    def first(self, action: Callable[[], Any]) -> Any:
        """What an action returns (JSON types) that only the first rank runs, on all ranks."""
        result = None
        with self.together():
            if self.rank == 0:
                result = action()
        return self.exchange(result)[0]

    def exchange(self, content: Any) -> list[Any]:
        """One JSON value of every rank, in order of rank, on all ranks."""
        if self._group is None:
            return [content]
        data = torch.frombuffer(bytearray(json.dumps(content).encode()), dtype=torch.uint8)
        with self._contact():
            sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
            dist.all_gather(sizes, torch.tensor([len(data)]), group=self._group)
            most = max(int(size) for size in sizes)
            texts = [torch.zeros(most, dtype=torch.uint8) for _ in range(self.size)]
            dist.all_gather(texts, torch.nn.functional.pad(data, (0, most - len(data))), group=self._group)
        return [json.loads(bytes(text[: int(size)].tolist())) for text, size in zip(texts, sizes, strict=True)]

    def same(self, request: Mapping[str, Any]) -> None:
        """Refuse ranks that were asked for different things."""
        for rank, other in enumerate(self.exchange(dict(request))):
            for key, value in request.items():
                if other[key] != value:
                    raise InvalidInputError(
                        f"ranks measure with different {key.replace('_', ' ')}: {other[key]!r} on rank {rank}, "
                        f"{value!r} on rank {self.rank}"
                    )

    def gather(self, groups: Sequence[Group]) -> list[Group]:
        """The groups of all ranks, on all ranks."""
        if self._group is None:
            return list(groups)
        gathered: list[Group] = []
        names = [[g.start, g.stop, list(g.total.shape)] for g in groups]
        with self._contact():
            for rank, theirs in enumerate(self.exchange(names)):
                for i, (start, stop, shape) in enumerate(theirs):
                    total = groups[i].total.contiguous() if rank == self.rank else _empty(shape)
                    dist.broadcast(total, src=rank, group=self._group)
                    gathered.append(Group(start, stop, total))
        return gathered

    @contextmanager
    def _contact(self) -> Iterator[None]:
        """Several messages that belong together.

        Ctrl-C has to wait: a rank that left between two of them would take its next ones for the ones that are missing.
        """
        with _held_back(signal.SIGINT) as came:
            try:
                yield
            except RuntimeError as error:
                text = " ".join(str(error).split())[:200]
                raise LostRankError(f"another rank has ended or does not answer: {text}") from error
            finally:
                self._interrupted = self._interrupted or bool(came)


def _empty(shape: Sequence[int]) -> Tensor:
    return torch.empty(*shape, dtype=torch.float64)


@contextmanager
def _held_back(number: signal.Signals) -> Iterator[list[int]]:
    """Note a signal instead of handling it; only the main thread can, and has to."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = signal.signal(number, lambda caught, frame: came.append(caught))
    try:
        yield came
    finally:
        signal.signal(number, before)


class LostRankError(ScoregrainError):
    """A rank does not answer: its process has ended."""


def _failure(rank: int, error: str, text: str) -> BaseException:
    """What a rank raises when another failed."""
    if error == "KeyboardInterrupt":
        return KeyboardInterrupt(text)
    kind = InvalidInputError if error == "InvalidInputError" else ScoregrainError
    return kind(f"rank {rank}: {text or error}")


@contextmanager
def team() -> Iterator[Team]:
    """All ranks where ``torch.distributed`` is initialised; all of them must come here. Else one process alone."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        yield Team()
        return
    group = dist.new_group(backend="gloo", timeout=TIMEOUT)
    try:
        yield Team(group)
    finally:
        dist.destroy_process_group(group)


@contextmanager
def process_group() -> Iterator[None]:
    """Join the ranks that torchrun started, as its environment variables say.

    Raises:
        ScoregrainError: the variables are not complete, or the others cannot be reached.
    """
    if dist.is_initialized():
        yield
        return
    try:
        dist.init_process_group("gloo", timeout=TIMEOUT)
    except (ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())[:200]
        raise ScoregrainError(f"the other ranks cannot be reached, start them with torchrun: {text}") from error
    try:
        yield
    finally:
        dist.destroy_process_group()
