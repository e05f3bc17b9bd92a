"""Decoding one image with Pillow."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from scoregrain.datasets.reading import reading
from scoregrain.datasets.stack import Array

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")  # no others, whatever the content of a file
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_GREY = ("1", "L", "LA", "La", *_DEEP)


@dataclass(frozen=True)
class Header:
    """What the header of an image file says of its pixels."""

    colour: bool
    deep: bool
    transparent: bool


def read_header(file: Path | BinaryIO, name: str = "") -> Header:
    """Return the header of an image file; only a palette makes Pillow decode the pixels too."""
    with _opened(file, name) as image:
        return _header_of(image)


def decode(file: Path | BinaryIO, colour: bool, name: str = "") -> Array:
    """Return an image as uint8 (3, H, W) or (1, H, W).

    The first frame of an animation counts, EXIF rotation is applied, 16-bit grey is reduced to 8 bits, and
    what is transparent is laid over white, as in a browser.

    Args:
        file: Its path, or its content.
        colour: Three channels, or one.
        name: What an error calls it, where not by its path.

    Raises:
        InvalidInputError: The file cannot be read, is damaged, has 32-bit pixels or over 89 million of them
            (Pillow's bound against decompression bombs).
    """
    with _opened(file, name) as image:
        return _pixels_of(image, colour)


def _header_of(image: Image.Image) -> Header:
    if image.mode == "F":
        raise ValueError("its pixels are 32-bit floats; save such images as an .npz file")
    deep = image.mode in _DEEP
    transparent = image.mode in _ALPHA or (not deep and "transparency" in image.info)
    return Header(_is_colour(image), deep, transparent)


def _pixels_of(image: Image.Image, colour: bool) -> Array:
    header, image = _header_of(image), ImageOps.exif_transpose(image)
    image = _to_eight_bits(image) if header.deep else image
    image = _over_white(image) if header.transparent else image
    pixels = np.asarray(image.convert("RGB" if colour else "L"))
    return pixels.transpose(2, 0, 1) if colour else pixels[None]


@contextmanager
def _opened(file: Path | BinaryIO, name: str) -> Iterator[Image.Image]:
    """Open an image file; whatever goes wrong until it is closed is an InvalidInputError."""
    with reading(name or str(file), "an image"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file, formats=_FORMATS) as image:
            yield image


def _is_colour(image: Image.Image) -> bool:
    if image.mode != "P":
        return image.mode not in _GREY
    palette = np.array(image.getpalette()).reshape(-1, 3)
    return bool((palette != palette[:, :1]).any())


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Map 0..65535 to 0..255, rounded (Pillow's own conversion clips at 255)."""
    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("its pixels are 32-bit integers; save such images as an .npz file")
    return Image.fromarray(((pixels + 128) // 257).astype(np.uint8))


def _over_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white
