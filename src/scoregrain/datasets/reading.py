"""One line for whatever goes wrong while a file is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scoregrain._errors import InvalidInputError


@contextmanager
def reading(path: Path | str, kind: str) -> Iterator[None]:
    """Turn any exception into an InvalidInputError that names the file and says what it was read as."""
    try:
        yield
    except Exception as error:  # a damaged file can raise anything
        reason = (str(error).splitlines() or [""])[0]
        raise InvalidInputError(f"{path} cannot be read as {kind} ({type(error).__name__}: {reason})") from error
