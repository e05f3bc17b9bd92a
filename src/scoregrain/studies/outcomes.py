"""What is measured of a trained network: generation, denoising and sampling, the same in all studies (MATH A8, B6).

Three outcomes, since the first two can disagree. Generation is the distance of samples to the law as the first paper
measures it, with the width along the data's direction and the energy off it, which say what the distance is made of.
Denoising is E (u·(ε̂ - ε*))², what the network has not learned, without a sampler. Sampling is how far one sampler,
started from the same ξ, ends with the network from where it ends with the exact score: it ties the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain._random import stream
from scoregrain.datasets import GaussianMixture, RankOne
from scoregrain.diffusion import DiffusionProcess, GaussianMixtureScore, sample
from scoregrain.diffusion.infer import infer_device
from scoregrain.diffusion.process import Model
from scoregrain.metrics import direction_error, sliced_wasserstein
from scoregrain.noise import ForwardNoise, White

BASELINES = ("resample", "zeros", "white")
"""Trivial generators, by the names that follow ``sw2_`` in the values of a row."""


_EXCESS = ("levels", "excess", "excess_levels", "excess_last")
_EXCESS_ALONG = ("excess_along", "excess_along_levels", "excess_along_last", "gap_first_order", "excess_off")


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn and compared.

    Attributes:
        count: Samples, arrays of the target, of every baseline, and to be denoised.
        sampler: By name.
        steps: Of the sampler.
        projections: Of the sliced distances; None for 64 D.
    """

    count: int = 512
    sampler: str = "ddim"
    steps: int = 50
    projections: int | None = None


def draw(
    model: Model,
    process: DiffusionProcess,
    shape: tuple[int, ...],
    sampling: Sampling,
    seed: int,
    null_content: Tensor | None = None,
) -> Tensor | None:
    """Return samples (n, C, *space) on the CPU; the ξ are a function of the seed, so pairs share them.

    ``null_content`` is what an omitted band holds, as in :func:`~scoregrain.diffusion.sample`. None is returned where
    the sampler ran into numbers that are not finite.
    """
    try:
        return sample(
            model,
            process,
            sampling.count,
            shape,
            sampler=sampling.sampler,
            steps=sampling.steps,
            generator=stream(seed, "study samples"),
            null_content=null_content,
        ).cpu()
    except ScoregrainError:
        return None


def law_outcomes(
    model: nn.Module, process: DiffusionProcess, law: GaussianMixture, sampling: Sampling, seed: int
) -> dict[str, Any]:
    """Return all outcomes of a network trained on a law whose exact score is known.

    Values: ``sw2``, ``sw2_error``, ``msw2``; ``sw2_resample``, ``sw2_zeros``, ``sw2_white``; ``sw2_exact``, of the
    same sampler with the exact score; of :func:`excess_outcomes` and :func:`gap_outcomes`; for a :class:`RankOne` law
    those of :func:`shape_outcomes`. A distance is None where the samples are not finite.
    """
    exact = GaussianMixtureScore(law.weights, law.means, law.covariances, process)
    target = law.sample(sampling.count, stream(seed, "study target"))
    samples, ideal = (draw(each, process, law.shape, sampling, seed) for each in (model, exact))
    values = distances(samples, target, law.sample(sampling.count, stream(seed, "study resample")), sampling, seed)
    values["sw2_exact"] = sliced_distance(ideal, target, sampling, seed)[0]
    values |= excess_outcomes(model, process, law, exact, seed, sampling.count)
    values |= gap_outcomes(samples, ideal, law)
    return values | (shape_outcomes(samples, law) if isinstance(law, RankOne) else {})


def sampler_outcomes(
    model: nn.Module, process: DiffusionProcess, law: GaussianMixture, sampling: Sampling, seed: int
) -> dict[str, Any]:
    """Return ``sw2`` and ``sw2_exact`` of one more sampler, by names that end in its own, such as ``sw2_ddpm``."""
    exact = GaussianMixtureScore(law.weights, law.means, law.covariances, process)
    target = law.sample(sampling.count, stream(seed, "study target"))
    found: dict[str, Model] = {"sw2": model, "sw2_exact": exact}
    return {
        f"{name}_{sampling.sampler}": sliced_distance(
            draw(each, process, law.shape, sampling, seed), target, sampling, seed
        )[0]
        for name, each in found.items()
    }


def distances(
    samples: Tensor | None, target: Tensor, resample: Tensor, sampling: Sampling, seed: int
) -> dict[str, Any]:
    """Return sliced distances of samples and of the trivial generators to a target, over the same projections."""
    sw2, error, msw2 = sliced_distance(samples, target, sampling, seed)
    white = torch.randn(target.shape, generator=stream(seed, "study white noise"))
    trivial = dict(zip(BASELINES, (resample, torch.zeros_like(target), white), strict=True))
    found = {f"sw2_{name}": sliced_distance(each, target, sampling, seed)[0] for name, each in trivial.items()}
    return {"sw2": sw2, "sw2_error": error, "msw2": msw2, **found}


