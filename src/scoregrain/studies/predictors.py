"""What is known of a network and its data before training, and laws to try it on (MATH A5)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scoregrain._random import stream
from scoregrain.align import measure_alignment
from scoregrain.datasets import Gaussian, GaussianMixture, Images, RankOne, probing_basis
from scoregrain.datasets.bases import frequencies
from scoregrain.diffusion import DiffusionProcess
from scoregrain.geometry import Geometry, data_geometry
from scoregrain.models import NetworkFamily
from scoregrain.operators import DenseOperator
from scoregrain.schedules import linear_schedule

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

TURNED = "alpha_turned"
"""α over chance of a geometry of the same eigenvalues along random directions: a control."""

KNOWN = (*PREDICTORS, *HALVES, TURNED)
"""All that is known of a family and data before training, in the order of the study's material."""

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


def predict(family: NetworkFamily, geometry: Geometry, data: Sequence[Images], turn: Tensor) -> list[dict[str, float]]:
    """Return all of :data:`KNOWN` for a family and each of the data that it is to be trained on.

    All are rounded to nine digits: where G is isotropic α is chance, and rounding errors must not order such networks.

    Args:
        family: Of networks.
        geometry: Its.
        data: What it is to be trained on.
        turn: (D, D), orthogonal: what turns the eigenvectors of G for the control.
    """
    networks = [family.construct(0, index) for index in range(INITIAL_NETWORKS)]
    constants = {
        "trace": geometry.trace,
        "effective_rank": geometry.effective_rank,
        "parameters": float(sum(p.numel() for p in networks[0].parameters())),
    }
    halves = geometry.halves()
    process = DiffusionProcess(linear_schedule(1000), prediction=family.prediction)
    found = [
        {
            **_alignments(geometry, halves, images, turn),
            **constants,
            "initial_loss": initial_loss(networks, process, images),
        }
        for images in data
    ]
    return [{name: float(f"{each[name]:.9g}") for name in KNOWN} for each in found]


def _alignments(geometry: Geometry, halves: Sequence[Geometry], images: Images, turn: Tensor) -> dict[str, float]:
    data = data_geometry(images)
    turned = float((turn @ geometry.matrix() @ turn.T * data.matrix()).sum())
    alignment = measure_alignment(geometry, data)
    first, second = (measure_alignment(half, data).of_chance for half in halves)
    return {
        "alpha": alignment.of_chance,
        "centred": measure_alignment(geometry, data_geometry(images, centred=True)).of_chance,
        "relative": 0.5 if alignment.relative is None else alignment.relative,
        "absolute": alignment.natural,
        "alpha_first": first,
        "alpha_second": second,
        TURNED: turned * geometry.size / (geometry.trace * data.trace),
    }


def initial_loss(networks: Sequence[nn.Module], process: DiffusionProcess, images: Images) -> float:
    """Return the mean denoising loss of networks that are not trained; the same steps and noise for all families."""
    x0 = images.pixels[:INITIAL_ARRAYS]
    losses = [float(process.loss(n, x0, generator=stream(0, "initial loss", i))) for i, n in enumerate(networks)]
    return math.fsum(losses) / len(losses)
