"""Which arrays, steps and ξ update k sees: functions of the seed and k alone (ARCHITECTURE 4, "Randomness")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._random import stream
from scoregrain.noise import draw_white


@dataclass(frozen=True, eq=False)
class Batch:
    """What one process trains on in one update.

    Attributes:
        x0: (n, C, *space).
        t: int64 (n,).
        xi: White, like x0.
    """

    x0: Tensor
    t: Tensor
    xi: Tensor

    def parts(self, count: int) -> Iterator[Batch]:
        """Yield ``count`` equal parts in order."""
        yield from map(Batch, self.x0.chunk(count), self.t.chunk(count), self.xi.chunk(count))


class Batches:
    """Global batches of a seeded walk through the data: one epoch after another, each in an order of its own.

    A global batch is drawn whole in every process, which then takes its slice: the number of processes changes
    nothing, and no state of a generator is ever stored.

    Args:
        data: x0, (N, C, *space).
        size: Arrays in a global batch.
        num_steps: T of the schedule.
        seed: Of the training.
        rank: Which slice is this process's.
        world: How many slices there are; divides ``size``.
    """

    def __init__(self, data: Tensor, size: int, num_steps: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.data, self.size, self.num_steps, self.seed = data, size, num_steps, seed
        share = size // world
        self._mine = slice(rank * share, (rank + 1) * share)
        self._epoch = (-1, torch.empty(0, dtype=torch.long))

    def __getitem__(self, k: int) -> Batch:
        """Return this process's slice of global batch k ≥ 0."""
        t = torch.randint(self.num_steps, (self.size,), generator=stream(self.seed, "t", k))
        xi = draw_white((self.size, *self.data.shape[1:]), stream(self.seed, "xi", k), torch.float32)
        return Batch(self.data[self.indices(k)[self._mine]], t[self._mine], xi[self._mine])

    def indices(self, k: int) -> Tensor:
        """Return the places in the data of global batch k, int64 (size,)."""
        count, taken = len(self.data), []
        start, stop = k * self.size, (k + 1) * self.size
        for epoch in range(start // count, (stop - 1) // count + 1):
            first = epoch * count
            taken.append(self._order(epoch)[max(start - first, 0) : stop - first])
        return torch.cat(taken)

    def _order(self, epoch: int) -> Tensor:
        if self._epoch[0] != epoch:
            generator = stream(self.seed, "order", epoch)
            self._epoch = (epoch, torch.randperm(len(self.data), generator=generator))
        return self._epoch[1]
