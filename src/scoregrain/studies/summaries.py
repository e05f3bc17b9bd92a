"""From seeds to a number with an interval: the unit is the seed or the cell mean, never a pooled run (MATH C6)."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scoregrain.metrics.ranks import pages_l, pearson, ranks
from scoregrain.metrics.statistics import ROUNDING, paired_comparison
from scoregrain.studies.study import Claim, Finding, Rows, judged, word_for

Floats = NDArray[np.float64]

RULE = (
    "holds (is refuted) where Student's 95 % interval over seeds is above (below) 0, or where all seeds give one number"
    " above (below) 0 and sign-flip p ≤ 0.05"
)
"""How :func:`above_zero` judges, for the statistic of a claim."""

GATE = "undecided where at least half of {} are further from the data than {}"
"""How :func:`gated` judges, for the statistic of a claim; its braces take the cells that it asks, and :data:`ZEROS`."""

ZEROS = "zeros"


def above_zero(claim: Claim, values: ArrayLike, *, note: str = "", correlation: bool = False) -> Finding:
    """Judge that the mean over seeds is above zero, by Student's 95 % interval.

    Seeds that all give the same number have no interval: there the sign-flip test decides, at 5 %.

    Args:
        claim: What is claimed.
        values: One number for each seed, (S,): a difference of a pair, a correlation over directions.
        note: As of :class:`Finding`; the sign-flip p is added.
        correlation: The values are correlations: their interval is told within [-1, 1].
    """
    found = np.asarray(values, dtype=np.float64)
    finite = found[np.isfinite(found)]
    if len(finite) < max(2, len(found)):
        lost = len(found) - len(finite)
        missing = f"{lost} of {len(found)} seeds gave no number" if lost else "one seed has no interval"
        return Finding(claim.key, None, None, len(finite), "undecided", _joined(note, missing))
    compared = paired_comparison(finite)
    tested = f"sign-flip p = {compared.p_two_sided:.2g}"
    alike = np.ptp(finite) <= ROUNDING * max(1.0, float(np.abs(finite).max()))
    if alike:  # correlations of few ranks can all be equal, which is no certainty
        sure = compared.p_two_sided <= 0.05
        word = word_for(claim, sure and compared.mean > 0, sure and compared.mean < 0)
        return Finding(claim.key, compared.mean, None, len(finite), word, _joined(note, "all seeds alike", tested))
    low, high = compared.t_interval
    interval = (max(low, -1.0), min(high, 1.0)) if correlation else (low, high)
    return judged(claim, compared.mean, interval, len(finite), note=_joined(note, tested))


def gated(
    finding: Finding, zeros: ArrayLike, reference: ArrayLike, *others: ArrayLike, trivial: str = ZEROS
) -> Finding:
    """Return a finding about distances with how many cells are further from the data than zeros (MATH A8).

    Where half of the reference's cells or more are, the networks were trained too little: their distances tell how far
    a sampler drifts, and a claim is undecided. A control stays as it is.

    Args:
        finding: Of distances.
        zeros: The distance of zeros; as many numbers as each of the following, or what broadcasts to them.
        reference: Distances of what the others are compared with; what is not a number is further than zeros.
        others: Of the others; they are only counted.
        trivial: What is asked in place of zeros, in words; ``zeros`` are its distances then.
    """
    mine, *rest = (~(np.asarray(each, dtype=np.float64) < np.asarray(zeros)) for each in (reference, *others))
    counted = np.concatenate([each.ravel() for each in (mine, *rest)])
    note = _joined(finding.note, f"{counted.sum()} of {counted.size} cells are worse than {trivial}")
    if mine.mean() < 0.5 or finding.word not in ("holds", "refuted", "undecided"):
        return replace(finding, note=note)
    reason = f"undecided since {mine.sum()} of the reference's {mine.size} are: too little training"
    return replace(finding, word="undecided", note=_joined(note, reason))


def swapped(differences: Floats) -> Floats:
    """Return differences of pairs, seeds first, with the members exchanged in every other seed: names mean nothing."""
    signs = (-1.0) ** np.arange(len(differences))
    exchanged: Floats = differences * signs.reshape(-1, *[1] * (differences.ndim - 1))
    return exchanged


def ordered_by_seed(claim: Claim, x: Floats, table: Floats, *, note: str = "") -> Finding:
    """Judge that outcomes grow with x: the mean over seeds of :func:`seed_correlations` is above zero.

    The interval is for other seeds along the same few directions. What it says of other directions the note tells, by
    :func:`directions_p`.
    """
    p = directions_p(x, table)
    others = "" if math.isnan(p) else f"all orders of the {table.shape[1]} directions: p = {p:.2g}"
    return above_zero(claim, seed_correlations(x, table), note=_joined(note, others), correlation=True)


def directions_p(x: Floats, table: Floats, draws: int = 10_000, seed: int = 0) -> float:
    """Return how often another order of the directions, the same for all seeds, gives as large a mean correlation.

    Of :func:`seed_correlations`, in absolute value: a two-sided permutation test whose unit is the direction.

    Args:
        x: (S, P).
        table: (S, P), a column for each direction.
        draws: All orders are taken where there are no more than this, else so many random ones beside the observed.
        seed: Of those.

    Returns:
        NaN where a seed has no order.
    """
    first, second = (_centred_ranks(each) for each in (x, table))
    count = table.shape[1]
    products = first.T @ second  # the correlation under an order is a sum of its entries
    if np.isnan(products).any():
        return math.nan
    if math.factorial(count) <= draws:
        orders = np.array(list(itertools.permutations(range(count))))
    else:
        random = np.random.default_rng(seed)
        orders = np.stack([np.arange(count), *(random.permutation(count) for _ in range(draws))])
    found = products[orders, np.arange(count)].sum(1)
    observed = float(np.trace(products))
    return float((np.abs(found) >= abs(observed) - ROUNDING).mean())


def _centred_ranks(table: Floats) -> Floats:
    """Ranks of each row, of mean 0 and length 1: NaN where a row has no order."""
    found = np.asarray(ranks(np.where(np.isnan(table), np.inf, table)), dtype=np.float64)
    found = found - found.mean(1, keepdims=True)
    length = np.sqrt(np.square(found).sum(1, keepdims=True))
    centred: Floats = found / np.where(length > 0, length, np.nan)
    return centred


def seed_correlations(x: ArrayLike, table: Floats) -> Floats:
    """Return Spearman's ρ of every row of a table with x, (S,): NaN where a row or x has no order.

    What is not a number, of a training that diverged, is taken for larger than all numbers, in x as in the table.

    Args:
        x: (P,), or (S, P) with a row for each seed.
        table: (S, P).
    """
    filled = np.where(np.isnan(table), np.inf, table)
    predictor = np.broadcast_to(np.asarray(x, dtype=np.float64), filled.shape)
    predictor = np.where(np.isnan(predictor), np.inf, predictor)
    return np.asarray(pearson(ranks(predictor), ranks(filled)))


def shuffled(table: Floats, seed: int = 0) -> Floats:
    """Return the rows of a table, the entries of each in a random order: labels that mean nothing."""
    return np.random.default_rng(seed).permuted(table, axis=1)


def trend_note(table: Floats) -> str:
    """Page's test that outcomes grow along the columns, in words."""
    filled = np.where(np.isnan(table), np.inf, table)
    finite = np.where(np.isinf(filled), 1 + np.nanmax(np.where(np.isinf(filled), np.nan, filled), initial=0), filled)
    if finite.shape[0] < 2 or finite.shape[1] < 3:
        return ""
    page = pages_l(finite)
    return f"Page's L z = {page.z:.2f}, p = {page.p_greater:.2g}"


