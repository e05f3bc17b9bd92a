"""Mode coverage: which components of a mixture, or classes of images, samples hold, and in which shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._arguments import check_kind
from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.metrics._nearest import nearest
from scoregrain.metrics._samples import check_pair
from scoregrain.operators import Operator

COVERED = 0.1
"""A mode is covered when its share is at least this part of what is expected."""

PROBED = 5_000
"""Of labelled images so many at most say how far an image is from its nearest other one."""

OUTLYING = 0.999
"""Farther from its mode than this share of the data is counts as an outlier."""


@dataclass(frozen=True, eq=False)
class ModeCoverage:
    """How samples are shared out over K modes.

    Attributes:
        counts: Samples of each mode, int64 (K,).
        expected: The share of each mode in the data, float64 (K,).
        outliers: The share of samples farther from their mode than 99.9 % of the data are; None where no data were
            given. Of fresh data 0.001 is expected.
        labels: What the modes are called, K of them.
    """

    counts: Tensor
    expected: Tensor
    outliers: float | None
    labels: tuple[int, ...]

    @property
    def shares(self) -> Tensor:
        """The share of the samples in each mode, float64 (K,)."""
        return self.counts / self.counts.sum().double()

    @property
    def standard_error(self) -> Tensor:
        """Of the shares, when the samples follow the data: binomial, float64 (K,)."""
        return (self.expected * (1 - self.expected) / self.counts.sum()).sqrt()

    @property
    def covered(self) -> Tensor:
        """Which modes have at least a tenth of their expected share, bool (K,)."""
        return self.shares >= COVERED * self.expected

    @property
    def total_variation(self) -> float:
        """½ Σ of the absolute differences between shares and what is expected: from 0 to 1."""
        return 0.5 * float((self.shares - self.expected).abs().sum())

    @property
    def total_variation_by_chance(self) -> float:
        """What so many fresh draws of the data would have, by the normal law of their shares."""
        return 0.5 * math.sqrt(2 / math.pi) * float(self.standard_error.sum())

    @property
    def chi_squared(self) -> float:
        """Pearson's Σ (count - expected count)² / expected count: K - 1 for fresh data."""
        wanted = self.counts.sum() * self.expected
        return float(((self.counts - wanted).square() / wanted).sum())

    @property
    def p_value(self) -> float:
        """Of "the samples have other shares than the data", by the χ² law; expected counts should be 5 or more."""
        halves = torch.tensor([len(self.counts) - 1, self.chi_squared], dtype=torch.float64, device="cpu") / 2
        return float(torch.special.gammaincc(*halves))

    @property
    def entropy(self) -> float:
        """Of the shares in nats; log K when all modes are alike."""
        return float(torch.special.entr(self.shares).sum())


def mode_coverage(
    samples: Tensor,
    means: Tensor,
    weights: Tensor | Sequence[float] | None = None,
    covariances: Sequence[Operator] | None = None,
    reference: Tensor | None = None,
) -> ModeCoverage:
    """Count the components of a known mixture among samples.

    A sample belongs to the nearest mean; with covariances to the component of the largest posterior probability, and
    its distance is Mahalanobis'.

    Args:
        samples: (N, C, *space).
        means: (K, C, *space), K ≥ 2.
        weights: Expected shares, K positive numbers, divided by their sum; equal when left out.
        covariances: One of each component, of full rank.
        reference: Draws of the mixture itself, (M, C, *space), which say what is an outlier.

    Raises:
        InvalidInputError: When numbers or shapes differ, a weight is not positive, a covariance is singular, or as in
            every metric.
    """
    rows, centres = check_pair(samples, means, ("the samples", "the means"))
    expected = _expected(weights, len(centres))
    if covariances is not None:
        _check_covariances(covariances, centres)
    mode, distance = _assigned(rows, centres, expected, covariances)
    limit = None
    if reference is not None:
        data = check_pair(reference, means, ("the reference", "the means"))[0].to(rows)
        limit = _assigned(data, centres.to(rows), expected, covariances)[1].quantile(OUTLYING)
    return _coverage(mode, distance, limit, expected, tuple(range(len(centres))))


