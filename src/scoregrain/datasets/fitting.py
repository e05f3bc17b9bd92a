"""Fitting images to a shape (C, H, W), signals to (C, L): grey or RGB, centre crop, resize."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from torch.nn import functional

from scoregrain._errors import InvalidInputError

Shape = tuple[int, ...]
"""(C, H, W) of images, (C, L) of signals."""

Size = tuple[int, ...]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Step:
    """One change of images (n, C, *space), and the sentence that tells of it."""

    note: str
    apply: Callable[[Tensor], Tensor]


def check_shape(shape: Sequence[int]) -> Shape:
    """Return the shape, or raise InvalidInputError unless it is (C, H, W) or (C, L) of positive integers."""
    expected = "(C, H, W), or (C, L) for signals"
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        raise InvalidInputError(f"shape must be positive integers {expected}, got {shape!r}") from None
    if len(sizes) not in (2, 3):
        raise InvalidInputError(
            f"images have two space dimensions, so shape must be {expected}, got {sizes} with {len(sizes) - 1}"
        )
    if min(sizes) < 1:
        raise InvalidInputError(f"shape must be positive integers {expected}, got {sizes}")
    return sizes


def size_text(size: Size) -> str:
    """Return a size (H, W) or (L,) as text."""
    return "×".join(map(str, size))


def plan(source: Shape, target: Shape, enlarge: bool = True) -> list[Step]:
    """Return the steps that take images of shape ``source`` to ``target``, in order; signals likewise.

    Raises:
        InvalidInputError: The channels differ and are not grey (1) and RGB (3) of images; or, unless ``enlarge``, the
            source is smaller than the target.
    """
    change = (source[0], target[0])
    images = len(source) == 3
    if change[0] != change[1] and not (images and set(change) == {1, 3}):
        raise InvalidInputError(
            f"{_noun(source)} have {change[0]} channels, {change[1]} are needed; only grey (1) and RGB (3) images"
            " convert"
        )
    grey = [Step("Converted from RGB to grey (ITU-R 601 luma).", _to_grey)] if change == (3, 1) else []
    rgb = [Step("Converted from grey to RGB by repetition.", _to_rgb)] if change == (1, 3) else []
    space = _image_steps(source[1:], target[1:]) if images else _signal_steps(source[1:], target[1:])
    if not enlarge and any(have < want for have, want in zip(source[1:], target[1:], strict=True)):
        raise InvalidInputError(
            f"{_noun(source)} of {size_text(source[1:])} are smaller than the model's {size_text(target[1:])}: pass"
            " enlarge=True (--enlarge) to resize them, or choose a smaller model"
        )
    return [*grey, *space, *rgb]


def _noun(shape: Shape) -> str:
    return "images" if len(shape) == 3 else "signals"


def _image_steps(source: Size, target: Size) -> list[Step]:
    steps = []
    crop = _crop_size(source, target)
    if crop != source:
        note = f"Centre-cropped from {size_text(source)} to {size_text(crop)} (height×width)."
        steps.append(Step(note, partial(_centre_crop, size=crop)))
    if crop != target:
        note = f"Resized from {size_text(crop)} to {size_text(target)} (bilinear, antialiased)."
        steps.append(Step(note, partial(_resize, size=target)))
    return steps


def _signal_steps(source: Size, target: Size) -> list[Step]:
    note = f"Resampled from {size_text(source)} to {size_text(target)} values (linear, antialiased)."
    return [] if source == target else [Step(note, partial(_resize, size=target))]


def _crop_size(source: Size, target: Size) -> Size:
    """Return the largest (H, W) inside ``source`` with the aspect ratio of ``target``, rounded to pixels."""
    (height, width), (rows, columns) = source, target
    if height * columns > rows * width:
        return max(1, round(width * rows / columns)), width
    return height, max(1, round(height * columns / rows))


def _centre_crop(pixels: Tensor, size: Size) -> Tensor:
    top, left = ((have - want) // 2 for have, want in zip(pixels.shape[-2:], size, strict=True))
    return pixels[..., top : top + size[0], left : left + size[1]]


def _resize(pixels: Tensor, size: Size) -> Tensor:
    """(Bi)linear: its weights are positive, so that nothing overshoots the range of the pixels."""
    planes = pixels if len(size) == 2 else pixels[..., None, :]  # a signal is an image of one row
    resized = functional.interpolate(planes, (1, *size)[-2:], mode="bilinear", antialias=True)
    return resized.reshape(*pixels.shape[:2], *size)


def _to_grey(pixels: Tensor) -> Tensor:
    return (pixels * pixels.new_tensor(_LUMA).view(3, 1, 1)).sum(dim=1, keepdim=True)


def _to_rgb(pixels: Tensor) -> Tensor:
    return pixels.expand(-1, 3, -1, -1)
