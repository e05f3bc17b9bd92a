"""Correlations over families and data sets, which are crossed: their intervals and tests (MATH C6)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from scoregrain._random import stream_seed
from scoregrain.metrics.ranks import pearson, ranks
from scoregrain.studies.summaries import Floats

Statistic = Callable[[Floats, Floats], Floats]
"""A correlation of predictors and outcomes (..., data sets, networks), (...,); NaN where there is none."""

Part = tuple[Floats, Floats]
"""A predictor (K, F) and the outcomes (K, F, S) that it is judged by."""


def pooled(x: Floats, y: Floats) -> Floats:
    """Return Spearman's ρ over all data sets and networks at once."""
    first, second = (ranks(z.reshape(*z.shape[:-2], -1)) for z in (x, y))
    return np.asarray(pearson(first, second))


def within(x: Floats, y: Floats) -> Floats:
    """Return the mean over data sets of Spearman's ρ over networks, of those that have one."""
    return _mean_of_known(np.asarray(pearson(ranks(x), ranks(y))))


def interaction(x: Floats, y: Floats) -> Floats:
    """Return Spearman's ρ over all cells of what is left without the means of data sets and of networks.

    What a network can do on any data, and how hard data are for any network, is removed from both.
    """
    return pooled(_centred(x), _centred(y))


def _centred(x: Floats) -> Floats:
    left = x - x.mean(-1, keepdims=True)
    left = left - left.mean(-2, keepdims=True)
    size = np.abs(x).max(initial=1.0)
    rounded: Floats = np.round(left / size, 9)  # what is equal but for rounding must have no order
    return rounded


def mean_correlation(statistic: Statistic, parts: Sequence[Part]) -> float:
    """Return the mean over parts of a correlation with the mean outcomes over seeds; NaN where one has none."""
    return float(np.mean([statistic(x, runs.mean(-1)) for x, runs in parts]))


def crossed_interval(
    statistic: Statistic, parts: Sequence[Part], level: float = 0.95, draws: int = 4000, seed: int = 0
) -> tuple[float, float]:
    """Return an interval of :func:`mean_correlation` by resampling data sets, networks and seeds in cells (Owen 2007).

    Cells share their network and their data: resampled one by one, as if independent, they give too short an interval.
    It is conservative. Of a resample those parts count that have a correlation, which those of a single network have
    not; NaN of a single data set, and where fewer than half of the resamples have one.

    Args:
        statistic: :func:`pooled`, :func:`within` or :func:`interaction`.
        parts: Different networks on the same data sets.
        level: Coverage.
        draws: Resamples.
        seed: Of the resamples.
    """
    rng = np.random.default_rng(stream_seed(seed, "crossed bootstrap"))
    k = len(parts[0][0])
    found = []
    for _ in range(max(1, draws // 250)):
        rows = rng.integers(k, size=(250, k, 1))
        found.append(_mean_of_known(np.stack([statistic(*_resampled(rng, rows, *part)) for part in parts], -1)))
    values = np.concatenate(found)
    values = values[np.isfinite(values)]
    if k < 2 or len(values) < draws / 2:
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _mean_of_known(values: Floats) -> Floats:
    """The mean over the last axis of what is a number; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(-1)
    total = np.where(known, values, 0.0).sum(-1)
    mean: Floats = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
    return mean


def _resampled(rng: np.random.Generator, rows: NDArray[np.int64], x: Floats, runs: Floats) -> tuple[Floats, Floats]:
    k, f, s = runs.shape
    columns = rng.integers(f, size=(len(rows), 1, f))
    chosen = rng.integers(s, size=(len(rows), k, f, s))
    return x[rows, columns], runs[rows[..., None], columns[..., None], chosen].mean(-1)


def network_permutations(statistic: Statistic, predictor: Floats, outcomes: Floats, most: int = 5040) -> float:
    """Return p of "the correlation is positive" by exchanging networks, in all data sets alike.

    What a network's outcomes have in common over data sets stays together, so that only as many independent units
    count as there are networks. All exchanges are taken, or ``most`` random ones of more than seven networks.

    Args:
        statistic: As above.
        predictor: (K, F).
        outcomes: (K, F).
        most: As above.
    """
    f = predictor.shape[1]
    if math.factorial(f) <= most:
        orders = np.array(list(itertools.permutations(range(f))))
    else:
        rng = np.random.default_rng(stream_seed(0, "network permutations"))
        orders = np.stack([np.arange(f), *(rng.permutation(f) for _ in range(most))])
    value = float(statistic(predictor, outcomes))
    others = np.concatenate([statistic(predictor[None], outcomes.T[part].swapaxes(1, 2)) for part in _parts(orders)])
    return float((others >= value - 1e-12).mean())


def inside_permutations(statistic: Statistic, predictor: Floats, outcomes: Floats, draws: int = 2000) -> float:
    """Return p of "the correlation is positive" by exchanging networks in each data set apart, in random draws.

    Args:
        statistic: As above.
        predictor: (K, F).
        outcomes: (K, F).
        draws: Exchanges.
    """
    rng = np.random.default_rng(stream_seed(0, "inside permutations"))
    exchanged = rng.permuted(np.broadcast_to(outcomes, (draws, *outcomes.shape)), axis=-1)
    others = np.concatenate([statistic(predictor[None], part) for part in np.array_split(exchanged, 8)])
    return (1 + int((others >= float(statistic(predictor, outcomes)) - 1e-12).sum())) / (1 + draws)


def _parts(orders: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.array_split(orders, max(1, len(orders) // 250))
