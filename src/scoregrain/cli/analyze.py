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
from scoregrain.cli.measure import MeasureOptions, keep_interrupted
from scoregrain.datasets import data_name, load_images
from scoregrain.geometry import MeasurementInterruptedError, write_geometry
from scoregrain.models import preset_names
from scoregrain.report import Report, analyze


@dataclass
class Analyze(MeasureOptions):
    """Show the directions of an untrained score network and how a data set runs with or against them.

    Writes a folder with a self-contained report.html, the geometry and the numbers.
    """

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")] = "digits"
    """digits (embedded), an .npz file, or a folder of images; resized to the model's input."""

    range: tuple[float, float] | None = None
    """Values of black and white in floating-point data, e.g. 0 1; [-1, 1] by default."""

    images: int = 10_000
    """At most so many images, a seeded random choice."""

    def run(self) -> int:
        """Analyze, write the folder, print the headline."""
        if self.data.split(":")[0] in preset_names() and self.model not in preset_names():
            raise InvalidInputError(
                f"'{self.data}' is a model: the model comes first, as in scoregrain analyze {self.data} {self.model}"
            )
        family = self.family()
        if self.images < 2:
            raise InvalidInputError(f"--images is {self.images}, expected at least 2")
        images = load_images(self.data, shape=family.shape, value_range=self.range, limit=self.images, seed=self.seed)
        target = self.target("analyze", family.name, data_name(self.data))
        try:
            report = analyze(family, images, **self.options())
        except MeasurementInterruptedError as interrupt:
            return keep_interrupted(interrupt, target, self.overwrite)
        self._write(report, target)
        numbers = report.summary() | {"out": str(target)}
        if self.json:
            print(json.dumps(numbers))
        else:
            print("\n".join([report.headline, report.second_line, f"report: {target / 'report.html'}"]))
        for warning in report.warnings:
            print(f"note: {warning}", file=sys.stderr)
        return 0

    def _write(self, report: Report, target: Path) -> None:
        """The geometry's files, the report and its numbers, all of them or nothing."""
        with new_folder(target, overwrite=self.overwrite) as temporary:
            write_geometry(report.geometry, temporary)
            (temporary / "analysis.json").write_text(json.dumps(report.summary(), indent=2) + "\n")
            report.save_html(temporary / "report.html", command=self.command)
