"""Statistics of few paired runs and few cells: intervals and tests that do not flatter (MATH C6).

The unit of analysis is the cell (architecture x data x transform); seeds are repeated measures inside it. Pooling seeds
as if they were independent cells rejects a true null hypothesis several times too often (oracle Q5).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scoregrain._arguments import whole
from scoregrain._errors import InvalidInputError
from scoregrain._random import stream_seed
from scoregrain.metrics.ranks import numbers, pearson, ranks

Interval = tuple[float, float]
Floats = NDArray[np.float64]

EXACT_BOOTSTRAP = 6
"""Up to this many pairs all n^n resamples are taken (46,656 at 6), beyond it random ones."""

EXACT_SIGNS = 16
"""Up to this many pairs all 2^n sign flips are taken, beyond it random ones."""

ROUNDING = 1e-12  # sums in another order that are equal on paper differ by this, relative to the largest
_CHUNK = 500  # resamples at a time: the ranks of each take the square of the number of cells


@dataclass(frozen=True)
class PairedComparison:
    """What the differences of paired runs say about their mean (MATH C6).

    Attributes:
        n: The number of pairs.
        mean: The mean difference.
        standard_error: Of the mean.
        level: The coverage the intervals are for.
        t_interval: Student's, the one to quote: the bootstrap's is too short for few pairs.
        bootstrap_interval: Percentiles (linear interpolation) of the mean over resamples of the pairs.
        bootstrap_exact: All n^n resamples were taken.
        p_greater: Sign-flip p of "the mean is greater than 0"; never below 2^-n.
        p_two_sided: Sign-flip p of "the mean is not 0"; never below 2^(1-n): 1/16 with five pairs.
        signs_exact: All 2^n sign flips were taken.
    """

    n: int
    mean: float
    standard_error: float
    level: float
    t_interval: Interval
    bootstrap_interval: Interval
    bootstrap_exact: bool
    p_greater: float
    p_two_sided: float
    signs_exact: bool


def paired_comparison(
    differences: ArrayLike, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> PairedComparison:
    """Compare two members of a pair by their differences over common seeds (MATH C6, oracles Q1 and Q2).

    The sign-flip test is exact for differences symmetric about 0 under the null hypothesis, whatever their law.

    Args:
        differences: d_s, one for each seed, (n,), n ≥ 2.
        level: Coverage of the intervals.
        draws: Resamples and sign flips where not all are taken.
        seed: Of those.

    Raises:
        InvalidInputError: When there are fewer than two differences, one is not finite, or ``level`` is not in (0, 1).

    Example:
        >>> paired_comparison([2.5, 2.7, 6.4, 3.3, 4.5]).p_two_sided
        0.0625
    """
    d = numbers(differences, "differences", least=2)
    tail = _tail(level)
    n, mean = len(d), float(d.mean())
    error = float(d.std(ddof=1)) / math.sqrt(n)
    half = student_quantile(1 - tail, n - 1) * error
    means, bootstrap_exact = _bootstrap_means(d, draws, seed)
    flipped, signs_exact = _flipped_means(d, draws, seed)
    slack = ROUNDING * float(np.abs(d).max())
    return PairedComparison(
        n=n,
        mean=mean,
        standard_error=error,
        level=level,
        t_interval=(mean - half, mean + half),
        bootstrap_interval=_percentiles(means, tail),
        bootstrap_exact=bootstrap_exact,
        p_greater=_share(flipped >= mean - slack, signs_exact),
        p_two_sided=_share(np.abs(flipped) >= abs(mean) - slack, signs_exact),
        signs_exact=signs_exact,
    )


def two_level_bootstrap(
    predictor: ArrayLike,
    outcomes: Sequence[ArrayLike],
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return an interval of Spearman's ρ between a predictor and cell means: cells drawn, then seeds inside (MATH C6).

    A resample of one single cell has no ρ and is left out.

    Args:
        predictor: One number for each cell, (K,), K ≥ 4.
        outcomes: The runs of each cell, K lists of one number or more; they may differ in length.
        level: Coverage.
        draws: Resamples.
        seed: Of the resamples.

    Raises:
        InvalidInputError: When the numbers of cells differ or are below 4, a cell is empty, a number is not finite, or
            all cells are alike.
    """
    x = numbers(predictor, "the predictor", least=4)
    cells = [numbers(cell, f"cell {k}", least=1) for k, cell in enumerate(outcomes)]
    if len(cells) != len(x):
        raise InvalidInputError(f"the predictor has {len(x)} cells, the outcomes {len(cells)}: give one list for each")
    tail, draws = _tail(level), whole(draws, "draws", least=100)
    if np.ptp(x) == 0 or np.ptp([cell.mean() for cell in cells]) == 0:
        raise InvalidInputError("the cells are all alike: there is no order to correlate")
    counts = np.array([len(cell) for cell in cells])
    padded = np.stack([np.resize(cell, counts.max()) for cell in cells])
    inside = np.arange(counts.max()) < counts[:, None]
    rng = np.random.default_rng(stream_seed(seed, "two-level-bootstrap"))
    found = []
    for first in range(0, draws, _CHUNK):
        chosen = rng.integers(len(x), size=(min(_CHUNK, draws - first), len(x)))
        runs = (rng.random((*chosen.shape, counts.max())) * counts[chosen][..., None]).astype(int)
        means = (padded[chosen[..., None], runs] * inside[chosen]).sum(-1) / counts[chosen]
        found.append(pearson(ranks(x[chosen]), ranks(means)))
    correlations = np.concatenate(found)
    return _percentiles(correlations[np.isfinite(correlations)], tail)


