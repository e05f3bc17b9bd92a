"""Loading images, or signals, from any source into one checked tensor."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError, nearest
from scoregrain._random import stream
from scoregrain.datasets.fitting import Shape, Step, check_shape, plan
from scoregrain.datasets.sources import Source, open_source
from scoregrain.datasets.stack import Choose, Opened, Range, Stack, check_range

PARTS = ("train", "test")

Tell = Callable[[int, int], list[str]]
"""How many images were chosen, and of how many -> sentences on that."""


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """Images as a network sees them, or signals, and what was done to get there (MATH A7, "images").

    Attributes:
        pixels: float32 tensor (N, C, H, W), of signals (N, C, L), on the CPU. Loaded ones lie in [-1, 1] (-1 black,
            1 white); draws of a law and changed bands may leave it.
        name: Short name for titles and file names.
        notes: Plain sentences on what was done to the data; empty when nothing was.
        labels: int64 tensor (N,), or None.
    """

    pixels: Tensor
    name: str
    notes: tuple[str, ...] = ()
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def __repr__(self) -> str:
        return f"Images({self.name!r}, {tuple(self.pixels.shape)})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of one image, (C, L) of one signal."""
        return tuple(self.pixels.shape[1:])


def load_images(
    source: Source,
    shape: Sequence[int] | None = None,
    value_range: Range | None = None,
    limit: int | None = 10_000,
    seed: int = 0,
    part: str = "train",
    enlarge: bool = True,
) -> Images:
    """Load images, map their pixels to [-1, 1] and fit them to a shape; signals likewise.

    Args:
        source: One of

            - ``"digits"``, the embedded 1797 digits of 8×8 pixels;
            - the path of an ``.npz`` file, whose images are the array ``train`` or the only array with 3 or 4
              dimensions (2 or 3 of signals); ``train_labels`` becomes ``labels``;
            - the path of a folder of images (png, jpg, bmp, gif, webp, tif), searched with its sub-folders;
            - a data set of the Hugging Face library (extra ``data``): its name on the hub, ``owner/name`` or
              ``owner/name:configuration``, or a folder of parquet files or of ``save_to_disk``; the images are the
              column ``image`` or ``img``, the labels ``label``;
            - an array or tensor (N, C, H, W), or (N, H, W) for one channel; of signals (N, C, L) or (N, L).
        shape: Target (C, H, W). RGB becomes grey by ITU-R 601 luma, grey becomes RGB by repetition;
            another aspect ratio is centre-cropped; then bilinear resizing with antialiasing. A target (C, L) says that
            the source holds signals: an array of three dimensions is then (N, C, L), of two (N, L), and another
            length is resampled. None keeps the shape of the source, images.
        value_range: Pixel values (lo, hi) that become -1 and 1. By default integers are 0..255 and floats
            must lie in [-1, 1] already. Digits, folders and Hugging Face images have a known range and take none.
        limit: The largest number of images, drawn at random without replacement and kept in their order; None
            keeps all.
        seed: Seed of that draw.
        part: ``train``, or ``test`` where the source has one: the array ``test`` of an ``.npz`` file, the split
            ``test`` or else ``validation`` of a Hugging Face data set.
        enlarge: Whether images smaller than ``shape`` are enlarged; they are refused otherwise.

    Returns:
        The images, with a note on every change.

    Raises:
        InvalidInputError: The source is unknown, unreadable or ambiguous, has fewer than 2 images, labels of another
            number, or pixels that are not numbers or lie outside their range; or an argument is not as above.

    Example:
        >>> from scoregrain.datasets import load_images
        >>> images = load_images("digits", shape=(1, 16, 16))
        >>> images.pixels.shape
        torch.Size([1797, 1, 16, 16])
        >>> images.notes[-1]
        'Resized from 8×8 to 16×16 (bilinear, antialiased).'
    """
    check_limit(limit)
    request = Request.of(source, shape, value_range, enlarge)
    return request.load(part, partial(choose_some, limit=limit, seed=seed), partial(tell_drawn, seed=seed))


@dataclass(frozen=True)
class Request:
    """A source that was found, and the shape its images shall have."""

    source: Source
    opened: Opened
    target: Shape | None
    enlarge: bool

    @classmethod
    def of(cls, source: Source, shape: Sequence[int] | None, value_range: Range | None, enlarge: bool) -> Request:
        """Check the arguments of :func:`load_images` and find the source."""
        target = None if shape is None else check_shape(shape)
        signals = target is not None and len(target) == 2
        return cls(source, open_source(source, check_range(value_range), signals), target, enlarge)

    def load(self, part: str, choose: Choose, tell: Tell) -> Images:
        """Read the images of a part that are chosen."""
        if part not in self.opened.parts:
            raise InvalidInputError(_explain_part(self.source, part, self.opened.parts))
        stack = self.opened.stack(part, choose)
        steps = [] if self.target is None else plan(stack.shape, self.target, self.enlarge)
        notes = (*tell(len(stack.indices), stack.total), *stack.notes, *(step.note for step in steps))
        labels = None if stack.labels is None else torch.from_numpy(stack.labels.astype(np.int64))
        return Images(_fill(stack, steps, self.target or stack.shape), data_name(self.source), notes, labels)


def check_limit(limit: int | None) -> None:
    """Fail on a limit below two images."""
    if limit is not None and limit < 2:
        raise InvalidInputError(f"limit must be at least 2 images (or None for all), got {limit}")


def choose_some(count: int, limit: int | None, seed: int) -> npt.NDArray[np.int64]:
    """Return the indices of all images, or of a random subset in ascending order."""
    if count < 2:
        raise InvalidInputError(f"at least 2 images are needed, found {count}")
    if limit is None or count <= limit:
        return np.arange(count)
    return torch.randperm(count, generator=stream(seed, "images"))[:limit].sort().values.numpy()


def tell_drawn(kept: int, total: int, seed: int) -> list[str]:
    """Say that images were drawn, where they were."""
    return [f"{kept} of {total} images were drawn at random (seed {seed})."] if kept < total else []


def data_name(source: Source) -> str:
    """Return a short name for titles and file names: ``mnist`` for ``mnist.npz``, the name of a folder.

    Arrays and tensors are called ``array``; what is not a letter, a digit or one of ``._-`` becomes ``-``.
    """
    if not isinstance(source, str | Path):
        return "array"
    path = Path(os.path.abspath(source))
    name = path.stem if path.suffix.lower() == ".npz" else path.name
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60] or "images"


def _explain_part(source: Source, part: str, parts: tuple[str, ...]) -> str:
    if part not in PARTS:
        return f"part must be train or test, got '{part}'{nearest(part, PARTS)}"
    return f"{data_name(source)} has no part '{part}', only {', '.join(parts)}: load_split draws one at random"


def _fill(stack: Stack, steps: list[Step], shape: Shape) -> Tensor:
    """Read the stack in blocks, apply the steps to each, and gather the results."""
    pixels = torch.empty(len(stack.indices), *shape)
    start = 0
    for block in stack.blocks():
        for step in steps:
            block = step.apply(block)
        pixels[start : start + len(block)] = block.clamp(-1, 1)
        start += len(block)
    return pixels
