"""What the rows of ``omission`` say of its claims."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from scoregrain.studies.equivalence import exact
from scoregrain.studies.omission_claims import EXACT, MARGIN
from scoregrain.studies.omission_law import MODES
from scoregrain.studies.study import Claim, Finding, Rows
from scoregrain.studies.summaries import Floats, above_zero, gated, seed_correlations, swapped, with_error

_COMPARED = ("plain", "plain_emptied", "emptied", "conditional", "marginal")
_ARMS = (
    *[("plain", "conditional")] * 2,
    *[("plain_emptied", "conditional")] * 2,
    ("emptied", "marginal"),
    ("plain", "marginal"),
)
"""Generators whose cells are counted, of each claim of trained networks."""


def judge(claims: Mapping[str, Claim], rows: Rows, bands: Sequence[str]) -> list[Finding]:
    """Return the findings, in the order of the claims.

    Args:
        claims: By key.
        rows: Of all cells.
        bands: Their names, as many as there are.
    """
    return [*_of_trained(claims, rows, bands), *_of_the_law(claims, rows), *_of_controls(claims, rows)]


def worst(found: Sequence[Finding]) -> int:
    """Which of several findings decides that all of them hold.

    Where some are below 0 with all of their intervals, the one that ends lowest; else the one that begins lowest; one
    without a number begins at minus infinity.
    """
    ends = [_interval(each) for each in found]
    low, high = zip(*ends, strict=True)
    return int(np.argmin(high if min(high) < 0 else low))


def exactness(claim: Claim, rows: Rows) -> Finding:
    """Judge that the largest deviation is rounding."""
    every = rows.where(part="networks").array("deviation", "seed", "band")
    found = every[np.isfinite(every)]
    note = f"{every.size - found.size} cells gave no finite samples" if found.size < every.size else ""
    return exact(claim, float(found.max(initial=-math.inf)), 0.0, EXACT, found.size, note=note)


def _of_trained(claims: Mapping[str, Claim], rows: Rows, bands: Sequence[str]) -> list[Finding]:
    """What trained networks say, beside what emptying the band of corrupted data says without a network."""
    plain, emptied, spared, conditional, marginal = (_logs(rows, f"sw2_{name}") for name in _COMPARED)
    gain, beyond = plain - conditional, emptied - conditional
    trivial = _logs(rows, "sw2_corrupted") - _logs(rows, "sw2_corrupted_emptied")
    found = [
        _every_band(claims["every-band"], gain, trivial, bands),
        _growing(claims["higher-bands"], gain, note=_without(_trends(trivial))),
        above_zero(claims["beyond-emptying"], beyond.mean(1)),
        _growing(claims["higher-bands-beyond-emptying"], beyond),
        above_zero(claims["beyond-emptied-data"], (spared - marginal).mean(1)),
    ]
    outside = _logs(rows, "outside_plain") - _logs(rows, "outside_marginal")
    found.append(above_zero(claims["better-outside"], outside.mean(1)))
    return [_gated(each, rows, *arms) for each, arms in zip(found, _ARMS, strict=True)]


def _every_band(claim: Claim, gain: Floats, trivial: Floats, bands: Sequence[str]) -> Finding:
    """Judge a claim about every band by the one that :func:`worst` names."""
    found = [
        above_zero(claim, mine, note=_without(mine_without))
        for mine, mine_without in zip(gain.T, trivial.T, strict=True)
    ]
    band = worst(found)
    told = f"the band {bands[band]} of {len(found)}"
    return replace(found[band], note="; ".join(filter(None, (told, found[band].note))))


def _trends(gain: Floats) -> Floats:
    """Spearman's ρ of a gain with the band, of every seed; a training that diverged has the least gain."""
    return -seed_correlations(np.arange(gain.shape[1]), -gain)


def _growing(claim: Claim, gain: Floats, note: str = "") -> Finding:
    return above_zero(claim, _trends(gain), note=note, correlation=True)


def _interval(finding: Finding) -> tuple[float, float]:
    """Of a finding; of one without a number all numbers."""
    if finding.value is None:
        return -math.inf, math.inf
    return finding.interval or (finding.value, finding.value)


def _of_the_law(claims: Mapping[str, Claim], rows: Rows) -> list[Finding]:
    """What the band holds, and the laws of exact scores; the last is a control."""
    law = {mode: rows.where(part="law").array(f"w2_{mode}", "seed", "band") for mode in MODES}
    keys = {"conditional-is-not-marginal": "conditional", "drawn-content": "drawn"}
    judged = [above_zero(claims[key], (law[mode] - law["marginal"]).mean(1) - MARGIN) for key, mode in keys.items()]
    return [exactness(claims["band-is-exact"], rows), *judged]


def _of_controls(claims: Mapping[str, Claim], rows: Rows) -> list[Finding]:
    gain = (_logs(rows, "sw2_plain") - _logs(rows, "sw2_conditional")).mean(1)
    return [_gated(above_zero(claims["swapped"], swapped(gain)), rows, "plain", "conditional")]


def _gated(finding: Finding, rows: Rows, *names: str) -> Finding:
    """With how many cells are worse than zeros; undecided where plain diffusion on clean data is."""
    networks, clean = rows.where(part="networks"), rows.where(part="clean").array("sw2_clean", "seed")[:, None]
    zeros = networks.array("sw2_zeros", "seed", "band")[:, :1]  # the bands of a seed have one target
    return gated(finding, zeros, clean, *(networks.array(f"sw2_{name}", "seed", "band") for name in names))


def _without(values: Floats) -> str:
    """The same statistic without a network, in words."""
    return f"without a network, corrupted data against their emptied band: {with_error(values)}"


def _logs(rows: Rows, name: str) -> Floats:
    logs: Floats = np.log(rows.where(part="networks").array(name, "seed", "band"))
    return logs
