"""How data run with or against the grain: alignment, its possible range and its error bars (MATH A5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.align.pairing import check_pair
from scoregrain.align.rotation import Rotation
from scoregrain.align.statistics import (
    extrema,
    image_deletions,
    natural,
    network_deletions,
    quadratic,
    spectrum,
)
from scoregrain.align.truncation import bracket
from scoregrain.geometry import Geometry

SIGMAS = 2.0  # a verdict needs this many standard errors
ROUNDING = 1e-12  # relative differences below this are float64 rounding, not alignment

_GRAIN = {
    "with": "these data run with the grain",
    "against": "these data run against the grain",
    "neither": "these data run neither with nor against the grain",
    "undecided": "whether these data run with or against the grain is undecided",
}


@dataclass(frozen=True)
class Alignment:
    """Alignment ``α(W) = E[zᵀ G z] = tr(G W M Wᵀ)`` of data with a network's geometry, ``z = W x`` (MATH A5).

    "Chance" is the mean of α over Haar-random rotations. α has the unit of G times the unit of the images squared;
    what is "of chance" has none. All errors are standard errors, to first order in the errors of G and M, which are
    independent; 0 when both geometries are exact, None when one of them has fewer than 16 groups.

    Where of a geometry only the leading directions are known, all others are taken to be alike: they share what is left
    of its trace, which is exact. ``truncation`` says how much that matters.

    Attributes:
        natural: α(W), for the data as they are (W = I) or as rotated.
        error: of ``natural``.
        minimum: least α over all rotations, ``Σ λ_k ν_(D+1-k)``; of measured geometries it is biased low.
        minimum_error: of ``minimum``.
        maximum: largest α over all rotations, ``Σ λ_k ν_k``; of measured geometries it is biased high.
        maximum_error: of ``maximum``.
        haar_mean: ``tr(G) tr(M) / D``.
        haar_std: standard deviation of α over Haar-random rotations.
        of_chance: ``natural / haar_mean``; below 1 the data run with the grain, above 1 against it.
        of_chance_error: of ``of_chance``; α and the traces share their errors, which largely cancel.
        error_networks: the part of ``of_chance_error`` that comes from the networks; None when they are too few.
        error_images: the part that comes from the images; None when they are too few.
        of_chance_minimum: ``minimum / haar_mean``.
        of_chance_maximum: ``maximum / haar_mean``.
        relative: ``a(W) = (α - α_min) / (α_max - α_min)`` in [0, 1]; None when all rotations are alike.
        truncation: bounds of ``natural`` over everything that the directions that are not known can be, sampling
            errors apart; None when all are known.
        trained: G is that of one trained network: its error comes from draws of data and noise level.
    """

    natural: float
    error: float | None
    minimum: float
    minimum_error: float | None
    maximum: float
    maximum_error: float | None
    haar_mean: float
    haar_std: float
    of_chance: float
    of_chance_error: float | None
    error_networks: float | None
    error_images: float | None
    of_chance_minimum: float
    of_chance_maximum: float
    relative: float | None
    truncation: tuple[float, float] | None = None
    trained: bool = False

    @property
    def of_chance_truncation(self) -> tuple[float, float] | None:
        """``truncation`` over ``haar_mean``."""
        if self.truncation is None:
            return None
        low, high = self.truncation
        return low / self.haar_mean, high / self.haar_mean

    @property
    def verdict(self) -> str:
        """``with`` (of chance below 1 by more than 2 standard errors), ``against`` (above), ``neither``.

        ``undecided`` without an error, or when it depends on directions that are not known.
        """
        if self.of_chance_error is None:
            return "undecided"
        low, high = self.of_chance_truncation or (self.of_chance, self.of_chance)
        margin = max(SIGMAS * self.of_chance_error, ROUNDING)
        if high + margin < 1 or low - margin > 1:
            return "with" if high < 1 else "against"
        return "neither" if self.truncation is None else "undecided"

    def headline(self) -> str:
        """The result as one sentence.

        For example ``alignment 8.50 ± 0.05 times chance (possible range 0.03 to 26): these data run against the
        grain``. After a rotation, "these data" are the rotated ones.
        """
        possible = f"possible range {rounded(self.of_chance_minimum, 2)} to {rounded(self.of_chance_maximum, 2)}"
        if self.of_chance_error is None:
            value, note = rounded(self.of_chance, 2), f"error unknown: too few {self._too_few()}; "
        elif self.of_chance_error <= ROUNDING * self.of_chance:
            value = rounded(self.of_chance, 4)
            note = "exact; " if self.truncation is None else "no sampling error; "
        else:
            value, note = _with_error(self.of_chance, self.of_chance_error), ""
        return f"alignment {value} times chance ({note}{possible}{self._known()}): {_GRAIN[self.verdict]}"

    def _known(self) -> str:
        """What is said of directions that are not known."""
        if self.of_chance_truncation is None:
            return ""
        change = max(abs(bound - self.of_chance) for bound in self.of_chance_truncation)
        return f"; unmeasured directions could change it by up to {_rounded_up(change)}"

    def _too_few(self) -> str:
        """What there is too little of for an error."""
        draws = "draws of data and noise level" if self.trained else "networks"
        parts = {draws: self.error_networks, "images": self.error_images}
        return " and ".join(name for name, error in parts.items() if error is None)


def measure_alignment(geometry: Geometry, data: Geometry, rotation: Rotation | None = None) -> Alignment:
    """Measure how data, as they are or rotated, run with or against a network's grain (MATH A5).

    Beware of the plug-in bias: with the G that also chose the rotation, α of the minimising rotation is biased low,
    as is ``minimum`` itself (α of the maximising one and ``maximum`` are biased high); :func:`scoregrain.cross_fit`
    gives an unbiased value. The images that chose a rotation bias its α in the same way; for other images of the same
    kind, measure with those.

    Where one geometry is known by its leading directions only, that form of it is used, with a flat rest of the same
    trace, and its errors are a delete-one-group jackknife of everything, which takes seconds.

    Args:
        geometry: G, of a network.
        data: M, second moment of the data, of the same shape.
        rotation: W; None for the data as they are.

    Raises:
        InvalidInputError: shapes differ (both are named), the geometries are not a network's and data's in this
            order, or one of them is zero.
    """
    check_alignable(geometry, data, rotation)
    alpha, (low, high) = natural(geometry, data, rotation), extrema(geometry, data)
    unknown = [None] * 4
    networks = network_deletions(geometry, data, rotation).errors() if geometry.has_errors else unknown
    images = image_deletions(geometry, data, rotation).errors() if data.has_errors else unknown
    chance = geometry.trace * data.trace / geometry.size
    errors = [None if a is None or b is None else math.hypot(a, b) for a, b in zip(networks, images, strict=True)]
    return Alignment(
        natural=alpha,
        error=errors[0],
        minimum=low,
        minimum_error=errors[1],
        maximum=high,
        maximum_error=errors[2],
        haar_mean=chance,
        haar_std=_haar_std(geometry, data),
        of_chance=alpha / chance,
        of_chance_error=errors[3],
        error_networks=networks[3],
        error_images=images[3],
        of_chance_minimum=low / chance,
        of_chance_maximum=high / chance,
        relative=_relative(alpha, low, high),
        truncation=bracket(geometry, data, rotation),
        trained=bool(geometry.info.get("trained")),
    )


def mean_image_share(geometry: Geometry, mean: Tensor) -> float:
    """Alignment ``μᵀ G μ`` of the mean image alone: the share of the data's α that their mean carries (MATH A5).

    ``M = Cov + μμᵀ`` is uncentred, so this divided by ``measure_alignment(geometry, data).natural`` is a fraction.

    Args:
        geometry: G, of a network.
        mean: μ, ``(C, *space)``.

    Raises:
        InvalidInputError: the mean image is not of the geometry's shape.
    """
    if tuple(mean.shape) != geometry.shape:
        raise InvalidInputError(f"the mean image has shape {tuple(mean.shape)}, expected {geometry.shape}")
    mu = mean.double().cpu()
    return float(quadratic(geometry, mu[None]))


def check_alignable(geometry: Geometry, data: Geometry, rotation: Rotation | None) -> None:
    """Fail on arguments that have no alignment."""
    check_pair(geometry, data)
    if rotation is not None and rotation.shape != geometry.shape:
        raise InvalidInputError(
            f"the rotation has shape {rotation.shape} and the geometries have shape {geometry.shape}"
        )
    for one in (geometry, data):
        if one.trace <= 0:
            raise InvalidInputError(f"the {one.kind} geometry is zero: nothing can be aligned with it")


def _haar_std(geometry: Geometry, data: Geometry) -> float:
    """Standard deviation of α over Haar-random rotations."""
    size = geometry.size
    g0, m0 = (float((v - v.mean()).square().sum()) for v in (spectrum(geometry), spectrum(data)))
    return math.sqrt(2 * g0 * m0 / ((size - 1) * (size + 2))) if size > 1 else 0.0


def _relative(natural: float, low: float, high: float) -> float | None:
    """Place of α in its possible range; None when the range is only rounding wide."""
    if high - low <= ROUNDING * high:
        return None
    return min(max((natural - low) / (high - low), 0.0), 1.0)


def times_chance(value: float, error: float | None) -> str:
    """α over chance with its error in words."""
    if abs(value) <= ROUNDING and (error or 0.0) <= ROUNDING:  # data in the null space of an exact geometry
        return "0 times chance (to rounding)"
    if error is None:
        return f"{rounded(value, 2)} times chance (error unknown)"
    if error <= ROUNDING * value:
        return f"{rounded(value, 4)} times chance (exact)"
    return f"{_with_error(value, error)} times chance"


def _with_error(value: float, error: float) -> str:
    """``8.50 ± 0.05``: one significant digit of the error, two when it starts with 1; the value to the same place."""
    mantissa, exponent = f"{error:e}".split("e")
    places = (mantissa[0] == "1") - int(exponent)
    return " ± ".join(f"{round(x, places):.{max(places, 0)}f}" for x in (value, error))


def rounded(value: float, digits: int) -> str:
    """A number to so many significant digits, without an exponent for what people read."""
    return "0" if abs(value) < ROUNDING else f"{float(f'{value:.{digits}g}'):g}"


def _rounded_up(value: float) -> str:
    """A bound to two significant digits, never below itself."""
    if value < ROUNDING:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return rounded(math.ceil(value / unit * (1 - ROUNDING)) * unit, 2)
