"""What is measured of a network trained on data whose law is not known: generation, denoising, modes (MATH A8, B6).

The outcomes of :mod:`scoregrain.studies.outcomes` as far as they need no exact score. What the best linear denoiser,
that of a Gaussian with the data's moments, reaches stands beside a network's denoising error, and samples of that
Gaussian beside its samples: sliced distances alone hardly tell it from images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.datasets import Images, Split, load_split
from scoregrain.diffusion import DiffusionProcess, GaussianScore
from scoregrain.metrics import (
    direction_error,
    energy_along,
    gaussian_w2,
    label_coverage,
    make_baselines,
    radial_spectrum,
    sliced_wasserstein,
)
from scoregrain.metrics._random_features import RandomFeatures
from scoregrain.metrics.baselines import GAUSSIAN
from scoregrain.operators import DenseOperator
from scoregrain.studies.outcomes import Sampling, distances, draw
from scoregrain.studies.study import Rows

GROUPS = 4
"""Parts of the given directions, in their order, that energy and error are told of."""


@dataclass(frozen=True, eq=False)
class Target:
    """What samples are compared with; a function of the split, the count and the seed.

    Attributes:
        arrays: Held-out arrays (n, C, *space).
        resample: As many other ones, none of them in ``arrays``: held-out ones first, then training ones.
        gaussian: Draws of a Gaussian with the moments of the training arrays, as many.
        trained: How many of ``resample`` are training arrays.
    """

    arrays: Tensor
    resample: Tensor
    gaussian: Tensor
    trained: int = 0

    @classmethod
    def of(cls, split: Split, count: int, seed: int) -> Target:
        """Choose them, other ones for every seed; where fewer than ``count`` are held out, all of those.

        Twice as many must be held out for a resample without training arrays.
        """
        held_out, train = (_shuffled(part, seed) for part in (split.held_out, split.train))
        n = min(count, len(held_out))
        others = torch.cat([held_out[n:], train])[:n]
        gaussian = make_baselines(train, n, seed, resample=others).samples[GAUSSIAN]
        return cls(held_out[:n], others, gaussian, max(0, 2 * n - len(held_out)))


def image_split(data: str, size: int, count: int, limit: int | None = None) -> Split:
    """Load grey images (1, size, size); the same split for all cells and seeds of a study.

    Args:
        data: A name or path that :func:`load_split` takes.
        size: The images are resized.
        count: Of them are held out, unless the source says itself which are.
        limit: The largest number of training images.
    """
    return load_split(data, (1, size, size), limit=limit, held_out=count)


def image_outcomes(
    model: nn.Module,
    process: DiffusionProcess,
    split: Split,
    sampling: Sampling,
    seed: int,
    directions: Tensor | None = None,
) -> dict[str, Any]:
    """Return all outcomes of a network trained on ``split.train``, f(x_t, t) in data space.

    Values: ``count``, how many held-out arrays are the target, and ``trained``, how many of the resample are training
    arrays; ``sw2``, ``sw2_error``, ``msw2``; ``sw2_resample``, ``sw2_zeros``, ``sw2_white``, ``sw2_gaussian``; of
    :func:`feature_outcomes`, :func:`denoising_outcomes` and, where there are labels, :func:`mode_outcomes`; along
    ``directions`` those of :func:`energy_groups`. What samples would give is None where they are not finite.

    Args:
        model: In evaluation mode.
        process: It was trained under.
        split: Held-out arrays are the target; as many samples are drawn, at most ``sampling.count``.
        sampling: How samples are drawn and compared.
        seed: Of the target's choice, the ξ and the projections: pairs share it.
        directions: Orthonormal columns (D, K) in data space, K ≥ 4, in an order that means something.
    """
    target = Target.of(split, sampling.count, seed)
    sampling = replace(sampling, count=len(target.arrays))
    samples = draw(model, process, split.train.shape, sampling, seed)
    values: dict[str, Any] = {"count": len(target.arrays), "trained": target.trained}
    values |= distances(samples, target.arrays, target.resample, sampling, seed)
    values["sw2_gaussian"] = sliced_wasserstein(target.gaussian, target.arrays, sampling.projections, seed=seed).sw2
    values |= feature_outcomes(samples, target)
    values |= denoising_outcomes(model, process, split.train, target.arrays, seed, directions)
    if split.train.labels is not None:
        values |= mode_outcomes(samples, target, split.train)
    return values | ({} if directions is None else energy_groups(samples, target.arrays, directions))


def target_note(rows: Rows) -> str:
    """What :func:`image_outcomes` compared samples with, in a sentence for below a table."""
    if not rows:
        return ""
    trained = rows[0]["trained"]
    other = f"; of as many fresh ones {trained} are training images" if trained else ""
    return f"Samples are compared with {rows[0]['count']} held-out images{other}."


def feature_outcomes(samples: Tensor | None, target: Target) -> dict[str, Any]:
    """Return the log-spectral distance (``spectrum``) and the Fréchet distance of random features (``fd``).

    Each also with ``_resample`` and ``_gaussian``, of those in place of the samples.
    """
    spectrum, features = radial_spectrum(target.arrays), RandomFeatures()
    wanted = features(target.arrays)
    found: dict[str, Any] = {}
    for name, each in {"": samples, "_resample": target.resample, "_gaussian": target.gaussian}.items():
        distance = math.inf if each is None else radial_spectrum(each).log_ratio(spectrum).distance
        found[f"spectrum{name}"] = distance if math.isfinite(distance) else None
        found[f"fd{name}"] = None if each is None else gaussian_w2(features(each), wanted).w2 ** 2
    return found


def denoising_outcomes(
    model: nn.Module,
    process: DiffusionProcess,
    train: Images,
    x0: Tensor,
    seed: int,
    directions: Tensor | None = None,
) -> dict[str, Any]:
    """Return E (u·(ε̂ - ε))² on held-out arrays per direction, and of the best linear denoiser of the training arrays.

    ``error`` is the mean over all directions and ten levels of the schedule, ``error_levels`` (10,) that of each,
    ``levels`` the steps; ``error_linear`` and ``error_linear_levels`` of the linear denoiser; with ``directions`` also
    ``error_groups`` and ``error_linear_groups`` (4,), the means over four equal parts of them. All are None where the
    network's output is not finite.
    """
    size = x0[0].numel()
    x0 = x0.to(next(model.parameters(), x0).device)
    columns = torch.eye(size, dtype=torch.float64)
    if directions is not None:
        columns = torch.cat([columns, directions.double().cpu()], 1)
    try:
        found = direction_error(model, process, x0, columns, best_linear(train, process), seed=seed)
    except InvalidInputError:  # the network returned what is not finite
        names = ["error", "error_linear"]
        return dict.fromkeys(name + each for name in names for each in ("", "_levels", "_groups"))
    values: dict[str, Any] = {"levels": list(found.levels)}
    assert found.bayes is not None
    for name, estimate in {"error": found.error, "error_linear": found.bayes}.items():
        levels = estimate.value[:, :size].mean(1)
        values |= {name: float(levels.mean()), f"{name}_levels": levels.tolist()}
        if directions is not None:
            values[f"{name}_groups"] = [float(part.mean()) for part in _groups(estimate.mean[size:])]
    return values


def best_linear(train: Images, process: DiffusionProcess) -> GaussianScore:
    """The exact model of a Gaussian with the mean and covariance of the training arrays: the best affine denoiser."""
    rows = train.pixels.flatten(1).double().cpu()
    covariance = DenseOperator.from_matrix(train.shape, rows.T.cov().reshape(rows.shape[1], -1))
    return GaussianScore(rows.mean(0).reshape(train.shape), covariance, process)


def mode_outcomes(samples: Tensor | None, target: Target, train: Images) -> dict[str, Any]:
    """Return how samples share out over the labels of their nearest training arrays.

    ``labels_off`` is the total variation between their shares and the data's, 0 to 1, ``labels_covered`` the share of
    labels that have a tenth of theirs at least, ``labels_outside`` the share of samples farther from all data than
    data are from each other. ``_held_out``, in ``labels_off_held_out`` and the others, is of held-out arrays instead.
    """
    assert train.labels is not None
    found: dict[str, Any] = {}
    for name, each in {"": samples, "_held_out": target.arrays}.items():
        coverage = None if each is None else label_coverage(each, train.pixels, train.labels)
        found[f"labels_off{name}"] = None if coverage is None else coverage.total_variation
        found[f"labels_covered{name}"] = None if coverage is None else float(coverage.covered.double().mean())
        found[f"labels_outside{name}"] = None if coverage is None else coverage.outliers
    return found


def energy_groups(samples: Tensor | None, target: Tensor, directions: Tensor) -> dict[str, Any]:
    """Return ``energy_groups`` (4,), the energy of samples over that of held-out arrays in equal parts of directions.

    ``energy_groups_data`` is the energy of the held-out arrays per direction, in the squared units of the data.
    """
    data = [float(part.mean()) for part in _groups(energy_along(target, directions).value)]
    ratios = None
    if samples is not None:
        drawn = [float(part.mean()) for part in _groups(energy_along(samples, directions).value)]
        ratios = [mine / theirs if theirs > 0 else None for mine, theirs in zip(drawn, data, strict=True)]
    return {"energy_groups": ratios, "energy_groups_data": data}


def _groups(values: Tensor) -> list[Tensor]:
    """Four parts of nearly equal length."""
    return list(torch.tensor_split(values, GROUPS))


def _shuffled(images: Images, seed: int) -> Tensor:
    order = torch.randperm(len(images), generator=stream(seed, "study images", len(images)))
    return images.pixels[order]
