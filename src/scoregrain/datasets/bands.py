"""Images of which one band of frequencies is noise, or all that is left (arXiv 2510.09660; MATH B3, B12)."""

from __future__ import annotations

import dataclasses
import math
from typing import TypeVar

import torch
from torch import Tensor

from scoregrain._arguments import check_kind
from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.datasets.images import Images
from scoregrain.operators import FourierOperator, FrequencyGrid

Pixels = TypeVar("Pixels", Images, Tensor)

_LEAVES = "values may leave [-1, 1]"


def limit_band(images: Pixels, low: float, high: float, radius: str = "corner") -> Pixels:
    """Keep the frequencies of low ≤ r < high alone, in every channel.

    Args:
        images: Images, or a tensor (N, C, *space).
        low: Lower edge; above 0 the mean goes too.
        high: Upper edge, excluded unless it is the corner's radius.
        radius: Unit of r, ``raw``, ``corner`` or ``nyquist`` (MATH B3).

    Returns:
        Of the same kind, on the same device; images with a note. Values may leave [-1, 1].

    Raises:
        InvalidInputError: When the band is none or holds no frequency, or the images are of another kind.
    """
    pixels = _pixels(images)
    return _replaced(images, _band(pixels, low, high, radius) @ pixels, f"Only {_told(low, high, radius)} was kept")


def corrupt_band(
    images: Pixels, low: float, high: float, seed: int = 0, strength: float = 1.0, radius: str = "corner"
) -> Pixels:
    """Add Gaussian noise to the frequencies of low ≤ r < high: x' = x + γ ε (MATH B12, "corruption").

    ε is white noise of variance 1 whose other frequencies are set to zero: power γ² at each frequency of the band,
    nothing elsewhere. Every image has its own, drawn on the CPU: the same on every device.

    Args:
        images: Images, or a tensor (N, C, *space).
        low: Lower edge.
        high: Upper edge, excluded unless it is the corner's radius.
        seed: Seed of the noise.
        strength: γ, at least 0; 1 in the paper.
        radius: Unit of r, ``raw``, ``corner`` or ``nyquist`` (MATH B3).

    Returns:
        Of the same kind, on the same device; images with a note. Values may leave [-1, 1].

    Raises:
        InvalidInputError: As :func:`limit_band`, and when the strength is negative or not finite.
    """
    if not 0 <= strength < math.inf:
        raise InvalidInputError(f"strength must be finite and at least 0, got {strength:g}")
    pixels = _pixels(images)
    generator = stream(seed, "band corruption")
    noise = _band(pixels, low, high, radius).sample(len(pixels), generator, _at_least_single(pixels), pixels.device)
    told = f"{_told(low, high, radius).capitalize()} got noise of strength {strength:g} (seed {seed})"
    return _replaced(images, (pixels + strength * noise).to(pixels.dtype), told)


def _pixels(images: Images | Tensor) -> Tensor:
    check_kind(images, Images | Tensor, "images")
    pixels = images if isinstance(images, Tensor) else images.pixels
    if pixels.ndim < 3 or not pixels.is_floating_point():
        raise InvalidInputError(
            f"images must be floating-point tensors (N, C, *space), got {pixels.dtype} of shape {tuple(pixels.shape)}"
        )
    return pixels


def _band(pixels: Tensor, low: float, high: float, radius: str) -> FourierOperator:
    """Return the projector on the band."""
    mask = FrequencyGrid(pixels.shape[2:]).band(low, high, radius)
    if not bool(mask.any()):
        size = "×".join(map(str, pixels.shape[2:]))
        raise InvalidInputError(f"{_told(low, high, radius)} holds no frequency of {size} pixels: widen it")
    return FourierOperator(pixels.shape[1:], mask.double())


def _at_least_single(pixels: Tensor) -> torch.dtype:
    return torch.promote_types(pixels.dtype, torch.float32)


def _told(low: float, high: float, radius: str) -> str:
    return f"the band of frequencies [{low:g}, {high:g}) ({radius} radius)"


def _replaced(images: Pixels, pixels: Tensor, told: str) -> Pixels:
    if isinstance(images, Images):
        return dataclasses.replace(images, pixels=pixels, notes=(*images.notes, f"{told}; {_LEAVES}."))
    return pixels
