"""The claims of the study of linear models, declared before it is run (MATH A4, C5)."""

from __future__ import annotations

from scoregrain.studies.linear_statistics import EXACT, FEW, MOST, RATIO, SLOPE
from scoregrain.studies.study import Claim

_FIRST, _READ, _OURS = "first paper, Theorem 1", "here, one reading of Conjecture 1", "here"
_CELLS = "exact, over all cells"
_SEEDS = "the worst spectrum and level, Student's 95 % interval over seeds inside"
_BEST = "the spectrum and level nearest to it, Student's 95 % interval over seeds inside"
_SLOPE, _RATIO = f"± {SLOPE:g}", f"± {RATIO:g}"


def of_descent() -> list[Claim]:
    """Theorem 1, and what the conjecture makes of it."""
    return [
        Claim(
            "rates",
            "Gradient descent from a start of mean zero fades at ρ_i = min{(1+σ²)λ_i, σ² min_{j≠i} λ_j}.",
            _FIRST,
            f"largest |measured / predicted - 1| of a rate; {_CELLS}, below {EXACT:g}",
        ),
        Claim(
            "smallest",
            "Data along the direction of the smallest eigenvalue are learnt at a larger rate than all others.",
            _FIRST,
            f"smallest ρ_D / max of the other ρ_i, less 1; {_CELLS}, above {EXACT:g}",
        ),
        Claim(
            "others",
            "All other directions have one and the same rate, σ² λ_D.",
            _FIRST,
            f"largest spread of the rates of i < D (their value: 'rates'); {_CELLS}, below {EXACT:g}",
        ),
        Claim(
            "time",
            "The time until a tenth of the mean error is left does not fall with λ_i.",
            _READ,
            "smallest Spearman ρ of time and eigenvalue, beside it the range of the time along u_1 over that along"
            f" u_D; {_CELLS}, at least 0; refuted if not",
        ),
        Claim(
            "time-few",
            "Almost all of that difference in time is among the smallest few λ_i.",
            _OURS,
            f"smallest share of the log of the time along u_1 over that along u_D that is among the ⌈D/{FEW}⌉ smallest"
            f" and the next; {_CELLS}, at least {MOST:g}; refuted if not",
        ),
        Claim(
            "along",
            "The error along the data's own direction fades sooner for a smaller eigenvalue.",
            _READ,
            f"smallest Spearman ρ of the time to a tenth and eigenvalue; {_CELLS}, above 0; refuted if not",
        ),
    ]


def of_noise() -> list[Claim]:
    """The noise of SGD, and shaped noise."""
    return [
        Claim(
            "noise",
            "The covariance of the gradient of Θ has a trace in proportion to λ_i.",
            _FIRST,
            f"slope of log trace on log λ_i, {_SEEDS} 1 {_SLOPE}",
        ),
        Claim(
            "noise-function",
            "The step seen in function space, Φ∇, has one in proportion to λ_i².",
            _OURS,
            f"slope of log trace on log λ_i, {_SEEDS} 2 {_SLOPE}",
        ),
        Claim(
            "noise-size",
            "The trace is 4λ_i(1+Dσ²)/(σ²(1+σ²)).",
            _OURS,
            f"mean over directions of sampled / predicted, {_SEEDS} 1 {_RATIO}",
        ),
        Claim(
            "stationary",
            "SGD on single examples ends with the error ηλ_iD/(σ²(1+σ²)), corrected to all orders in η.",
            _OURS,
            f"mean over directions of simulated / predicted, {_SEEDS} 1 {_RATIO}",
        ),
        Claim(
            "stationary-slope",
            "That error is in proportion to λ_i.",
            _OURS,
            f"slope of log error on log λ_i, {_SEEDS} 1 ± {2 * SLOPE:g}",
        ),
        Claim(
            "shaped",
            "Noise of variances s_j ∝ 1/λ_j along the directions gives all of them off the data one rate.",
            _OURS,
            f"largest max / min of the rates off the data, less 1; {_CELLS}, below {EXACT:g}",
        ),
        Claim(
            "shaped-noise",
            "Under that noise, with the target ε, the gradient's noise depends less on λ_i.",
            _OURS,
            f"log of the spread (standard deviation of log trace) over white noise's, {_SEEDS} below 0",
        ),
    ]


def controls() -> list[Claim]:
    """Conditions left out and labels that mean nothing."""
    return [
        Claim(
            "tied",
            "The smallest direction is the fastest where λ_D = λ_{D-1} too.",
            _OURS,
            f"largest lead, as of 'smallest'; {_CELLS}, above {EXACT:g}",
            control=True,
        ),
        Claim(
            "shifted",
            "It is the fastest where the start's mean is not zero too.",
            _OURS,
            f"largest lead, as of 'smallest'; {_CELLS}, above {EXACT:g}",
            control=True,
        ),
        Claim(
            "own-eigenvalue",
            "The rate is σ²λ_i, that of the data's own direction.",
            _OURS,
            "smallest over cells of the largest |measured / predicted - 1| of a rate within a cell; exact, below"
            f" {EXACT:g}",
            control=True,
        ),
        Claim(
            "reversed",
            "The covariance of the gradient is in proportion to the eigenvalue under reversed labels.",
            _OURS,
            f"slope of log trace on log λ_(D+1-i), {_BEST} 1 {_SLOPE}",
            control=True,
        ),
    ]
