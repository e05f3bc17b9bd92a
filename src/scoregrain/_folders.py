"""Folders of results: written under a temporary name and renamed, never half-written (ARCHITECTURE 4)."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

from scoregrain._errors import InvalidInputError, ScoregrainError


def check_target(folder: str | os.PathLike[str], *, overwrite: bool = False, run: bool = False) -> None:
    """Fail early where :func:`new_folder` would fail late: an existing or an unwritable target.

    Args:
        folder: The target.
        overwrite: May a folder that scoregrain wrote be replaced?
        run: May it be a run? Hours of training are replaced by a training alone.

    Raises:
        InvalidInputError: the folder exists and may not be replaced.
        ScoregrainError: nothing can be written beside it.
    """
    target = Path(folder)
    with explained(target):
        _refuse_existing(target, overwrite, run)
        _remove_leftovers(target)
        with _parents(target), _temporary(target):
            pass


@contextmanager
def new_folder(folder: str | os.PathLike[str], *, overwrite: bool = False, run: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``folder`` at the end, or is removed when anything fails.

    Args:
        folder: The target.
        overwrite: As of :func:`check_target`.
        run: As of :func:`check_target`.

    Raises:
        InvalidInputError: the folder exists and may not be replaced.
        ScoregrainError: it cannot be written (no permission, disk full); nothing is left behind.
    """
    target = Path(folder)
    with explained(target):
        _refuse_existing(target, overwrite, run)
        with _parents(target), _temporary(target) as temporary:
            yield temporary
            _replace(temporary, target, overwrite)


@contextmanager
def work_folder(folder: Path, *, holds: Callable[[Path], bool]) -> Iterator[None]:
    """Make a folder for work in progress where there is none; it goes at the end unless it holds something to keep.

    Raises:
        InvalidInputError: another process works in it.
        ScoregrainError: it cannot be made.
    """
    with _parents(folder):
        with explained(folder):
            folder.mkdir(exist_ok=True)
        with locked(folder):
            try:
                yield
            finally:
                if folder.exists() and not holds(folder) and _is_ours(folder):
                    shutil.rmtree(folder, ignore_errors=True)


def refuse_busy(folder: Path) -> None:
    """Fail where another process works in a folder, if it exists.

    Raises:
        InvalidInputError: one does.
    """
    if folder.is_dir():
        with locked(folder):
            pass


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have a folder to oneself, but on Windows. The lock ends with the process, however that ends.

    Raises:
        InvalidInputError: another process has it.
    """
    if sys.platform == "win32":
        yield
        return
    with explained(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks know no locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InvalidInputError(
                    f"another process is working in '{folder}': wait for it, or choose another --out"
                ) from None
        yield
    finally:
        os.close(handle)


def remove_folder(folder: Path) -> None:
    """Delete a folder that scoregrain wrote.

    Raises:
        InvalidInputError: another program wrote it.
        ScoregrainError: it cannot be deleted.
    """
    with explained(folder):
        _refuse_existing(folder, overwrite=True)
        shutil.rmtree(folder)


def free_folder(stem: str, taken: Callable[[Path], bool] = Path.exists) -> Path:
    """``./scoregrain-STEM-N`` with the first N that is not taken."""
    name = f"scoregrain-{plain_name(stem)}"
    for n in range(1, 10_000):
        if not taken(folder := Path(f"{name}-{n}")):
            return folder
    raise InvalidInputError(f"too many folders named {name}-N; choose another with --out")


def plain_name(stem: str) -> str:
    """A stem as part of a file name: ``dit-16/2`` becomes ``dit-16-2``."""
    return re.sub(r"[^\w.=-]+", "-", stem).strip("-")


def _refuse_existing(target: Path, overwrite: bool, run: bool = False) -> None:
    if not (target.is_symlink() or target.exists()):
        return
    if not overwrite:
        raise InvalidInputError(
            f"'{target}' exists; choose another --out, or replace it with --overwrite (overwrite=True)"
        )
    if target.is_symlink() or not target.is_dir() or not _is_ours(target):
        raise InvalidInputError(
            f"'{target}' is not a folder that scoregrain wrote: it is not replaced; choose another --out"
        )
    if not run and _config(target).get("kind") == "run":
        raise InvalidInputError(f"'{target}' holds a run: only scoregrain train replaces one; choose another --out")


def _is_ours(folder: Path) -> bool:
    """Is the folder empty, or does its ``config.json`` name scoregrain? A diffusers model has one too."""
    return not any(folder.iterdir()) or "scoregrain" in _config(folder)


def _config(folder: Path) -> dict[str, Any]:
    """Its ``config.json``; empty where there is none that can be read."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


@contextmanager
def _parents(target: Path) -> Iterator[None]:
    """Make the missing folders above the target; those that end up empty go again."""
    missing = [parent for parent in target.parents if not parent.exists()]
    above = next((parent for parent in target.parents if parent not in missing), target)
    if not above.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"'{above}' is not a folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for parent in missing:
            with suppress(OSError):
                parent.rmdir()


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A new folder beside the target, so that renaming it is atomic; removed unless it was renamed."""
    temporary = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    try:
        with locked(temporary):
            temporary.chmod(0o755)
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _prefix(target: Path) -> str:
    """How the names of temporary folders begin."""
    return f".{target.name}.scoregrain-"


def _remove_leftovers(target: Path) -> None:
    """Delete the temporary folders of processes that were killed; one at work has its folder locked.

    The old result that such a process had moved away stays where nothing has taken its place.
    """
    if sys.platform == "win32":
        return
    for folder in target.parent.glob(glob.escape(_prefix(target)) + "?" * 8):
        if folder.is_symlink() or ((folder / "old").exists() and not target.exists()):
            continue
        with suppress(OSError):  # locked, or on a disk that knows no locks
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(handle)


def _replace(temporary: Path, target: Path, overwrite: bool) -> None:
    """Rename into place; an old folder is moved away first, deleted last, and moved back when renaming fails."""
    if not (overwrite and target.exists()):
        temporary.rename(target)
        return
    with _temporary(target) as aside:
        old = aside / "old"
        try:
            target.rename(old)
            temporary.rename(target)
        finally:
            if old.exists() and not target.exists():
                old.rename(target)


@contextmanager
def explained(target: Path) -> Iterator[None]:
    """Turn what the system says into one message about the target."""
    try:
        yield
    except Exception as error:
        # a writer below may have named its own, temporary file; safetensors has an error of its own for a full disk
        cause = error.__cause__ if isinstance(error, ScoregrainError) else error
        if isinstance(cause, OSError) or type(cause).__name__ == "SafetensorError":
            reason = getattr(cause, "strerror", None) or " ".join(str(cause).split())
            raise ScoregrainError(f"cannot write '{target}': {reason}") from error
        raise


def damaged(folder: Path, error: Exception) -> ScoregrainError:
    """Return what is said of a saved folder whose files cannot be read."""
    text = " ".join(str(error).split())[:200]
    return ScoregrainError(f"'{folder}' cannot be read, a file is missing or damaged: {type(error).__name__}: {text}")
