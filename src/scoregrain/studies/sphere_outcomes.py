"""What is measured of a network trained on a sphere: its exact score is that of von Mises and Fisher (MATH A7, A8)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.datasets import Sphere
from scoregrain.diffusion import DiffusionProcess
from scoregrain.diffusion.process import Model
from scoregrain.metrics import direction_error
from scoregrain.studies.outcomes import Sampling, distances, draw, sliced_distance


def exact_epsilon(law: Sphere, process: DiffusionProcess) -> Model:
    """Return E[ε | x_t] as a model f(x_t, t), for white noise: the posterior on the sphere is von Mises and Fisher's.

    At x_t = c x + s ε its mean direction is that of y = Vᵀ x_t, its concentration κ = c √D ‖y‖ / s², and the mean of
    its unit vector is coth κ - 1/κ long.
    """
    radius = math.sqrt(law.size)

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        columns, rows = law.directions.to(x_t.device), x_t.flatten(1).double()
        c, s = process.coefficients(process.steps(t, x_t), rows)
        y = rows @ columns
        length = y.norm(dim=1, keepdim=True)
        kappa = c * radius * length / s**2
        mean = radius * (y / length.clamp_min(1e-300) * langevin(kappa)) @ columns.T
        epsilon: Tensor = (rows - c * mean) / s
        return epsilon.reshape(x_t.shape).to(x_t.dtype)

    return model


def langevin(kappa: Tensor) -> Tensor:
    """Coth κ - 1/κ of κ ≥ 0; by its series κ/3 - κ³/45 where the difference would lose digits."""
    small = kappa < 1e-2
    safe = torch.where(small, torch.ones_like(kappa), kappa)
    return torch.where(small, kappa / 3 - kappa**3 / 45, 1 / torch.tanh(safe) - 1 / safe)


def sphere_outcomes(
    model: Model, process: DiffusionProcess, law: Sphere, sampling: Sampling, seed: int
) -> dict[str, Any]:
    """Return ``sw2`` and its trivial ones, ``radius``, ``off``, and the excess error in the span and off it."""
    exact = exact_epsilon(law, process)
    target = law.sample(sampling.count, stream(seed, "study target"))
    resample = law.sample(sampling.count, stream(seed, "study resample"))
    samples, ideal = (draw(each, process, law.shape, sampling, seed) for each in (model, exact))
    values = distances(samples, target, resample, sampling, seed)
    values["sw2_exact"] = sliced_distance(ideal, target, sampling, seed)[0]
    values |= {"radius": None, "off": None} if samples is None else shape_of(samples, law)
    return values | _excess(model, process, law, exact, sampling.count, seed)


def _excess(
    model: Model, process: DiffusionProcess, law: Sphere, exact: Model, count: int, seed: int
) -> dict[str, float | None]:
    """Excess denoising error, the mean over levels and over directions in the span, and over those off it."""
    x0 = law.sample(count, stream(seed, "study denoising"))
    span = law.directions.shape[1]
    columns = torch.cat([law.directions, torch.eye(law.size, dtype=torch.float64)], 1)
    try:
        found = direction_error(model, process, x0, columns, exact, seed=seed)
    except InvalidInputError:  # a network that diverged returns what is no number
        return {"excess_along": None, "excess_off": None}
    assert found.excess is not None
    inside, whole = float(found.excess.mean[:span].sum()), float(found.excess.mean[span:].sum())
    return {"excess_along": inside / span, "excess_off": (whole - inside) / (law.size - span)}


def shape_of(samples: Tensor, law: Sphere) -> dict[str, float]:
    """Return ``radius``, E |‖x‖/√D - 1|, and ``off``, the energy per direction off the span."""
    rows = samples.flatten(1).double().cpu()
    energy = rows.square().sum(1)
    off = energy - (rows @ law.directions).square().sum(1)
    radius = ((energy / law.size).sqrt() - 1).abs().mean()
    return {"radius": float(radius), "off": float(off.clamp_min(0).mean()) / (law.size - law.directions.shape[1])}
