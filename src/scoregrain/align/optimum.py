"""The rotation of the data with the smallest or the largest alignment (MATH A5)."""

from __future__ import annotations

from scoregrain._errors import InvalidInputError, nearest
from scoregrain.align.dense import closest, clusters
from scoregrain.align.low_rank import low_rank_rotation
from scoregrain.align.pairing import check_pair
from scoregrain.align.rotation import MODES, Rotation
from scoregrain.geometry import Geometry


def find_rotation(geometry: Geometry, data: Geometry, mode: str = "minimize", rank: int | None = None) -> Rotation:
    """Find the rotation W of the data with the smallest or the largest alignment ``tr(G W M Wᵀ)`` (MATH A5).

    With ``G = U diag(λ) Uᵀ`` and ``M = V diag(ν) Vᵀ``, both descending, ``W_max = U Vᵀ`` and ``W_min = U J Vᵀ``.
    Signs of eigenvectors, and bases inside clusters of equal eigenvalues, are free: of all optimal W the one closest
    to the identity (largest trace) is returned, so that the rotated data do not depend on them. When clusters of one
    side lie across clusters of the other, closest is what an alternating ascent reaches from a fixed start: almost
    always the closest of all. Where a column and its partner are exactly orthogonal (hand-made diagonal matrices) no
    choice is closest, and the signs of ``geometry.eigenvectors`` decide.

    With a rank r only the r leading directions of the data are moved to where they belong, by the smallest turn that
    does so; directions orthogonal to both places stay. That is optimal for data of rank r; otherwise
    ``0 ≤ α(W) - α_min ≤ λ_1 Σ_{j>r} ν_j`` for ``minimize``.

    Where only the leading directions of the networks are known, ``minimize`` sends the data orthogonal to them:
    ``α ≤ λ_(k+1) tr M`` for data of rank r.

    Args:
        geometry: G, of a network.
        data: M, of the same shape.
        mode: ``minimize`` or ``maximize``.
        rank: r; None for the full rotation, or, where one of the geometries is known by its leading directions only,
            for as many directions as are known of both.

    Raises:
        InvalidInputError: another mode, a rank that is not between 1 and the known directions of the data, geometries
            of different shapes (both are named), or not a network's and data's in this order.
    """
    check_mode(mode)
    check_pair(geometry, data)
    incomplete = [one for one in (geometry, data) if not one.complete]
    if rank is None and not incomplete:
        return _full_rotation(geometry, data, mode)
    if rank is None:
        rank = min(one.leading().vectors.shape[1] for one in incomplete)
    known = data.size if data.complete else data.leading().vectors.shape[1]
    if not 1 <= rank <= known:
        raise InvalidInputError(f"rank is {rank}, expected 1 to {known}, the number of known directions of the data")
    return low_rank_rotation(geometry, data, mode, rank)


def check_mode(mode: str) -> None:
    """Fail on a word that is no mode."""
    if mode not in MODES:
        raise InvalidInputError(f"unknown mode '{mode}', expected {' or '.join(MODES)}{nearest(mode, MODES)}")


def _full_rotation(geometry: Geometry, data: Geometry, mode: str) -> Rotation:
    partners, values = data.eigenvectors, data.eigenvalues
    if mode == "minimize":
        partners, values = partners.flip(1), values.flip(0)
    matrix = closest(geometry.eigenvectors, partners, clusters(geometry.eigenvalues), clusters(values))
    return Rotation(matrix, geometry.shape, mode)
