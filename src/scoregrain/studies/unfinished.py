"""Where a running cell keeps what it has so far, so that a kill does not lose a training of hours."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_PLACES: ContextVar[Iterator[Path] | None] = ContextVar("places of the running cell", default=None)


@contextmanager
def kept_in(folder: Path | None) -> Iterator[None]:
    """Offer the cell that runs inside a place for each of its trainings; what it has kept goes when it ends well.

    Args:
        folder: The cell's own; it need not be there. None offers nothing.
    """
    token = _PLACES.set(None if folder is None else (folder / str(i) for i in itertools.count()))
    try:
        yield
    finally:
        _PLACES.reset(token)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def next_place() -> Path | None:
    """The place of the cell's next training, the same one when the cell is run again; None outside a cell."""
    places = _PLACES.get()
    return None if places is None else next(places)
