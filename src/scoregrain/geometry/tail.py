"""The linear map behind a network's last layer: ``out(x, t) = offset(x, t) + s(t) Q o`` (MATH C1.1)."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scoregrain._errors import ScoregrainError
from scoregrain._random import stream
from scoregrain.geometry.layer_run import output_given, tolerance

CHUNK = 32


@dataclass(frozen=True)
class Selection:
    """Entry j of the network's output is entry ``source[j]`` of the layer's."""

    source: Tensor

    def __call__(self, o: Tensor) -> Tensor:
        """Place layer outputs ``(m, ...)``: ``Q o``, float64 ``(m, D)``."""
        return o.flatten(1).double()[:, self.source.to(o.device)]

    def dense(self, size: int) -> Tensor:
        """The same map as a matrix ``(D, size)``."""
        return torch.nn.functional.one_hot(self.source, size).double()


@dataclass(frozen=True)
class DenseMap:
    """Any other fixed matrix Q, float64 ``(D, D_layer)``."""

    matrix: Tensor

    def __call__(self, o: Tensor) -> Tensor:
        """Place layer outputs ``(m, ...)``: ``Q o``, float64 ``(m, D)``."""
        return o.flatten(1).double() @ self.matrix.T.to(o.device)


class LevelScale:
    """The factor s at every noise level a network is told, found by running the network when first asked.

    Two runs at ``x = 0`` give it: the layer's output is replaced by zero and by a random one.

    Args:
        network: any network of the family.
        layer: name of its last layer.
        shape: ``(C, *space)`` of the network's input.
        mapping: Q.
        example: an output of the layer for one input, for its shape and dtype.
    """

    def __init__(
        self, network: nn.Module, layer: str, shape: tuple[int, ...], mapping: Selection | DenseMap, example: Tensor
    ) -> None:
        self._network, self._layer, self._shape, self._mapping = network, layer, shape, mapping
        random = torch.randn(example.shape, generator=stream(0, "tail-scale"), dtype=torch.float64)
        self._given = random.to(example)
        self._known: dict[int, float] = {}
        self._lock = threading.Lock()  # the hook is on the one network

    def __call__(self, t: Tensor) -> Tensor:
        """Return s at levels ``t``, float64 of their shape."""
        levels, place = torch.unique(t.cpu(), return_inverse=True)
        with self._lock:
            new = torch.tensor([level for level in levels.tolist() if level not in self._known], dtype=torch.long)
            for part in new.chunk(-(-len(new) // CHUNK)) if len(new) else ():
                self._known.update(zip(part.tolist(), self._measure(part).tolist(), strict=True))
        return torch.tensor([self._known[level] for level in levels.tolist()], dtype=torch.float64)[place]

    def _measure(self, t: Tensor) -> Tensor:
        """Return s at a few levels."""
        batch = self._given.expand(len(t), *self._given.shape)
        parameter = next(self._network.parameters())
        x, t = parameter.new_zeros(len(t), *self._shape), t.to(parameter.device)
        with torch.no_grad():
            offset = output_given(self._network, self._layer, torch.zeros_like(batch), x, t)
            change = output_given(self._network, self._layer, batch, x, t) - offset
        scale, error = fit_scale(change, self._mapping(batch))
        if not bool((error <= tolerance(parameter) * (change.norm(dim=1) + offset.norm(dim=1))).all()):
            raise ScoregrainError(
                f"what follows the last layer '{self._layer}' changes with the noise level by more than a factor; "
                "measure with plain outer products instead: estimator='plain' (--estimator plain)"
            )
        return scale.cpu()


@dataclass(frozen=True)
class Tail:
    """What a network does to the output o of its last layer: ``out(x, t) = offset(x, t) + s(t) Q o``.

    Attributes:
        mapping: Q.
        constant: s where it is the same at every level, else None.
        offset_at_zero: the offset is not zero for every network at ``x = 0``.
        offset_elsewhere: nor at other x.
        level_scale: s where it depends on the level.
    """

    mapping: Selection | DenseMap
    constant: float | None = 1.0
    offset_at_zero: bool = False
    offset_elsewhere: bool = False
    level_scale: LevelScale | None = None

    @property
    def scaled(self) -> bool:
        """True unless s is 1 at every level."""
        return self.constant != 1

    @property
    def trivial(self) -> bool:
        """True when the output is ``Q o`` and nothing else, at any x and t."""
        return not (self.scaled or self.offset_at_zero or self.offset_elsewhere)

    def place(self, o: Tensor) -> Tensor:
        """``Q o`` of layer outputs ``(m, ...)``, without s; float64 ``(m, D)``."""
        return self.mapping(o)

    def scale(self, t: Tensor) -> Tensor:
        """Return s at the levels ``t`` that a network is told (integers), float64 of their shape, on the CPU.

        Raises:
            ScoregrainError: at one of the levels the map is not s times the Q found at others.
        """
        if self.constant is not None:
            return torch.full(t.shape, self.constant, dtype=torch.float64)
        assert self.level_scale is not None
        return self.level_scale(t)


def fit_scale(change: Tensor, placed: Tensor) -> tuple[Tensor, Tensor]:
    """The s that brings ``s · placed`` closest to ``change``, both ``(N, D)``, and the distance left, ``(N,)`` each."""
    scale = (change * placed).sum(1) / placed.square().sum(1)
    return scale, (change - scale[:, None] * placed).norm(dim=1)
