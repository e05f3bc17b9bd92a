"""Data sets of the Hugging Face library ``datasets``: by name from the hub, or in its own formats from a folder."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from scoregrain._errors import InvalidInputError, nearest
from scoregrain.datasets.decode import Header, decode, read_header
from scoregrain.datasets.reading import reading
from scoregrain.datasets.series import series_stack
from scoregrain.datasets.stack import Array, Choose, Opened, Stack

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(:[\w.-]+)?")
_COLUMNS = ("image", "img")
_HELD_OUT = ("test", "validation")
_PATIENCE = 10  # seconds until the hub must have answered


def is_hub_name(text: str) -> bool:
    """Return whether text has the form of a name on the hub, ``owner/name`` or ``owner/name:configuration``."""
    return len(text) <= 200 and _HUB_NAME.fullmatch(text) is not None


def holds_tables(folder: Path) -> bool:
    """Return whether a folder was written by the library: ``save_to_disk``, or parquet files at any depth."""
    return _is_saved(folder) or next(folder.rglob("*.parquet"), None) is not None


def open_hub(name: str) -> Opened:
    """Find a data set on the hub, or among those downloaded before where ``HF_HUB_OFFLINE=1`` is set.

    Raises:
        InvalidInputError: The library is not installed, the hub cannot be reached, knows no such name, or its data
            are no images.
    """
    library = _library(f"no such file or folder '{name}', and for a Hugging Face name")
    repository, _, configuration = name.partition(":")
    try:
        _ask(repository)
        with _bars_on_terminals_only():
            found = library.load_dataset(repository, configuration or None)
    except Exception as error:  # of the network, of the hub, of the library
        raise InvalidInputError(
            f"no such file or folder '{name}', and the Hugging Face hub gave no data set of that name"
            f" ({_reason(error)}); without a network HF_HUB_OFFLINE=1 finds what was downloaded before"
        ) from error
    return _opened(found, name, embedded=False)


def open_tables(folder: Path) -> Opened:
    """Read a folder that :func:`holds_tables`.

    Raises:
        InvalidInputError: The library is not installed, a file is damaged, or the data are no images.
    """
    library = _library(f"to read {folder}")
    with reading(folder, "a data set of the Hugging Face library"), _bars_on_terminals_only():
        if _is_saved(folder):
            found = library.load_from_disk(str(folder))
        else:  # parquet is named, or the library would guess a format from whatever else lies there
            found = library.load_dataset("parquet", data_dir=str(folder))
    return _opened(found if isinstance(found, Mapping) else {"train": found}, str(folder), embedded=True)


def _library(purpose: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise InvalidInputError(f"{purpose} the library datasets is needed: pip install 'scoregrain[data]'") from error
    return datasets


@contextmanager
def _bars_on_terminals_only() -> Iterator[None]:
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    mute = not sys.stderr.isatty() and not are_progress_bars_disabled()
    if mute:
        disable_progress_bars()
    try:
        yield
    finally:
        if mute:
            enable_progress_bars()


def _ask(repository: str) -> None:
    """Fail at once where the hub does not answer: the library itself would try for half a minute."""
    from huggingface_hub import HfApi, constants

    if not constants.HF_HUB_OFFLINE:
        HfApi().dataset_info(repository, timeout=_PATIENCE)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[:1]])


def _is_saved(folder: Path) -> bool:
    return any(os.path.isfile(folder / name) for name in ("state.json", "dataset_dict.json"))


def _opened(found: Mapping[str, Any], name: str, embedded: bool) -> Opened:
    """Return the parts: the split ``train`` or the only one, and ``test`` or ``validation`` where there is one."""
    train = "train" if "train" in found else next(iter(found)) if len(found) == 1 else None
    if train is None:
        raise InvalidInputError(f"{name} has no split train: it has {', '.join(map(str, found)) or 'none'}")
    splits = {"train": found[train]}
    held_out = [split for split in _HELD_OUT if split in found and split != train]
    if held_out:
        splits["test"] = found[held_out[0]]
    for split in splits.values():
        _image_column(split, name)

    def stack(part: str, choose: Choose) -> Stack:
        return _table_stack(splits[part], name, embedded, choose)

    return Opened(stack, tuple(splits))


def _image_column(table: Any, name: str) -> str:
    from datasets import Image

    found = [column for column in _COLUMNS if isinstance(table.features.get(column), Image)]
    if not found:
        columns = ", ".join(f"{column} ({type(feature).__name__})" for column, feature in table.features.items())
        hint = nearest(_COLUMNS[0], table.features)
        raise InvalidInputError(f"{name} has no column of images named image or img{hint}: it has {columns}")
    return found[0]


def _table_stack(table: Any, name: str, embedded: bool, choose: Choose) -> Stack:
    from datasets import Image

    column = _image_column(table, name)
    rows = _Rows(table.select_columns([column]).cast_column(column, Image(decode=False)), column, name, embedded)
    stack = series_stack(rows, choose)
    labels = _labels(table)
    return stack if labels is None else replace(stack, labels=labels[stack.indices])


def _labels(table: Any) -> Array | None:
    if "label" not in table.features:
        return None
    labels = np.asarray(table.with_format("numpy")["label"][:])
    return labels if labels.ndim == 1 and labels.dtype.kind in "iu" else None


@dataclass(frozen=True)
class _Rows:
    """The images of a table as a series.

    The library would decode them too, but whatever format Pillow knows: one of them runs a PostScript interpreter.

    ``embedded``: the table must hold the images themselves. A path in a table could name any file; of the hub's it must
    lie where the library keeps what it downloaded.
    """

    table: Any
    column: str
    source: str
    embedded: bool

    def __len__(self) -> int:
        return len(self.table)

    def name(self, index: int) -> str:
        return f"image {index} of {self.source}"

    def header(self, index: int) -> Header:
        return read_header(self._file(index), self.name(index))

    def decode(self, index: int, colour: bool) -> Array:
        return decode(self._file(index), colour, self.name(index))

    def _file(self, index: int) -> BinaryIO | Path:
        with reading(self.name(index), "an image"):
            row = self.table[index][self.column]
            if row is None:
                raise ValueError("the row is empty")
            if row["bytes"] is not None:
                return BytesIO(row["bytes"])
            if self.embedded:
                raise ValueError("the table holds a path instead of the image")
            return _downloaded(row["path"])


def _downloaded(path: str) -> Path:
    """Return the path of a file that the library downloaded.

    Raises:
        ValueError: It lies elsewhere.
    """
    from huggingface_hub import constants

    from datasets import config

    caches = (constants.HF_HUB_CACHE, config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH)
    file = Path(os.path.realpath(path))
    if not any(file.is_relative_to(os.path.realpath(cache)) for cache in caches):
        raise ValueError("its path is not that of a downloaded file")
    return file
