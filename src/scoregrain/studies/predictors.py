"""What is known of a network and its data before training, laws to try it on, and how it is judged (MATH A5, C6)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoregrain._random import stream, stream_seed
from scoregrain.align import measure_alignment
from scoregrain.datasets import Gaussian, GaussianMixture, Images, RankOne, probing_basis
from scoregrain.datasets.bases import frequencies
from scoregrain.diffusion import DiffusionProcess
from scoregrain.geometry import Geometry, data_geometry
from scoregrain.metrics.ranks import pearson, ranks
from scoregrain.models import NetworkFamily
from scoregrain.operators import DenseOperator
from scoregrain.schedules import linear_schedule

Floats = NDArray[np.float64]
Statistic = Callable[[Floats, Floats], Floats]
"""A correlation of predictors and outcomes (..., data sets, networks), (...,); NaN where there is none."""

PREDICTORS = {
    "alpha": "α over chance",
    "centred": "α over chance of centred data",
    "relative": "place of α in its possible range",
    "absolute": "α",
    "trace": "tr G",
    "effective_rank": "tr G / λ_max",
    "parameters": "parameters",
    "initial_loss": "loss before training",
}
"""Numbers of a network family and data; the first is what ``scoregrain rank`` orders by."""

HALVES = ("alpha_first", "alpha_second")
"""α over chance by either half of the networks that measured G."""

INITIAL_NETWORKS, INITIAL_ARRAYS = 8, 256
"""Over which the loss before training is a mean."""

SMOOTHNESS = 1.5
"""Variances of the smooth field fall as (1 + f²) to minus this power, f the DCT frequency."""

ATOMS, SPREAD = 8, 0.1
"""Components of the mixtures, and their standard deviation per pixel."""


def named_law(name: str, size: int) -> GaussianMixture | None:
    """Return a law on (1, size, size) of energy D, None where the name is none of these.

    ``smooth`` and ``rough``: Gaussian fields in the DCT basis, of the same variances in opposite order. ``low``,
    ``high`` and ``pixel``: rank one, along a slow wave, the fastest one and one pixel. ``mixture`` and
    ``rough-mixture``: eight narrow Gaussians at the slowest and the fastest waves of the DCT, without the constant.
    """
    shape = (1, size, size)
    waves, order = probing_basis("dct-ii", shape), frequencies(shape).square().sum(1).argsort(stable=True)
    if name in ("smooth", "rough"):
        variances = (1 + frequencies(shape)[order].double().square().sum(1)) ** -SMOOTHNESS
        places = order if name == "smooth" else order.flip(0)
        columns = waves[:, places]
        covariance = (columns * (variances / variances.mean())) @ columns.T
        zero = torch.zeros(shape, dtype=torch.float64)
        return Gaussian(zero, DenseOperator.from_matrix(shape, covariance), name=name)
    if name in ("low", "high"):
        return RankOne(waves[:, order[1 if name == "low" else -1]].reshape(shape), name=name)
    if name == "pixel":
        centre = size // 2 * (size + 1)
        return RankOne(probing_basis("canonical", shape)[:, centre].reshape(shape), name=name)
    if name in ("mixture", "rough-mixture"):
        places = order[1 : ATOMS + 1] if name == "mixture" else order[-ATOMS:]
        means = size * waves[:, places].T.reshape(-1, *shape)
        return GaussianMixture([1.0] * ATOMS, means, [SPREAD**2] * ATOMS, name=name)
    return None


def predict(family: NetworkFamily, geometry: Geometry, images: Images) -> dict[str, float]:
    """Return all of :data:`PREDICTORS` for a family and the data that it is to be trained on.

    Also :data:`HALVES`. All are rounded to nine digits: where G is isotropic α is chance, and rounding errors must not
    order such networks.
    """
    data = data_geometry(images)
    alignment = measure_alignment(geometry, data)
    halves = [measure_alignment(half, data).of_chance for half in geometry.halves()]
    found = {
        "alpha": alignment.of_chance,
        "centred": measure_alignment(geometry, data_geometry(images, centred=True)).of_chance,
        "relative": 0.5 if alignment.relative is None else alignment.relative,
        "absolute": alignment.natural,
        "trace": geometry.trace,
        "effective_rank": geometry.effective_rank,
        "parameters": float(sum(p.numel() for p in family.construct(0, 0).parameters())),
        "initial_loss": initial_loss(family, images.pixels),
        "alpha_first": halves[0],
        "alpha_second": halves[1],
    }
    return {name: float(f"{value:.9g}") for name, value in found.items()}


def initial_loss(family: NetworkFamily, pixels: Tensor) -> float:
    """Return the mean denoising loss of networks that are not trained; the same steps and noise for all families."""
    process = DiffusionProcess(linear_schedule(1000), prediction=family.prediction)
    x0 = pixels[:INITIAL_ARRAYS]
    losses = []
    for index in range(INITIAL_NETWORKS):
        network = family.construct(0, index)
        losses.append(float(process.loss(network, x0, generator=stream(0, "initial loss", index))))
    return math.fsum(losses) / len(losses)


def pooled(x: Floats, y: Floats) -> Floats:
    """Return Spearman's ρ over all data sets and networks at once."""
    first, second = (ranks(z.reshape(*z.shape[:-2], -1)) for z in (x, y))
    return np.asarray(pearson(first, second))