def label_coverage(samples: Tensor, reference: Tensor, labels: Tensor) -> ModeCoverage:
    """Count the classes of labelled images among samples: each has the class of its nearest image, in pixels.

    Nearest neighbours err (3 % of digits), and favour some classes: one without samples need not be exactly empty, and
    of fresh images ``total_variation`` exceeds what it is by chance and ``p_value`` is too small. Put the coverage of
    held-out images beside.

    Args:
        samples: (N, C, *space).
        reference: Labelled images (M, C, *space).
        labels: Whole numbers (M,), at least two different ones.

    Raises:
        InvalidInputError: When there is not one label for each image, all are alike, or as in every metric.
    """
    rows, images = check_pair(samples, reference, ("the samples", "the reference"))
    check_kind(labels, Tensor, "labels")
    if labels.shape != (len(images),) or labels.is_floating_point() or labels.is_complex():
        raise InvalidInputError(
            f"labels must be one whole number for each of the {len(images)} images, got {labels.dtype} of shape"
            f" {tuple(labels.shape)}"
        )
    values, classes, counts = torch.unique(labels.cpu(), return_inverse=True, return_counts=True)
    if len(values) < 2:
        raise InvalidInputError("all images have one label: there are no modes to tell apart")
    distance, index = nearest(rows, images)
    probed = torch.randperm(len(images), generator=stream(0, "outliers"), device="cpu")[:PROBED]
    limit = nearest(images[probed], images, own=probed)[0].quantile(OUTLYING)
    return _coverage(classes[index], distance, limit, counts / counts.sum().double(), tuple(values.tolist()))


def _coverage(
    mode: Tensor, distance: Tensor, limit: Tensor | None, expected: Tensor, labels: tuple[int, ...]
) -> ModeCoverage:
    outliers = None if limit is None else (distance > limit).double().mean().item()
    return ModeCoverage(mode.bincount(minlength=len(expected)), expected, outliers, labels)


def _assigned(
    rows: Tensor, centres: Tensor, weights: Tensor, covariances: Sequence[Operator] | None
) -> tuple[Tensor, Tensor]:
    """Return the mode of each row and its distance from it, both (N,)."""
    if covariances is None:
        distance, mode = nearest(rows, centres)
        return mode, distance
    squares, log_joint = [], []
    for centre, weight, covariance in zip(centres.double(), weights, covariances, strict=True):
        off = (rows.double() - centre).view(len(rows), *covariance.shape)
        squares.append(covariance.pinv().quadratic(off).cpu())
        log_joint.append(weight.log() - 0.5 * (squares[-1] + covariance.log_det()))
    mode = torch.stack(log_joint).argmax(0)
    return mode, torch.stack(squares).gather(0, mode[None])[0].clamp(min=0).sqrt()


def _expected(weights: Tensor | Sequence[float] | None, modes: int) -> Tensor:
    values = torch.ones(modes, device="cpu") if weights is None else torch.as_tensor(weights)
    shares = values.detach().to("cpu", torch.float64)
    if shares.shape != (modes,) or not bool((shares.isfinite() & (shares > 0)).all()):
        raise InvalidInputError(f"weights must be {modes} positive numbers, one for each mean, got {shares.tolist()}")
    return shares / shares.sum()


def _check_covariances(covariances: Sequence[Operator], centres: Tensor) -> None:
    if len(covariances) != len(centres):
        raise InvalidInputError(f"there are {len(centres)} means and {len(covariances)} covariances: give one for each")
    for covariance in covariances:
        check_kind(covariance, Operator, "a covariance")
        if covariance.size != centres.shape[1] or covariance.rank() < covariance.size:
            raise InvalidInputError(
                f"a covariance must act on the samples' {centres.shape[1]} dimensions with full rank, one has rank"
                f" {covariance.rank()} of {covariance.size}: leave covariances out to assign to the nearest mean"
            )
