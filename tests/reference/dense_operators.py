"""The D×D matrix of every kind of operator, entry by entry: slow, float64, sharing nothing with the code."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor


def random_orthonormal(size: int, columns: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, columns, generator=generator, dtype=torch.float64)).Q


def random_psd(size: int, rank: int, seed: int) -> Tensor:
    """A well-conditioned PSD matrix with exactly ``rank`` eigenvalues away from zero."""
    u = random_orthonormal(size, rank, seed)
    values = torch.linspace(0.5, 3.0, rank, dtype=torch.float64)
    return (u * values) @ u.T


def channel_kronecker(channels: int, a: Tensor) -> Tensor:
    n = len(a)
    dense = torch.zeros(channels * n, channels * n, dtype=torch.float64)
    for c in range(channels):
        for i in range(n):
            for j in range(n):
                dense[c * n + i, c * n + j] = a[i, j]
    return dense


def token_kronecker(a: Tensor, inner: int, permutation: Tensor) -> Tensor:
    size = len(a) * inner
    dense = torch.zeros(size, size, dtype=torch.float64)
    for i in range(len(a)):
        for j in range(len(a)):
            for k in range(inner):
                dense[permutation[i * inner + k], permutation[j * inner + k]] = a[i, j]
    return dense


def unpatchify_permutation(channels: int, height: int, width: int, patch: int) -> Tensor:
    """Token (i, j), inner index (a·p+b)·C+c goes to pixel (c, ip+a, jp+b) (MATH A9)."""
    flat = []
    for i in range(height // patch):
        for j in range(width // patch):
            for a in range(patch):
                for b in range(patch):
                    for c in range(channels):
                        flat.append((c * height + i * patch + a) * width + j * patch + b)
    return torch.tensor(flat)


def diagonal(values: Tensor, basis: Tensor) -> Tensor:
    dense = torch.zeros(len(basis), len(basis), dtype=torch.float64)
    for k in range(len(values)):
        dense += values[k] * torch.outer(basis[:, k], basis[:, k])
    return dense


def low_rank(values: Tensor, u: Tensor, residual: float) -> Tensor:
    rest = torch.eye(len(u), dtype=torch.float64) - diagonal(torch.ones(len(values)), u)
    return diagonal(values, u) + residual * rest


def equicorrelated(size: int, alpha: float, beta: float) -> Tensor:
    """The matrix αI + β11ᵀ (MATH A6 P1)."""
    dense = torch.full((size, size), beta, dtype=torch.float64)
    for i in range(size):
        dense[i, i] += alpha
    return dense


def circulant(power: Tensor, channels: int) -> Tensor:
    """A covariance on a ring: entry (i, j) is mean_k power[k] cos(2πk(i-j)/n), alike in every channel."""
    n = len(power)
    a = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            for k in range(n):
                a[i, j] += power[k] * math.cos(2 * math.pi * k * (i - j) / n) / n
    return channel_kronecker(channels, a)


def stationary(power: Tensor, channels: int) -> Tensor:
    """A covariance on a periodic grid of any dimension: F⁻¹ diag(power) F with the DFT matrix written out."""
    size = tuple(power.shape)
    places = [torch.tensor(place, dtype=torch.float64) for place in _places(size)]
    sides = torch.tensor(size, dtype=torch.float64)
    n = len(places)
    a = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            phases = [2 * math.pi * float((k * (places[i] - places[j]) / sides).sum()) for k in places]
            a[i, j] = sum(float(p) * math.cos(phase) for p, phase in zip(power.flatten(), phases, strict=True)) / n
    return channel_kronecker(channels, a)


def _places(size: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(itertools.product(*(range(side) for side in size)))
