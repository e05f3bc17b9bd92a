"""``scoregrain merge DIR DIR ...``: one geometry from shards measured by several workers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from scoregrain._errors import InvalidInputError
from scoregrain._folders import check_target
from scoregrain.cli.describe import describe
from scoregrain.cli.unfinished import free_folder
from scoregrain.geometry import Geometry, merge_geometries, summary


@dataclass
class Merge:
    """Merge measurements of different networks, such as shards, to the bits of a single one."""

    folders: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="DIR DIR ...", help_behavior_hint="(required)")
    ]
    """Folders that scoregrain measure wrote."""

    partial: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Accept missing shards or networks."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder to write; ./scoregrain-merge-MODEL-N by default."""

    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the folder if scoregrain wrote it."""

    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print one JSON object on stdout and nothing else there."""

    command: tyro.conf.Suppress[str] = ""

    def run(self) -> str:
        """Load, merge, write the folder, return the numbers."""
        if not self.folders:
            raise InvalidInputError("no folders given: scoregrain merge DIR DIR ...")
        if self.out is not None:
            check_target(self.out, overwrite=self.overwrite)
        merged = merge_geometries([_load(folder) for folder in self.folders], partial=self.partial)
        target = self.out or free_folder(f"merge-{merged.info['model']}")
        merged.save(target, overwrite=self.overwrite)
        numbers = summary(merged) | {"parts": len(self.folders), "out": str(target)}
        return json.dumps(numbers) if self.json else describe(merged, target)


def _load(folder: Path) -> Geometry:
    geometry = Geometry.load(folder)
    if geometry.kind != "network" or geometry.exact:
        kind = "an exact" if geometry.exact else "a data"
        raise InvalidInputError(f"'{folder}' holds {kind} geometry: only measurements of networks can be merged")
    return geometry
