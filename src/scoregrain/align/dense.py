"""The dense optimal rotation, made unique by a tie-break: of all optima the closest to the identity (MATH A5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# eigenvalues closer than this fraction of the largest are one cluster: equal by structure, not by chance
DEGENERATE = 1e-9
# a column this orthogonal to its partner has no sign closest to the identity: it keeps the sign Geometry gave it
ORTHOGONAL = 1e-12
# the alternation stops when a sweep adds less than this fraction of D to tr W, or after so many sweeps
NO_GROWTH, MAX_SWEEPS = 1e-12, 200


def clusters(values: Tensor) -> list[Tensor]:
    """Columns of equal eigenvalue: for every size m that occurs, the indices of all clusters of that size, ``(n, m)``.

    Clusters of one size are handled in one batch: thousands of single columns, or of colour triples, cost no loop.
    """
    ends = values.diff().abs() > DEGENERATE * values.max()
    starts = torch.cat([torch.zeros(1, dtype=torch.long), ends.nonzero().flatten() + 1])
    sizes = torch.diff(starts, append=torch.tensor([len(values)]))
    return [starts[sizes == m, None] + torch.arange(m) for m in sorted(set(sizes.tolist()))]


def closest(u: Tensor, t: Tensor, u_clusters: list[Tensor], t_clusters: list[Tensor]) -> Tensor:
    """The ``W = U Tᵀ`` of largest trace over bases of the clusters of both sides.

    Each step is the best choice for one side and can only increase tr W. Where one side has single columns only, all
    it can choose is signs, which the other side's step absorbs: one sweep is exact. Otherwise where the alternation
    ends may depend on its start, which must then not be whatever basis the eigen-decomposition returned.
    """
    one_sweep = any(max(part.shape[1] for part in side) == 1 for side in (u_clusters, t_clusters))
    if not one_sweep:
        t = canonical(t, t_clusters)
    trace = -math.inf
    for _ in range(1 if one_sweep else MAX_SWEEPS):
        u = _towards(u, t, u_clusters)
        t = _towards(t, u, t_clusters)
        before, trace = trace, float((u * t).sum())
        if trace - before <= NO_GROWTH * len(u):
            break
    return u @ t.T


def _towards(u: Tensor, t: Tensor, clusters: list[Tensor]) -> Tensor:
    """Turn the columns of every cluster to lie closest to their partners: ``U_c P Qh`` of MATH A5, a sign for one."""
    turned = torch.empty_like(u.T, memory_format=torch.contiguous_format)  # columns as rows: ten times faster
    for part in clusters:
        columns = u.T[part]
        inner = columns @ t.T[part].mT
        turned[part] = polar(inner.masked_fill(inner.abs() < ORTHOGONAL, 0)).mT @ columns
    return turned.T


def polar(a: Tensor) -> Tensor:
    """The matrices with orthonormal columns closest to ``(..., n, m)``, n ≥ m."""
    try:
        p, _, qh = torch.linalg.svd(a, full_matrices=False)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        # LAPACK fails on some matrices with many singular values alike, and not on their transposes
        q, _, ph = torch.linalg.svd(a.mT, full_matrices=False)
        p, qh = ph.mT, q.mT
    closest: Tensor = p @ qh
    # LAPACK loses half of the digits where many singular values are zero; one Newton-Schulz step finds them again
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    return closest @ (1.5 * eye - 0.5 * closest.mT @ closest)


def canonical(t: Tensor, clusters: list[Tensor]) -> Tensor:
    """Give every cluster a basis, up to signs, that depends on its span alone.

    It is the eigenbasis of a fixed diagonal matrix restricted to the span. Square roots, because entries in
    arithmetic progression would leave spans of mirror-symmetric images degenerate.
    """
    weights = torch.arange(1, len(t) + 1, dtype=t.dtype).sqrt()[:, None, None]
    result = torch.empty_like(t)
    for part in clusters:
        columns = t[:, part]
        _, basis = torch.linalg.eigh(torch.einsum("dnm,dnk->nmk", weights * columns, columns))
        result[:, part] = torch.einsum("dnm,nmk->dnk", columns, basis)
    return result