def shape_outcomes(samples: Tensor | None, law: RankOne) -> dict[str, Any]:
    """Return ``width``, the deviation along v over the law's, and ``off``, the energy per direction off v."""
    if samples is None:
        return {"width": None, "off": None}
    along, off = _split(samples, law.direction)
    return {"width": float(along.std()) / law.scale, "off": off}


def gap_outcomes(samples: Tensor | None, ideal: Tensor | None, law: GaussianMixture) -> dict[str, Any]:
    """Return the root mean square difference of samples from those of the exact score, drawn from the same ξ.

    ``gap`` is per coordinate; of a :class:`RankOne` law also ``gap_along``, in units of its width, and ``gap_off``.
    """
    names = ["gap", *(["gap_along", "gap_off"] if isinstance(law, RankOne) else [])]
    if samples is None or ideal is None:
        return dict.fromkeys(names)
    difference = samples - ideal
    found = {"gap": float(difference.double().square().mean().sqrt())}
    if isinstance(law, RankOne):
        along, off = _split(difference, law.direction)
        found |= {"gap_along": float(along.square().mean().sqrt()) / law.scale, "gap_off": math.sqrt(off)}
    return found


def excess_outcomes(
    model: nn.Module, process: DiffusionProcess, law: GaussianMixture, exact: Model, seed: int, count: int = 512
) -> dict[str, Any]:
    """Return E (u·(ε̂ - ε*))² per direction: the mean over levels, level by level, and at the last level T - 1.

    ``excess`` is the mean over all directions and ten levels of the schedule, ``excess_levels`` (10,) that of each,
    ``excess_last`` at t = T - 1, where a sampler begins and errors count most. Of a :class:`RankOne` law the same names
    with ``_along`` are along its direction, ``excess_off`` the mean over directions off it, and ``gap_first_order`` is
    :func:`first_order_gap`, None where the noise is not white. ``levels`` are the steps. All are None where the
    network's output is not finite.
    """
    x0 = law.sample(count, stream(seed, "study denoising"))
    x0 = x0.to(infer_device(model, None))
    columns = torch.eye(law.size, dtype=torch.float64)
    if isinstance(law, RankOne):
        columns = torch.cat([columns, law.direction.reshape(-1, 1)], 1)
    try:
        measured = direction_error(model, process, x0, columns, exact, seed=seed)
        last = direction_error(model, process, x0, columns, exact, levels=[process.num_steps - 1], seed=seed).excess
    except InvalidInputError:  # the network's output is not finite: a training that diverged
        return dict.fromkeys(_EXCESS + (_EXCESS_ALONG if isinstance(law, RankOne) else ()))
    middle = measured.excess
    assert middle is not None
    assert last is not None
    levels = middle.value[:, : law.size].mean(1)
    found: dict[str, Any] = {
        "levels": list(measured.levels),
        "excess": float(levels.mean()),
        "excess_levels": levels.tolist(),
        "excess_last": float(last.value[0, : law.size].mean()),
    }
    if isinstance(law, RankOne):
        mine = middle.value[:, -1]
        found["excess_along"] = float(mine.mean())
        found["excess_along_levels"] = mine.tolist()
        found["excess_along_last"] = float(last.value[0, -1])
        white = process.noise == ForwardNoise(White())
        found["gap_first_order"] = first_order_gap(mine, process, law.scale) if white else None
        found["excess_off"] = (found["excess"] * law.size - found["excess_along"]) / (law.size - 1)
    return found


def first_order_gap(excess: Tensor, process: DiffusionProcess, scale: float) -> float:
    """Return how far small denoising errors along a rank-one law's direction let a deterministic sampler end.

    In x̄ = x/c and r = s/c the sampler follows dx̄/dr = ε̂, and along v the exact flow takes a change at r to
    S/√(S² + r²) of it at r = 0, S being the law's width there. So errors δ(r) end, to first order and in units of S, as
    ∫ δ d asinh(r/S), of root mean square at most ∫ √(E δ²) d asinh(r/S) (Minkowski; derived here). High noise counts
    most: half of the integral's measure lies above r = √(S r_T / 2).

    Args:
        excess: E (v·(ε̂ - ε*))² at the middles of L equal parts of the schedule, (L,).
        process: White noise; c and s of every step.
        scale: S.
    """
    edges = [min(i * process.num_steps // len(excess), process.num_steps - 1) for i in range(len(excess) + 1)]
    r = torch.tensor([process.level(t)[1] / process.level(t)[0] for t in edges], dtype=torch.float64)
    measure = torch.asinh(r / scale).diff()
    return float((excess.clamp_min(0).sqrt() * measure).sum())


def _split(x: Tensor, direction: Tensor) -> tuple[Tensor, float]:
    """Coordinates (n,) along a direction, and the mean square per direction off it."""
    rows = x.flatten(1).double()
    along = rows @ direction.flatten()
    return along, float(rows.square().sum(1).sub(along.square()).mean()) / (rows.shape[1] - 1)


def sliced_distance(
    samples: Tensor | None, target: Tensor, sampling: Sampling, seed: int
) -> tuple[float | None, float | None, float | None]:
    """Distance, its standard error and the largest projected one; the projections are a function of the seed."""
    if samples is None:
        return None, None, None
    found = sliced_wasserstein(samples, target, sampling.projections, seed=seed)
    return found.sw2, found.error, found.msw2
