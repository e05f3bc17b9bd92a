"""Noise along the eigenvectors of G, and what the linear theory says of it (MATH C5)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.datasets import RankOne
from scoregrain.diffusion import DiffusionProcess, GaussianScore
from scoregrain.diffusion.infer import infer_device
from scoregrain.diffusion.process import Model
from scoregrain.metrics import direction_error
from scoregrain.noise import ForwardNoise
from scoregrain.noise.linear_theory import decay_rates, gradient_noise
from scoregrain.operators import DenseOperator
from scoregrain.studies.directions import haar

EQUAL = 1.0
"""σ of the linear theory: the level at which data and white noise have the same energy along the data's direction."""


def noise_along(geometry: Tensor, shape: tuple[int, ...], gamma: float, seed: int | None = None) -> ForwardNoise:
    """Return noise of variance s ∝ λ^-γ, mean s = 1, along the eigenvectors of G, or along Haar-random directions.

    Args:
        geometry: G (D, D).
        shape: (C, *space).
        gamma: γ.
        seed: Of the random directions; None for the eigenvectors.
    """
    if seed is not None:
        basis = haar(len(geometry), seed)
        geometry = basis @ geometry @ basis.T
    return ForwardNoise.in_basis(DenseOperator.from_matrix(shape, geometry), gamma)


def theory(geometry: Tensor, gamma: float, index: int) -> dict[str, float]:
    """Return what the linear theory says of data along eigenvector ``index`` under noise along the eigenvectors.

    ``theory_time`` is the largest over the smallest rate at which gradient descent forgets an error: the steps that the
    slowest direction takes at the largest stable step size. ``theory_noise`` is the trace of one example's gradient
    covariance at the optimum over the square of that rate's largest: the noise at that step size.
    """
    values = torch.linalg.eigvalsh(geometry).flip(0).clamp_min(0)
    variances = ForwardNoise.in_basis(DenseOperator.from_matrix((1, len(values)), values.diag()), gamma)
    s = variances.operator((1, len(values))).to_dense().diagonal()
    rates = decay_rates(values, s, EQUAL, index)
    noise = gradient_noise(values, s, EQUAL, "epsilon")[index]
    return {"theory_time": float(rates.max() / rates.min()), "theory_noise": float(noise / rates.max() ** 2)}


def whitened_excess(model: Model, process: DiffusionProcess, law: RankOne, seed: int, count: int) -> dict[str, Any]:
    """Return the excess of T⁻¹ε̂: ``excess_white``, the mean over levels and directions, and by level."""
    exact = GaussianScore(law.mean, law.covariance, process)
    x0 = law.sample(count, stream(seed, "study denoising")).to(infer_device(model, None))
    columns = torch.eye(law.size, dtype=torch.float64)
    try:
        found = direction_error(model, process, x0, columns, exact, quantity="whitened", seed=seed).excess
    except InvalidInputError:  # the network's output is not finite: a training that diverged
        return {"excess_white": None, "excess_white_levels": None}
    assert found is not None
    levels = found.value.mean(1)
    return {"excess_white": float(levels.mean()), "excess_white_levels": levels.tolist()}
