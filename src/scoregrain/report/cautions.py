"""What a reader should know before believing a report, in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterator

from scoregrain.align import Alignment
from scoregrain.geometry import Geometry
from scoregrain.models.sensitivity import BLIND
from scoregrain.report.wording import kind_of, number, percent

LARGE_ERROR = 0.1
FEW_DETERMINED = 0.5


def cautions(geometry: Geometry, data: Geometry, alignment: Alignment, centred: Alignment | None) -> tuple[str, ...]:
    """All sentences that apply: the networks, the precision, the data."""
    return (
        *_about_networks(geometry),
        *_about_precision(geometry),
        *_about_data(geometry, data, alignment, centred),
    )


def _about_networks(geometry: Geometry) -> Iterator[str]:
    info = geometry.info
    if info.get("timestep_sensitivity", 1.0) < BLIND:
        yield (
            "This network is time-blind: its output does not depend on the noise level. A usual cause is one channel "
            "in each GroupNorm group, as in the iddpm presets: the normalisation removes the time embedding, for any "
            "weights. Train it only to reproduce published results; the unet presets do see the noise level."
        )
    if info.get("init", "as-is") != "as-is":
        yield (
            f"Layers that start at zero were re-drawn (init '{info['init']}'): the geometry is that of the changed "
            "initialisation."
        )
    if geometry.exact:
        return
    if info.get("head_reason"):
        yield (
            f"The last layer was not integrated out in closed form ({info['head_reason']}): outer products of outputs "
            "were averaged instead, which is less precise for the same number of networks."
        )
    if info.get("draw") == "constructor":
        yield f"Networks were drawn with their own constructor ({info.get('draw_reason')}): slower, not less correct."
    if str(info.get("execution", "")).startswith("loop"):
        yield f"Networks were run one by one, {info['execution']}: slower, not less correct."


def _about_precision(geometry: Geometry) -> Iterator[str]:
    if not geometry.has_errors:
        yield (
            f"{geometry.count} networks are too few for error bars (16 groups of 32 networks, 512 in all, are needed): "
            "no statement below is certain."
        )
        return
    error = geometry.relative_error or 0.0
    if not math.isfinite(error):
        yield "The spread between networks exceeds the geometry itself: measure more networks."
    elif error > LARGE_ERROR:
        yield (
            f"The geometry's relative error is {percent(error)}. It falls with the square root of the number of "
            f"networks: {percent(LARGE_ERROR)} needs about {number(geometry.count * (error / LARGE_ERROR) ** 2, 2)}."
        )
    if geometry.sketch is not None:
        yield (
            f"Of {geometry.size} directions the {geometry.known} with the largest eigenvalues were measured; the "
            "others are taken as alike, with the mean of their eigenvalues. In size, this leaves out "
            f"{percent(geometry.truncation_error)} of the geometry (Frobenius norms)."
        )
    determined, size = _determined(geometry), geometry.known
    if determined < FEW_DETERMINED * size:
        yield (
            f"Only {determined} of {size} directions are determined by {geometry.count} networks; the others are known "
            "only together, as clusters. This does not harm the alignment, which needs no single direction; more "
            "networks tell more directions apart."
        )


def _determined(geometry: Geometry) -> int:
    """Directions in eigenspaces that the measurement determines, the null space among them."""
    multiplicity = geometry.structure.multiplicity
    kinds = ((kind_of(c, multiplicity), len(c.indices)) for c in geometry.clusters)
    return sum(size for kind, size in kinds if kind in ("identifiable", "null"))


def _about_data(geometry: Geometry, data: Geometry, alignment: Alignment, centred: Alignment | None) -> Iterator[str]:
    if not data.has_errors:
        yield f"{data.count} images are too few for error bars (at least 16 are needed)."
    if data.count < data.size:
        yield (
            f"There are fewer images ({data.count}) than dimensions ({data.size}): the data's second moment is "
            "singular, and the smallest possible alignment is estimated too low."
        )
    if centred is None:
        yield "All images are equal: without their mean nothing is left."
    elif {alignment.verdict, centred.verdict} == {"with", "against"}:
        yield (
            "With the mean image removed the verdict is the opposite one: the mean image alone turns it, so decide "
            "first whether it should count."
        )
