"""A measurement under way: leaves on threads, on ranks, and into a journal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.geometry.distributed import Team
from scoregrain.geometry.journal import Journal
from scoregrain.geometry.moments import Group, Moments
from scoregrain.geometry.plan import Plan
from scoregrain.geometry.ranges import largest, leaf_ranges, share, split_missing

ROUND = 4  # leaves a thread measures between two looks at whether the other ranks are well

Progress = Callable[[int, int], None]
Keep = Callable[[range, Tensor], None]


class Measurement:
    """The networks that are in, and how more are added.

    Args:
        plan: how leaves are measured.
        team: the processes that share the work; all of them take the same steps.
        groups: measured before.
        journal: where finished leaves are written, if anywhere.
        workers: leaves measured side by side by this process.
        progress: called with (networks measured, networks planned) after every leaf.

    Attributes:
        moments: sums of what all ranks measured, equal on all of them after each :meth:`reach`.
    """

    def __init__(
        self,
        plan: Plan,
        team: Team,
        groups: Sequence[Group] = (),
        *,
        journal: Journal | None = None,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> None:
        self.plan, self.team, self.journal = plan, team, journal
        self.workers, self.progress = workers, progress
        self.moments = Moments(largest(groups))

    def reach(self, networks: range) -> None:
        """Measure what is missing of a range of networks."""
        kept, missing = split_missing(self.moments.groups, leaf_ranges(networks.start, networks.stop))
        if not missing:
            return
        self.moments = Moments(kept)
        before, planned = self.moments.count, self.moments.count + sum(map(len, missing))
        mine = self.moments if self.team.size == 1 else Moments()

        def keep(leaf: range, total: Tensor) -> None:
            mine.add(Group(leaf.start, leaf.stop, total))
            if self.journal is not None:
                self.journal.store(mine.groups)
            if self.progress is not None:
                done = mine.count if self.team.size == 1 else before + self.team.size * mine.count
                self.progress(min(done, planned), planned)

        try:
            self._measure(missing, keep)
        finally:
            if self.team.size > 1:
                self._add_up(mine)

    def _measure(self, leaves: Sequence[range], keep: Keep) -> None:
        """This process's part of some leaves, in as many rounds as every rank needs."""
        if self.team.size == 1:
            self._run(leaves, keep)
            return
        parts = [share(leaves, rank, self.team.size) for rank in range(self.team.size)]
        step = ROUND * max(self.team.exchange(self.workers))
        for start in range(0, max(map(len, parts)), step):
            with self.team.together():
                self._run(parts[self.team.rank][start : start + step], keep)

    def _add_up(self, mine: Moments) -> None:
        """Let every rank have what all of them measured."""
        for group in self.team.gather(mine.groups):
            self.moments.add(group)
        if self.journal is not None and self.team.rank == 0:
            self.journal.absorb(self.moments.groups)

    def _run(self, leaves: Sequence[range], keep: Keep) -> None:
        if self.workers > 1 and len(leaves) > 1:
            run_in_threads(self.plan, leaves, self.workers, keep)
            return
        for leaf in leaves:
            keep(leaf, self.plan.measure(leaf.start, leaf.stop))


def find_device(device: torch.device | str | None) -> torch.device:
    """A device that is there; the CPU by default.

    Raises:
        InvalidInputError: no such device.
    """
    try:
        found = torch.device("cpu" if device is None else device)
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError) as error:
        text = textwrap.shorten(str(error), 200, placeholder=" ...")
        raise InvalidInputError(f"device '{device}' cannot be used: {text}") from error
    return found


def run_in_threads(plan: Plan, leaves: Sequence[range], workers: int, keep: Keep) -> None:
    """Measure whole leaves side by side, each on one thread; each is kept as soon as it is finished.

    After Ctrl-C the leaves that run already are finished and kept, the others are not begun.
    """
    running: dict[Future[Tensor], range] = {}

    def keep_finished() -> None:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            keep(running.pop(future), future.result())

    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for leaf in leaves:
                running[pool.submit(plan.measure, leaf.start, leaf.stop)] = leaf
                if len(running) > workers:  # one waits, so that no thread idles
                    keep_finished()
            while running:
                keep_finished()
        except KeyboardInterrupt:
            for future in [future for future in running if not future.cancel()]:
                keep(running[future], future.result())
            raise
        except BaseException:
            for future in running:
                future.cancel()
            raise
