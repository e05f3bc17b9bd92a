"""Nearest neighbours by blocks: the matrix of all distances is never in memory."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 1 << 24  # distances at a time, 64 MiB in float32


def nearest(x: Tensor, y: Tensor, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the distance of each row of x (N, D) to the nearest row of y (M, D), float64 (N,), and which, int64 (N,).

    The winner is found by ‖x‖² + ‖y‖² - 2x·y around the mean of y, in the dtype of the rows: of those that differ by
    its rounding any may win. Its distance is then taken directly, so that copies are at exactly 0.

    Args:
        x: Rows.
        y: Rows, of the dtype of x.
        own: Where each row of x stands in y, int64 (N,): it is not its own neighbour.
    """
    centre = y.mean(0)
    away, squared = y - centre, (y - centre).square().sum(1)
    found = []
    for first in range(0, len(x), step := max(1, _BLOCK // len(y))):
        rows = x[first : first + step] - centre
        scores = torch.addmm(squared, rows, away.T, alpha=-2)
        if own is not None:
            scores.scatter_(1, own[first : first + step, None].to(scores.device), torch.inf)
        found.append(scores.argmin(1))
    index = torch.cat(found)
    distances = [
        (near - far).norm(dim=1)
        for near, far in zip(torch.split(x.double(), 4096), torch.split(y[index].double(), 4096), strict=True)
    ]
    return torch.cat(distances).cpu(), index.cpu()
