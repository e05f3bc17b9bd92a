"""Trivial generators beside every distance, and a verdict that cannot flatter (MATH A8)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scoregrain._arguments import whole
from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.metrics._samples import as_rows, check_pair
from scoregrain.metrics.gaussian import covariance_factors

RESAMPLE, ZEROS, WHITE, GAUSSIAN = "resample", "zeros", "white noise", "moment-matched Gaussian"
BEYOND, BEYOND_RESAMPLE = 2.0, 1.0
"""How many standard errors make one distance larger than a baseline's, and than a fresh resample's.

The errors are combined as if independent. But two distances share the reference, and between equal laws an error is
stated √2 too large: together twice the difference's own. So one is a test at two where the samples have the data's law.
"""

NEARER = 3.0
"""How many standard errors make a distance smaller than a fresh resample's."""

Measured = tuple[float, float]
"""A distance and its standard error."""

_OF = {
    ZEROS: "all zeros",
    WHITE: "white noise",
    GAUSSIAN: "a Gaussian with the data's moments",
    RESAMPLE: "a fresh resample of the data",
}

Verdict = Literal[
    "nearer than resample",
    "worse than nothing",
    "no better than nothing",
    "no better than white noise",
    "no better than moment-matched Gaussian",
    "not distinguishable from resample",
    "further than resample",
    "better than every trivial baseline",
    "compared with no trivial baseline",
]
"""What a distance says beside those of the baselines; the last two only where no resample is among them."""

_NO_BETTER: dict[str, Verdict] = {
    ZEROS: "no better than nothing",
    WHITE: "no better than white noise",
    GAUSSIAN: "no better than moment-matched Gaussian",
}
_SAID: dict[Verdict, tuple[str, str]] = {
    "nearer than resample": ("nearer to the target than fresh arrays are, which is no merit", RESAMPLE),
    "worse than nothing": ("worse than generating nothing", ZEROS),
    "no better than nothing": ("no better than generating nothing", ZEROS),
    "no better than white noise": (f"no better than {_OF[WHITE]}", WHITE),
    "no better than moment-matched Gaussian": (f"no better than {_OF[GAUSSIAN]}", GAUSSIAN),
    "not distinguishable from resample": (f"not distinguishable from {_OF[RESAMPLE]}", RESAMPLE),
    "further than resample": (f"further than {_OF[RESAMPLE]}", RESAMPLE),
}
_BATCH = 1024  # Gaussian arrays drawn at a time


@dataclass(frozen=True, eq=False)
class Baselines:
    """What trivial generators make, and what everything is compared with.

    Attributes:
        reference: Samples of the target that all distances are measured to, (N, C, *space).
        samples: ``"resample"``, ``"zeros"``, ``"white noise"`` and ``"moment-matched Gaussian"``, (n, C, *space) each.
    """

    reference: Tensor
    samples: dict[str, Tensor]


@dataclass(frozen=True)
class Judgement:
    """A distance, those of the baselines, and what they say together.

    Attributes:
        value: Distance of the samples to the reference.
        error: Its standard error.
        baselines: The same of every baseline, (distance, error) by name.
        verdict: One sentence, see :func:`verdict`.
    """

    value: float
    error: float
    baselines: dict[str, Measured]
    verdict: str


def make_baselines(target: Tensor, n: int | None = None, seed: int = 0, resample: Tensor | None = None) -> Baselines:
    """Make the samples that every distance stands beside.

    A fresh resample of the target, all zeros, white noise N(0, I), and a Gaussian with the target's mean and covariance
    (drawn through the samples' own coordinates: exact, and of rank min(N - 1, D)). Without ``resample`` the target is
    split: a random half becomes the reference, the other half the resample. They are disjoint, but of fewer samples.

    Args:
        target: Samples of the target (N, C, *space), or (N, D).
        n: Samples of each baseline, best as many as the judged ones; None: as many as the reference holds. A resample
            of fewer is taken whole.
        seed: Of all draws.
        resample: Other samples of the same law, disjoint from the target.

    Raises:
        InvalidInputError: Samples are not finite, of different shapes, or fewer than 2 (4 where they are split).
    """
    if resample is None:
        as_rows(target, "the target", least=4)
        reference, other = _halves(target, seed)
    else:
        check_pair(target, resample, ("the target", "the resample"))
        reference, other = target, resample
    n = len(reference) if n is None else whole(n, "n", least=2)
    shape = (n, *reference.shape[1:])
    white = torch.randn(shape, generator=stream(seed, "baselines/white"), device="cpu").to(reference)
    made = {
        RESAMPLE: _some(other, n, seed),
        ZEROS: reference.new_zeros(shape),
        WHITE: white,
        GAUSSIAN: _gaussian(as_rows(reference, "the target"), n, seed).to(reference).reshape(shape),
    }
    return Baselines(reference, made)


def judge(samples: Tensor, baselines: Baselines, distance: Callable[[Tensor, Tensor], Measured]) -> Judgement:
    """Measure samples and every baseline against the reference.

    Args:
        samples: (n, C, *space).
        baselines: From :func:`make_baselines`.
        distance: Takes samples and the reference, gives a distance and its standard error.
    """
    value, error = distance(samples, baselines.reference)
    beside = {name: distance(made, baselines.reference) for name, made in baselines.samples.items()}
    return Judgement(value, error, beside, verdict(value, error, beside))


