"""Sliced and max-sliced Wasserstein distances (MATH A8)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._arguments import whole
from scoregrain.metrics._projections import BLOCK, Projections, named_directions, parts
from scoregrain.metrics._samples import check_pair
from scoregrain.metrics._transport import Coupling, order_of, sort_rows

_NUMBERS = 2**19  # projected numbers held at a time: four times as many are a fifth faster, and split the heap


@dataclass(frozen=True, eq=False)
class SlicedWasserstein:
    """A sliced distance between two sets of samples, of order p = 2, in the units of one coordinate.

    Attributes:
        sw2: Root of the mean of W₂² over all projections.
        msw2: The largest W₂ of a projection: a lower bound of the maximum over all directions, and a weak one.
        error: Standard error of ``sw2``, ``projection_error`` and ``sample_error`` combined.
        projection_error: What drawing other projections would change; 0 where they were given.
        sample_error: What drawing other samples of both laws would change.
        counts: Samples in the first and in the second set.
        squares: W₂² of every projection, float64 (L,).
        extra: W₂ along the extra directions by name; part of neither ``sw2`` nor ``msw2``.
    """

    sw2: float
    msw2: float
    error: float
    projection_error: float
    sample_error: float
    counts: tuple[int, int]
    squares: Tensor
    extra: dict[str, float]

    @property
    def projections(self) -> int:
        """Number of projections L."""
        return len(self.squares)


def sliced_wasserstein(
    x: Tensor,
    y: Tensor,
    projections: int | Tensor | None = None,
    seed: int = 0,
    extra_directions: Tensor | Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SlicedWasserstein:
    """Measure how far two sets of samples are apart, over random one-dimensional projections (MATH A8).

    Sets of different size are compared by their quantile functions. Projections and sorting have the dtype of the
    samples (float32 moves the result by about 1e-7 of the samples' size), sums are float64; on a CUDA device both
    happen there. Memory: the projections of at most 64 directions at a time.

    The error over projections is that of a mean. The error over samples is the delta method: the Kantorovich
    potentials φ of W₂², averaged over projections, say how the squared distance changes with each sample, so its
    variance is var φ / N + var ψ / M; the mean over infinitely many projections is had from pairs of different ones
    among 256 (or a sixteenth of all). Where both laws are the same the distance is a bias of order 1/√N, and the
    error stated is up to √2 too large: put a fresh resample of the target beside every distance.

    Args:
        x: Samples (N, C, *space) or (N, D).
        y: Samples (M, C, *space) or (M, D).
        projections: How many to draw, at least 2 (None: 64 D, at most 16,384), or unit vectors (L, D) or
            (L, C, *space), taken as they are.
        seed: Seed of the projections; they are a function of (seed, L, D) alone.
        extra_directions: Directions (K, D) or (K, C, *space), named by their index, or a mapping from names to
            directions (D,) or (C, *space); of any length but 0.
        chunk: Projections to work on at a time, at most 64; None chooses. Changes nothing but speed and memory.
        progress: Called with the projections done and their number.

    Raises:
        InvalidInputError: Samples are not finite, fewer than 2, or of different shapes; projections are no unit
            vectors of that shape; a direction is zero.

    Example:
        >>> round(sliced_wasserstein(torch.zeros(8, 2), torch.ones(8, 2), torch.eye(2)).sw2, 6)
        1.0
    """
    first, second = check_pair(x, y)
    directions = Projections.of(projections, seed, first)
    extra = named_directions(extra_directions, first)
    slices = _Slices(first, second, chunk)
    found = []
    for block in directions.blocks():
        found.append(slices.squared_distances(block))
        if progress is not None:
            progress(sum(map(len, found)), directions.count)
    squares = torch.cat(found).cpu()
    variance = slices.sample_variance(directions)
    along = slices.squared_distances(torch.stack(list(extra.values()))).sqrt().tolist() if extra else []
    return _result(squares, variance, directions.drawn, slices.counts, dict(zip(extra, along, strict=True)))


def _result(
    squares: Tensor, variance: float, drawn: bool, counts: tuple[int, int], extra: dict[str, float]
) -> SlicedWasserstein:
    """Errors of the root from those of the mean."""
    sw2 = math.sqrt(float(squares.mean()))
    slope = 0.5 / sw2 if sw2 > 0 else 0.0
    of_projections = slope * float(squares.std()) / math.sqrt(len(squares)) if drawn else 0.0
    of_samples = slope * math.sqrt(variance)
    error = math.hypot(of_projections, of_samples)
    return SlicedWasserstein(
        sw2, math.sqrt(float(squares.max())), error, of_projections, of_samples, counts, squares, extra
    )


class _Slices:
    """Two sets of rows, seen along directions."""

    def __init__(self, first: Tensor, second: Tensor, chunk: int | None) -> None:
        self.first, self.second = first, second
        self.counts = len(first), len(second)
        self.coupling = Coupling(self.counts, first.device)
        chunk = max(1, _NUMBERS // sum(self.counts)) if chunk is None else whole(chunk, "chunk", least=1)
        self.chunk = min(BLOCK, chunk)

    def squared_distances(self, directions: Tensor) -> Tensor:
        """W₂² along directions (l, D), float64 (l,)."""
        pairs = (self._projected(part) for part in parts(directions, self.chunk))
        return torch.cat([self.coupling.squared_distances(sort_rows(a), sort_rows(b)) for a, b in pairs])

    def sample_variance(self, directions: Projections) -> float:
        """Variance of the mean of W₂² over projections, with other samples of both laws."""
        sums = [torch.zeros(count, dtype=torch.float64, device=self.first.device) for count in self.counts]
        single, used = [0.0, 0.0], 0
        for part in parts(directions.some(), self.chunk):
            a, b = self._projected(part)
            orders = order_of(a), order_of(b)
            values = self.coupling.potentials(a.gather(1, orders[0]), b.gather(1, orders[1]))
            for side, (potential, order) in enumerate(zip(values, orders, strict=True)):
                sums[side] += torch.empty_like(potential).scatter_(1, order, potential).sum(0)
                single[side] += float(potential.var(1).sum())
            used += len(part)
        many = math.inf if directions.drawn else directions.count
        return sum(
            _of_mean(float(total.var()) / used**2, alone / used, used, many) / len(total)
            for total, alone in zip(sums, single, strict=True)
        )

    def _projected(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        directions = directions.to(self.first)
        return directions @ self.first.T, directions @ self.second.T


def _of_mean(together: float, alone: float, used: int, count: float) -> float:
    """The variance of the mean of ``count`` potentials, from that of ``used`` and from that of a single one."""
    if used == 1:
        return alone
    shared = max(0.0, (used * together - alone) / (used - 1))  # the covariance of two potentials
    return shared + max(0.0, alone - shared) / count
