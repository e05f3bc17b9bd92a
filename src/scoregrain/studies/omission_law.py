"""Omission with the exact score of Gaussian data whose band was corrupted: no training, a closed form (MATH B12)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from scoregrain._random import stream
from scoregrain.datasets import Gaussian
from scoregrain.diffusion import DiffusionProcess, GaussianScore, sample
from scoregrain.metrics import bures_distance
from scoregrain.noise import ForwardNoise
from scoregrain.operators import DenseOperator
from scoregrain.schedules import linear_schedule

MODES = {
    "conditional": "conditional, m = 0",
    "drawn": "conditional, m drawn from the corrupted law",
    "marginal": "marginal",
}
"""Ways to sample, by the names in a row's values."""

STEPS = 25
"""Of Heun's sampler, 50 evaluations: within 1 % of the exact law."""


def law_distances(pixels: Tensor, noise: ForwardNoise, strength: float, count: int, seed: int) -> dict[str, Any]:
    """Return how far samples of the exact score end, outside the band, from the clean law there.

    The clean law is the Gaussian with the moments of ``pixels``, (N, C, *space); the corrupted one has γ² more in
    every direction of the band. Values ``w2_`` and a mode: W₂ between the Gaussian of the samples' moments and the
    clean law, both without the band, over the square root of the clean law's trace there; ``w2_resample`` of as many
    draws of the clean law: what so few samples leave of a distance. ``closed`` is the same of
    the law that conditional omission with m = 0 has in closed form, ``closed_covariance`` the relative error of its
    covariance.
    """
    shape = tuple(pixels.shape[1:])
    rows = pixels.flatten(1).double()
    mean, covariance = rows.mean(0), rows.T.cov()
    outside = noise.operator(shape).projector().to_dense()
    band = torch.eye(len(mean), dtype=torch.float64) - outside
    corrupted = covariance + strength**2 * band
    wanted = outside @ mean, _between(outside, covariance)
    width = math.sqrt(float(wanted[1].trace()))
    found: dict[str, Any] = {}
    clean = Gaussian(mean.reshape(shape), DenseOperator.from_matrix(shape, covariance))
    fresh = clean.sample(count, stream(seed, "study resample"), torch.float64)
    drawn = {mode: _sampled(mode, mean.reshape(shape), corrupted, noise, count, seed) for mode in MODES}
    for name, samples in {**drawn, "resample": fresh}.items():
        x = samples.flatten(1) @ outside
        found[f"w2_{name}"] = bures_distance(x.mean(0), x.T.cov(), *wanted) / width
    law = conditional_law(mean, corrupted, outside, torch.zeros_like(mean))
    found["closed"] = bures_distance(*law, *wanted) / width
    found["closed_covariance"] = float((law[1] - wanted[1]).norm() / wanted[1].norm())
    return found


def conditional_law(mean: Tensor, covariance: Tensor, outside: Tensor, content: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (D,) and covariance (D, D) of Πx given Nx = Nm, for x ~ N(mean, covariance), N = I - Π.

    Args:
        mean: (D,).
        covariance: S, (D, D).
        outside: Π, (D, D).
        content: m, (D,).
    """
    band = torch.eye(len(mean), dtype=mean.dtype) - outside
    gain = outside @ covariance @ band @ torch.linalg.pinv(_between(band, covariance), hermitian=True)
    given = outside @ mean + gain @ (content - mean)
    return given, _between(outside, covariance) - gain @ covariance @ outside


def _sampled(mode: str, mean: Tensor, covariance: Tensor, noise: ForwardNoise, count: int, seed: int) -> Tensor:
    """Samples (count, C, *space) of Heun's sampler with the exact score of the corrupted law."""
    omission = "marginal" if mode == "marginal" else "conditional"
    process = DiffusionProcess(linear_schedule(1000), noise, omission=omission)
    exact = GaussianScore(mean, covariance, process)
    content = None
    if mode == "drawn":
        law = Gaussian(mean, DenseOperator.from_matrix(mean.shape, covariance))
        content = law.sample(count, stream(seed, "omitted content"), torch.float64)
    return sample(
        exact,
        process,
        count,
        tuple(mean.shape),
        sampler="heun",
        steps=STEPS,
        generator=stream(seed, "study samples"),
        null_content=content,
        dtype=torch.float64,
    )


def _between(projector: Tensor, covariance: Tensor) -> Tensor:
    product: Tensor = projector @ covariance @ projector
    return (product + product.T) / 2
