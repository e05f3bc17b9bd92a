"""How data run with or against the grain: alignment, its possible range and its error bars (MATH A5)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.align.rotation import Rotation, check_pair
from scoregrain.geometry import Geometry
from scoregrain.geometry.spectrum import jackknife

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

    @property
    def verdict(self) -> str:
        """``with`` (of chance below 1 by more than 2 standard errors), ``against`` (above), ``neither``.

        ``undecided`` without an error.
        """
        if self.of_chance_error is None:
            return "undecided"
        if abs(self.of_chance - 1) <= max(SIGMAS * self.of_chance_error, ROUNDING):
            return "neither"
        return "with" if self.of_chance < 1 else "against"

    def headline(self) -> str:
        """The result as one sentence.

        For example ``alignment 8.50 ± 0.05 times chance (possible range 0.03 to 26): these data run against the
        grain``. After a rotation, "these data" are the rotated ones.
        """
        possible = f"possible range {_rounded(self.of_chance_minimum, 2)} to {_rounded(self.of_chance_maximum, 2)}"
        if self.of_chance_error is None:
            value, note = _rounded(self.of_chance, 2), f"error unknown: too few {self._too_few()}; "
        elif self.of_chance_error <= ROUNDING * self.of_chance:
            value, note = _rounded(self.of_chance, 4), "exact; "
        else:
            value, note = _with_error(self.of_chance, self.of_chance_error), ""
        return f"alignment {value} times chance ({note}{possible}): {_GRAIN[self.verdict]}"

    def _too_few(self) -> str:
        """What there is too little of for an error."""
        parts = {"networks": self.error_networks, "images": self.error_images}
        return " and ".join(name for name, error in parts.items() if error is None)


def measure_alignment(geometry: Geometry, data: Geometry, rotation: Rotation | None = None) -> Alignment:
    """Measure how data, as they are or rotated, run with or against a network's grain (MATH A5).

    Beware of the plug-in bias: with the G that also chose the rotation, α of the minimising rotation is biased low,
    as is ``minimum`` itself (α of the maximising one and ``maximum`` are biased high). The cross-fitted value is
    unbiased for the rotation found: choose the rotation on one half of the networks, evaluate it on the other::

        first, second = geometry.halves()
        measure_alignment(second, data, rotation=find_rotation(first, data)).natural

    The images that chose a rotation bias its α in the same way; for other images of the same kind, measure with those.

    Args:
        geometry: G, of a network.
        data: M, second moment of the data, of the same shape.
        rotation: W; None for the data as they are.

    Raises:
        InvalidInputError: shapes differ (both are named), the geometries are not a network's and data's in this
            order, or one of them is zero.
    """
    _check(geometry, data, rotation)
    g, m = geometry.matrix(), data.matrix()
    w = None if rotation is None else rotation.matrix
    rotated = m if w is None else w @ m @ w.T
    natural = float((g * rotated).sum())
    networks = _errors(geometry, data, rotated)
    del rotated  # one D × D matrix less while the other side's are made
    images = _errors(data, geometry, g if w is None else w.T @ g @ w)
    low, high = _range(geometry, data)
    chance = geometry.trace * data.trace / geometry.size
    errors = [None if a is None or b is None else math.hypot(a, b) for a, b in zip(networks, images, strict=True)]
    return Alignment(
        natural=natural,
        error=errors[0],
        minimum=low,
        minimum_error=errors[1],
        maximum=high,
        maximum_error=errors[2],
        haar_mean=chance,
        haar_std=_haar_std(geometry, data),
        of_chance=natural / chance,
        of_chance_error=errors[3],
        error_networks=networks[3],
        error_images=images[3],
        of_chance_minimum=low / chance,
        of_chance_maximum=high / chance,
        relative=_relative(natural, low, high),
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
    mu = mean.flatten().double()
    return float(mu @ geometry.matrix() @ mu)


def _check(geometry: Geometry, data: Geometry, rotation: Rotation | None) -> None:
    """Fail on arguments that have no alignment."""
    check_pair(geometry, data)
    if rotation is not None and rotation.shape != geometry.shape:
        raise InvalidInputError(
            f"the rotation has shape {rotation.shape} and the geometries have shape {geometry.shape}"
        )
    for one in (geometry, data):
        if one.trace <= 0:
            raise InvalidInputError(f"the {one.kind} geometry is zero: nothing can be aligned with it")


def _errors(geometry: Geometry, other: Geometry, partner: Tensor) -> list[float | None]:
    """Standard errors of natural, minimum, maximum and of chance that come from the draws of one geometry.

    ``partner`` is the other geometry in this one's coordinates, so that ``natural = tr(G · partner)``.
    """
    if geometry.exact:
        return [0.0] * 4
    if not geometry.has_errors:
        return [None] * 4
    counts = geometry.counts
    means = torch.stack([geometry.contract(b) for b in _gradients(geometry, other, partner)], dim=1)
    sums = counts[:, None] * means
    full = _statistics(means.T @ counts / counts.sum())
    without = _statistics((sums.sum(0) - sums) / (counts.sum() - counts)[:, None])
    natural, low, high, ratio = jackknife(full, without, counts).tolist()
    # of chance is natural / tr G times what is constant here: D over the other trace
    return [natural, low, high, ratio * geometry.size / other.trace]


def _gradients(geometry: Geometry, other: Geometry, partner: Tensor) -> Iterator[Tensor]:
    """The B of ``tr(G B)`` for natural, minimum, maximum and the trace, one D × D matrix at a time.

    For the extrema B is the other geometry in its extremal position, ``W M Wᵀ``; moving W counts in second order.
    """
    u, values = geometry.eigenvectors, other.eigenvalues
    yield partner
    yield (u * values.flip(0)) @ u.T
    yield (u * values) @ u.T
    yield torch.eye(geometry.size, dtype=torch.float64)


def _statistics(contractions: Tensor) -> Tensor:
    """From ``(..., 4)`` natural, minimum, maximum and trace to the same with natural / trace in the last place."""
    return torch.cat([contractions[..., :3], contractions[..., :1] / contractions[..., 3:]], dim=-1)


def _range(geometry: Geometry, data: Geometry) -> tuple[float, float]:
    """Least and largest α over all rotations."""
    # rounding may push the null eigenvalues of a second moment below zero
    lam, nu = geometry.eigenvalues.clamp_min(0), data.eigenvalues.clamp_min(0)
    return float(lam @ nu.flip(0)), float(lam @ nu)


def _haar_std(geometry: Geometry, data: Geometry) -> float:
    """Standard deviation of α over Haar-random rotations."""
    size = geometry.size
    g0, m0 = (float((v - v.mean()).square().sum()) for v in (geometry.eigenvalues, data.eigenvalues))
    return math.sqrt(2 * g0 * m0 / ((size - 1) * (size + 2))) if size > 1 else 0.0


def _relative(natural: float, low: float, high: float) -> float | None:
    """Place of α in its possible range; None when the range is only rounding wide."""
    if high - low <= ROUNDING * high:
        return None
    return min(max((natural - low) / (high - low), 0.0), 1.0)


def _with_error(value: float, error: float) -> str:
    """``8.50 ± 0.05``: one significant digit of the error, two when it starts with 1; the value to the same place."""
    mantissa, exponent = f"{error:e}".split("e")
    places = (mantissa[0] == "1") - int(exponent)
    return " ± ".join(f"{round(x, places):.{max(places, 0)}f}" for x in (value, error))


def _rounded(value: float, digits: int) -> str:
    """A number to so many significant digits, without an exponent for what people read."""
    return "0" if abs(value) < ROUNDING else f"{float(f'{value:.{digits}g}'):g}"
