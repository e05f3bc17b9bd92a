"""Images to train on, and images held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from scoregrain._arguments import shown
from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.datasets.images import Images, Request, check_limit, choose_some
from scoregrain.datasets.sources import Source
from scoregrain.datasets.stack import Range


@dataclass(frozen=True, eq=False)
class Split:
    """Images in two parts without a common one.

    Attributes:
        train: To train on.
        held_out: For judgement alone.

    Raises:
        InvalidInputError: They are of different shapes.
    """

    train: Images
    held_out: Images

    def __post_init__(self) -> None:
        if self.train.shape != self.held_out.shape:
            raise InvalidInputError(
                f"'{self.train.name}' has arrays {self.train.shape} to train on and {self.held_out.shape} held out:"
                " load both with one shape"
            )


def load_split(
    source: Source,
    shape: Sequence[int] | None = None,
    value_range: Range | None = None,
    limit: int | None = None,
    seed: int = 0,
    held_out: float = 0.1,
    enlarge: bool = True,
) -> Split:
    """Load images in two disjoint parts, to train on and held out.

    A source that has a part ``test`` (see :func:`~scoregrain.datasets.load_images`) is split as it says; of any other
    the held-out images are drawn at random: a function of the source, ``held_out`` and ``seed``, not of ``limit``.

    Args:
        source: As of :func:`~scoregrain.datasets.load_images`.
        shape: As of load_images.
        value_range: As of load_images.
        limit: The largest number of images to train on, drawn at random; None keeps all. All that is held out is kept.
        seed: Seed of both draws.
        held_out: The share to hold out, between 0 and 1, or the number of images; without effect where the source says.
        enlarge: As of load_images.

    Returns:
        Both parts, each with notes on how it was split; labels follow the images.

    Raises:
        InvalidInputError: As load_images, or a part would have fewer than 2 images, or the parts differ in shape.

    Example:
        >>> split = load_split("digits", held_out=297)
        >>> len(split.train), len(split.held_out)
        (1500, 297)
    """
    check_limit(limit)
    _check_held_out(held_out)
    request = Request.of(source, shape, value_range, enlarge)
    if "test" in request.opened.parts:
        told = "The source itself says what is to train on and what is held out."
        return Split(
            request.load("train", partial(choose_some, limit=limit, seed=seed), partial(_tell_given, told, seed)),
            request.load("test", partial(choose_some, limit=None, seed=seed), partial(_tell_given, told, seed)),
        )
    return Split(
        request.load("train", partial(_choose_rest, held_out, limit, seed), partial(_tell_rest, held_out, seed)),
        request.load("train", partial(_choose_held_out, held_out, seed), partial(_tell_held_out, seed)),
    )


def split_images(images: Images, held_out: float = 0.1, seed: int = 0) -> Split:
    """Split images that are loaded already, by a seeded draw.

    Args:
        images: At least 4.
        held_out: As of :func:`load_split`.
        seed: Of the draw.

    Raises:
        InvalidInputError: A part would have fewer than 2 images.
    """
    _check_held_out(held_out)
    order, number = _order(len(images), held_out, seed)
    told = f"{number} of {len(images)} images, drawn at random (seed {seed}), are held out."

    def part(chosen: torch.Tensor) -> Images:
        kept = chosen.sort().values
        labels = None if images.labels is None else images.labels[kept]
        return Images(images.pixels[kept], images.name, (*images.notes, told), labels)

    return Split(part(order[number:]), part(order[:number]))


def _check_held_out(held_out: float) -> None:
    whole = isinstance(held_out, int) and held_out >= 2
    share = isinstance(held_out, float) and 0 < held_out < 1
    if not (whole or share):
        raise InvalidInputError(
            f"held_out must be a share between 0 and 1, or a number of images of at least 2, got {shown(held_out)}"
        )


def _order(count: int, held_out: float, seed: int) -> tuple[torch.Tensor, int]:
    """Return the images in random order, and how many of them, the first ones, are held out."""
    number = int(held_out) if isinstance(held_out, int) else round(held_out * count)
    if not 2 <= number <= count - 2:
        raise InvalidInputError(
            f"{count} image{'s' * (count != 1)} cannot be split with held_out={held_out} (--held-out): at least 2 must"
            " be held out and 2 left to train on"
        )
    return torch.randperm(count, generator=stream(seed, "held-out images")), number


def _choose_held_out(held_out: float, seed: int, count: int) -> npt.NDArray[np.int64]:
    order, number = _order(count, held_out, seed)
    return order[:number].sort().values.numpy()


def _choose_rest(held_out: float, limit: int | None, seed: int, count: int) -> npt.NDArray[np.int64]:
    order, number = _order(count, held_out, seed)
    return order[number:][:limit].sort().values.numpy()


def _tell_held_out(seed: int, kept: int, total: int) -> list[str]:
    return [f"{kept} of {total} images, drawn at random (seed {seed}), are held out."]


def _tell_rest(held_out: float, seed: int, kept: int, total: int) -> list[str]:
    _, number = _order(total, held_out, seed)
    told = [f"{number} of {total} images, drawn at random (seed {seed}), are held out."]
    return told + _tell_limit(kept, total - number, seed)


def _tell_given(told: str, seed: int, kept: int, total: int) -> list[str]:
    return [told, *_tell_limit(kept, total, seed)]


def _tell_limit(kept: int, total: int, seed: int) -> list[str]:
    return [f"{kept} of {total} images to train on were drawn at random (seed {seed})."] if kept < total else []
