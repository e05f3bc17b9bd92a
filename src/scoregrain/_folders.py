"""Folders of results: written under a temporary name and renamed, never half-written (ARCHITECTURE 4)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scoregrain._errors import InvalidInputError, ScoregrainError


def check_target(folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Fail early where :func:`new_folder` would fail late: an existing or an unwritable target.

    Raises:
        InvalidInputError: the folder exists and may not be replaced.
        ScoregrainError: nothing can be written beside it.
    """
    target = Path(folder)
    if target.is_symlink() or target.exists():
        if not overwrite:
            raise InvalidInputError(f"'{target}' exists; choose another --out or replace it with --overwrite")
        if target.is_symlink() or not target.is_dir() or not _is_ours(target):
            raise InvalidInputError(
                f"'{target}' is not a folder written by scoregrain (it has no config.json): it is not replaced"
            )
    try:
        shutil.rmtree(_temporary(target))
    except OSError as error:
        raise _cannot_write(target, error) from error


@contextmanager
def new_folder(folder: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``folder`` at the end, or is removed when anything fails.

    Raises:
        InvalidInputError: the folder exists and may not be replaced.
        ScoregrainError: it cannot be written (no permission, disk full); nothing is left behind.
    """
    check_target(folder, overwrite=overwrite)
    target = Path(folder)
    try:
        temporary = _temporary(target)
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        yield temporary
        _replace(temporary, target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        # safetensors reports a full disk as an error of its own
        if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
            raise _cannot_write(target, error) from error
        raise


def _is_ours(folder: Path) -> bool:
    return (folder / "config.json").is_file() or not any(folder.iterdir())


def _temporary(target: Path) -> Path:
    """A new folder beside the target: renaming it is atomic."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    temporary.chmod(0o755)
    return temporary


def _replace(temporary: Path, target: Path) -> None:
    """Rename into place; an old folder is moved away first and deleted last."""
    if not target.exists():
        temporary.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(old / "old")
    temporary.rename(target)
    shutil.rmtree(old)


def _cannot_write(target: Path, error: BaseException) -> ScoregrainError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
    return ScoregrainError(f"cannot write '{target}': {reason}")
