"""Raw images of one source, read in blocks: the set is never held in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from scoregrain._errors import InvalidInputError

Array = npt.NDArray[Any]
Range = tuple[float, float]
Choose = Callable[[int], npt.NDArray[np.int64]]
"""The number of images there are -> the indices of those to use, ascending."""

BYTE_RANGE: Range = (0, 255)
UNIT_RANGE: Range = (-1, 1)

_BLOCK_VALUES = 2**22  # 32 MiB of float64
_SLACK = 1e-6  # rounding of float pixels beyond their range, relative to its width
ASSUMED = "was assumed"  # in a note: the reader must judge
_LAYOUTS = {
    False: "images must be (N, C, H, W) or (N, H, W)",
    True: "signals, of a shape (C, L), must be (N, C, L) or (N, L) (images have a shape (C, H, W))",
}
_MAPPED = {"pixel": "Pixel values", "value": "Values"}
_HOW_TO_RANGE = "give the true range with value_range=(lo, hi), --range LO HI on the command line"


@dataclass(frozen=True, eq=False)
class Stack:
    """Some of the ``total`` images of a source; ``read(indices)`` gives their raw pixels (n, C, *space).

    ``labels`` are those of the chosen images, integers (n,), where there are any.
    """

    shape: tuple[int, ...]
    indices: npt.NDArray[np.int64]
    total: int
    read: Callable[[npt.NDArray[np.int64]], Array]
    bounds: Range = BYTE_RANGE
    notes: tuple[str, ...] = ()
    labels: Array | None = None

    def blocks(self) -> Iterator[torch.Tensor]:
        """Yield the images in order as float32 tensors (n, C, *space), in [-1, 1] up to rounding."""
        size = max(1, _BLOCK_VALUES // math.prod(self.shape))
        for start in range(0, len(self.indices), size):
            yield _to_unit(self.read(self.indices[start : start + size]), self.bounds)


@dataclass(frozen=True)
class Opened:
    """A source that was found: ``stack(part, choose)`` reads one of its parts, ``train`` or ``test``."""

    stack: Callable[[str, Choose], Stack]
    parts: tuple[str, ...] = ("train",)


def array_stack(array: Array, what: str, value_range: Range | None, choose: Choose, signals: bool = False) -> Stack:
    """Check an array in full and choose from it; ``what`` names it in errors.

    Images are (N, C, H, W), or (N, H, W) for one channel; signals (N, C, L), or (N, L).
    """
    array = _with_channels(array, what, signals)
    indices = choose(len(array))
    bounds, notes = _check_values(array, what, "value" if signals else "pixel", value_range)
    return Stack(array.shape[1:], indices, len(array), array.__getitem__, bounds, notes)


def check_range(value_range: Range | None) -> Range | None:
    """Return the range, or raise InvalidInputError unless it is two finite numbers, the lower one first."""
    if value_range is None:
        return None
    try:
        low, high = map(float, value_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(high - low) and low < high):
        raise InvalidInputError(f"value_range (--range LO HI) must be two numbers with LO < HI, got {value_range!r}")
    return low, high


def _to_unit(pixels: Array, bounds: Range) -> torch.Tensor:
    """Map ``bounds`` to [-1, 1] in float64 (one rounding for integers, none for bounds -1 and 1)."""
    low, high = bounds
    unit = pixels.astype(np.float64)
    unit *= 2
    unit -= low + high
    unit /= high - low
    return torch.from_numpy(unit.astype(np.float32))


def _with_channels(array: Array, what: str, signals: bool) -> Array:
    """Return the array as (N, C, *space), or raise InvalidInputError for any other layout or kind of number."""
    if array.dtype.kind not in "iuf":
        raise InvalidInputError(f"{what}: pixels must be integers or floats, got {array.dtype}")
    full = 3 if signals else 4
    if array.ndim not in (full - 1, full):
        raise InvalidInputError(f"{what}: {_LAYOUTS[signals]}, got shape {array.shape}")
    if 0 in array.shape:
        raise InvalidInputError(f"{what}: no pixels in an array of shape {array.shape}")
    if not signals and array.shape[-1] in (1, 3, 4) and min(array.shape[-3:-1]) > 4:
        raise InvalidInputError(
            f"{what}: shape {array.shape} looks channel-last; images must be (N, C, H, W): "
            "(N, H, W, C) becomes that by array.transpose(0, 3, 1, 2)"
        )
    return array if array.ndim == full else array[:, None]


def _check_values(array: Array, what: str, noun: str, value_range: Range | None) -> tuple[Range, tuple[str, ...]]:
    """Return the range of the pixels and notes on it, or raise InvalidInputError when some lie outside."""
    integers = array.dtype.kind in "iu"
    low, high = value_range or (BYTE_RANGE if integers else UNIT_RANGE)
    with np.errstate(invalid="ignore"):
        least, most = array.min().item(), array.max().item()
    if not (math.isfinite(least) and math.isfinite(most)):
        raise InvalidInputError(f"{what}: {_count_not_finite(array, noun)}")
    slack = _SLACK * (high - low)
    if least < low - slack or most > high + slack:
        kind = "integer" if integers else "float"
        raise InvalidInputError(
            f"{what}: {kind} {noun}s must lie in [{low:g}, {high:g}], found {least} to {most}; {_HOW_TO_RANGE}"
        )
    if value_range:
        return (low, high), (f"{_MAPPED[noun]} were mapped from [{low:g}, {high:g}] to [-1, 1].",)
    return (low, high), _doubts(integers, noun, least, most)


def _count_not_finite(array: Array, noun: str) -> str:
    per_image = (~np.isfinite(array)).reshape(len(array), -1).sum(axis=1)
    thing = "image" if noun == "pixel" else "signal"
    return f"{per_image.sum()} {noun}s are NaN or infinite, the first in {thing} {per_image.argmax()}"


def _doubts(integers: bool, noun: str, least: float, most: float) -> tuple[str, ...]:
    """Name a range that is allowed but looks like a smaller one."""
    if integers and most <= 16:
        return (f"No {noun} exceeds {most} and 0..255 {ASSUMED}: if {most} is white, {_HOW_TO_RANGE}.",)
    if not integers and least >= 0:
        return (f"No {noun} is negative and [-1, 1] {ASSUMED}: if they lie in [0, 1], {_HOW_TO_RANGE}.",)
    return ()
