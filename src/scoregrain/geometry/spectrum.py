"""Eigen-decomposition with error bars from groups: jackknife, gaps, mixing, clusters, overlap (MATH C3)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MIN_GROUPS = 16
GAP_SIGMAS = 3.0
MAX_MIXING = 0.28  # split-half |cos| ≥ 0.85
NULL = 1e-10  # of λ_1; an exact spectrum is null only below its rounding (DiT/2 has eigenvalues of 3e-12 λ_1)


@dataclass(frozen=True)
class Spectrum:
    """Eigen-decomposition of a reduced matrix, sector by sector, sorted descending.

    Attributes:
        values: ``(k,)``; k = r where the spectrum is complete.
        vectors: ``(r, k)``, columns.
        sector: ``(k,)``, the symmetry sector of each vector.
    """

    values: Tensor
    vectors: Tensor
    sector: Tensor

    def members(self, sector: int) -> Tensor:
        """Indices of one sector's vectors, in descending order of eigenvalue."""
        return (self.sector == sector).nonzero().flatten()


@dataclass(frozen=True)
class SpectrumErrors:
    """Uncertainty of a :class:`Spectrum`.

    Attributes:
        values: jackknife standard errors of the eigenvalues, ``(r,)``.
        gaps: jackknife standard errors of ``λ_k - λ_k'``, k' the next in k's sector, ``(r,)``; the last is unused.
        mixing: first-order mixing of k with j between two halves, ``4 V_kj / (N (λ_k - λ_j)²)``, ``(r, r)``;
            zero on the diagonal and between sectors.
        beyond: mixing with directions that are not in the spectrum, ``(r,)``; zero where it is complete.
    """

    values: Tensor
    gaps: Tensor
    mixing: Tensor
    beyond: Tensor


def decompose(matrix: Tensor, bases: Sequence[Tensor] | None) -> Spectrum:
    """Eigen-decompose a symmetric matrix in each of its invariant subspaces (orthonormal ``bases``)."""
    if bases is None:
        values, vectors = torch.linalg.eigh(matrix)
        sector = torch.zeros(len(values), dtype=torch.long)
    else:
        parts = [torch.linalg.eigh(basis.T @ matrix @ basis) for basis in bases]
        values = torch.cat([part[0] for part in parts])
        vectors = torch.cat([basis @ part[1] for basis, part in zip(bases, parts, strict=True)], dim=1)
        sector = torch.cat([torch.full((len(p[0]),), s) for s, p in enumerate(parts)])
    return in_order(values, vectors, sector)


