"""Fréchet distance of features, named by the features and the sample counts, never "FID"."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scoregrain._arguments import shown, whole
from scoregrain._errors import InvalidInputError, ScoregrainError, nearest
from scoregrain.metrics._random_features import RandomFeatures
from scoregrain.metrics._samples import check_finite, check_pair
from scoregrain.metrics.gaussian import gaussian_w2

FEATURES = ("pixels", "random")
GROUPS = 8
"""Parts of the samples that the jackknife leaves out in turn."""


@dataclass(frozen=True)
class FrechetDistance:
    """‖μ_x - μ_y‖² + tr(S_x + S_y - 2 (S_x S_y)^{1/2}) of the features of two sets of samples.

    Attributes:
        value: The squared distance, as it is always quoted, from 0 on; biased upwards when samples are few.
        standard_error: Of ``value``, by the jackknife over 8 parts of both sets; about half too large where both sets
            follow one law, since the distance is then at its minimum.
        bias: How much too large ``value`` is, by the same jackknife; first order in 1/N. Never subtracted.
        features: What the features are called.
        dimension: How many features there are.
        counts: Samples in x and in y.
    """

    value: float
    standard_error: float
    bias: float
    features: str
    dimension: int
    counts: tuple[int, int]

    @property
    def name(self) -> str:
        """What to call it: distances under other features or from other sample counts are other quantities."""
        return f"FD-{self.features} ({self.counts[0]:,} vs {self.counts[1]:,})"

    @property
    def singular(self) -> bool:
        """There are too few samples for a covariance of full rank: the bias is then larger than its estimate."""
        return min(self.counts) <= self.dimension


def frechet_distance(
    x: Tensor,
    y: Tensor,
    features: str | Callable[[Tensor], Tensor] = "pixels",
    name: str | None = None,
    batch_size: int = 256,
) -> FrechetDistance:
    """Return the Fréchet distance of Gaussians fitted to features (Heusel et al. 2017), by torchmetrics.

    Args:
        x: Samples (N, C, *space), floating point.
        y: Samples (M, C, *space), such as held-out data.
        features: ``pixels``, the arrays themselves; ``random``, a fixed random convolutional network
            (:class:`RandomFeatures`); or your own: what maps (n, C, *space) to (n, F), a module in eval mode.
        name: What your features are called; their ``name``, ``__name__`` or class when left out.
        batch_size: Arrays given to the features at a time.

    Raises:
        InvalidInputError: When ``features`` is unknown or gives something else, a module is in training mode, or the
            samples are fewer than 16, differ in shape or are not finite.
        ScoregrainError: When torchmetrics is not installed.
    """
    check_pair(x, y, least=2 * GROUPS)
    extract, called = _extractor(features)
    called = name or called
    batch_size = whole(batch_size, "batch_size", least=1)
    a, b = (_extracted(extract, each, called, batch_size) for each in (x, y))
    dimension = a.shape[1]
    with torch.device("cpu"):  # where torchmetrics' sums are then, whatever the default device
        value = _distance(a, b)
        parts = torch.arange(len(a)) % GROUPS, torch.arange(len(b)) % GROUPS
        without = [_distance(a[parts[0] != g], b[parts[1] != g]) for g in range(GROUPS)]
    mean = math.fsum(without) / GROUPS
    spread = math.fsum((each - mean) ** 2 for each in without)
    return FrechetDistance(
        value=value,
        standard_error=math.sqrt((GROUPS - 1) / GROUPS * spread),
        bias=(GROUPS - 1) * (mean - value),
        features=called,
        dimension=dimension,
        counts=(len(a), len(b)),
    )


def _extractor(features: str | Callable[[Tensor], Tensor]) -> tuple[Callable[[Tensor], Tensor], str]:
    """Return what gives the features, and what they are called."""
    if features == "pixels":
        return lambda x: x.flatten(1), "pixels"
    if features == "random":
        return RandomFeatures(), RandomFeatures.name
    if isinstance(features, str) or not callable(features):
        raise InvalidInputError(
            f"unknown features {shown(features)}{nearest(features, FEATURES)}; known: {', '.join(FEATURES)}, or a"
            " function or module from (n, C, *space) to (n, F)"
        )
    if isinstance(features, nn.Module) and features.training:
        raise InvalidInputError("the feature extractor is in training mode: call its eval() first")
    own = getattr(features, "name", None) or getattr(features, "__name__", None)
    return features, own if isinstance(own, str) else type(features).__name__


def _extracted(extract: Callable[[Tensor], Tensor], x: Tensor, name: str, batch_size: int) -> Tensor:
    """Return the features of all samples, float64 (N, F) on the CPU."""
    found = []
    with torch.no_grad():
        for batch in torch.split(x.detach(), batch_size):
            rows = extract(batch)
            if (
                not isinstance(rows, Tensor)
                or rows.ndim != 2
                or len(rows) != len(batch)
                or not rows.is_floating_point()
            ):
                got = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
                raise InvalidInputError(
                    f"the features '{name}' of {len(batch)} arrays must be a floating-point tensor ({len(batch)}, F),"
                    f" got {got}"
                )
            found.append(rows.double().cpu())
    features = torch.cat(found)
    check_finite(features, f"the features '{name}'")
    return features


def _distance(a: Tensor, b: Tensor) -> float:
    """Return the distance of features (N, F) and (M, F) as torchmetrics computes it; rounding may leave it below 0."""
    metric = _metric(a.shape[1])
    metric.update(a, real=True)
    metric.update(b, real=False)
    try:
        return max(0.0, float(metric.compute()))
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # of singular covariances: roots always converge
        return gaussian_w2(a, b).w2 ** 2


def _metric(dimension: int) -> Any:
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
    except ImportError:
        raise ScoregrainError(
            "the Fréchet distance needs torchmetrics, which is not installed: pip install 'scoregrain[eval]'"
        ) from None
    return FrechetInceptionDistance(feature=_Given(dimension))


class _Given(nn.Module):
    """The extractor torchmetrics is handed: the features are extracted already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features
