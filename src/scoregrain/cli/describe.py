"""The numbers of a geometry for a person."""

from __future__ import annotations

from pathlib import Path

from scoregrain.geometry import Geometry

ROUNDING = 1e-13  # of the largest eigenvalue; eigenvalues below it are shown as 0


def describe(geometry: Geometry, target: Path) -> str:
    """The numbers of a geometry for a person."""
    draws = "draws of data and noise level" if geometry.info.get("trained") else "networks"
    if geometry.exact:
        how = "closed form, no sampling error"
    elif geometry.relative_error is None:
        how = f"{geometry.count} {draws}; no error bars: they need 512 or more"
    else:
        how = f"{geometry.count} {draws}, relative error {geometry.relative_error:.2%}"
    lines = [f"{geometry.info['model']}: {how}, {geometry.info['seconds']:.1f} s"]
    if not geometry.exact and not geometry.info["head"]:
        lines.append(f"  no closed-form last layer ({geometry.info['head_reason']}): plain outer products")
    return "\n".join(
        [
            *lines,
            *_adapted(geometry),
            f"  largest eigenvalue   {_eigenvalue(geometry, 0)}",
            _last_line(geometry),
            f"  trace                {_value(geometry, geometry.trace, geometry.trace_error)}   "
            f"effective rank {geometry.effective_rank:.3g}",
            f"  identifiable         {_identifiable(geometry)}",
            f"  written to           {target}",
        ]
    )


def _adapted(geometry: Geometry) -> list[str]:
    """What the adapter of a diffusers configuration held fixed, and what it cut."""
    family = geometry.info.get("family", {})
    words = "; ".join(f"{name}: {value}" for name, value in family.get("conditioning", {}).items())
    found = {"conditioning": words, "output": family.get("output", "")}
    return [f"  {name:<20} {value}" for name, value in found.items() if value]


def _last_line(geometry: Geometry) -> str:
    """The smallest eigenvalue, or how far the leading ones reach."""
    if geometry.sketch is None:
        return f"  smallest eigenvalue  {_eigenvalue(geometry, -1)}"
    last = geometry.known - 1
    reach = f"eigenvalue {last} is {_eigenvalue(geometry, last)}, the others' mean {geometry.leading().residual:.2g}"
    return f"  leading directions   {geometry.known} of {geometry.size}; {reach}"


def _eigenvalue(geometry: Geometry, k: int) -> str:
    errors = geometry.eigenvalue_errors
    return _value(geometry, float(geometry.eigenvalues[k]), None if errors is None else float(errors[k]))


def _value(geometry: Geometry, value: float, error: float | None) -> str:
    """A number with its error."""
    if abs(value) < ROUNDING * float(geometry.eigenvalues[0]):
        return "0 (to rounding)"
    if geometry.exact:
        return f"{value:.6g} (exact)"
    return f"{value:.5g}" + ("" if error is None else f" ± {error:.2g}")


def _identifiable(geometry: Geometry) -> str:
    """What the measurement tells apart; where eigenvalues are multiple by structure, only eigenspaces can be."""
    if not geometry.has_errors:
        return "unknown: it needs 512 networks or more"
    spaces = f"{geometry.eigenspaces} eigenspaces of {geometry.form.known}"
    if geometry.structure.multiplicity > 1:
        return f"{spaces}, each of {geometry.structure.multiplicity} directions"
    return f"{geometry.identifiable} of {geometry.known} directions, {len(geometry.clusters)} clusters"
