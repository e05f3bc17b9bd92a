"""Fitting images to a shape (C, H, W): grey or RGB, centre crop, resize."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from torch.nn import functional

from scoregrain._errors import InvalidInputError

Shape = tuple[int, int, int]
Size = tuple[int, int]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Step:
    """One change of images (n, C, H, W), and the sentence that tells of it."""

    note: str
    apply: Callable[[Tensor], Tensor]


def check_shape(shape: Sequence[int]) -> Shape:
    """Return the shape, or raise InvalidInputError unless it is (C, H, W) of positive integers."""
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        raise InvalidInputError(f"shape must be positive integers (C, H, W), got {shape!r}") from None
    if len(sizes) != 3:
        raise InvalidInputError(
            f"images have two space dimensions, so shape must be (C, H, W), got {sizes} with {len(sizes) - 1}"
        )
    if min(sizes) < 1:
        raise InvalidInputError(f"shape must be positive integers (C, H, W), got {sizes}")
    channels, height, width = sizes
    return channels, height, width


def size_text(size: Size) -> str:
    """Return a size (H, W) as text."""
    return f"{size[0]}×{size[1]}"


def plan(source: Shape, target: Shape) -> list[Step]:
    """Return the steps that take images of shape ``source`` to ``target``, in order.

    Raises:
        InvalidInputError: The channels differ and are not grey (1) and RGB (3).
    """
    channels = (source[0], target[0])
    if channels[0] != channels[1] and set(channels) != {1, 3}:
        raise InvalidInputError(
            f"images have {channels[0]} channels, {channels[1]} are needed; only grey (1) and RGB (3) convert"
        )
    grey = [Step("Converted from RGB to grey (ITU-R 601 luma).", _to_grey)] if channels == (3, 1) else []
    rgb = [Step("Converted from grey to RGB by repetition.", _to_rgb)] if channels == (1, 3) else []
    return [*grey, *_space_steps(source[1:], target[1:]), *rgb]


def _space_steps(source: Size, target: Size) -> list[Step]:
    steps = []
    crop = _crop_size(source, target)
    if crop != source:
        note = f"Centre-cropped from {size_text(source)} to {size_text(crop)} (height×width)."
        steps.append(Step(note, partial(_centre_crop, size=crop)))
    if crop != target:
        note = f"Resized from {size_text(crop)} to {size_text(target)} (bilinear, antialiased)."
        steps.append(Step(note, partial(_resize, size=target)))
    return steps


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
    """Bilinear: its weights are positive, so that nothing overshoots the range of the pixels."""
    return functional.interpolate(pixels, size, mode="bilinear", antialias=True)


def _to_grey(pixels: Tensor) -> Tensor:
    return (pixels * pixels.new_tensor(_LUMA).view(3, 1, 1)).sum(dim=1, keepdim=True)


def _to_rgb(pixels: Tensor) -> Tensor:
    return pixels.expand(-1, 3, -1, -1)
