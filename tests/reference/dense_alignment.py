"""Alignment by explicit loops and Haar-random rotations: slow, float64, sharing nothing with the code."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor


def alignment(g: Tensor, w: Tensor, m: Tensor) -> float:
    """E[zᵀ G z] with z = W x, entry by entry: Σ_ijab G_ij W_ja M_ab W_ib."""
    total, d = 0.0, len(g)
    for i in range(d):
        for j in range(d):
            for a in range(d):
                for b in range(d):
                    total += float(g[i, j] * w[j, a] * m[a, b] * w[i, b])
    return total


def extrema(g: Tensor, m: Tensor) -> tuple[float, float]:
    """Least and largest Σ_k λ_k ν_π(k) over all permutations π: the vertices of the Birkhoff polytope."""
    lam, nu = torch.linalg.eigvalsh(g).tolist(), torch.linalg.eigvalsh(m).tolist()
    values = [sum(x * y for x, y in zip(lam, order, strict=True)) for order in permutations(nu)]
    return min(values), max(values)


def haar(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Haar-random orthogonal matrices: QR of Gaussian ones with the signs of R's diagonal moved into Q."""
    q, r = torch.linalg.qr(torch.randn(count, size, size, generator=generator, dtype=torch.float64))
    return q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]
