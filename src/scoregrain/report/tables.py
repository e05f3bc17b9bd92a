"""The tables of a report: plain text, escaped by whoever writes the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from scoregrain.align import Alignment
from scoregrain.align.alignment import ROUNDING
from scoregrain.geometry import Cluster, Geometry, summary
from scoregrain.report.subject import subject
from scoregrain.report.uncertainty import effective_rank_error
from scoregrain.report.wording import index_ranges, kind_of, measured, number, overlap_text, percent, told_apart

if TYPE_CHECKING:
    from scoregrain.report.result import Report

MAX_CLUSTERS = 100

_STRUCTURES = {
    "channel": "exact: all channels share their directions, none is preferred (I ⊗ A)",
    "token": "exact: all tokens share one last linear layer (A ⊗ I)",
    "dense": "none assumed",
}
_KIND_TEXT = {
    "identifiable": "yes",
    "cluster": "only together",
    "null": "zero",
    "unknown": "unknown",
}


class Row(NamedTuple):
    """One line of a table: what, how much, and what that means."""

    label: str
    value: str
    meaning: str = ""


def network_rows(geometry: Geometry) -> list[Row]:
    """Numbers of the networks' geometry."""
    s, size, words = summary(geometry), geometry.size, subject(geometry)
    networks = "none: closed form (exact)" if geometry.exact else f"{geometry.count}"
    clusters, told = (
        (f"{len(geometry.clusters)}", told_apart(geometry)) if geometry.has_errors else ("unknown", "unknown")
    )
    relative = "0 (exact)" if geometry.exact else _share(geometry.relative_error)
    return [
        Row(f"{words.draws.capitalize()} measured", networks, words.drawn),
        Row("Relative error", relative, "estimated error of the whole geometry over its size (Frobenius norms)"),
        Row("Largest eigenvalue", measured(s["lambda_max"], s["lambda_max_error"]), "mean square of the output there"),
        Row(*_last(geometry, s)),
        Row("Trace", measured(s["trace"], s["trace_error"]), "sum of all eigenvalues"),
        Row(
            "Effective rank",
            measured(s["effective_rank"], effective_rank_error(geometry)),
            f"trace over largest eigenvalue; {size} would be a network without grain",
        ),
        Row("Identifiable", told, "told apart from all others by this measurement"),
        Row("Clusters", clusters, "what is told apart: single directions, and groups known only as a whole"),
    ]


def _last(geometry: Geometry, s: dict[str, Any]) -> tuple[str, str, str]:
    """The smallest eigenvalue, or the smallest of those that are known."""
    if geometry.sketch is not None:
        errors = geometry.eigenvalue_errors
        value = measured(float(geometry.eigenvalues[-1]), None if errors is None else float(errors[-1]))
        rest = f"mean of the {geometry.size - geometry.known} not measured: {number(geometry.leading().residual, 2)}"
        return f"Eigenvalue {geometry.known - 1}", value, f"the last of the leading ones; {rest}"
    value = measured(s["lambda_min"], s["lambda_min_error"])
    if geometry.clusters[-1].null:
        value = "0 (exact)" if geometry.exact else "0 within accuracy"
    return "Smallest eigenvalue", value, "the same along the weakest direction"


def alignment_rows(report: Report) -> list[Row]:
    """Numbers of the alignment, of the data as they are and with the mean image removed."""
    a, data = report.alignment, report.data
    rows = [
        Row("Images", f"{data.count}", "relative error of their second moment: " + _share(data.relative_error)),
        Row("Alignment", measured(a.natural, a.error), "mean over images x of xᵀGx, G the network's geometry"),
        Row("Chance", measured(a.haar_mean, _chance_error(report)), _spread(a)),
        Row(
            "Alignment over chance",
            measured(a.of_chance, a.of_chance_error),
            _error_parts(a, subject(report.geometry).units),
        ),
        *_range_rows(a),
        Row("Place in that range", _place(a), "0 smallest, 1 largest; with the error of the alignment alone"),
    ]
    if (c := report.centred) is not None:
        meaning = "the same with the mean image removed from the data"
        rows.append(Row("Mean image removed: over chance", measured(c.of_chance, c.of_chance_error), meaning))
        rows += [Row(f"Mean image removed: {r.label.lower()}", r.value) for r in _range_rows(c)]
    share = percent(report.mean_share, report.mean_share_error)
    return [*rows, Row("Share of the mean image", share, "of the alignment: μᵀGμ over it, μ the mean image")]


def _range_rows(a: Alignment) -> list[Row]:
    low, high = (
        _over_chance(value / a.haar_mean, None if error is None else error / a.haar_mean)
        for value, error in ((a.minimum, a.minimum_error), (a.maximum, a.maximum_error))
    )
    return [
        Row("Smallest possible", low, "over chance: the data turned to suit the network best"),
        Row("Largest possible", high, "over chance: the data turned the other way"),
    ]


def _over_chance(value: float, error: float | None) -> str:
    """A bound over chance; up to rounding 0 where the network has a null space that takes all data."""
    return "0" if error is not None and max(value, error) < ROUNDING else measured(value, error)


