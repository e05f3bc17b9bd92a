"""Optimal transport between two sets of numbers: sorting pairs them (MATH A8)."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor


def sort_rows(rows: Tensor) -> Tensor:
    """Sort each row (l, N) in place where that is possible: numpy sorts several times faster than torch on a CPU."""
    if rows.device.type != "cpu":
        return rows.sort(dim=1).values
    rows.numpy().sort(axis=1)
    return rows


def order_of(rows: Tensor) -> Tensor:
    """Return what sorts each row (l, N), int64 (l, N)."""
    if rows.device.type != "cpu":
        return rows.argsort(dim=1)
    return torch.from_numpy(np.argsort(rows.numpy(), axis=1))


class Coupling:
    """Which of N sorted numbers meets which of M: their quantile functions, on the pieces where both are constant.

    Args:
        counts: (N, M).
        device: Where the numbers are.
    """

    def __init__(self, counts: tuple[int, int], device: torch.device) -> None:
        self.counts, self.device = counts, device

    def squared_distances(self, a: Tensor, b: Tensor) -> Tensor:
        """Return W₂² of each pair of sorted rows (l, N) and (l, M), float64 (l,)."""
        if self.counts[0] == self.counts[1]:
            return (a - b).double().square_().mean(1)
        first, second, weights = self._pieces
        return (a[:, first] - b[:, second]).double().square_() @ weights

    def potentials(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the Kantorovich potentials of W₂² at the sorted numbers, up to constants: float64 (l, N), (l, M).

        They are how W₂² changes with the weight of each number, so their variance over N is that of W₂² (see
        :func:`scoregrain.metrics.sliced_wasserstein`). From φ' = 2 (a − T a), T the map to the partners.
        """
        a, b = a.double(), b.double()
        to_b, to_a = self._partners(a, b)
        return _integrated(a, 2 * (a - to_b)), _integrated(b, 2 * (b - to_a))

    def _partners(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of what each number meets."""
        if self.counts[0] == self.counts[1]:
            return b, a
        first, second, weights = self._pieces
        to_b = torch.zeros_like(a).index_add_(1, first, b[:, second] * weights) * self.counts[0]
        to_a = torch.zeros_like(b).index_add_(1, second, a[:, first] * weights) * self.counts[1]
        return to_b, to_a

    @cached_property
    def _pieces(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of each piece the number on either side, int64 (P,), and its length, float64 (P,), in whole 1/(N M)."""
        n, m = self.counts
        ends = torch.unique(torch.cat([torch.arange(k + 1, device="cpu") * (n * m // k) for k in (n, m)]))
        start, length = ends[:-1], ends.diff().double() / (n * m)
        return (start // m).to(self.device), (start // n).to(self.device), length.to(self.device)


def _integrated(points: Tensor, slope: Tensor) -> Tensor:
    """The integral of ``slope`` from the first of the sorted points to each, by trapezoids."""
    steps = points.diff(dim=1) * (slope[:, 1:] + slope[:, :-1]) / 2
    return torch.nn.functional.pad(steps.cumsum(1), (1, 0))
