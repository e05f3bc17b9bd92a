"""``scoregrain rank MODEL MODEL ...``: which networks' grain a data set runs with, in order."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from scoregrain import __version__
from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain._folders import new_folder
from scoregrain.align import NOT_VALIDATED, Ranking, check_same_shape, rank_geometries
from scoregrain.cli.model import is_data
from scoregrain.cli.options import MeasureOptions
from scoregrain.cli.sources import Source, find_images, find_sources, measured
from scoregrain.cli.unfinished import free_folder
from scoregrain.datasets import data_name
from scoregrain.geometry import (
    Geometry,
    MeasurementFailedError,
    MeasurementInterruptedError,
    data_geometry,
    write_geometry,
)
from scoregrain.report.ranking import check_different


@dataclass
class Rank(MeasureOptions):
    """Order networks of one shape by how a data set runs with their grain, those it runs with first.

    What orders is alignment over chance; beside it stand its possible range, which differs between networks, and its
    place there. Not validated: no study has yet shown that this order predicts the quality after training. A MODEL
    may also be a folder that scoregrain measure wrote. Writes a folder with the order and all geometries.
    """

    model: Annotated[  # type: ignore[assignment]
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="MODEL MODEL ...", help_behavior_hint="(required)"),
    ]
    """Two or more presets, diffusers configurations, own networks or folders of scoregrain measure, of one shape."""

    data: Annotated[str, tyro.conf.arg(metavar="DATA")] = "digits"
    """digits (embedded), an .npz file, or a folder of images; resized to the models' input."""

    range: Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="LO HI", help_behavior_hint="")] = None
    """Values of black and white in an .npz file, e.g. 0 1; by default 0 255 for integers, -1 1 for floats."""

    images: Annotated[int, tyro.conf.arg(metavar="N")] = 10_000
    """At most so many images, a seeded random choice."""

    def run(self) -> str:
        """Measure, order, write the folder, return the table."""
        sources = self._sources()
        images = find_images(self.data, sources[0].shape, self.range, self.images, self.seed)
        names = ("rank", sources[0].name, f"and-{len(sources) - 1}-more", data_name(self.data))
        self.target(*names)
        geometries: dict[str, Geometry] = {}
        try:
            for source in sources:
                geometries[source.name] = measured(source, images, self)
            ranking = rank_geometries(geometries, data_geometry(images, name=images.name))
            target = self._write(self.target(*names), geometries, ranking)
        except MeasurementFailedError as error:
            raise ScoregrainError(f"{error}; {self._keep(geometries | {source.name: error.geometry}, names)}") from None
        except KeyboardInterrupt as stop:
            partial = stop.geometry if isinstance(stop, MeasurementInterruptedError) else None
            found = geometries if partial is None else geometries | {source.name: partial}
            raise KeyboardInterrupt(f"interrupted; {self._keep(found, names)}") from None
        for geometry in geometries.values():
            self.warn_of_tolerance(geometry)
        for note in images.notes:
            print(f"note: {note}", file=sys.stderr)
        if self.json:
            return json.dumps(ranking.summary() | {"out": str(target)})
        return f"{ranking.table()}\nwritten to {target}"

    def _sources(self) -> list[Source]:
        """The networks, checked before anything is measured."""
        if len(self.model) < 2:
            raise InvalidInputError(f"a ranking needs at least two models, got {len(self.model)}")
        if data := [word for word in self.model if is_data(word)]:
            others = " ".join(word for word in self.model if word != data[0])
            raise InvalidInputError(
                f"'{data[0]}' is data, not a model: scoregrain rank {others} --data {data[0]} ranks with it"
            )
        sources = find_sources(self.model, self)
        names = [source.name for source in sources]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InvalidInputError(f"'{twice[0]}' is given twice: rank each model once")
        check_same_shape({source.name: source.shape for source in sources})
        check_different({source.name: source.fingerprint(self.seed) for source in sources})
        return sources

    def _write(self, target: Path, geometries: dict[str, Geometry], ranking: Ranking | None) -> Path:
        """The order and, in folders that the commands take for MODEL, the geometries; all of them or nothing."""
        words = [re.sub(r"[^\w.=-]+", "-", name) for name in geometries]
        folders = {name: f"{i}-{word}" for i, (name, word) in enumerate(zip(geometries, words, strict=True), start=1)}
        config: dict[str, Any] = {
            "kind": "ranking",
            "format": 1,
            "scoregrain": __version__,
            "validated": False,
            "note": NOT_VALIDATED,
            "command": self.command,
            "interrupted": ranking is None,
            "geometries": folders,
        }
        with new_folder(target, overwrite=self.overwrite and ranking is not None) as temporary:
            for name, folder in folders.items():
                (temporary / folder).mkdir()
                write_geometry(geometries[name], temporary / folder)
            (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n")
            if ranking is not None:
                (temporary / "ranking.json").write_text(json.dumps(ranking.summary(), indent=2) + "\n")
        return target

    def _keep(self, geometries: dict[str, Geometry], names: tuple[str, ...]) -> str:
        """Write what was measured before something stopped it, never over an old result; say where."""
        if not geometries:
            return "nothing was written"
        target = free_folder("-".join(names)) if self.out is None or self.out.exists() else self.out
        self._write(target, geometries, None)
        return f"what was measured is kept in '{target}'"
