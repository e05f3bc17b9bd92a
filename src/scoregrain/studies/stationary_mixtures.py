"""Stationary mixtures of Gaussians, rings of frequencies and fine levels, to watch a score's limit by (MATH B11)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scoregrain._random import stream
from scoregrain.datasets import GaussianMixture
from scoregrain.operators import FourierOperator, FrequencyGrid, Operator
from scoregrain.schedules import Schedule

SCALES = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
"""Variances of the components, over the spectrum they share."""

LOWEST, HIGHEST, PER_DECADE = 1e-4, 1e2, 10
"""Noise levels."""


class Rings:
    """Frequencies of equal radius, in ascending order.

    Args:
        space: (H, W).

    Attributes:
        radii: In cycles per pixel, (R,).
        counts: Frequencies on each, (R,).
    """

    def __init__(self, space: tuple[int, ...]) -> None:
        radius = FrequencyGrid(space).radius("raw").flatten().mul(1e9).round()
        values, self._place, counts = torch.unique(radius, return_inverse=True, return_counts=True)
        self.radii: Tensor = values / 1e9
        self.counts: Tensor = counts.double()

    def mean(self, plane: Tensor) -> Tensor:
        """Mean of a plane (H, W) over each, (R,)."""
        return torch.zeros_like(self.counts).index_add(0, self._place, plane.flatten().double()) / self.counts

    def power_of(self, covariance: Operator) -> Tensor:
        """Mean power of a stationary covariance over each, (R,)."""
        impulse = torch.zeros(covariance.shape, dtype=torch.float64)
        impulse[0, 0, 0] = 1
        return self.mean(torch.fft.fft2(covariance @ impulse).real[0])

    def power(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Mean of |F x|² over each and over arrays (N, 1, H, W), or their weighted sum, (R,)."""
        power = torch.fft.fft2(x, norm="ortho").abs().square()[:, 0]
        weights = torch.full((len(x),), 1 / len(x), dtype=torch.float64) if weights is None else weights
        return self.mean(torch.einsum("n,nhw->hw", weights.to(power), power))


def component_spectrum(shape: tuple[int, ...], knee: float = 0.1) -> Tensor:
    """The power 1/(1 + (r/r_0)²), r_0 = ``knee`` cycles per pixel, (H, W)."""
    return 1 / (1 + (FrequencyGrid(shape[1:]).radius("raw") / knee).square())


def mixture(shape: tuple[int, ...], seed: int, *, singular: bool = False) -> GaussianMixture:
    """Three Gaussians of one spectrum and three sizes, their means random and smoother, equally likely.

    Args:
        shape: (1, H, W).
        seed: Of the means.
        singular: Leave out all frequencies above half of the largest, of components and means alike: the law then
            has no density.
    """
    spectrum = component_spectrum(shape)
    drawn = torch.randn(len(SCALES), *shape, generator=stream(seed, "means of a mixture"), dtype=torch.float64)
    means = 2 * (FourierOperator(shape, spectrum**2).sqrt() @ drawn)
    if singular:
        radius = FrequencyGrid(shape[1:]).radius("corner")
        kept = (radius <= 0.5).double()
        spectrum, means = spectrum * kept, FourierOperator(shape, kept) @ means
    components = [FourierOperator(shape, float(scale) * spectrum) for scale in SCALES]
    return GaussianMixture([1.0] * len(SCALES), means, components, name="mixture")


def levels() -> Schedule:
    """A schedule whose levels σ/√ᾱ are those from ``LOWEST`` to ``HIGHEST``."""
    decades = math.log10(HIGHEST / LOWEST)
    sigma = torch.logspace(
        math.log10(LOWEST), math.log10(HIGHEST), round(decades * PER_DECADE) + 1, dtype=torch.float64
    )
    alpha_bar = 1 / (1 + sigma.square())
    before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
    return Schedule("logarithmic", (before - alpha_bar) / before)
