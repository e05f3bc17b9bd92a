"""A measurement on disk while it runs: killing the process loses only the networks that were being measured.

Every finished leaf is a file of its own, written under a temporary name and renamed. Groups that were summed replace
their parts: the sum is written first, the parts are deleted after. So at any moment every file is whole and the largest
ones, which contain the others, are the measurement. Several processes may write into one folder.
"""

from __future__ import annotations

import json
import os
import re
import uuid
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain._folders import explained
from scoregrain.geometry.identity import difference
from scoregrain.geometry.moments import Group
from scoregrain.geometry.ranges import largest, words
from scoregrain.models import tensor_bytes

FORMAT = 1
KIND = "measurement"
_NAME = re.compile(r"networks-(\d+)-(\d+)\.safetensors")
_TEMPORARY = ".tmp"


class Journal:
    """The finished leaves of one measurement in a folder, which is made if it does not exist.

    Args:
        folder: where.
        identity: what decides the contribution of network i; a folder of another one is refused.

    Attributes:
        groups: what the folder held when it was opened.

    Raises:
        InvalidInputError: the folder holds something else, or another measurement.
        ScoregrainError: a file is damaged, or the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._name(identity)
            for leftover in self.folder.glob(f"*{_TEMPORARY}"):
                leftover.unlink(missing_ok=True)
        self._check(identity)
        self.groups = self._read()
        self._stored = {(group.start, group.stop) for group in self.groups}

    def _name(self, identity: Mapping[str, Any]) -> None:
        """Name the measurement where the folder has none."""
        others = [path.name for path in self.folder.iterdir() if path.suffix != _TEMPORARY]
        if (self.folder / "config.json").exists():  # looked for last: another process may begin at the same time
            return
        if others:
            raise InvalidInputError(f"'{self.folder}' holds no measurement to continue: it has no config.json")
        self._write_json("config.json", {"kind": KIND, "format": FORMAT, **identity})

    def _check(self, identity: Mapping[str, Any]) -> None:
        """Refuse another measurement."""
        found = _read_json(self.folder / "config.json", f"delete '{self.folder}' to start the measurement again")
        if (found.get("kind"), found.get("format")) != (KIND, FORMAT):
            raise InvalidInputError(
                f"'{self.folder}' holds '{found.get('kind')}' of format {found.get('format')}, "
                f"expected a {KIND} of format {FORMAT}"
            )
        if other := difference(found, identity):
            raise InvalidInputError(
                f"'{self.folder}' holds a measurement of another {other}: continue it with the same arguments, or "
                "start again with --overwrite"
            )

    # groups ------------------------------------------------------------------------------------------------------

    def store(self, groups: Sequence[Group]) -> None:
        """Write the groups that are not in the folder yet; what they contain goes."""
        wanted = {(group.start, group.stop) for group in groups}
        with explained(self.folder):
            for group in groups:
                if (group.start, group.stop) not in self._stored:
                    self._write(_file_name(group.start, group.stop), _pack(group))
            for start, stop in self._stored - wanted:
                if any(a <= start and stop <= b for a, b in wanted):
                    (self.folder / _file_name(start, stop)).unlink(missing_ok=True)
                    self._stored.discard((start, stop))
        self._stored |= wanted

    def absorb(self, groups: Sequence[Group]) -> None:
        """Like :meth:`store`, where other processes may have written parts of the groups."""
        self._stored |= set(self._ranges())
        self.store(groups)

    def _ranges(self) -> list[tuple[int, int]]:
        """What the names in the folder say."""
        found = [_NAME.fullmatch(path.name) for path in self.folder.iterdir()]
        return [(int(match[1]), int(match[2])) for match in found if match]

    def _read(self) -> list[Group]:
        """The largest groups; those inside them, left by a process that was killed, are deleted."""
        empty = torch.empty(0)
        while True:
            names = [Group(start, stop, empty) for start, stop in self._ranges()]
            kept = largest(names)
            try:
                groups = [self._load(group.start, group.stop) for group in kept]
            except FileNotFoundError:  # another process has just summed some of them
                continue
            for group in names:
                if group not in kept:
                    (self.folder / _file_name(group.start, group.stop)).unlink(missing_ok=True)
            return groups

    def _load(self, start: int, stop: int) -> Group:
        file = self.folder / _file_name(start, stop)
        try:
            return _unpack(load_file(file), start, stop)
        except FileNotFoundError:
            raise
        except Exception as error:  # safetensors and the system have errors of their own
            text = " ".join(str(error).split())[:200]
            raise ScoregrainError(
                f"'{file}' is damaged ({text}); delete it: only {words(range(start, stop))} are measured again"
            ) from error

    # the target of a tolerance -----------------------------------------------------------------------------------

    def recall_target(self, tolerance: float, first: int) -> int | None:
        """How many networks this tolerance was about to reach; None if it was not measured for."""
        file = self.folder / "target.json"
        found = _read_json(file, "delete it") if file.exists() else {}
        networks = found.get("networks")
        same = (found.get("tolerance"), found.get("first")) == (tolerance, first)
        return networks if same and isinstance(networks, int) else None

    def record_target(self, tolerance: float, first: int, networks: int) -> None:
        """Remember it: after a kill, the same decisions are taken again."""
        with explained(self.folder):
            self._write_json("target.json", {"tolerance": tolerance, "first": first, "networks": networks})

    # files -------------------------------------------------------------------------------------------------------

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        self._write(name, json.dumps(content, indent=2) + "\n")

    def _write(self, name: str, content: str | dict[str, Tensor]) -> None:
        """Write a file under a name of this process's own, then rename it."""
        temporary = self.folder / f"{name}.{uuid.uuid4().hex}{_TEMPORARY}"
        while True:
            if isinstance(content, str):
                temporary.write_text(content)
            else:
                save_file(content, temporary)
            try:
                temporary.replace(self.folder / name)
                return
            except FileNotFoundError:  # a process that opened the folder took it for a leftover
                continue


def holds_networks(folder: Path) -> bool:
    """Does a journal hold anything that would be lost with it?"""
    return folder.is_dir() and any(_NAME.fullmatch(path.name) for path in folder.iterdir())


def _file_name(start: int, stop: int) -> str:
    return f"networks-{start:010d}-{stop:010d}.safetensors"


def _pack(group: Group) -> dict[str, Tensor]:
    total = group.total.contiguous()
    return {
        "total": total,
        "range": torch.tensor([group.start, group.stop]),
        "checksum": torch.tensor([zlib.crc32(tensor_bytes(total))]),
    }


def _unpack(tensors: dict[str, Tensor], start: int, stop: int) -> Group:
    """The group of a file, checked against its name and its checksum."""
    total = tensors["total"]
    if tensors["range"].tolist() != [start, stop]:
        raise ValueError("it was renamed")
    if total.dtype != torch.float64 or tensors["checksum"].tolist() != [zlib.crc32(tensor_bytes(total))]:
        raise ValueError("its content was changed")
    return Group(start, stop, total)


def _read_json(file: Path, advice: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise ScoregrainError(f"'{file}' is damaged ({text}); {advice}") from error
    return content
