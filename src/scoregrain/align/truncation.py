"""What alignment can be whatever the directions are that were not measured (MATH A5, C4)."""

from __future__ import annotations

from dataclasses import dataclass

from scoregrain.align.rotation import Rotation
from scoregrain.align.statistics import inside_out, quadratic
from scoregrain.geometry import Geometry


@dataclass(frozen=True)
class _Rest:
    """The part of a geometry outside its known directions.

    Attributes:
        trace: its trace.
        largest: a bound on its largest eigenvalue: the last one that is known, and its trace.
    """

    trace: float
    largest: float

    @staticmethod
    def of(geometry: Geometry) -> _Rest:
        """Nothing when all directions are known."""
        values = geometry.leading().values
        rest = max(geometry.trace - float(values.sum()), 0.0)
        return _Rest(rest, min(float(values[-1]), rest))


def bracket(geometry: Geometry, data: Geometry, rotation: Rotation | None) -> tuple[float, float] | None:
    """Bounds of ``tr(G W M Wᵀ)`` given the known eigenvectors and both traces; None when everything is known.

    With known parts ``G_k``, ``M_k`` and rests R orthogonal to them, positive semi-definite: at least
    ``tr(G_k M_k)``, and at most that plus ``tr(G_k R_M) + tr(R_G M_k) + tr(R_G R_M)``, each bounded by the largest
    eigenvalue that a rest can have and by its trace. If M is known, that is ``Σ λ_k e_k`` and
    ``Σ λ_k e_k + λ_(k+1) (tr M - Σ e_k)`` with ``e_k = u_kᵀ M u_k``.
    """
    if geometry.complete and data.complete:
        return None
    inner, outer, arrays = inside_out(geometry, data, rotation)
    s, missing = inner.leading().values, _Rest.of(inner)
    top = float(outer.eigenvalues[0])
    if outer.known == outer.size:
        energies, known = quadratic(outer, arrays), outer.trace
        second = both = 0.0
    else:
        leading, other = outer.leading(), _Rest.of(outer)
        overlaps = (leading.vectors.T @ arrays.flatten(1).T).square()
        energies, known = leading.values @ overlaps, float(leading.values.sum())
        second = min(other.largest * (float(s.sum()) - float((overlaps @ s).sum())), float(s[0]) * other.trace)
        both = min(other.largest * missing.trace, missing.largest * other.trace)
    low = float(energies @ s)
    first = min(missing.largest * (known - float(energies.sum())), top * missing.trace)
    return low, low + sum(max(part, 0.0) for part in (first, second, both))
