"""The noise whose signal-to-noise ratio is the same at every frequency of a data set (arXiv 2505.11278)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.noise._fields import check_numbers
from scoregrain.noise.weight import Weight
from scoregrain.noise.weights import checked_plane, sized
from scoregrain.operators import FrequencyGrid

_CHUNK = 512  # images transformed at a time, so that memory does not grow with the data set


@dataclass(frozen=True, eq=False)
class EqualSNR(Weight):
    """w = S^(γ/2), S the variance of the data at every frequency: with γ = 1 all signal-to-noise ratios are equal.

    Under white noise high frequencies of natural images drown first; under this one all drown together
    (arXiv 2505.11278, MATH B5). ``fit`` measures S.

    Args:
        power: S, the full plane (*space) in FFT layout, even, in any unit.
        gamma: γ; 0 is white, 1 equalises, in between is a compromise.
        eps: Bounds the condition number of Σ by 1/ε: S counts as at least ε^(1/|γ|) times its largest value. A
            frequency held at this floor (``floored_share``) has a lower signal-to-noise ratio than the others. Natural
            images of 32×32 to 64×64 need about 1e-6; ε = 1e-4 would hold half of their frequencies.

    Raises:
        InvalidInputError: When the plane is not finite, non-negative and even, or all zero, γ is not finite, or not
            0 < ε ≤ 1; at use, when the arrays have another size.
    """

    power: Tensor
    gamma: float = 1.0
    eps: float = 1e-6

    def __post_init__(self) -> None:
        check_numbers(self, "gamma", "eps")
        if not 0 < self.eps <= 1:
            raise InvalidInputError(f"eps of equal-snr must lie in (0, 1], got {self.eps:g}")
        object.__setattr__(self, "power", checked_plane(self.power, "power"))

    @classmethod
    def fit(cls, images: Tensor, gamma: float = 1.0, eps: float = 1e-6, *, radial: bool = False) -> Self:
        """Measure S: the variance of the unitary Fourier coefficients over the images, averaged over channels.

        From Gaussian data S has a relative standard error of about 1/√(N·C), at real coefficients (the constant,
        Nyquist) √2 times that.

        Args:
            images: (N, C, *space), floating point, N at least 2; their mean image is removed.
            gamma: γ.
            eps: Bounds the condition number of Σ by 1/ε.
            radial: Average S over frequencies of equal radius, so that the noise is isotropic.

        Raises:
            InvalidInputError: When the images are no such array, not finite, or all alike.
        """
        power = _spectrum(_checked(images))
        return cls(_radial_mean(power) if radial else power, gamma, eps)

    def __call__(self, grid: FrequencyGrid) -> Tensor:
        """Return S^(γ/2), floored, 1 where S is largest."""
        sized(self.power, grid, "equal-snr")
        return self._unbounded.clamp(*self._bounds)

    @property
    def floored_share(self) -> float:
        """Share of the frequencies whose S counts as more than it is, so that their ratio is not the others'."""
        low, high = self._bounds
        return ((self._unbounded < low) | (self._unbounded > high)).double().mean().item()

    @property
    def _unbounded(self) -> Tensor:
        return (self.power / self.power.max()) ** (self.gamma / 2)

    @property
    def _bounds(self) -> tuple[float, float]:
        """Where gains must lie: a floor of S itself would underflow for small γ."""
        return self.eps**0.5, self.eps**-0.5


def _checked(images: Tensor) -> Tensor:
    if not isinstance(images, Tensor) or not images.is_floating_point() or not 3 <= images.ndim <= 5:
        found = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise InvalidInputError(f"equal-snr is fitted to a floating-point tensor (N, C, *space), got {found}")
    if len(images) < 2:
        raise InvalidInputError(f"equal-snr needs at least 2 images to measure a variance, got {len(images)}")
    if not bool(images.isfinite().all()):
        raise InvalidInputError("equal-snr needs finite images, got NaN or infinity")
    if bool((images == images[:1]).all()):
        raise InvalidInputError("equal-snr needs images that differ: these are all alike, their variance is zero")
    return images.detach()


def _spectrum(images: Tensor) -> Tensor:
    """Return S (*space), exactly even."""
    axes = tuple(range(2, images.ndim))
    mean = images.mean(0, dtype=torch.float64)
    total = torch.zeros(images.shape[2:], dtype=torch.float64, device=images.device)
    for chunk in torch.split(images, _CHUNK):
        total += torch.fft.fftn(chunk - mean, dim=axes, norm="ortho").abs().square().sum((0, 1))
    power = total.cpu() / ((len(images) - 1) * images.shape[1])
    return (power + FrequencyGrid(power.shape).mirror(power)) / 2


def _radial_mean(power: Tensor) -> Tensor:
    """Return ``power`` averaged over frequencies of exactly equal radius."""
    _, group, count = torch.unique(FrequencyGrid(power.shape).radius(), return_inverse=True, return_counts=True)
    sums = torch.zeros(len(count), dtype=torch.float64, device="cpu").scatter_add(0, group.flatten(), power.flatten())
    means: Tensor = (sums / count)[group]
    return means
