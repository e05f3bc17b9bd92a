"""Whether samples are nearer to the training images than fresh images of the same law are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain.metrics._nearest import nearest
from scoregrain.metrics._samples import check_pair

COPY_QUANTILE = 0.01
"""Nearer to a training image than this share of the held-out images are counts as a copy."""

SIGMAS = 3.0
"""Standard errors above chance from which a set of samples counts as memorised."""

LEANING = 0.2
"""The least excess of samples closer to training images that counts, however certain.

Held-out parts are not always a random split: MNIST's test set has other writers, and fresh images of its training part
have an excess of 0.1.
"""

LEAST = 20
"""The fewest training images, held-out images and samples."""


@dataclass(frozen=True, eq=False)
class Memorisation:
    """How near samples are to the training images, beside held-out images. Distances are Euclidean, in pixels.

    Attributes:
        share_closer_to_train: Of the samples, those whose nearest image, of all training and held-out ones, is a
            training image. 1 for copies.
        expected_closer: That share when nothing is memorised: the share of the training images among all images.
        closer_error: The standard deviation of that share when nothing is memorised.
        share_copies: Of the samples, those nearer to a training image than all but 1 % of the held-out images are.
        expected_copies: That share of the held-out images themselves, 0.01 without ties.
        copies_error: Standard error of the difference of the last two, when nothing is memorised.
        median_distance: From a sample to its nearest training image.
        median_held_out: From a held-out image to its nearest training image.
        distances: From each sample to its nearest training image, float64 (N,).
        nearest: Its index, int64 (N,).
    """

    share_closer_to_train: float
    expected_closer: float
    closer_error: float
    share_copies: float
    expected_copies: float
    copies_error: float
    median_distance: float
    median_held_out: float
    distances: Tensor
    nearest: Tensor

    @property
    def z(self) -> float:
        """Standard deviations that the share closer to the training images lies above what is expected."""
        return (self.share_closer_to_train - self.expected_closer) / self.closer_error if self.closer_error else 0.0

    @property
    def z_copies(self) -> float:
        """Standard deviations that the share of near copies lies above that of the held-out images.

        Of arcsines of the roots of shares, which are normal also where a share is small: of the difference itself more
        than 3 errors are as frequent as 1 in 100.
        """
        if not self.copies_error:
            return 0.0
        over = math.asin(math.sqrt(self.share_copies)) - math.asin(math.sqrt(self.expected_copies))
        return 2 * over * math.sqrt(self.expected_copies * (1 - self.expected_copies)) / self.copies_error

    @property
    def excess_closer(self) -> float:
        """The share memorised, judged by the share closer to the training images: 0 when fresh, 1 for copies.

        ``closer_error / (1 - expected_closer)`` is its error.
        """
        return (self.share_closer_to_train - self.expected_closer) / (1 - self.expected_closer)

    @property
    def ratio(self) -> float:
        """Median distance of samples over that of held-out images: 1 for fresh images, 0 for copies.

        NaN where the held-out images themselves are copies of training images.
        """
        return self.median_distance / self.median_held_out if self.median_held_out else math.nan

    @property
    def copied(self) -> bool:
        """Too many near copies of training images."""
        return self.z_copies > SIGMAS

    @property
    def memorised(self) -> bool:
        """More than 3 standard errors above chance: too near to the training images, or too many copies of them.

        Too near is an excess of 0.2 and more: :data:`LEANING`.
        """
        return (self.z > SIGMAS and self.excess_closer > LEANING) or self.copied


def memorisation(samples: Tensor, train: Tensor, held_out: Tensor) -> Memorisation:
    """Compare the samples' nearest training images with their nearest held-out images.

    The three-sample logic of Meehan, Chaudhuri and Dasgupta (2020): samples that know nothing about which of M images
    were trained on have a training image nearest as often as a share π of them were. What was trained on is then a
    random choice among the M, whatever the samples are; if c_j of the n samples have image j nearest, their share has
    the variance π (1 - π) (Σ c_j² / n² - 1/M) M/(M - 1): one image that attracts many samples is no evidence.

    Training and held-out images should be a random split of one set. Beside the share stands that of near copies, which
    finds a few copies among many fresh samples.

    Args:
        samples: What the model made, (N, C, *space).
        train: All images it was trained on.
        held_out: Images it was not trained on.

    Raises:
        InvalidInputError: When one of the three holds fewer than 20 images or NaN or infinity, or they differ in shape.
    """
    names = ("the samples", "the training images", "the held-out images")
    drawn, trained = check_pair(samples, train, names[:2], LEAST)
    drawn, fresh = check_pair(drawn.view(samples.shape), held_out, (names[0], names[2]), LEAST)
    trained, fresh = trained.to(drawn), fresh.to(drawn)
    to_train, to_fresh = nearest(drawn, trained), nearest(drawn, fresh)
    between = nearest(fresh, trained)[0]
    share, error = _closer(to_train, to_fresh, len(trained), len(fresh))
    limit = between.quantile(COPY_QUANTILE, interpolation="lower")
    copies, expected = ((each <= limit).double().mean().item() for each in (to_train[0], between))
    return Memorisation(
        share_closer_to_train=share,
        expected_closer=len(trained) / (len(trained) + len(fresh)),
        closer_error=error,
        share_copies=copies,
        expected_copies=expected,
        copies_error=math.sqrt(expected * (1 - expected) * (1 / len(drawn) + 1 / len(fresh))),
        median_distance=to_train[0].median().item(),
        median_held_out=between.median().item(),
        distances=to_train[0],
        nearest=to_train[1],
    )


def _closer(
    to_train: tuple[Tensor, Tensor], to_fresh: tuple[Tensor, Tensor], train_size: int, fresh_size: int
) -> tuple[float, float]:
    """Return the share of samples closer to the training images, ties counting in parts, and its chance deviation."""
    (near, which), (far, other) = to_train, to_fresh
    images = train_size + fresh_size
    share = train_size / images
    closer = (near < far).double() + share * (near == far).double()
    attracted = torch.zeros(images, dtype=torch.float64, device="cpu")
    attracted.index_add_(0, which, closer)
    attracted.index_add_(0, train_size + other, 1 - closer)
    clumping = attracted.square().sum().item() / len(near) ** 2 - 1 / images
    return closer.mean().item(), math.sqrt(max(share * (1 - share) * clumping * images / (images - 1), 0.0))
