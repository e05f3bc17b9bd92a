"""The folder of a study: what was declared, and one line for each cell that was run (ARCHITECTURE 4, "Artefacts").

``config.json`` holds settings, cells and claims and never changes once written. ``rows.jsonl`` grows by a line for each
finished cell. Several processes may work on one folder; what a kill can lose is the running cell.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import scoregrain
from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain._folders import damaged, explained, new_folder
from scoregrain.studies.registry import find_study
from scoregrain.studies.study import Material, Row, Rows, Study, cell_key

if sys.platform != "win32":
    import fcntl

FORMAT = 1
CONFIG, ROWS, MATERIAL = "config.json", "rows.jsonl", "material.safetensors"
LOCKS, UNFINISHED = "locks", "unfinished"


@dataclass(frozen=True, eq=False)
class StudyFolder:
    """A declared study on disk.

    Attributes:
        path: The folder.
        study: With the settings it was declared with.
    """

    path: Path
    study: Study

    @classmethod
    def open(cls, study: Study, path: Path, command: str = "") -> StudyFolder:
        """Declare a study in a new folder, or go on in one where the same was declared.

        Raises:
            InvalidInputError: The folder holds something else, or another declaration; what differs is named.
            ScoregrainError: It cannot be written or read.
        """
        if not path.exists():
            cls._declare(study, path, command)
        folder = cls(path, study)
        folder._check()
        return folder

    @classmethod
    def load(cls, path: Path) -> StudyFolder:
        """Return the study of a folder.

        Raises:
            InvalidInputError: The folder holds none, or one of another version of the library.
        """
        config = read_config(path)
        try:
            kind = find_study(config["study"])
            known = {each.name for each in fields(kind)}
            for key in config["settings"]:
                if key not in known:
                    raise InvalidInputError(f"'{path}' has the setting '{key}', which this version does not know")
            study = kind(**{key: _tuple(each) for key, each in config["settings"].items()})
        except (KeyError, TypeError) as error:
            raise damaged(path, error) from error
        folder = cls(path, study)
        folder._check()
        return folder

    @staticmethod
    def _declare(study: Study, path: Path, command: str) -> None:
        """Write what is declared, and what is measured before the first cell.

        Of two processes that begin at once one is first; the other goes on with what that one has written.
        """
        cells = study.cells()
        if doubled := [key for key, count in Counter(map(cell_key, cells)).items() if count > 1]:
            raise InvalidInputError(f"two cells are '{doubled[0]}': a setting names something twice")
        material = study.material()
        config = {
            "kind": "study",
            "format": FORMAT,
            "scoregrain": scoregrain.__version__,
            "study": study.name,
            "settings": study.declared(),
            "cells": cells,
            "claims": [asdict(claim) for claim in study.claims()],
            "declared": now(),
            "command": command,
        }
        try:
            with new_folder(path) as temporary:
                (temporary / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
                if material:
                    save_file({key: value.contiguous() for key, value in material.items()}, temporary / MATERIAL)
                    (temporary / MATERIAL).chmod(0o644)
                (temporary / ROWS).touch()
        except (InvalidInputError, ScoregrainError):
            if not (path / CONFIG).exists():
                raise

    def _check(self) -> None:
        """Fail where the folder declares other work than the study's."""
        found, study = self.config, self.study
        declared = {"study": study.name, **study.declared()}
        theirs = {"study": found.get("study"), **type(study)().declared(), **found.get("settings", {})}
        for key in dict.fromkeys([*declared, *theirs]):
            if declared.get(key) != theirs.get(key):
                raise InvalidInputError(
                    f"'{self.path}' declares {key} {theirs.get(key)!r}, not {declared.get(key)!r}: what is declared"
                    f" does not change; {self._way_out()}"
                )
        if found.get("cells") != study.cells() or found.get("claims") != [asdict(claim) for claim in study.claims()]:
            raise InvalidInputError(
                f"'{self.path}' was declared by a version of the library with other cells or claims"
                f" ({found.get('scoregrain')}): choose another --out"
            )

    def _way_out(self) -> str:
        """What to do about a folder of another declaration."""
        if (self.path / ROWS).exists() and (self.path / ROWS).stat().st_size:
            return "choose another --out"
        return "no cell was run: delete the folder to declare anew, or choose another --out"

    @cached_property
    def config(self) -> dict[str, Any]:
        """What was declared."""
        return read_config(self.path)

    @cached_property
    def material(self) -> Material:
        """What was measured before the first cell.

        Raises:
            ScoregrainError: It is missing or damaged.
        """
        if not (self.path / MATERIAL).exists() and not self.study.needs_material:
            return {}
        try:
            return dict(load_file(self.path / MATERIAL))
        except Exception as error:
            raise damaged(self.path, error) from error

    # rows ----------------------------------------------------------------------------------------------------------

    def rows(self) -> Rows:
        """The rows of all cells that are finished, in the order of the cells.

        Raises:
            ScoregrainError: A line is damaged. An unfinished last one, left by a kill, is not counted.
        """
        try:
            text = (self.path / ROWS).read_text()
            lines = text[: text.rfind("\n") + 1].splitlines()
            found = {cell_key((row := Row(**json.loads(line))).cell): row for line in lines}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise damaged(self.path, error) from error
        return Rows([found[key] for cell in self.study.cells() if (key := cell_key(cell)) in found])

    def remaining(self) -> list[int]:
        """The places of the cells that have no row yet."""
        done = {cell_key(row.cell) for row in self.rows()}
        return [i for i, cell in enumerate(self.study.cells()) if cell_key(cell) not in done]

    def append(self, row: Row) -> None:
        """Add a row: one line, written whole behind a lock.

        Raises:
            ScoregrainError: It cannot be written.
        """
        line = json.dumps({**asdict(row), "values": plain(row.values)}, allow_nan=False) + "\n"
        with explained(self.path), open(self.path / ROWS, "r+b") as file, _exclusive(file.fileno()):
            whole = file.read().rfind(b"\n") + 1  # behind it may be what a killed process had begun to write
            file.truncate(whole)
            file.seek(whole)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def claimed(self, index: int) -> Iterator[bool | None]:
        """Have a cell to oneself; False where another process runs it, None where that cannot be known.

        The lock ends with the process.
        """
        with explained(self.path):
            (self.path / LOCKS).mkdir(exist_ok=True)
            handle = os.open(self.path / LOCKS / str(index), os.O_CREAT | os.O_RDWR, 0o644)
        try:
            yield _try_lock(handle)
        finally:
            os.close(handle)

    def unfinished(self, index: int, provenance: Mapping[str, Any]) -> Path:
        """Where a running cell keeps what it has; the work of other versions or devices is not gone on with."""
        made_by = json.dumps({key: each for key, each in provenance.items() if key != "command"}, sort_keys=True)
        return self.path / UNFINISHED / f"{index}-{hashlib.sha256(made_by.encode()).hexdigest()[:12]}"

    def clear(self) -> None:
        """Remove the files that cells were locked by and what killed ones left, when all are finished."""
        for name in (LOCKS, UNFINISHED):
            shutil.rmtree(self.path / name, ignore_errors=True)


def read_config(path: Path) -> dict[str, Any]:
    """Return what a study folder declares.

    Raises:
        InvalidInputError: There is no study of this format.
    """
    try:
        config = json.loads((path / CONFIG).read_bytes())
    except FileNotFoundError:
        raise InvalidInputError(
            f"'{path}' holds no study: choose another --out, or one that is not there yet"
        ) from None
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
    if not isinstance(config, dict) or config.get("kind") != "study" or config.get("format") != FORMAT:
        raise InvalidInputError(f"'{path}' holds no study of format {FORMAT}: choose another --out")
    return config


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it.

    Raises:
        ScoregrainError: It cannot be written.
    """
    with explained(path):
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """Values as JSON types; what is not finite becomes None."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def now() -> str:
    """The time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _try_lock(handle: int) -> bool | None:
    """Lock an open file, if no other process has it; None on Windows and on disks that know no locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network disks know no locks
        return None
    return True


@contextmanager
def _exclusive(handle: int) -> Iterator[None]:
    """Wait for a lock on an open file."""
    if sys.platform != "win32":
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
    yield