def curves(rows: Rows, name: str) -> Floats:
    """Return a list of numbers of every row, (rows, L); NaN where a row has none, as after a training that diverged."""
    found = [row[name] for row in rows]
    length = next((len(each) for each in found if each is not None), 1)
    return np.array([[np.nan] * length if each is None else each for each in found], dtype=np.float64)


def levels_of(rows: Rows) -> list[int]:
    """Return the noise levels of :func:`curves`, of the first row that has them."""
    return next((list(row["levels"]) for row in rows if row["levels"] is not None), [0])


def mean_and_error(values: ArrayLike) -> tuple[float, float]:
    """Mean and standard error over what is a number; NaN where there is too little."""
    found = np.asarray(values, dtype=np.float64)
    found = found[np.isfinite(found)]
    if not len(found):
        return math.nan, math.nan
    return float(found.mean()), float(found.std(ddof=1) / math.sqrt(len(found))) if len(found) > 1 else math.nan


def with_error(values: ArrayLike, digits: int = 2) -> str:
    """``0.52 ± 0.03``: mean and standard error over seeds, the error to so many digits; how many are missing."""
    found = np.asarray(values, dtype=np.float64)
    missing = int((~np.isfinite(found)).sum())
    said = written(*mean_and_error(found), digits)
    return f"{said} ({missing} of {found.size} missing)" if missing and found.size > missing else said


def worse_than_zeros(rows: Rows) -> str:
    """``3 of 8 cells are worse than zeros``, by SW₂; a cell whose samples are no numbers is."""
    worse = sum(row["sw2"] is None or row["sw2"] > row["sw2_zeros"] for row in rows)
    return f"{worse} of {len(rows)} cells are worse than zeros"


def written(mean: float, error: float, digits: int = 2) -> str:
    """``0.520 ± 0.031``, the error to two digits; ``0.52`` without an error, a dash without a number."""
    if not math.isfinite(mean):
        return "–"
    if not math.isfinite(error) or error <= 1e-9 * abs(mean):  # rounding is no error
        return f"{mean:.3g}"
    places = max(0, digits - 1 - math.floor(math.log10(error)))
    if places > 6:
        return f"{mean:.3e} ± {error:.1e}"
    return f"{mean:.{places}f} ± {error:.{places}f}"


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
