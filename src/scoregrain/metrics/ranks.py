"""Rank correlation and ordered trends, with intervals and permutation tests (MATH C6)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scoregrain._arguments import whole
from scoregrain._errors import InvalidInputError
from scoregrain._random import stream_seed

Floats = NDArray[np.float64]
_ROUNDING = 1e-12  # correlations equal on paper differ by this


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ with its interval.

    Attributes:
        value: ρ, ties taking their mean rank.
        interval: tanh(atanh ρ ± z sqrt((1 + ρ²/2) / (n - 3))); None at ρ = ±1, where the formula would claim certainty.
        level: The coverage the interval is for.
        n: The number of pairs.
    """

    value: float
    interval: tuple[float, float] | None
    level: float
    n: int


@dataclass(frozen=True)
class PermutationTest:
    """A test of rank correlation by permutations inside blocks.

    Attributes:
        value: The rank correlation inside blocks; Spearman's ρ when there is one block.
        p_greater: p of "the correlation is positive".
        p_two_sided: p of "there is a correlation".
        exact: All permutations were taken.
        permutations: How many were taken.
    """

    value: float
    p_greater: float
    p_two_sided: float
    exact: bool
    permutations: int


@dataclass(frozen=True)
class PageTest:
    """Page's test of a trend over ordered treatments.

    Attributes:
        value: L = Σ_j j · (sum of the ranks of treatment j over the rows).
        mean: Of L without a trend, n k (k+1)² / 4.
        variance: Of L without a trend (and ties), n (k³ - k)² / (144 (k - 1)).
        z: (value - mean) / √variance.
        p_greater: Of "the outcomes grow in the order given", by the normal law.
        n: Rows.
        k: Treatments.
    """

    value: float
    mean: float
    variance: float
    z: float
    p_greater: float
    n: int
    k: int


def spearman(x: ArrayLike, y: ArrayLike, level: float = 0.95) -> RankCorrelation:
    """Return Spearman's ρ of cell means, with Bonett and Wright's interval (MATH C6, oracle Q4).

    x and y hold one number for each independent cell; seeds of one cell are averaged first. The interval covers 95.9 %
    at n = 20.

    Args:
        x: (n,), n ≥ 4.
        y: (n,).
        level: Coverage of the interval.

    Raises:
        InvalidInputError: When the lengths differ or are below 4, a number is not finite, all of x or y are equal, or
            ``level`` is not in (0, 1).

    Example:
        >>> spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]).value
        0.8
    """
    a, b = _pair(x, y, least=4)
    if not 0 < level < 1:
        raise InvalidInputError(f"the level of an interval lies between 0 and 1, such as 0.95, got {level}")
    rho = min(1.0, max(-1.0, round(float(pearson(ranks(a), ranks(b))), 15)))
    return RankCorrelation(rho, spearman_interval(rho, len(a), level), level, len(a))


def spearman_interval(rho: float, n: int, level: float = 0.95) -> tuple[float, float] | None:
    """Return tanh(atanh ρ ± z sqrt((1 + ρ²/2) / (n - 3))) (Bonett and Wright 2000); None at ρ = ±1 (MATH C6)."""
    if abs(rho) == 1:
        return None
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


def kendall(x: ArrayLike, y: ArrayLike) -> float:
    """Return Kendall's τ_b of x and y, (n,) each, n ≥ 2: concordant minus discordant pairs, corrected for ties.

    Raises:
        InvalidInputError: When the lengths differ, a number is not finite or all of x or y are equal.
    """
    a, b = _pair(x, y, least=2)
    first, second = np.sign(a[:, None] - a), np.sign(b[:, None] - b)
    return float((first * second).sum() / math.sqrt(np.square(first).sum() * np.square(second).sum()))


def permutation_test(
    x: ArrayLike, y: ArrayLike, blocks: Sequence[object] | None = None, draws: int = 10_000, seed: int = 0
) -> PermutationTest:
    """Test a rank correlation by permuting y inside blocks, such as cells of one data set (MATH C6).

    Ranks are taken inside each block, so that only the order there matters and not what differs between data sets: the
    statistic is the correlation of the ranks, each block centred. One block gives Spearman's ρ.

    Args:
        x: (n,), a number for each cell.
        y: (n,).
        blocks: The block of each cell, (n,) labels; one block when left out.
        draws: All permutations are taken when there are no more than this, else so many random ones.
        seed: Of those.

    Raises:
        InvalidInputError: When lengths differ, a number is not finite or no block has an order in both x and y.
    """
    a, b = _pair(x, y, least=2)
    draws = whole(draws, "draws", least=100)
    members = _blocks(blocks, len(a))
    first = np.concatenate([_centred(a[mine]) for mine in members])
    parts = [_centred(b[mine]) for mine in members]
    scale = math.sqrt(np.square(first).sum() * np.square(np.concatenate(parts)).sum())
    if scale == 0:
        raise InvalidInputError("no block holds different values of both x and y: there is no order to test")
    value = float(first @ np.concatenate(parts)) / scale
    exact = math.prod(math.factorial(len(part)) for part in parts) <= draws
    shuffled = _all_orders(parts) if exact else _random_orders(parts, draws, seed)
    others = np.array([first @ order for order in shuffled]) / scale
    extra = 0 if exact else 1  # the observed order is one of the possible ones
    return PermutationTest(
        value=value,
        p_greater=float((others >= value - _ROUNDING).sum() + extra) / (len(others) + extra),
        p_two_sided=float((np.abs(others) >= abs(value) - _ROUNDING).sum() + extra) / (len(others) + extra),
        exact=exact,
        permutations=len(others),
    )


