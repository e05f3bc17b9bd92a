"""Reading the images of an ``.npz`` file; pickled objects are never loaded."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from scoregrain._errors import InvalidInputError
from scoregrain.datasets.reading import reading
from scoregrain.datasets.stack import Array

Header = tuple[tuple[int, ...], np.dtype[Any]]

_LISTED = 8  # arrays named in an error


@dataclass(frozen=True, eq=False)
class Arrays:
    """Images of an ``.npz`` file, their labels, and notes on what was left out."""

    images: Array
    labels: Array | None = None
    notes: tuple[str, ...] = ()


def npz_parts(path: Path) -> tuple[str, ...]:
    """Return ``train``, and ``test`` where the file holds arrays of both names.

    Raises:
        InvalidInputError: The file cannot be read.
    """
    with reading(path, "an .npz file"):
        headers = _read_headers(path)
    return ("train", "test") if {"train", "test"} <= headers.keys() else ("train",)


def read_npz(path: Path, part: str = "train", signals: bool = False) -> Arrays:
    """Return the images of an ``.npz`` file and their labels.

    The images are the array ``train``, or the only array of 3 or 4 dimensions (2 or 3 where they are signals); or the
    array ``test``. The labels are ``train_labels`` and ``test_labels``: one integer for each image. Labels of another
    kind are left out with a note.

    Raises:
        InvalidInputError: The file cannot be read, leaves open which array holds the images, that array holds
            pickled objects, or there is not one label for each image.
    """
    with reading(path, "an .npz file"):
        headers = _read_headers(path)
    name = part if part in headers else _only_stack(path, headers, signals)
    if headers[name][1].hasobject:
        raise InvalidInputError(
            f"{path}: {name} holds pickled objects, which are never loaded as they can run code; "
            "save the images as one array of numbers"
        )
    labels, notes = _find_labels(path, name, headers)
    with reading(path, "an .npz file"), np.load(path, allow_pickle=False) as archive:
        return Arrays(archive[name], None if labels is None else archive[labels], notes)


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


def _only_stack(path: Path, headers: dict[str, Header], signals: bool) -> str:
    dimensions = (2, 3) if signals else (3, 4)
    stacks = [name for name, (shape, _) in headers.items() if len(shape) in dimensions]
    if len(stacks) != 1:
        raise InvalidInputError(
            f"{path}: which array holds the {'signals' if signals else 'images'}? Name it train, or keep one array of"
            f" {dimensions[0]} or {dimensions[1]} dimensions; found {_listing(headers)}"
        )
    return stacks[0]


def _listing(headers: dict[str, Header]) -> str:
    kinds = {True: " of pickled objects", False: ""}
    found = [f"{name} {shape}{kinds[dtype.hasobject]}" for name, (shape, dtype) in headers.items()]
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return (", ".join(found[:_LISTED]) or "no arrays") + more


def _find_labels(path: Path, name: str, headers: dict[str, Header]) -> tuple[str | None, tuple[str, ...]]:
    """Return the name of the labels, where there are any to use, and a note where there are others."""
    labels = f"{name}_labels"
    if name not in ("train", "test") or labels not in headers:
        return None, ()
    (shape, dtype), count = headers[labels], headers[name][0][:1]
    if shape != count:
        raise InvalidInputError(
            f"{path}: {labels} must hold one integer for each image of {name}, shape {count}, got shape {shape}; remove"
            " or rename the array if it holds something else"
        )
    if dtype.kind not in "iu":
        return None, (f"{labels} was left out: its values are of type {dtype}, not integers.",)
    return labels, ()