def reliability(first_half: ArrayLike, second_half: ArrayLike) -> float:
    """Return the reliability of a noisy predictor from two independent halves of its measurement (MATH C6).

    Spearman and Brown's 2r/(1+r) of the Pearson correlation r between the halves' predictions: the reliability of the
    whole. Noise in the predictor attenuates a correlation, observed ρ ≈ ρ · √reliability. It is reported beside the
    observed ρ, which is not "corrected" by it. Halves that do not agree (r ≤ 0) have reliability 0.

    Args:
        first_half: What half of the networks predicts, one number for each cell, (K,), K ≥ 3.
        second_half: What the other half predicts of the same cells.

    Raises:
        InvalidInputError: When the lengths differ, a number is not finite or all are equal.
    """
    a, b = numbers(first_half, "the first half", least=3), numbers(second_half, "the second half", least=3)
    if len(a) != len(b):
        raise InvalidInputError(f"the halves must predict the same cells, got {len(a)} and {len(b)}")
    r = float(pearson(a, b))
    if math.isnan(r):
        raise InvalidInputError("a half predicts the same for every cell: there is no correlation")
    return 2 * r / (1 + r) if r > 0 else 0.0


def student_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t with whole degrees of freedom, to 1e-11 relative for levels in use.

    The distribution function is a finite sum in θ = atan(t/√ν) (Abramowitz and Stegun 26.7.3, 26.7.4).

    Args:
        probability: In (0, 1).
        degrees: ν ≥ 1.

    Raises:
        InvalidInputError: When either is outside its range.
    """
    if not 0 < probability < 1:
        raise InvalidInputError(f"a probability lies between 0 and 1, got {probability}")
    degrees = whole(degrees, "the degrees of freedom", least=1)
    if probability < 0.5:
        return -student_quantile(1 - probability, degrees)
    low, high = 0.0, math.pi / 2
    for _ in range(60):  # halves the bracket to rounding
        middle = (low + high) / 2
        low, high = (middle, high) if _central_share(middle, degrees) < 2 * probability - 1 else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _central_share(theta: float, degrees: int) -> float:
    """Return P(|t| ≤ √ν tan θ)."""
    sine, square = math.sin(theta), math.cos(theta) ** 2
    odd = degrees % 2
    k = np.arange(1, (degrees - odd) // 2)
    ratios = (2 * k if odd else 2 * k - 1) / (2 * k + 1 if odd else 2 * k) * square
    series = 1 + float(np.cumprod(ratios).sum())
    if not odd:
        return sine * series
    return 2 / math.pi * (theta + (sine * math.cos(theta) * series if degrees > 1 else 0))


def _bootstrap_means(d: Floats, draws: int, seed: int) -> tuple[Floats, bool]:
    """Return the means of resamples of ``d``, and whether they are all there are."""
    n = len(d)
    if n <= EXACT_BOOTSTRAP:
        return d[np.array(list(itertools.product(range(n), repeat=n)))].mean(1), True
    rng = np.random.default_rng(stream_seed(seed, "paired-bootstrap"))
    return np.array([d[rng.integers(n, size=n)].mean() for _ in range(whole(draws, "draws", least=100))]), False


def _flipped_means(d: Floats, draws: int, seed: int) -> tuple[Floats, bool]:
    """Return the means of ``d`` under flips of its signs, and whether they are all there are."""
    n = len(d)
    if n <= EXACT_SIGNS:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return (1 - 2 * bits) @ d / n, True
    rng = np.random.default_rng(stream_seed(seed, "sign-flips"))
    return np.array([(1 - 2 * rng.integers(2, size=n)) @ d / n for _ in range(whole(draws, "draws", least=100))]), False


def _share(extreme: NDArray[np.bool_], exact: bool) -> float:
    """Return the p value: of random draws the observed one counts as one more, so that p is never 0."""
    return float(extreme.mean()) if exact else (1 + int(extreme.sum())) / (1 + len(extreme))


def _percentiles(values: Floats, tail: float) -> Interval:
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _tail(level: float) -> float:
    """Return the probability on each side of an interval."""
    if not 0 < level < 1:
        raise InvalidInputError(f"the level of an interval lies between 0 and 1, such as 0.95, got {level}")
    return (1 - level) / 2
