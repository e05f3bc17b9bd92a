"""Loading images from any source into one checked tensor."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError, nearest
from scoregrain._random import stream
from scoregrain.datasets.fitting import Step, check_shape, plan
from scoregrain.datasets.folder import folder_stack
from scoregrain.datasets.npz import read_npz
from scoregrain.datasets.stack import Array, Choose, Range, Stack, array_stack, check_range

Source = str | Path | Array | Tensor

_DIGITS = Path(__file__).with_name("digits.npz")
_DIGITS_RANGE: Range = (0, 16)


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """Images as a network sees them, and what was done to get there (MATH A7, "images").

    Attributes:
        pixels: float32 tensor (N, C, H, W) on the CPU, values in [-1, 1] (-1 black, 1 white).
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
    def shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of one image."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width


def load_images(
    source: Source,
    shape: Sequence[int] | None = None,
    value_range: Range | None = None,
    limit: int | None = 10_000,
    seed: int = 0,
) -> Images:
    """Load images, map their pixels to [-1, 1] and fit them to a shape.

    Args:
        source: One of

            - ``"digits"``, the embedded 1797 digits of 8×8 pixels;
            - the path of an ``.npz`` file, whose images are the array ``train`` or the only array with 3 or 4
              dimensions (``train_labels``, if it fits ``train``, becomes ``labels``);
            - the path of a folder of images (png, jpg, bmp, gif, webp, tif), searched with its sub-folders;
            - an array or tensor (N, C, H, W), or (N, H, W) for one channel.
        shape: Target (C, H, W). RGB becomes grey by ITU-R 601 luma, grey becomes RGB by repetition;
            another aspect ratio is centre-cropped; then bilinear resizing with antialiasing. None keeps the
            shape of the source.
        value_range: Pixel values (lo, hi) that become -1 and 1. By default integers are 0..255 and floats
            must lie in [-1, 1] already. Digits and folders have a known range and take none.
        limit: The largest number of images, drawn at random without replacement and kept in their order; None
            keeps all.
        seed: Seed of that draw.

    Returns:
        The images, with a note on every change.

    Raises:
        InvalidInputError: The source is unknown, unreadable or ambiguous, has fewer than 2 images, or pixels
            that are not numbers or lie outside their range; or an argument is not as above.

    Example:
        >>> from scoregrain.datasets import load_images
        >>> images = load_images("digits", shape=(1, 16, 16))
        >>> images.pixels.shape
        torch.Size([1797, 1, 16, 16])
        >>> images.notes[-1]
        'Resized from 8×8 to 16×16 (bilinear, antialiased).'
    """
    if limit is not None and limit < 2:
        raise InvalidInputError(f"limit must be at least 2 images (or None for all), got {limit}")
    target = None if shape is None else check_shape(shape)
    stack, labels = _open(source, check_range(value_range), partial(_choose, limit=limit, seed=seed))
    steps = [] if target is None else plan(stack.shape, target)
    count, notes = len(stack.indices), [*stack.notes, *(step.note for step in steps)]
    if count < stack.total:
        notes.insert(0, f"{count} of {stack.total} images were drawn at random (seed {seed}).")
    chosen = None if labels is None else torch.from_numpy(labels[stack.indices].astype(np.int64))
    return Images(_fill(stack, steps, target or stack.shape), data_name(source), tuple(notes), chosen)


def data_name(source: Source) -> str:
    """Return a short name for titles and file names: ``mnist`` for ``mnist.npz``, the name of a folder.

    Arrays and tensors are called ``array``; what is not a letter, a digit or one of ``._-`` becomes ``-``.
    """
    if not isinstance(source, str | Path):
        return "array"
    path = Path(os.path.abspath(source))
    name = path.stem if path.suffix.lower() == ".npz" else path.name
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60] or "images"


def _open(source: Source, value_range: Range | None, choose: Choose) -> tuple[Stack, Array | None]:
    """Return the chosen raw images, and the labels of all images if there are any."""
    if isinstance(source, np.ndarray | Tensor):
        return array_stack(_to_array(source), "the array", value_range, choose), None
    if not isinstance(source, str | Path):
        raise InvalidInputError(f"expected a name, a path, an array or a tensor, got {type(source).__name__}")
    if source == "digits":
        _refuse_range(value_range, "the embedded digits (0..16)")
        return _open_npz(_DIGITS, _DIGITS_RANGE, choose)
    if os.path.isfile(source) and str(source).lower().endswith(".npz"):
        return _open_npz(Path(source), value_range, choose)
    if os.path.isdir(source) and not str(source).lower().endswith(".npz"):
        _refuse_range(value_range, "image files (0..255)")
        return folder_stack(Path(source), choose), None
    raise InvalidInputError(_explain_unknown(source))


def _open_npz(path: Path, value_range: Range | None, choose: Choose) -> tuple[Stack, Array | None]:
    images, labels = read_npz(path)
    return array_stack(images, str(path), value_range, choose), labels


def _refuse_range(value_range: Range | None, what: str) -> None:
    if value_range is not None:
        raise InvalidInputError(f"the range of {what} is known: leave out value_range (--range)")


def _explain_unknown(source: str | Path) -> str:
    accepted = "expected digits, an .npz file or a folder of images; Hugging Face names are not supported yet"
    if os.path.isdir(source):
        return f"{source} is a folder, although its name ends in .npz; {accepted}"
    if os.path.exists(source):
        return f"{source} is neither an .npz file nor a folder; {accepted}"
    hint = nearest(str(source), ["digits"])
    return f"no data named '{source}', and no such file or folder{hint}; {accepted}"


def _choose(count: int, limit: int | None, seed: int) -> npt.NDArray[np.int64]:
    """Return the indices of all images, or of a random subset in ascending order."""
    if count < 2:
        raise InvalidInputError(f"at least 2 images are needed, found {count}")
    if limit is None or count <= limit:
        return np.arange(count)
    return torch.randperm(count, generator=stream(seed, "images"))[:limit].sort().values.numpy()


def _to_array(source: Array | Tensor) -> Array:
    if isinstance(source, np.ndarray):
        return source
    if source.is_floating_point() and source.dtype not in (torch.float16, torch.float32, torch.float64):
        source = source.float()  # NumPy has no bfloat16
    try:
        return source.numpy(force=True)
    except (TypeError, RuntimeError) as error:  # sparse, quantised, meta
        raise InvalidInputError(f"a tensor of layout {source.layout} on {source.device} cannot be read") from error


def _fill(stack: Stack, steps: list[Step], shape: tuple[int, int, int]) -> Tensor:
    """Read the stack in blocks, apply the steps to each, and gather the results."""
    pixels = torch.empty(len(stack.indices), *shape)
    start = 0
    for block in stack.blocks():
        for step in steps:
            block = step.apply(block)
        pixels[start : start + len(block)] = block.clamp(-1, 1)
        start += len(block)
    return pixels
