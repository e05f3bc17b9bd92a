"""Judge whether outcomes grow with what was predicted: the unit is the cell mean, seeds are repeats in it (MATH C6)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from scoregrain._errors import InvalidInputError
from scoregrain.metrics.ranks import pearson, permutation_test, ranks
from scoregrain.metrics.statistics import two_level_bootstrap
from scoregrain.studies.study import Claim, Finding, word_for
from scoregrain.studies.summaries import Floats

LEVEL = 0.05
"""Of the permutation tests."""

CELLS_RULE = (
    "holds (is refuted) where the 95 % two-level bootstrap interval (cells, then seeds) is above (below) 0 and the"
    f" two-sided permutation p is below {LEVEL}"
)
"""How :func:`ordered_cells` judges, for the claims to declare."""

BLOCKS_RULE = f"holds (is refuted) where it is positive (negative) and its two-sided permutation p is below {LEVEL}"
"""How :func:`ordered_inside` judges."""


def ordered_cells(claim: Claim, predictor: Floats, table: Floats, *, note: str = "") -> Finding:
    """Judge that outcomes grow with a predictor, by Spearman's ρ of cell means: :data:`CELLS_RULE`.

    The permutation test stands guard where cells are few: a resample of a perfect order is perfectly ordered.

    Args:
        claim: What is claimed.
        predictor: A number for each cell, (K,).
        table: Positive outcomes (K, S); what is no number is taken for worse than all numbers.
        note: As of :class:`Finding`; p and what is missing are added.
    """
    logs, count = log_worst(table), len(predictor)
    rho = correlation(predictor, table)
    if count < 4 or not math.isfinite(rho):
        return Finding(claim.key, None, None, count, "undecided", "there is no order to judge")
    low, high = two_level_bootstrap(predictor, list(logs))
    p = permutation_test(predictor, logs.mean(1)).p_two_sided
    word = word_for(claim, low > 0 and p < LEVEL, high < 0 and p < LEVEL)
    return Finding(claim.key, rho, (low, high), count, word, _note(note, table, p))


def ordered_inside(claim: Claim, predictor: Floats, table: Floats, blocks: Sequence[str], *, note: str = "") -> Finding:
    """Judge that outcomes grow with a predictor inside every block alike: :data:`BLOCKS_RULE`.

    Args:
        claim: What is claimed.
        predictor: (K,).
        table: As of :func:`ordered_cells`.
        blocks: The block of each cell, (K,): only ranks inside it count.
        note: As of :func:`ordered_cells`.
    """
    try:
        test = permutation_test(predictor, log_worst(table).mean(1), blocks)
    except InvalidInputError as error:
        return Finding(claim.key, None, None, len(predictor), "undecided", str(error))
    sure = test.p_two_sided < LEVEL
    word = word_for(claim, sure and test.value > 0, sure and test.value < 0)
    return Finding(claim.key, test.value, None, len(predictor), word, _note(note, table, test.p_two_sided))


def correlation(predictor: Floats, table: Floats) -> float:
    """Spearman's ρ of a predictor (K,) with the cell means of outcomes (K, S); NaN where there is no order."""
    return float(pearson(ranks(predictor), ranks(log_worst(table).mean(1))))


def log_worst(table: Floats) -> Floats:
    """Logarithms of positive outcomes; of what is no number that of ten times the worst."""
    logs = np.log(np.where(np.isfinite(table), np.maximum(table, 1e-300), np.nan))
    worst = float(np.nanmax(logs)) if np.isfinite(logs).any() else 0.0
    return np.where(np.isnan(logs), worst + math.log(10), logs)


def _note(note: str, table: Floats, p: float) -> str:
    missing = int((~np.isfinite(table)).sum())
    worst = f"{missing} of {table.size} runs gave no number and count as worst" if missing else ""
    return "; ".join(filter(None, (note, f"permutation p = {p:.2g}", worst)))
