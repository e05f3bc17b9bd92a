"""Finding and reading the images of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scoregrain._errors import InvalidInputError
from scoregrain.datasets.decode import SUFFIXES, decode, read_header
from scoregrain.datasets.fitting import Size, size_text
from scoregrain.datasets.stack import Array, Choose, Stack


def folder_stack(folder: Path, choose: Choose) -> Stack:
    """List the images below a folder, choose from them and look at their headers.

    The stack is colour when one of the chosen images is. Hidden files and folders are left out; links to
    folders, and to files outside the folder, are skipped with a note.

    Raises:
        InvalidInputError: There is no image, one cannot be read, or (while reading) two differ in size.
    """
    files, link_notes = _list_images(folder)
    indices = choose(len(files))
    colour, header_notes = _scan([files[i] for i in indices])
    first = files[indices[0]]
    _, height, width = decode(first, colour).shape
    shape = (3 if colour else 1, height, width)
    read = partial(_read, files, first, (height, width), colour)
    return Stack(shape, indices, len(files), read, notes=link_notes + header_notes)


def _list_images(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Return the visible image files below a folder, sorted, and a note on the links that were skipped."""
    files: list[Path] = []
    links = 0
    for path in _walk(folder):
        if path.is_symlink() and (path.is_dir() or not _is_inside(path, folder)):
            links += 1
        elif path.is_file() or not path.exists():  # no pipes; a broken link stays, to be refused when read
            files.append(path)
    notes = (f"Links to folders or to files outside were skipped: {links}.",) if links else ()
    if not files:
        found = " ".join([f"{folder} holds no images ({', '.join(SUFFIXES)}).", *notes])
        raise InvalidInputError(found)
    return sorted(files), notes


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the visible image files and links to folders below a folder; no link is followed."""
    for where, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(where, name) for name in names if _is_image_name(name)]
        yield from paths + [path for name in folders if (path := Path(where, name)).is_symlink()]


def _refuse(error: OSError) -> None:
    raise InvalidInputError(f"{error.filename} cannot be read ({error.strerror})") from error


def _is_image_name(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _is_inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _scan(files: list[Path]) -> tuple[bool, tuple[str, ...]]:
    """Return whether one of the images is in colour, and notes on what reading will change."""
    headers = [read_header(path) for path in files]
    colour = any(header.colour for header in headers)
    counts = {
        "grey images among colour ones became RGB": sum(not h.colour for h in headers) * colour,
        "images with transparency were laid over white": sum(h.transparent for h in headers),
        "images of 16 bits were reduced to 8 bits": sum(h.deep for h in headers),
    }
    return colour, tuple(f"{count} {change}." for change, count in counts.items() if count)


def _read(files: list[Path], first: Path, size: Size, colour: bool, indices: npt.NDArray[np.int64]) -> Array:
    """Decode the files of the given indices into uint8 (n, C, H, W), all of the given size (H, W)."""
    images = [decode(files[i], colour) for i in indices]
    for i, image in zip(indices, images, strict=True):
        _, height, width = image.shape
        if (height, width) != size:
            raise InvalidInputError(
                "images of a folder must have one size (height×width): "
                f"{first} is {size_text(size)}, {files[i]} is {size_text((height, width))}"
            )
    return np.stack(images)
