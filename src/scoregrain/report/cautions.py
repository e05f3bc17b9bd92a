"""What a reader should know before believing a report, in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterator

from scoregrain.align import Alignment
from scoregrain.datasets import Images
from scoregrain.datasets.stack import ASSUMED
from scoregrain.geometry import DataProbe, Geometry
from scoregrain.models.sensitivity import BLIND, time_blind
from scoregrain.report.subject import subject
from scoregrain.report.wording import kind_of, number, percent, told_apart

LARGE_ERROR = 0.1
FEW_DETERMINED = 0.5


def cautions(
    geometry: Geometry, data: Geometry, images: Images, alignment: Alignment, centred: Alignment | None
) -> tuple[str, ...]:
    """All sentences that apply: the networks, their inputs, the precision, the data."""
    return (
        *_about_networks(geometry),
        *_about_inputs(geometry, images),
        *_about_precision(geometry),
        *(note for note in images.notes if ASSUMED in note),
        *_about_data(geometry, data, alignment, centred),
    )


def _about_networks(geometry: Geometry) -> Iterator[str]:
    info = geometry.info
    if info.get("timestep_sensitivity", 1.0) < BLIND:
        yield time_blind(str(info.get("model", "network")), grouped=bool(info.get("one_channel_groups")))
    if info.get("init", "as-is") != "as-is":
        yield (
            f"Layers that start at zero were re-drawn (init '{info['init']}'): the geometry is that of the changed "
            "initialisation."
        )
    if geometry.exact or info.get("trained"):
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


def _about_inputs(geometry: Geometry, images: Images) -> Iterator[str]:
    """What the networks were given, and which of their outputs count."""
    info = geometry.info
    family = info.get("family") or {}
    if fixed := family.get("conditioning"):
        inputs = "; ".join(f"{name} = {words}" for name, words in fixed.items())
        yield f"The network takes more than an image and a noise level; the rest was held fixed: {inputs}."
    if family.get("output"):
        yield f"Of the network's output only a part was used: {family['output']}."
    probe = str(info.get("probe"))
    if not probe.startswith("data"):
        return
    if probe == DataProbe(images, info.get("prediction", "epsilon")).name:
        yield (
            "The images served twice: with noise as what the network was given, and as the data that are aligned. "
            "Error bars take the two for independent."
        )
    else:
        yield f"The network was given other images than those that are aligned here ({probe})."


def _about_precision(geometry: Geometry) -> Iterator[str]:
    words = subject(geometry)
    drawn = f"{geometry.count} {words.draws}"
    if not geometry.has_errors:
        yield (
            f"{drawn} are too few for error bars (16 groups of 32 {words.units}, 512 in all, are needed): "
            "no statement below is certain."
        )
        return
    error = geometry.relative_error or 0.0
    if not math.isfinite(error):
        yield f"The spread between {words.units} exceeds the geometry itself: measure more {words.units}."
    elif error > LARGE_ERROR:
        yield (
            f"The geometry's relative error is {percent(error)}. It falls with the square root of the number of "
            f"{words.units}: {percent(LARGE_ERROR)} needs about "
            f"{number(geometry.count * (error / LARGE_ERROR) ** 2, 2)}."
        )
    if geometry.sketch is not None:
        yield (
            f"Of {geometry.size} directions the {geometry.known} with the largest eigenvalues were measured; the "
            "others are taken as alike, with the mean of their eigenvalues. In size, this leaves out "
            f"{percent(geometry.truncation_error)} of the geometry (Frobenius norms)."
        )
    if _determined(geometry) < FEW_DETERMINED * geometry.known:
        yield (
            f"Only {told_apart(geometry)} {'is' if geometry.eigenspaces == 1 else 'are'} determined by {drawn}; the "
            "others are known only together, as clusters. This does not harm the alignment, which needs no single "
            f"direction; more {words.units} tell more directions apart."
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
