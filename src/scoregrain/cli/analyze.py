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
from scoregrain.cli.sources import Source, find_images, find_sources, is_geometry
from scoregrain.datasets import Images, data_name
from scoregrain.geometry import MeasurementFailedError, MeasurementInterruptedError, write_geometry
from scoregrain.report import Report, analyze
from scoregrain.report.analysis import report_on


@dataclass
class Analyze(MeasureOptions):
    """Show the directions of a score network and how a data set runs with or against them.

    MODEL may also be a folder that scoregrain measure wrote: nothing is measured again then. Writes a folder with a
    self-contained report.html, the geometry and the numbers.
    """

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[DATA]")] = "digits"
    """digits (embedded), an .npz file, or a folder of images; resized to the model's input."""

    range: Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="LO HI", help_behavior_hint="")] = None
    """Values of black and white in an .npz file, e.g. 0 1; by default 0 255 for integers, -1 1 for floats."""

    images: Annotated[int, tyro.conf.arg(metavar="N")] = 10_000
    """At most so many images, a seeded random choice."""

    no_examples: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Show none of the images in the report, which then may be passed on where they may not; their mean is shown."""

    def run(self) -> str:
        """Analyze, write the folder, return the headline."""
        self._refuse_swapped()
        (source,) = find_sources([self.model], self)
        images = find_images(self.data, source.shape, self.range, self.images, self.seed)
        names = ("analyze", source.name, data_name(self.data))
        self.target(*names)
        report = self._report(source, images, names)
        try:
            target = self._write(report, self.target(*names))
        except KeyboardInterrupt:
            if source.geometry is not None:  # it is on disk already
                raise
            raise self.keep(report.geometry, *names) from None
        self.warn_of_tolerance(report.geometry)
        for note in dict.fromkeys((*report.warnings, *report.images.notes)):  # some are both
            print(f"note: {note}", file=sys.stderr)
        if self.json:
            return json.dumps(report.summary() | {"out": str(target)})
        return "\n".join([report.headline, report.second_line, f"report: {target / 'report.html'}"])

    def _report(self, source: Source, images: Images, names: tuple[str, ...]) -> Report:
        """Measure the networks where they are not yet; what was measured before something stopped it is kept."""
        if source.geometry is not None:
            return report_on(source.geometry, images)
        assert source.family is not None
        try:
            with progress_bar("draws" if source.family.trained else "networks") as progress:
                return analyze(source.family, images, **self.options(), progress=progress)
        except MeasurementInterruptedError as interrupt:
            raise self.keep(interrupt.geometry, *names) from None
        except MeasurementFailedError as error:
            raise self.keep_failed(error, *names) from None

    def _refuse_swapped(self) -> None:
        if not is_preset(self.data) and not is_geometry(self.data):
            return
        if is_preset(self.model) or is_geometry(self.model):
            raise InvalidInputError(f"'{self.data}' is a model, expected data: scoregrain analyze {self.model} DATA")
        raise InvalidInputError(
            f"'{self.data}' is a model: the model comes first, as in scoregrain analyze {self.data} {self.model}"
        )

    def _write(self, report: Report, target: Path) -> Path:
        """The geometry's files, the report and its numbers, all of them or nothing."""
        with new_folder(target, overwrite=self.overwrite) as temporary:
            write_geometry(report.geometry, temporary)
            (temporary / "analysis.json").write_text(json.dumps(report.summary(), indent=2) + "\n")
            report.save_html(temporary / "report.html", command=self.command, examples=not self.no_examples)
        return target
