"""``scoregrain analyze MODEL [DATA]``: how a data set runs with the grain of a network, in one HTML report."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from scoregrain._errors import InvalidInputError
from scoregrain._folders import new_folder
from scoregrain.cli.model import is_preset
from scoregrain.cli.options import MeasureOptions, progress_bar
from scoregrain.datasets import data_name, load_images
from scoregrain.geometry import MeasurementFailedError, MeasurementInterruptedError, write_geometry
from scoregrain.report import Report, analyze


@dataclass
class Analyze(MeasureOptions):
    """Show the directions of an untrained score network and how a data set runs with or against them.

    Writes a folder with a self-contained report.html, the geometry and the numbers.
    """

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[DATA]")] = "digits"
    """digits (embedded), an .npz file, or a folder of images; resized to the model's input."""

    range: Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="LO HI", help_behavior_hint="")] = None
    """Values of black and white in an .npz file, e.g. 0 1; by default 0 255 for integers, -1 1 for floats."""

    images: Annotated[int, tyro.conf.arg(metavar="N")] = 10_000
    """At most so many images, a seeded random choice."""

    def run(self) -> str:
        """Analyze, write the folder, return the headline."""
        self._refuse_swapped()
        family = self.family()
        if self.images < 2:
            raise InvalidInputError(f"--images is {self.images}, expected at least 2")
        images = load_images(self.data, shape=family.shape, value_range=self.range, limit=self.images, seed=self.seed)
        names = ("analyze", family.name, data_name(self.data))
        self.target(*names)
        try:
            with progress_bar("networks") as progress:
                report = analyze(family, images, **self.options(), progress=progress)
        except MeasurementInterruptedError as interrupt:
            raise self.keep(interrupt.geometry, *names) from None
        except MeasurementFailedError as error:
            raise self.keep_failed(error, *names) from None
        try:
            target = self._write(report, self.target(*names))
        except KeyboardInterrupt:
            raise self.keep(report.geometry, *names) from None
        self.warn_of_tolerance(report.geometry)
        for note in (*report.warnings, *report.images.notes):
            print(f"note: {note}", file=sys.stderr)
        if self.json:
            return json.dumps(report.summary() | {"out": str(target)})
        return "\n".join([report.headline, report.second_line, f"report: {target / 'report.html'}"])

    def _refuse_swapped(self) -> None:
        if not is_preset(self.data):
            return
        if is_preset(self.model):
            raise InvalidInputError(f"'{self.data}' is a model, expected data: scoregrain analyze {self.model} DATA")
        raise InvalidInputError(
            f"'{self.data}' is a model: the model comes first, as in scoregrain analyze {self.data} {self.model}"
        )

    def _write(self, report: Report, target: Path) -> Path:
        """The geometry's files, the report and its numbers, all of them or nothing."""
        with new_folder(target, overwrite=self.overwrite) as temporary:
            write_geometry(report.geometry, temporary)
            (temporary / "analysis.json").write_text(json.dumps(report.summary(), indent=2) + "\n")
            report.save_html(temporary / "report.html", command=self.command)
        return target
