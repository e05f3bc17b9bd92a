"""Rings of equal radius in the frequency plane, over which a radial power spectrum is averaged (MATH B4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain.operators.frequency import FrequencyGrid

MOST = 64


@dataclass(frozen=True, eq=False)
class Rings:
    """A partition of the frequencies: the constant alone, then rings of one width around it.

    Attributes:
        radius: Mean radius of each ring in cycles per pixel, float64 (R,), ascending; 0 for the constant.
        count: Frequencies in each ring, int64 (R,).
        index: The ring of every frequency, int64 (*size), in FFT layout.
    """

    radius: Tensor
    count: Tensor
    index: Tensor

    @classmethod
    def of(cls, grid: FrequencyGrid) -> Rings:
        """Return the rings of width 1/N around k/N, N the longest side, at most 64."""
        radius = grid.radius("raw")
        nominal = (radius * min(max(grid.size), MOST)).round().long()
        nominal = torch.where(radius > 0, nominal.clamp(min=1), 0)
        _, index, count = torch.unique(nominal, return_inverse=True, return_counts=True)  # leaves no ring empty
        return cls(_means(radius.reshape(-1), index.reshape(-1), count), count, index)

    def mean(self, plane: Tensor) -> Tensor:
        """Return the mean of ``plane`` (..., *size) over each ring, (..., R)."""
        return _means(plane.flatten(-self.index.ndim), self.index.reshape(-1), self.count)


def _means(values: Tensor, index: Tensor, count: Tensor) -> Tensor:
    sums = values.new_zeros(*values.shape[:-1], len(count))
    return sums.index_add(-1, index, values) / count
