"""What is computed of a row of the study of linear models (MATH A4, C5); not a number where the row lacks one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike

from scoregrain.metrics.ranks import spearman
from scoregrain.noise.linear_theory import decay_rates, gradient_noise
from scoregrain.studies.equivalence import within
from scoregrain.studies.study import Claim, Finding, Row, Rows
from scoregrain.studies.summaries import Floats

EXACT, SLOPE, RATIO = 1e-6, 0.05, 0.05
"""Margins: of numbers without sampling, of logarithmic slopes, of sampled numbers over their closed forms."""

FEW, MOST = 4, 0.9
"""The smallest few eigenvalues are a quarter of all; almost all of a difference is nine tenths."""


def worst_within(claim: Claim, rows: Rows, statistic: Callable[[Row], float], low: float, high: float) -> Finding:
    """Judge :func:`within` the spectrum and level whose interval reaches furthest out; of a control, the least far."""
    found = {}
    for place in dict.fromkeys((row["spectrum"], row["sigma"]) for row in rows):
        here = rows.where(spectrum=place[0], sigma=place[1])
        note = f"{place[0]} at σ = {place[1]:g}"
        each = within(claim, [statistic(row) for row in here], low, high, note=note)
        if each.interval is None:
            return each
        found[max(low - each.interval[0], each.interval[1] - high)] = each
    worst = found[min(found) if claim.control else max(found)]
    return replace(worst, note=f"{'nearest' if claim.control else 'worst'} of {len(found)}: {worst.note}")


def numbers(row: Row, name: str) -> Floats:
    """A list of numbers of a row, (D,); NaN for None."""
    return np.array([math.nan if each is None else each for each in row[name]], dtype=np.float64)


def outcomes(rows: Rows, name: str) -> Floats:
    """The same list of several rows, (R, D)."""
    return np.array([numbers(row, name) for row in rows])


def lead(row: Row, name: str = "rates") -> float:
    """By how much the rate of the smallest direction exceeds the largest of all others, as a share."""
    rates = numbers(row, name)
    return float(rates[-1] / rates[:-1].max() - 1)


def spread_of_others(row: Row) -> float:
    """Range of the rates of all directions but the smallest, as a share."""
    rates = numbers(row, "rates")[:-1]
    return float(np.ptp(rates) / rates[0])


def rate_error(row: Row) -> float:
    """Largest relative difference of a rate from the smallest of λ_j(σ² + δ_ij) over j."""
    values = _eigenvalues(row)
    white = torch.ones_like(values)
    predicted = [float(decay_rates(values, white, float(row["sigma"]), i).min()) for i in range(len(values))]
    return float(np.abs(numbers(row, "rates") / predicted - 1).max())


def own_error(row: Row) -> float:
    """The same from σ²λ_i."""
    return float(np.abs(numbers(row, "rates") / (row["sigma"] ** 2 * numbers(row, "eigenvalues")) - 1).max())


def order(row: Row, name: str) -> float:
    """Spearman's ρ of times and eigenvalues; 0 where all times are equal, the unfinished taken for the longest."""
    times = numbers(row, name)
    if np.isnan(times).all():
        return math.nan
    times = np.nan_to_num(times / np.nanmax(times, initial=0.0), nan=2.0).round(6)
    return spearman(numbers(row, "eigenvalues"), times).value if np.ptp(times) else 0.0


def ends(row: Row, name: str) -> float:
    """The time along u_1 over that along u_D."""
    times = numbers(row, name)
    return float(times[0] / times[-1])


def share_of_few(row: Row) -> float:
    """Share of log time u_1/u_D that is log time u_k/u_D, u_k the smallest direction but the smallest few."""
    times = np.log(numbers(row, "times"))
    few, whole = math.ceil(len(times) / FEW), times[0] - times[-1]
    return float((times[-1 - few] - times[-1]) / whole) if whole else math.nan


def slope(x: ArrayLike, y: ArrayLike) -> float:
    """Slope of log y on log x, of what is a number; NaN for fewer than two different x."""
    a, b = np.log(np.array([x, y], dtype=np.float64))
    seen = np.isfinite(a) & np.isfinite(b)
    if seen.sum() < 2 or np.ptp(a[seen]) == 0:
        return math.nan
    return float(np.polyfit(a[seen], b[seen], 1)[0])


def noise_size(row: Row) -> float:
    """Mean over directions of the sampled trace of the gradient's covariance over the closed form."""
    values = _eigenvalues(row)
    predicted = gradient_noise(values, torch.ones_like(values), float(row["sigma"]))
    return float(np.mean(numbers(row, "traces") / predicted.numpy()))


def shaped_spread(row: Row) -> float:
    """Log of how much the gradient's noise varies over directions under shaped noise, over under white noise."""
    shaped, white = (np.std(np.log(numbers(row, f"traces_{name}"))) for name in ("shaped", "white"))
    return float(np.log(shaped / white))


def stationary_size(row: Row) -> float:
    """Mean over directions of the simulated stationary error over the closed form."""
    return float(np.mean(numbers(row, "stationary") / numbers(row, "stationary_predicted")))


def stationary_slope(row: Row) -> float:
    """Slope of the log of that error on that of the eigenvalue."""
    return slope(numbers(row, "eigenvalues")[row["places"]], numbers(row, "stationary"))


def noise_slope(row: Row, name: str = "traces", *, reversed_labels: bool = False) -> float:
    """Slope of the log of a trace on that of the eigenvalue."""
    values: Sequence[float] = row["eigenvalues"]
    return slope(values[::-1] if reversed_labels else values, numbers(row, name))


SAMPLED: tuple[tuple[str, Callable[[Row], float], float, float], ...] = (
    ("noise", noise_slope, 1 - SLOPE, 1 + SLOPE),
    ("noise-function", lambda row: noise_slope(row, "traces_function"), 2 - SLOPE, 2 + SLOPE),
    ("noise-size", noise_size, 1 - RATIO, 1 + RATIO),
    ("stationary", stationary_size, 1 - RATIO, 1 + RATIO),
    ("stationary-slope", stationary_slope, 1 - 2 * SLOPE, 1 + 2 * SLOPE),
    ("shaped-noise", shaped_spread, -math.inf, 0.0),
    ("reversed", lambda row: noise_slope(row, reversed_labels=True), 1 - SLOPE, 1 + SLOPE),
)
"""Claims about sampled numbers: the statistic of a row and its margin."""


def _eigenvalues(row: Row) -> torch.Tensor:
    return torch.tensor(row["eigenvalues"], dtype=torch.float64)
