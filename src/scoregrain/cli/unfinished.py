"""Where a measurement is written, and the journal beside it from which ``--resume`` continues after a kill."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scoregrain import _folders
from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain._folders import check_target, plain_name, refuse_busy, remove_folder, work_folder
from scoregrain.geometry import Geometry
from scoregrain.geometry.journal import holds_networks

SUFFIX = ".partial"
GEOMETRY_FILES = {"config.json", "geometry.safetensors", "groups.safetensors"}


@dataclass(frozen=True)
class Place:
    """The folder of one measurement.

    Attributes:
        target: where the geometry goes.
        stem: what a default folder is called; None where the target was named with ``--out``.
        resumed: the target may be replaced by what continues it.
        overwrite: the target may be replaced by the result, but not by a part of it.
        journalled: finished leaves are written beside it.
    """

    target: Path
    stem: str | None = None
    resumed: bool = False
    overwrite: bool = False
    journalled: bool = True

    @property
    def journal(self) -> Path:
        """The folder of finished leaves, while the measurement runs."""
        return journal_of(self.target)

    def earlier(self) -> Geometry | None:
        """The measurement that ``--resume`` extends, if the target holds one."""
        if not (self.resumed and self.target.exists()):
            return None
        geometry = Geometry.load(self.target)
        if more := {path.name for path in self.target.iterdir()} - GEOMETRY_FILES:
            raise InvalidInputError(
                f"'{self.target}' holds more than a geometry ({', '.join(sorted(more))}): scoregrain measure --resume "
                "continues what scoregrain measure wrote"
            )
        return None if geometry.exact else geometry

    def save(self, geometry: Geometry) -> Path:
        """Write the result; its journal is not needed any more."""
        target = self._free(self.target) if self.stem is not None and not self._replaces else self.target
        return self._write(geometry, target, self._replaces)

    def keep(self, geometry: Geometry) -> str:
        """Write what was measured before something stopped it, never over an old result; say where."""
        geometry.info["interrupted"] = True
        target = self.target
        if target.exists() and not self.resumed:
            target = free_folder(self.stem or f"measure-{geometry.info['model']}")
        self._write(geometry, target, self.resumed)
        what = "exact geometry is" if geometry.exact else f"{geometry.count} networks measured are"
        return f"the {what} kept in '{target}'"

    @property
    def _replaces(self) -> bool:
        return self.resumed or self.overwrite

    def _free(self, target: Path) -> Path:
        """Another default folder where this one was taken meanwhile."""
        return free_folder(self.stem or "") if target.exists() else target

    def _write(self, geometry: Geometry, target: Path, overwrite: bool) -> Path:
        try:
            geometry.save(target, overwrite=overwrite)
        except (KeyboardInterrupt, ScoregrainError) as error:
            if not (self.journalled and holds_networks(self.journal)):
                raise
            said = f"{str(error) or 'interrupted'}; what was measured is kept in '{self.journal}'"
            raise type(error)(f"{said}, continue with --resume") from error
        if self.journalled and self.journal.exists():
            remove_folder(self.journal)
        return target


def find_place(out: Path | None, stem: str, *, resume: bool, overwrite: bool) -> Place:
    """Where to write, checked before anything is measured.

    Raises:
        InvalidInputError: the folder exists, or an unfinished measurement does, and no option says what to do with it;
            or another process is measuring.
        ScoregrainError: nothing can be written there.
    """
    if resume and overwrite:
        raise InvalidInputError("--resume continues a measurement, --overwrite starts it again: give one of them")
    if resume:
        target = out or newest_unfinished(stem)
        for folder in (target, journal_of(target)):
            check_target(folder, overwrite=True)
        return Place(target, None if out else stem, resumed=True)
    target = out or free_folder(stem)
    check_target(target, overwrite=overwrite)
    journal = journal_of(target)
    if journal.exists():
        refuse_busy(journal)
        if not overwrite and holds_networks(journal):
            raise InvalidInputError(
                f"'{journal}' holds an unfinished measurement: continue it with --resume, or start again with "
                "--overwrite"
            )
        remove_folder(journal)
    return Place(target, None if out else stem, overwrite=overwrite)


@contextmanager
def kept_journal(place: Place) -> Iterator[None]:
    """The place's journal exists inside; after a failure it stays if any networks are in it."""
    with work_folder(place.journal, holds=holds_networks):
        yield


def journal_of(target: Path) -> Path:
    """The journal beside a target."""
    return Path(f"{target}{SUFFIX}")


def free_folder(stem: str) -> Path:
    """``./scoregrain-STEM-N`` with the first N that is not taken, nor being measured for."""
    return _folders.free_folder(stem, lambda folder: folder.exists() or journal_of(folder).exists())


def newest_unfinished(stem: str) -> Path:
    """The default folder whose measurement was stopped last.

    Raises:
        InvalidInputError: there is none.
    """
    name = re.compile(re.escape(f"scoregrain-{plain_name(stem)}-") + r"\d+(?:\.partial)?")
    found = [path for path in Path().iterdir() if name.fullmatch(path.name) and _is_unfinished(path)]
    if not found:
        raise InvalidInputError(
            f"no unfinished measurement scoregrain-{plain_name(stem)}-N here: name its folder with --out, or start one "
            "without --resume"
        )
    newest = max(found, key=lambda path: path.stat().st_mtime_ns)
    return Path(newest.name.removesuffix(SUFFIX))


def _is_unfinished(folder: Path) -> bool:
    if folder.name.endswith(SUFFIX):
        return holds_networks(folder)
    try:
        return bool(json.loads((folder / "config.json").read_bytes())["info"]["interrupted"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
