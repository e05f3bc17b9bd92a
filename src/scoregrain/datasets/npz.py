"""Reading the images of an ``.npz`` file; pickled objects are never loaded."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from scoregrain._errors import InvalidInputError
from scoregrain.datasets.reading import reading
from scoregrain.datasets.stack import Array

Header = tuple[tuple[int, ...], np.dtype[Any]]

_LISTED = 8  # arrays named in an error


def read_npz(path: Path) -> tuple[Array, Array | None]:
    """Return the images of an ``.npz`` file and their labels.

    The images are the array ``train``, or the only array of 3 or 4 dimensions; the labels are the array
    ``train_labels`` where it holds one integer for each image of ``train``.

    Raises:
        InvalidInputError: The file cannot be read, leaves open which array holds the images, or that array
            holds pickled objects.
    """
    with reading(path, "an .npz file"):
        headers = _read_headers(path)
    name = _choose_images(path, headers)
    with reading(path, "an .npz file"), np.load(path, allow_pickle=False) as archive:
        return archive[name], archive["train_labels"] if _has_labels(name, headers) else None


def _read_headers(path: Path) -> dict[str, Header]:
    """Return shape and dtype of each array without reading its values."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        return {name.removesuffix(".npy"): _read_header(archive, name) for name in names}


def _read_header(archive: zipfile.ZipFile, name: str) -> Header:
    with archive.open(name) as member:
        first_version = npy.read_magic(member) == (1, 0)
        shape, _, dtype = (npy.read_array_header_1_0 if first_version else npy.read_array_header_2_0)(member)
    return shape, dtype


def _choose_images(path: Path, headers: dict[str, Header]) -> str:
    stacks = [name for name, (shape, _) in headers.items() if len(shape) in (3, 4)]
    name = "train" if "train" in headers else stacks[0] if len(stacks) == 1 else None
    if name is None:
        raise InvalidInputError(
            f"{path}: which array holds the images? Name it train, or keep one array of 3 or 4 dimensions; "
            f"found {_listing(headers)}"
        )
    if headers[name][1].hasobject:
        raise InvalidInputError(
            f"{path}: {name} holds pickled objects, which are never loaded as they can run code; "
            "save the images as one array of numbers"
        )
    return name


def _listing(headers: dict[str, Header]) -> str:
    kinds = {True: " of pickled objects", False: ""}
    found = [f"{name} {shape}{kinds[dtype.hasobject]}" for name, (shape, dtype) in headers.items()]
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return (", ".join(found[:_LISTED]) or "no arrays") + more


def _has_labels(name: str, headers: dict[str, Header]) -> bool:
    """Return whether ``train_labels`` has one integer for each image of ``train``."""
    if name != "train" or "train_labels" not in headers:
        return False
    shape, dtype = headers["train_labels"]
    return shape == headers[name][0][:1] and dtype.kind in "iu"
