"""Rotations of the data that minimise or maximise alignment, made unique by a tie-break (MATH A5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError, nearest
from scoregrain.geometry import Geometry

MODES = ("minimize", "maximize")
# eigenvalues closer than this fraction of the largest are one cluster: equal by structure, not by chance
DEGENERATE = 1e-9
# a column this orthogonal to its partner has no sign closest to the identity: it keeps the sign Geometry gave it
ORTHOGONAL = 1e-12
# the alternation stops when a sweep adds less than this fraction of D to tr W, or after so many sweeps
NO_GROWTH, MAX_SWEEPS = 1e-12, 200


@dataclass(frozen=True, eq=False)
class Rotation:
    """An orthogonal map W of the data; white noise and the distances between images are left as they are.

    Attributes:
        matrix: W, float64 ``(D, D)``, acting on arrays flattened row-major over ``(C, *space)``.
        shape: ``(C, *space)``.
        mode: ``minimize`` or ``maximize``: what W does to the alignment.

    Raises:
        InvalidInputError: the matrix has not the size of the shape.
    """

    matrix: Tensor
    shape: tuple[int, ...]
    mode: str

    def __post_init__(self) -> None:
        size = math.prod(self.shape)
        if tuple(self.matrix.shape) != (size, size):
            raise InvalidInputError(
                f"a rotation of arrays {self.shape} needs a matrix ({size}, {size}), got {tuple(self.matrix.shape)}"
            )

    def __repr__(self) -> str:
        return f"Rotation(shape={self.shape}, mode={self.mode!r})"

    def __call__(self, x: Tensor) -> Tensor:
        """Rotate arrays, ``z = W x``.

        Args:
            x: ``(..., C, *space)``, floating point.

        Returns:
            The same shape, dtype and device; half precision is rotated in float32.

        Raises:
            InvalidInputError: not a floating-point tensor of that shape.
        """
        return self._rotate(x, self.matrix.T)

    def inverse(self, x: Tensor) -> Tensor:
        """Rotate back, ``x = Wᵀ z``; the rest is as in :meth:`__call__`.

        Generated arrays are mapped back by this before any metric (MATH A5).
        """
        return self._rotate(x, self.matrix)

    def _rotate(self, x: Tensor, right: Tensor) -> Tensor:
        """Multiply flattened arrays by a matrix from the right."""
        space = len(self.shape)
        if not x.is_floating_point() or tuple(x.shape[-space:]) != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise InvalidInputError(
                f"expected a floating-point array of shape (..., {expected}), got {x.dtype} {tuple(x.shape)}"
            )
        dtype = torch.promote_types(x.dtype, torch.float32)
        flat = x.reshape(*x.shape[:-space], len(right)).to(dtype)
        # autocast would round the rotation to half precision behind the caller's back
        with torch.autocast(x.device.type, enabled=False):
            return (flat @ right.to(dtype).to(x.device)).reshape(x.shape).to(x.dtype)


def find_rotation(geometry: Geometry, data: Geometry, mode: str = "minimize") -> Rotation:
    """Find the rotation W of the data with the smallest or the largest alignment ``tr(G W M Wᵀ)`` (MATH A5).

    With ``G = U diag(λ) Uᵀ`` and ``M = V diag(ν) Vᵀ``, both descending, ``W_max = U Vᵀ`` and ``W_min = U J Vᵀ``.
    Signs of eigenvectors, and bases inside clusters of equal eigenvalues, are free: of all optimal W the one closest
    to the identity (largest trace) is returned, so that the rotated data do not depend on them. When clusters of one
    side lie across clusters of the other, closest is what an alternating ascent reaches from a fixed start: almost
    always the closest of all.

    Where a column and its partner are exactly orthogonal (hand-made diagonal matrices) no choice is closest, and the
    signs of ``geometry.eigenvectors`` decide.

    Args:
        geometry: G, of a network.
        data: M, of the same shape.
        mode: ``minimize`` or ``maximize``.

    Raises:
        InvalidInputError: another mode, geometries of different shapes (both are named), or not a network's and
            data's in this order.
    """
    if mode not in MODES:
        raise InvalidInputError(f"unknown mode '{mode}', expected {' or '.join(MODES)}{nearest(mode, MODES)}")
    check_pair(geometry, data)
    partners, values = data.eigenvectors, data.eigenvalues
    if mode == "minimize":
        partners, values = partners.flip(1), values.flip(0)
    matrix = _closest(geometry.eigenvectors, partners, _clusters(geometry.eigenvalues), _clusters(values))
    return Rotation(matrix, geometry.shape, mode)


def check_pair(geometry: Geometry, data: Geometry) -> None:
    """Fail unless these are the geometry of a network and that of data, of one shape."""
    if (geometry.kind, data.kind) != ("network", "data"):
        raise InvalidInputError(
            f"expected the geometry of a network, then that of data, got '{geometry.kind}' and '{data.kind}'"
        )
    if geometry.shape != data.shape:
        raise InvalidInputError(
            f"the network's geometry has shape {geometry.shape} and the data's has shape {data.shape}: "
            "both must be (C, *space) of the same images"
        )


def _clusters(values: Tensor) -> list[Tensor]:
    """Columns of equal eigenvalue: for every size m that occurs, the indices of all clusters of that size, ``(n, m)``.

    Clusters of one size are handled in one batch: thousands of single columns, or of colour triples, cost no loop.
    """
    ends = values.diff().abs() > DEGENERATE * values.max()
    starts = torch.cat([torch.zeros(1, dtype=torch.long), ends.nonzero().flatten() + 1])
    sizes = torch.diff(starts, append=torch.tensor([len(values)]))
    return [starts[sizes == m, None] + torch.arange(m) for m in sorted(set(sizes.tolist()))]


def _closest(u: Tensor, t: Tensor, u_clusters: list[Tensor], t_clusters: list[Tensor]) -> Tensor:
    """The ``W = U Tᵀ`` of largest trace over bases of the clusters of both sides.

    Each step is the best choice for one side and can only increase tr W. Where one side has single columns only, all
    it can choose is signs, which the other side's step absorbs: one sweep is exact. Otherwise where the alternation
    ends may depend on its start, which must then not be whatever basis the eigen-decomposition returned.
    """
    one_sweep = any(max(part.shape[1] for part in side) == 1 for side in (u_clusters, t_clusters))
    if not one_sweep:
        t = _canonical(t, t_clusters)
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
    turned = torch.empty_like(u)
    for part in clusters:
        columns = u[:, part]
        inner = torch.einsum("dnm,dnk->nmk", columns, t[:, part])
        p, _, qh = torch.linalg.svd(inner.masked_fill(inner.abs() < ORTHOGONAL, 0))
        turned[:, part] = torch.einsum("dnm,nmk->dnk", columns, p @ qh)
    return turned


def _canonical(t: Tensor, clusters: list[Tensor]) -> Tensor:
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