def verdict(value: float, error: float, baselines: Mapping[str, Measured]) -> str:
    """Say in one sentence how a distance compares with those of trivial generators: :func:`decide` with its numbers.

    Args:
        value: The samples' distance.
        error: Its standard error.
        baselines: (distance, standard error) by name; ``"zeros"`` is generating nothing.

    Raises:
        InvalidInputError: A distance or an error is no number, or negative.

    Example:
        >>> verdict(5.2, 0.1, {"zeros": (1.0, 0.01)})
        'worse than generating nothing: 5.2 ± 0.1 against 1 ± 0.01 for all zeros'
    """
    judged, word = (value, error), decide(value, error, baselines)
    if word not in _SAID:
        return word
    said, name = _SAID[word]
    if word == "further than resample":
        said = f"{_cleared(baselines)}, but {said}"
    elif word == "not distinguishable from resample" and _not_cleared(judged, baselines):
        said += f", and no better than {_OF[GAUSSIAN]}"
    return f"{said}: {_against(judged, name, baselines)}"


def decide(value: float, error: float, baselines: Mapping[str, Measured]) -> Verdict:
    """Compare a distance with those of trivial generators, in one of the words of :data:`Verdict`.

    The first of these that holds: nearer than a fresh resample, by more than 3 standard errors; worse than generating
    nothing; no better than that, or than white noise; not distinguishable from a fresh resample, be it better than a
    Gaussian with the data's moments or not; no better than that Gaussian; further than the resample. A distance is
    larger when it is so by more than 2 standard errors, which makes it hard to be better than a baseline; for the
    resample see :func:`further`.

    Args:
        value: The samples' distance.
        error: Its standard error.
        baselines: (distance, standard error) by name; ``"zeros"`` is generating nothing.

    Raises:
        InvalidInputError: A distance or an error is no number, or negative.

    Example:
        >>> decide(5.2, 0.1, {"zeros": (1.0, 0.01)})
        'worse than nothing'
    """
    judged = (value, error)
    _check({"the samples": judged, **baselines})
    if RESAMPLE in baselines and _larger(baselines[RESAMPLE], judged, NEARER):
        return "nearer than resample"
    if ZEROS in baselines and _larger(judged, baselines[ZEROS]):
        return "worse than nothing"
    bars = _not_cleared(judged, baselines)
    fresh = RESAMPLE in baselines and not further(judged, baselines[RESAMPLE])
    if bars and not (fresh and bars == [GAUSSIAN]):
        return _NO_BETTER[bars[0]]
    if fresh:
        return "not distinguishable from resample"
    return "further than resample" if RESAMPLE in baselines else _cleared(baselines)


def _not_cleared(judged: Measured, baselines: Mapping[str, Measured]) -> list[str]:
    """The trivial baselines that a distance is no better than, the most trivial first."""
    return [name for name in (ZEROS, WHITE, GAUSSIAN) if name in baselines and not _larger(baselines[name], judged)]


def _cleared(baselines: Mapping[str, Measured]) -> Verdict:
    """What to say where it is better than all that there are."""
    trivial = set(baselines) - {RESAMPLE}
    return "better than every trivial baseline" if trivial else "compared with no trivial baseline"


def further(judged: Measured, resample: Measured) -> bool:
    """Are samples further than a fresh resample: by more than :data:`BEYOND_RESAMPLE` standard errors?

    If they were of the data's law, their error would be about that of the resample: what it is above twice that counts
    for nothing, or a single sample that blew up would widen the error until nothing could be told apart.
    """
    return _larger((judged[0], min(judged[1], 2 * resample[1])), resample, BEYOND_RESAMPLE)


def _larger(one: Measured, other: Measured, beyond: float = BEYOND) -> bool:
    return one[0] - other[0] > beyond * math.hypot(one[1], other[1])


def _against(judged: Measured, name: str, baselines: Mapping[str, Measured]) -> str:
    return f"{_written(judged)} against {_written(baselines[name])} for {_OF[name]}"


def _written(measured: Measured) -> str:
    return f"{measured[0]:.4g} ± {measured[1]:.2g}"


def _check(measured: Mapping[str, Measured]) -> None:
    for name, (value, error) in measured.items():
        if not (value >= 0 and error >= 0):  # false for a NaN too
            raise InvalidInputError(
                f"a distance and its error must be numbers from 0 on, got {value} ± {error} of {name}"
            )


def _halves(target: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    order = _order(len(target), seed, "baselines/halves").to(target.device)
    half = len(target) // 2
    return target[order[:half].sort().values], target[order[half : 2 * half].sort().values]


def _some(samples: Tensor, n: int, seed: int) -> Tensor:
    """At most n of them, in their order."""
    if len(samples) <= n:
        return samples
    order = _order(len(samples), seed, "baselines/resample").to(samples.device)
    return samples[order[:n].sort().values]


def _order(count: int, seed: int, name: str) -> Tensor:
    return torch.randperm(count, generator=stream(seed, name), device="cpu")


def _gaussian(rows: Tensor, n: int, seed: int) -> Tensor:
    """Draws of N(m, S), S the covariance of the rows, (n, D)."""
    mean, _, root = covariance_factors(rows)
    generator, parts = stream(seed, "baselines/gaussian"), []
    for start in range(0, n, _BATCH):
        count = min(_BATCH, n - start)
        xi = torch.randn(count, root.shape[1], generator=generator, dtype=torch.float64, device="cpu").to(root.device)
        parts.append((mean + xi @ root.T).to(rows.dtype))
    return torch.cat(parts)
