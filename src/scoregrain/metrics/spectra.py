"""Radial power spectra of samples and their log-ratio (MATH B3, B4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._arguments import check_kind
from scoregrain._errors import InvalidInputError
from scoregrain.metrics._samples import as_rows
from scoregrain.operators import FrequencyGrid, Rings

_NUMBERS = 2**21  # transformed at a time
_EMPTY = 1e-13  # of the mean power: what rounding of float32 arrays leaves in a ring without power


@dataclass(frozen=True, eq=False)
class SpectralDistance:
    """How two radial spectra differ.

    Attributes:
        radius: Mean radius of each ring in cycles per pixel, float64 (R,).
        log_ratio: Natural logarithm of the power ratio in each ring, float64 (R,); ±inf where one set alone has no
            power, 0 where neither has.
        error: Standard error of ``log_ratio``, (R,); nan where that is infinite.
        distance: Root mean square of ``log_ratio`` over all frequencies: each ring counts as its frequencies.
        distance_error: Standard error of ``distance``; nan where that is infinite.
    """

    radius: Tensor
    log_ratio: Tensor
    error: Tensor
    distance: float
    distance_error: float


@dataclass(frozen=True, eq=False)
class RadialSpectrum:
    """Mean power of samples at each radius in the frequency plane.

    Attributes:
        radius: Mean radius of each ring in cycles per pixel, float64 (R,), ascending; 0 for the constant alone.
        power: Mean of |F x|² over samples, channels and the ring's frequencies, F unitary: float64 (R,). White noise
            of unit variance has 1 everywhere.
        error: Standard error of ``power`` over the samples, (R,).
        count: Frequencies in each ring, int64 (R,).
        covariance: Of ``power``, float64 (R, R): arrays of more contrast have more of it in every ring.
        size: (N_1, …, N_d), the grid.
        samples: Number of arrays.
    """

    radius: Tensor
    power: Tensor
    error: Tensor
    count: Tensor
    covariance: Tensor
    size: tuple[int, ...]
    samples: int

    def log_ratio(self, other: RadialSpectrum) -> SpectralDistance:
        """Compare with the spectrum of other, independent samples of the same size: ``log(power / other.power)``.

        Raises:
            InvalidInputError: The other spectrum is of arrays of another size.
        """
        check_kind(other, RadialSpectrum, "the other spectrum")
        if self.size != other.size:
            raise InvalidInputError(f"spectra of arrays of one size are compared, got {self.size} and {other.size}")
        ratio = torch.where(self._known | other._known, self._log_power - other._log_power, 0.0)
        covariance = self._log_covariance + other._log_covariance
        share = self.count.double() / self.count.sum()
        distance = math.sqrt(float(share @ ratio.square()))
        slope = share * ratio / distance if distance > 0 else torch.zeros_like(share)
        error = math.sqrt(max(0.0, float(slope @ covariance @ slope))) if math.isfinite(distance) else math.nan
        errors = torch.where(ratio.isfinite(), covariance.diagonal().sqrt(), math.nan)
        return SpectralDistance(self.radius, ratio, errors, distance, error)

    @property
    def _known(self) -> Tensor:
        """The rings that have any power, bool (R,)."""
        mean = self.count.double() @ self.power / self.count.sum()
        return self.power > _EMPTY * mean

    @property
    def _log_power(self) -> Tensor:
        return torch.where(self._known, self.power, 0.0).log()

    @property
    def _log_covariance(self) -> Tensor:
        relative = torch.where(self._known, 1 / self.power, 0.0)
        return relative[:, None] * self.covariance * relative


def radial_spectrum(x: Tensor, centre: bool = False) -> RadialSpectrum:
    """Measure the mean power of samples on rings of equal frequency, in any number of space dimensions.

    The rings have width 1/N around k/N, N the longest side, at most 64 (:class:`scoregrain.operators.Rings`).
    Transforms and sums are float64.

    Args:
        x: Samples (N, C, *space), one to three space dimensions.
        centre: Remove the mean array first (divisor N - 1): the spectrum of what varies, without the mean image.

    Raises:
        InvalidInputError: The samples are not finite, fewer than 2, or have no space dimension.

    Example:
        >>> x = torch.tensor([[[1.0, -1.0, 1.0, -1.0]], [[3.0, -3.0, 3.0, -3.0]]])
        >>> spectrum = radial_spectrum(x)
        >>> spectrum.radius.tolist(), spectrum.power.tolist()
        ([0.0, 0.25, 0.5], [0.0, 0.0, 20.0])
    """
    rows = as_rows(x, "x")
    if not 3 <= x.ndim <= 5:
        raise InvalidInputError(
            f"a spectrum needs samples (N, C, *space) of 1 to 3 space dimensions, got {x.ndim} axes"
        )
    rings = Rings.of(FrequencyGrid(x.shape[2:]))
    mean = rows.mean(0, dtype=torch.float64) if centre else torch.zeros((), dtype=torch.float64, device=x.device)
    length = max(1, _NUMBERS // rows.shape[1])
    blocks = (rows[start : start + length].double() - mean for start in range(0, len(rows), length))
    power = torch.cat([rings.mean(_power(block.reshape(-1, *x.shape[1:])).cpu()) for block in blocks])
    power = power * (len(power) / (len(power) - 1)) if centre else power
    covariance = power.T.cov().reshape(len(rings.count), -1) / len(power)
    error = covariance.diagonal().sqrt()
    return RadialSpectrum(rings.radius, power.mean(0), error, rings.count, covariance, tuple(x.shape[2:]), len(power))


def _power(x: Tensor) -> Tensor:
    """|F x|² of x (N, C, *space), mean over channels: (N, *space)."""
    transformed = torch.fft.fftn(x, dim=tuple(range(2, x.ndim)), norm="ortho")
    return torch.view_as_real(transformed).square().sum(-1).mean(1)