def gram_dual(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Eigen-decomposition of ``(1/N) Σ x xᵀ`` of N < D samples from their N × N Gram matrix (MATH C4).

    Args:
        rows: samples, float64 ``(N, D)``.

    Returns:
        The k ≤ N eigenvalues above rounding, descending, and their orthonormal eigenvectors ``(D, k)``. All other
        directions are a null space: nothing is known about them.
    """
    values, q = torch.linalg.eigh(rows @ rows.T / len(rows))
    values, q = values.flip(0), q.flip(1)
    found = values > len(rows) * torch.finfo(torch.float64).eps * values[0]
    values, q = values[found], q[:, found]
    return values, rows.T @ q / (len(rows) * values).sqrt()


def in_order(values: Tensor, vectors: Tensor, sector: Tensor) -> Spectrum:
    """The spectrum of unsorted eigenvalues, vectors and sectors."""
    order = values.argsort(descending=True, stable=True)
    vectors = vectors[:, order]
    return Spectrum(values[order], vectors * _signs(vectors), sector[order])


def _signs(vectors: Tensor) -> Tensor:
    """Eigenvectors are free in sign: make the first of the largest entries positive (odd ones have ± pairs)."""
    size = vectors.abs()
    first = (size >= size.max(dim=0).values * (1 - 1e-6)).to(torch.int8).argmax(dim=0)
    return vectors.gather(0, first[None])[0].sign()


def jackknife(full: Tensor, without: Tensor, counts: Tensor) -> Tensor:
    """Delete-one-group standard error, groups of any size.

    Args:
        full: the estimate from all groups, ``(q,)``.
        without: the estimate without group j in row j, ``(g, q)``.
        counts: draws in each group, ``(g,)``.

    Returns:
        ``(q,)``. For equal groups ``sqrt((g-1)/g Σ(θ_j - θ̄)²)`` (MATH C3); otherwise the weighted form of
        Busing, Meijer and van der Leeden, "Delete-m jackknife for unequal m" (1999).
    """
    counts = counts.double()
    ratio = (counts.sum() / counts)[:, None]
    pseudo = ratio * full - (ratio - 1) * without
    centre = (pseudo / ratio).sum(0)
    return (((pseudo - centre).square() / (ratio - 1)).mean(0)).sqrt()


def spectrum_errors(spectrum: Spectrum, totals: Sequence[Tensor], counts: Tensor) -> SpectrumErrors:
    """Errors of a spectrum from the sums of its groups (MATH C3, recommended procedure 3-4)."""
    r, n = len(spectrum.values), float(counts.sum())
    values, gaps = torch.zeros(r, dtype=torch.float64), torch.zeros(r, dtype=torch.float64)
    mixing = torch.zeros(r, r, dtype=torch.float64)
    for s in range(int(spectrum.sector.max()) + 1):
        members = spectrum.members(s)
        lam, vectors = spectrum.values[members], spectrum.vectors[:, members]
        without = torch.empty(len(counts), len(members), dtype=torch.float64)
        variance = torch.zeros(len(members), len(members), dtype=torch.float64)
        for j, (total, count) in enumerate(zip(totals, counts.tolist(), strict=True)):
            rotated = vectors.T @ total @ vectors  # in the full estimate's eigenvectors: λ + a small matrix
            without[j] = torch.linalg.eigvalsh((torch.diag(n * lam) - rotated) / (n - count)).flip(0)
            spread = rotated / count - torch.diag(lam)
            variance += count / (len(counts) - 1) * spread.square()
        values[members] = jackknife(lam, without, counts)
        gaps[members[:-1]] = jackknife(-lam.diff(), -without.diff(dim=1), counts)
        mixing[members[:, None], members] = _mixing(variance, lam, n)
    return SpectrumErrors(values, gaps, mixing, torch.zeros_like(values))


def _mixing(variance: Tensor, values: Tensor, n: float) -> Tensor:
    """``4 V_kj / (N (λ_k - λ_j)²)`` off the diagonal."""
    gap = (values[:, None] - values).square().fill_diagonal_(math.inf)
    return 4 * variance / (n * gap.clamp_min(torch.finfo(torch.float64).tiny))


def group_indices(spectrum: Spectrum, errors: SpectrumErrors | None) -> tuple[list[list[int]], list[int]]:
    """Partition reduced indices into clusters that can be told apart; also return the null cluster (MATH C3, 4).

    Without errors the spectrum is exact and only equal eigenvalues are joined.
    """
    values = spectrum.values
    if errors is None:
        null = values <= _rounding(values)
    else:
        null = (values < NULL * values[0]) | (values < GAP_SIGMAS * errors.values)
    parent = list(range(len(values)))

    def root(k: int) -> int:
        while parent[k] != k:
            k = parent[k]
        return k

    def join(k: int, j: int) -> None:
        parent[max(root(k), root(j))] = min(root(k), root(j))

    for s in range(int(spectrum.sector.max()) + 1):
        members = [int(k) for k in spectrum.members(s) if not null[k]]
        for k, j in _joins(members, values, errors):
            join(k, j)
    clusters: dict[int, list[int]] = {}
    for k in range(len(values)):
        if not null[k]:
            clusters.setdefault(root(k), []).append(k)
    return list(clusters.values()), null.nonzero().flatten().tolist()


def _joins(members: list[int], values: Tensor, errors: SpectrumErrors | None) -> list[tuple[int, int]]:
    """Pairs of one sector that cannot be told apart: a gap below 3 standard errors, or too much mixing."""
    neighbours = list(itertools.pairwise(members))
    if errors is None:
        return [(k, j) for k, j in neighbours if values[k] - values[j] <= _rounding(values)]
    joins = [(k, j) for k, j in neighbours if values[k] - values[j] <= GAP_SIGMAS * errors.gaps[k]]
    joined = {k for pair in joins for k in pair}
    for k in members:
        if k not in joined and float(errors.mixing[k].sum() + errors.beyond[k]) > MAX_MIXING:
            joins.append((k, int(errors.mixing[k].argmax())))
    return joins


def _rounding(values: Tensor) -> float:
    """Size of float64 rounding in eigenvalues, as in numpy's ``matrix_rank``."""
    return len(values) * torch.finfo(torch.float64).eps * float(values[0])


def overlap(first: Spectrum, second: Spectrum, places: Sequence[tuple[int, int]]) -> float:
    """Mean cos² between the subspaces that two spectra put at the same ``(sector, rank)`` places."""
    total = 0.0
    for s in {s for s, _ in places}:
        ranks = [rank for sector, rank in places if sector == s]
        u = first.vectors[:, first.members(s)[ranks]]
        v = second.vectors[:, second.members(s)[ranks]]
        total += float((u.T @ v).square().sum())
    return total / len(places)


def chance_overlap(sizes: Sequence[int], places: Sequence[tuple[int, int]]) -> float:
    """What :func:`overlap` gives for unrelated subspaces: k/D in one sector, weighted over sectors (MATH C3)."""
    counts = [sum(1 for s, _ in places if s == sector) for sector in range(len(sizes))]
    return sum(k * k / n for k, n in zip(counts, sizes, strict=True)) / len(places)
