"""Finding and reading the images of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scoregrain._errors import InvalidInputError
from scoregrain.datasets.decode import SUFFIXES, Header, decode, read_header
from scoregrain.datasets.series import series_stack
from scoregrain.datasets.stack import Array, Choose, Stack


@dataclass(frozen=True)
class _Files:
    """Image files as a series."""

    paths: list[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return str(self.paths[index])

    def header(self, index: int) -> Header:
        return read_header(self.paths[index])

    def decode(self, index: int, colour: bool) -> Array:
        return decode(self.paths[index], colour)


def folder_stack(folder: Path, choose: Choose) -> Stack:
    """List the images below a folder, choose from them and look at their headers.

    The stack is colour when one of the chosen images is. Hidden files and folders are left out; links to
    folders, and to files outside the folder, are skipped with a note.

    Raises:
        InvalidInputError: There is no image, one cannot be read, or (while reading) two differ in size.
    """
    files, notes = _list_images(folder)
    return series_stack(_Files(files), choose, notes)


def has_images(folder: Path) -> bool:
    """Return whether :func:`folder_stack` would find anything, if only links to skip."""
    return any(True for _ in _walk(folder))


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