def _place(a: Alignment) -> str:
    if a.relative is None:
        return "all turns are alike (exact)"
    return measured(a.relative, None if a.error is None else a.error / (a.maximum - a.minimum))


def _chance_error(report: Report) -> float | None:
    """Standard error of ``tr G tr M / D``."""
    parts = [(g.trace_error, g.trace) for g in (report.geometry, report.data)]
    if any(error is None for error, _ in parts):
        return None
    return report.alignment.haar_mean * math.hypot(*((error or 0.0) / trace for error, trace in parts))


def _spread(a: Alignment) -> str:
    return f"mean over data turned at random; their standard deviation is {number(a.haar_std, 2)}"


def _error_parts(a: Alignment, units: str) -> str:
    parts = ((units, a.error_networks), ("images", a.error_images))
    texts = [f"{number(error, 2)} from the {what}" for what, error in parts if error]
    return "of the error, " + ", ".join(texts) if texts else "1 is chance"


def _share(error: float | None) -> str:
    return "unknown" if error is None else percent(error)


def cluster_rows(geometry: Geometry) -> tuple[list[tuple[str, ...]], str]:
    """Rows (indices, size, eigenvalue, overlap, identifiable) of the clusters, and a note when some are left out."""
    clusters: Sequence[Cluster] = geometry.clusters
    note, half = "", MAX_CLUSTERS // 2
    if len(clusters) > MAX_CLUSTERS:
        note = f"Shown are the first {half} and the last {half} of {len(clusters)}."
        clusters = [*clusters[:half], *clusters[-half:]]
    return [_cluster_row(cluster, geometry.structure.multiplicity) for cluster in clusters], note


def _cluster_row(cluster: Cluster, multiplicity: int) -> tuple[str, ...]:
    kind = kind_of(cluster, multiplicity)
    verdict = "yes, as a whole" if kind == "cluster" and cluster.identifiable else _KIND_TEXT[kind]
    value = "0 (exact)" if cluster.null and cluster.error == 0 else measured(cluster.value, cluster.error)
    return index_ranges(cluster.indices), f"{len(cluster.indices)}", value, overlap_text(cluster), verdict


def method_rows(geometry: Geometry, command: str) -> list[Row]:
    """How the geometry was measured, from its ``info``."""
    from scoregrain import __version__

    info, family = geometry.info, geometry.info.get("family") or {}
    trained, sampled = info.get("trained"), not geometry.exact
    rows = [
        ("Command", command),
        ("Model", info.get("model")),
        ("Parameters", info.get("parameters")),
        ("Output stands for", info.get("prediction")),
        ("Conditioning, held fixed", _conditioning(family)),
        ("Output used", family.get("output")),
        ("Initialisation", "none: trained weights" if trained else info.get("init")),
        (subject(geometry).units.capitalize(), _drawn(geometry)),
        ("Seed", info.get("seed")),
        ("Drawn", sampled and not trained and _reasoned(info.get("draw"), info.get("draw_reason"))),
        ("Run", sampled and _reasoned(info.get("execution"), info.get("device"))),
        ("Last layer", _head(info)),
        ("Structure", _STRUCTURES[geometry.structure.kind] if geometry.structure.multiplicity > 1 else ""),
        ("Symmetry", geometry.symmetry.name if geometry.symmetry else "none used"),
        ("Input", info.get("probe")),
        ("Noise levels", _reasoned(info.get("noise_levels"), f"{info.get('schedule')}, {info.get('steps')} steps")),
        ("Sensitivity to the noise level", _sensitivity(info.get("timestep_sensitivity"))),
        ("Fingerprint", info.get("fingerprint")),
        ("Seconds", info.get("seconds")),
        ("Versions", f"scoregrain {__version__}, torch {info.get('torch', 'unknown')}"),
    ]
    return [Row(label, str(value)) for label, value in rows if value not in (None, False, "")]


def _drawn(geometry: Geometry) -> str:
    """Indices of what was drawn: parts that are merged, or later parts, need not begin at 0."""
    if geometry.exact:
        return "closed form: no network is drawn"
    parts: list[list[int]] = []
    for start, stop in sorted((group.start, group.stop) for group in geometry.groups):
        if parts and parts[-1][1] == start:
            parts[-1][1] = stop
        else:
            parts.append([start, stop])
    return ", ".join(f"{start} to {stop - 1}" for start, stop in parts)


def _conditioning(family: dict[str, Any]) -> str:
    """Inputs beside image and noise level."""
    return "; ".join(f"{name}: {words}" for name, words in family.get("conditioning", {}).items())


def _reasoned(what: Any, why: Any) -> str:
    return "" if what is None else f"{what}; {why}" if why else str(what)


def _head(info: dict[str, Any]) -> str:
    if info.get("head"):
        return f"'{info['head']}', integrated out in closed form"
    return _reasoned("outer products of outputs", info.get("head_reason")) if "head" in info else ""


def _sensitivity(value: float | None) -> str:
    return "" if value is None else f"{number(value, 2)} (0 would be time-blind)"
