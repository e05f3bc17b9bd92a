"""The radially averaged power spectrum of a noise: its law and what draws of it have (MATH B4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from scoregrain.noise import ForwardNoise
from scoregrain.operators import FourierOperator, Rings

_BATCH = 2**21  # numbers drawn at once, whatever the shape


def power_of(noise: ForwardNoise, shape: tuple[int, ...]) -> Tensor:
    """Return E|F ε|² at every frequency for arrays of ``shape`` = (C, *space), mean over channels: float64 (*space).

    Exact: w² where Σ is diagonal in Fourier space, else the sum of |F T e_j|² over all unit arrays e_j.
    """
    operator = noise.operator(shape)
    if isinstance(operator, FourierOperator):
        return operator.power
    size = math.prod(shape)
    total = torch.zeros(shape[1:], dtype=torch.float64, device="cpu")
    for first, count in _batches(size, size):
        unit = torch.zeros(count, size, dtype=torch.float64, device="cpu")
        unit.diagonal(first).fill_(1.0)
        total += _spectrum(noise.colour(unit.reshape(-1, *shape)), shape).sum(0)
    return total


def measured_power(
    noise: ForwardNoise,
    rings: Rings,
    shape: tuple[int, ...],
    samples: int,
    generator: torch.Generator,
    progress: Callable[[int, int], None] | None,
) -> tuple[Tensor, Tensor]:
    """Return the mean power of draws over each ring and its standard error from their spread, float64 (R,) each.

    Memory does not grow with the samples.
    """
    sums = torch.zeros(2, len(rings.count), dtype=torch.float64, device="cpu")
    for first, count in _batches(samples, math.prod(shape)):
        drawn = noise.sample((count, *shape), generator, dtype=torch.float64)
        power = rings.mean(_spectrum(drawn, shape))
        sums += torch.stack([power.sum(0), power.square().sum(0)])
        if progress is not None:
            progress(first + count, samples)
    mean = sums[0] / samples
    variance = (sums[1] / samples - mean**2).clamp(min=0.0) * samples / (samples - 1)
    return mean, (variance / samples).sqrt()


def _spectrum(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """|F x|² of ``x`` (N, C, *space), mean over channels, (N, *space)."""
    axes = tuple(range(2, 1 + len(shape)))
    power: Tensor = torch.fft.fftn(x, dim=axes, norm="ortho").abs().square()
    return power.mean(1)


def _batches(total: int, size: int) -> Iterator[tuple[int, int]]:
    """First index and length of the parts of ``total`` arrays of ``size`` numbers."""
    length = max(1, _BATCH // size)
    for first in range(0, total, length):
        yield first, min(length, total - first)
