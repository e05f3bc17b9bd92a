"""Encoded images that are decoded one by one: the files of a folder, the rows of a table."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from scoregrain._errors import InvalidInputError
from scoregrain.datasets.decode import Header
from scoregrain.datasets.fitting import Size, size_text
from scoregrain.datasets.stack import Array, Choose, Stack


class Series(Protocol):
    """Images by number; what cannot be read raises InvalidInputError."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Return what an error calls the image."""

    def header(self, index: int) -> Header:
        """Return what is known of its pixels."""

    def decode(self, index: int, colour: bool) -> Array:
        """Return its pixels, uint8 (3, H, W) or (1, H, W)."""


def series_stack(series: Series, choose: Choose, notes: tuple[str, ...] = ()) -> Stack:
    """Choose from a series and look at the headers; the stack is colour when one of the chosen images is.

    Raises:
        InvalidInputError: An image cannot be read, or (while reading) two differ in size.
    """
    indices = choose(len(series))
    colour, header_notes = _scan(series, indices)
    first = int(indices[0])
    _, height, width = series.decode(first, colour).shape
    read = partial(_read, series, first, (height, width), colour)
    return Stack((3 if colour else 1, height, width), indices, len(series), read, notes=notes + header_notes)


def _scan(series: Series, indices: npt.NDArray[np.int64]) -> tuple[bool, tuple[str, ...]]:
    """Return whether one of the images is in colour, and notes on what reading will change."""
    headers = [series.header(int(i)) for i in indices]
    colour = any(header.colour for header in headers)
    counts = {
        "grey images among colour ones became RGB": sum(not h.colour for h in headers) * colour,
        "images with transparency were laid over white": sum(h.transparent for h in headers),
        "images of 16 bits were reduced to 8 bits": sum(h.deep for h in headers),
    }
    return colour, tuple(f"{count} {change}." for change, count in counts.items() if count)


def _read(series: Series, first: int, size: Size, colour: bool, indices: npt.NDArray[np.int64]) -> Array:
    """Decode the images of the given indices into uint8 (n, C, H, W), all of the given size (H, W)."""
    images = [series.decode(int(i), colour) for i in indices]
    for i, image in zip(indices, images, strict=True):
        if image.shape[1:] != size:
            raise InvalidInputError(
                "images must have one size (height×width): "
                f"{series.name(first)} is {size_text(size)}, {series.name(int(i))} is {size_text(image.shape[1:])}"
            )
    return np.stack(images)
