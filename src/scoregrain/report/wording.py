"""Numbers with their uncertainty, and directions and clusters in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scoregrain.align.alignment import ROUNDING
from scoregrain.geometry import Cluster, Geometry

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def measured(value: float, error: float | None) -> str:
    """A value with its standard error (two digits of it), the word exact, or the words no error bar."""
    if error is None or not math.isfinite(error):
        return f"{number(value, 3)} (no error bar)"
    if error <= ROUNDING * abs(value):
        return f"{number(value, 4)} (exact)"
    exponent = _exponent(max(abs(value), error))
    if -3 <= exponent < 5:
        places = max(0, 1 - _exponent(error))
        return f"{value:.{places}f} ± {error:.{places}f}"
    scale = 10.0**exponent
    places = max(0, 1 - _exponent(error / scale))
    return f"({value / scale:.{places}f} ± {error / scale:.{places}f}) × 10{_power(exponent)}"


def number(value: float, digits: int = 3) -> str:
    """A number to so many significant digits, with a power of ten where it is very small or large."""
    if not math.isfinite(value):
        return "not determined"
    if value == 0:
        return "0"
    exponent = _exponent(float(f"{value:.{digits - 1}e}"))
    if -3 <= exponent < 5:
        return f"{round(value, digits - 1 - exponent):.{max(0, digits - 1 - exponent)}f}"
    return f"{value / 10.0**exponent:.{digits - 1}f} × 10{_power(exponent)}"


def percent(value: float, error: float | None = None) -> str:
    """A share in percent, with its standard error where there is one."""
    if not math.isfinite(value):
        return "not determined"
    if error is None or error <= ROUNDING * value:
        return f"{number(100 * value, 3)} %"
    return f"({measured(100 * value, 100 * error)}) %"


def _exponent(value: float) -> int:
    """Decimal exponent of a number."""
    return math.floor(math.log10(abs(value))) if value else 0


def _power(exponent: int) -> str:
    return str(exponent).translate(_SUPERSCRIPT)


def index_ranges(indices: Sequence[int]) -> str:
    """Ascending indices as text: ``4–7, 9``."""
    runs: list[list[int]] = []
    for k in indices:
        if runs and k == runs[-1][-1] + 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs]
    return ", ".join(texts if len(texts) <= 8 else [*texts[:7], f"… {texts[-1]}"])


def kind_of(cluster: Cluster, multiplicity: int) -> str:
    """``identifiable``, ``cluster``, ``null`` or ``unknown`` (too few networks for error bars).

    Identifiable is what is no larger than the exact structure of the network makes it.
    """
    if cluster.null:
        return "null"
    if cluster.overlap is None:
        return "unknown"
    return "identifiable" if cluster.identifiable and len(cluster.indices) == multiplicity else "cluster"


def told_apart(geometry: Geometry) -> str:
    """How much the measurement tells apart, of what is known: directions, or the eigenspaces of an exact structure."""
    size, leading = geometry.structure.multiplicity, "" if geometry.sketch is None else "the leading "
    what = "directions" if size == 1 else f"eigenspaces of {size} directions each"
    return f"{geometry.eigenspaces} of {leading}{geometry.known // size} {what}"


def describe(cluster: Cluster, multiplicity: int) -> str:
    """What is known about the directions of a cluster, in a few words."""
    kind, size = kind_of(cluster, multiplicity), len(cluster.indices)
    if kind == "unknown":
        return "identifiable: unknown"
    if kind == "null":
        zero = "zero" if cluster.error == 0 else "zero within accuracy"
        return zero if size == 1 else f"{zero}, one of {size}"
    if kind == "identifiable":
        return "identifiable" if size == 1 else f"in an identifiable eigenspace of {size}"
    return f"one of {size} mixed"


def overlap_text(cluster: Cluster) -> str:
    """Split-half overlap beside its chance level."""
    if cluster.overlap is None:
        return "unknown"
    return f"{cluster.overlap:.2f} (chance {cluster.chance:.2f})"
