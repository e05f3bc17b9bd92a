"""Judge that a number is what a formula says: by an interval inside a margin, never by a difference not seen."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from scoregrain.metrics.statistics import paired_comparison
from scoregrain.studies.study import Claim, Finding, word_for


def within(claim: Claim, values: ArrayLike, low: float, high: float, *, note: str = "") -> Finding:
    """Judge that the mean over seeds lies between two numbers: Student's 95 % interval does, or lies outside.

    Args:
        claim: What is claimed.
        values: One number for each seed, (S,).
        low: The margin's lower end; may be minus infinity.
        high: Its upper end; may be infinity.
        note: As of :class:`Finding`.
    """
    found = np.asarray(values, dtype=np.float64)
    finite = found[np.isfinite(found)]
    if len(finite) < max(2, len(found)):
        missing = f"{len(found) - len(finite)} of {len(found)} seeds gave no number"
        return Finding(claim.key, None, None, len(finite), "undecided", "; ".join(filter(None, (note, missing))))
    compared = paired_comparison(finite)
    below, above = compared.t_interval
    word = word_for(claim, low <= below and above <= high, above < low or below > high)
    return Finding(claim.key, compared.mean, compared.t_interval, len(finite), word, note)


def exact(claim: Claim, value: float, low: float, high: float, n: int, *, note: str = "") -> Finding:
    """Judge a number that is no estimate: between two numbers the claim holds, elsewhere it does not.

    Args:
        claim: What is claimed.
        value: The statistic, exact but for rounding.
        low: The lower end.
        high: The upper end.
        n: Cells it was taken over.
        note: As of :class:`Finding`.
    """
    if not math.isfinite(value):
        return Finding(claim.key, None, None, n, "undecided", note or "the statistic is not finite")
    holds = low <= value <= high
    return Finding(claim.key, float(value), None, n, word_for(claim, holds, not holds), note)