def within(x: Floats, y: Floats) -> Floats:
    """Return the mean over data sets of Spearman's ρ over networks, of those that have one."""
    found = np.asarray(pearson(ranks(x), ranks(y)))
    known = np.isfinite(found)
    count = known.sum(-1)
    total = np.where(known, found, 0.0).sum(-1)
    mean: Floats = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
    return mean


def crossed_interval(
    statistic: Statistic, predictor: Floats, runs: Floats, level: float = 0.95, draws: int = 4000, seed: int = 0
) -> tuple[float, float]:
    """Return an interval of a correlation by resampling data sets, networks and seeds within cells (Owen 2007).

    Cells share their network and their data: resampled one by one, as if independent, they give too short an interval.
    It is conservative. NaN of a single data set, and where fewer than half of the resamples have a correlation.

    Args:
        statistic: :func:`pooled` or :func:`within`.
        predictor: (K, F), a number for each data set and network.
        runs: (K, F, S), outcomes.
        level: Coverage.
        draws: Resamples.
        seed: Of the resamples.
    """
    rng = np.random.default_rng(stream_seed(seed, "crossed bootstrap"))
    k, f, s = runs.shape
    found = []
    for _ in range(max(1, draws // 250)):
        rows = rng.integers(k, size=(250, k, 1))
        columns = rng.integers(f, size=(250, 1, f))
        chosen = rng.integers(s, size=(250, k, f, s))
        means = runs[rows[..., None], columns[..., None], chosen].mean(-1)
        found.append(statistic(predictor[rows, columns], means))
    values = np.concatenate(found)
    values = values[np.isfinite(values)]
    if k < 2 or len(values) < draws / 2:
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def network_permutations(statistic: Statistic, predictor: Floats, outcomes: Floats, most: int = 5040) -> float:
    """Return p of "the correlation is positive" by exchanging networks, in all data sets alike.

    What a network's outcomes have in common over data sets stays together, so that only as many independent units
    count as there are networks. All exchanges are taken, or ``most`` random ones of more than seven networks.

    Args:
        statistic: :func:`pooled` or :func:`within`.
        predictor: (K, F).
        outcomes: (K, F).
        most: As above.
    """
    f = predictor.shape[1]
    if math.factorial(f) <= most:
        orders = np.array(list(itertools.permutations(range(f))))
    else:
        rng = np.random.default_rng(stream_seed(0, "network permutations"))
        orders = np.stack([np.arange(f), *(rng.permutation(f) for _ in range(most))])
    value = float(statistic(predictor, outcomes))
    others = np.concatenate([statistic(predictor[None], outcomes.T[part].swapaxes(1, 2)) for part in _parts(orders)])
    return float((others >= value - 1e-12).mean())


def _parts(orders: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.array_split(orders, max(1, len(orders) // 250))
