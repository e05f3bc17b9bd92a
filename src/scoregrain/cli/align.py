"""``scoregrain align MODEL [DATA]``: alignment, its possible range, and the rotation that reaches its end."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from scoregrain._errors import InvalidInputError
from scoregrain._folders import new_folder
from scoregrain.align import CrossFit, cross_fit, find_rotation, measure_alignment, write_rotation
from scoregrain.align.optimum import check_mode
from scoregrain.cli.options import MeasureOptions
from scoregrain.cli.sources import Source, find_images, find_sources, measured
from scoregrain.datasets import Images, data_name
from scoregrain.geometry import (
    Geometry,
    MeasurementFailedError,
    MeasurementInterruptedError,
    data_geometry,
    write_geometry,
)
from scoregrain.geometry.core import MAX_SIZE
from scoregrain.geometry.sketch import DEFAULT_RANK

TOO_FEW = "a rotation was found, but what it does cannot be told from so few networks: cross-fitting needs more than 32"


@dataclass
class Align(MeasureOptions):
    """Show how a data set runs with the grain of a network, and find the rotation that changes it most.

    MODEL may also be a folder that scoregrain measure wrote: nothing is measured again then. Writes a folder with the
    geometry, the rotation and the numbers.
    """

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[DATA]")] = "digits"
    """digits (embedded), an .npz file, or a folder of images; resized to the model's input."""

    mode: Annotated[str, tyro.conf.arg(metavar="MODE")] = "minimize"
    """minimize (rotate the data to run with the grain) or maximize (against it)."""

    rank: Annotated[int | None, tyro.conf.arg(metavar="R", help_behavior_hint="")] = None
    """Rotate only the R leading directions of the data; all by default."""

    range: Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="LO HI", help_behavior_hint="")] = None
    """Values of black and white in an .npz file, e.g. 0 1; by default 0 255 for integers, -1 1 for floats."""

    images: Annotated[int, tyro.conf.arg(metavar="N")] = 10_000
    """At most so many images, a seeded random choice."""

    def run(self) -> str:
        """Measure, align, write the folder, return the sentences."""
        (source,) = find_sources([self.model], self)
        self._check(math.prod(source.shape))
        images = find_images(self.data, source.shape, self.range, self.images, self.seed)
        names = ("align", source.name, data_name(self.data))
        self.target(*names)
        geometry = source.geometry or self._measured(source, images, names)
        try:
            numbers, target = self._align(geometry, images, names)
        except KeyboardInterrupt:
            if source.geometry is not None:  # it is on disk already
                raise
            raise self.keep(geometry, *names) from None
        self.warn_of_tolerance(geometry)
        for note in images.notes:
            print(f"note: {note}", file=sys.stderr)
        if self.json:
            return json.dumps(numbers | {"out": str(target)})
        return "\n".join([numbers["headline"], numbers["rotated"], f"written to {target}"])

    def _check(self, size: int) -> None:
        """Refuse before measuring what would be refused after it."""
        check_mode(self.mode)
        most = size if size <= MAX_SIZE else DEFAULT_RANK
        if self.rank is not None and not 1 <= self.rank <= most:
            raise InvalidInputError(f"--rank is {self.rank}, expected 1 to {most}, the directions of the data")

    def _measured(self, source: Source, images: Images, names: tuple[str, ...]) -> Geometry:
        """Measure the networks; what was measured before something stopped it is kept."""
        try:
            return measured(source, images, self)
        except MeasurementInterruptedError as interrupt:
            raise self.keep(interrupt.geometry, *names) from None
        except MeasurementFailedError as error:
            raise self.keep_failed(error, *names) from None

    def _align(self, geometry: Geometry, images: Images, names: tuple[str, ...]) -> tuple[dict[str, Any], Path]:
        """The numbers, and the folder that was written."""
        data = data_geometry(images, name=images.name)
        alignment = measure_alignment(geometry, data)
        fit = _cross_fit(geometry, data, self.mode, self.rank)
        rotation = find_rotation(geometry, data, self.mode, self.rank) if fit is None else fit.rotation
        numbers = {
            "model": geometry.info.get("model"),
            "data": images.name,
            "headline": alignment.headline(),
            "rotated": TOO_FEW if fit is None else fit.headline(),
            "notes": list(images.notes),
            "alignment": {**asdict(alignment), "verdict": alignment.verdict},
            "rotation": {"mode": rotation.mode, "rank": rotation.rank},
            "cross_fit": None if fit is None else _numbers(fit),
        }
        target = self.target(*names)
        with new_folder(target, overwrite=self.overwrite) as temporary:
            write_geometry(geometry, temporary)
            (temporary / "rotation").mkdir()
            write_rotation(rotation, temporary / "rotation")
            (temporary / "alignment.json").write_text(json.dumps(numbers, indent=2) + "\n")
        return numbers, target


def _cross_fit(geometry: Geometry, data: Geometry, mode: str, rank: int | None) -> CrossFit | None:
    """The cross-fitted alignment; None when there is one group of networks only."""
    return cross_fit(geometry, data, mode, rank) if geometry.exact or len(geometry.groups) > 1 else None


def _numbers(fit: CrossFit) -> dict[str, Any]:
    """The numbers of a cross-fit as JSON types."""
    return {
        "value": fit.value,
        "error": fit.error,
        "plug_in": fit.plug_in,
        "bias": fit.bias,
        "of_chance": fit.of_chance,
        "of_chance_error": fit.of_chance_error,
        "plug_in_of_chance": fit.plug_in_of_chance,
        "bias_of_chance": fit.bias_of_chance,
    }