def pages_l(table: ArrayLike) -> PageTest:
    """Test that outcomes grow over treatments in a predeclared order (Page 1963; MATH C6, oracle Q3).

    Args:
        table: (n, k): a row for each seed, its outcomes in the predeclared order; ranked inside the row, ties taking
            their mean rank (which makes the p value conservative).

    Raises:
        InvalidInputError: When it is no table of at least 2 rows and 3 columns of finite numbers.
    """
    values = _array(table, "a table for Page's test")
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 3 or not np.isfinite(values).all():
        raise InvalidInputError(
            f"Page's test takes finite numbers, at least 2 rows (seeds) and 3 columns (treatments), got {values.shape}"
        )
    n, k = values.shape
    observed = float(ranks(values).sum(0) @ np.arange(1, k + 1))
    mean, variance = n * k * (k + 1) ** 2 / 4, n * (k**3 - k) ** 2 / (144 * (k - 1))
    z = (observed - mean) / math.sqrt(variance)
    return PageTest(observed, mean, variance, z, NormalDist().cdf(-z), n, k)


def ranks(values: Floats) -> Floats:
    """Return ranks from 1 along the last axis, ties taking their mean rank; O(n²) in its length."""
    below = values[..., :, None] > values[..., None, :]
    not_above = values[..., :, None] >= values[..., None, :]
    mean_rank: Floats = (below.sum(-1) + not_above.sum(-1) + 1) / 2
    return mean_rank


def pearson(x: Floats, y: Floats) -> Floats:
    """Return the correlation along the last axis; NaN where one of the two is constant."""
    a, b = (z - z[..., :1] for z in (x, y))  # exactly 0 where all are equal, which their mean may miss by rounding
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    scale = np.sqrt(np.square(a).sum(-1) * np.square(b).sum(-1))
    result: Floats = np.divide((a * b).sum(-1), scale, out=np.full_like(scale, np.nan), where=scale > 0)
    return result


def numbers(values: ArrayLike, name: str, least: int) -> Floats:
    """Return finite numbers as float64 (n,).

    Raises:
        InvalidInputError: They are not numbers in one row, fewer than ``least``, or not all finite.
    """
    row = _array(values, name)
    if row.ndim != 1 or len(row) < least:
        raise InvalidInputError(f"{name} must be at least {least} numbers in one row, got shape {row.shape}")
    if not np.isfinite(row).all():
        raise InvalidInputError(f"{name} must be finite, got NaN or infinity")
    return row


def _array(values: ArrayLike, name: str) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidInputError(f"{name} must hold numbers, in rows of one length") from None


def _pair(x: ArrayLike, y: ArrayLike, least: int) -> tuple[Floats, Floats]:
    a, b = numbers(x, "x", least), numbers(y, "y", least)
    if len(a) != len(b):
        raise InvalidInputError(f"x and y must be of one length, got {len(a)} and {len(b)}")
    for name, row in (("x", a), ("y", b)):
        if np.ptp(row) == 0:
            raise InvalidInputError(f"all of {name} are equal: there is no order to correlate")
    return a, b


def _blocks(labels: Sequence[object] | None, n: int) -> list[list[int]]:
    """Return the indices of each block."""
    labels = [0] * n if labels is None else list(labels)
    if len(labels) != n:
        raise InvalidInputError(f"blocks must be one label for each of the {n} cells, got {len(labels)}")
    members: dict[object, list[int]] = {}
    for i, label in enumerate(labels):
        members.setdefault(label, []).append(i)
    return list(members.values())


def _centred(values: Floats) -> Floats:
    order = ranks(values)
    centred: Floats = order - order.mean()
    return centred


def _all_orders(parts: list[Floats]) -> Iterator[Floats]:
    orders = ([part[list(order)] for order in itertools.permutations(range(len(part)))] for part in parts)
    return (np.concatenate(each) for each in itertools.product(*orders))


def _random_orders(parts: list[Floats], draws: int, seed: int) -> Iterator[Floats]:
    rng = np.random.default_rng(stream_seed(seed, "permutations"))
    return (np.concatenate([rng.permutation(part) for part in parts]) for _ in range(draws))
