"""``scoregrain measure MODEL``: the geometry of an untrained network, written to a folder."""

from __future__ import annotations

import json
import math
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from scoregrain._errors import InvalidInputError, ScoregrainError, nearest
from scoregrain.cli.describe import describe
from scoregrain.cli.options import NOTHING, MeasureOptions, progress_bar, say_note
from scoregrain.cli.ranks import is_leading, launched_team
from scoregrain.cli.unfinished import Place, find_place, kept_journal
from scoregrain.datasets import load_images
from scoregrain.geometry import (
    DataProbe,
    GaussianProbe,
    Geometry,
    MeasurementFailedError,
    MeasurementInterruptedError,
    Probe,
    measure_geometry,
    summary,
)
from scoregrain.geometry.journal import holds_networks
from scoregrain.models import NetworkFamily


@dataclass
class Measure(MeasureOptions):
    """Measure the average geometry of an untrained score network: its directions and how certain each is.

    Killed at any moment, the same command with --resume continues. Processes started by torchrun share the work.
    """

    probe: Annotated[str, tyro.conf.arg(metavar="PROBE")] = "zero"
    """Where networks are evaluated: at zero, on gaussian noise (gaussian:0.5 scales it), or on data with --data."""

    data: Annotated[str | None, tyro.conf.arg(metavar="DATA", help_behavior_hint="")] = None
    """Evaluate on these images with noise added: digits, an .npz file or a folder. A trained network needs them."""

    range: Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="LO HI", help_behavior_hint="")] = None
    """Values of black and white in an .npz file, e.g. 0 1; by default 0 255 for integers, -1 1 for floats."""

    shard: Annotated[str | None, tyro.conf.arg(metavar="I/N", help_behavior_hint="")] = None
    """Only part I of N parts of the networks, e.g. 1/4; scoregrain merge adds the parts up."""

    like: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Share the test matrix of this part, measured on another kind of machine, so that leading directions merge."""

    resume: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Continue the measurement in --out (the last unfinished one by default), or add networks to a finished one."""

    def run(self) -> str:
        """Measure, write the folder, return the numbers."""
        family, shard = self.family(), parse_shard(self.shard)
        stem = "-".join(["measure", family.name, *([f"shard-{shard[0]}-of-{shard[1]}"] if shard else [])])
        with ExitStack() as stack:
            ranks = stack.enter_context(launched_team())

            def prepare() -> list[Any]:
                place = find_place(self.out, stem, resume=self.resume, overwrite=self.overwrite)
                stack.enter_context(kept_journal(place))
                return [str(place.target), place.stem]

            target, default = ranks.first(prepare)
            place = Place(Path(target), default, self.resume, self.overwrite)
            earlier = self._earlier(place)
            geometry = self._measure(family, shard, place, earlier)
            if not is_leading():
                return ""
            if earlier is not None and geometry.count <= earlier.count:
                say_note(f"'{place.target}' holds {earlier.count} networks already: nothing was left to measure")
            try:
                target = place.save(geometry)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"interrupted; {place.keep(geometry)}") from None
        self.warn_of_tolerance(geometry)
        numbers = summary(geometry) | {"seconds": geometry.info["seconds"], "out": str(target)}
        return json.dumps(numbers) if self.json else describe(geometry, target)

    def _earlier(self, place: Place) -> Geometry | None:
        """The measurement that ``--resume`` extends; it is said where there is nothing to continue."""
        if self.resume and not (place.target.exists() or holds_networks(place.journal)):
            say_note(f"there is no measurement '{place.target}' to continue: a new one is started")
        return place.earlier()

    def _probe(self, family: NetworkFamily) -> Probe | None:
        """The law of the inputs that is asked for; None for the zero probe."""
        if self.range is not None and self.data is None:
            raise InvalidInputError("--range says what the values in --data DATA are: give both or none")
        word, _, scale = self.probe.partition(":")
        if word not in ("zero", "gaussian", "data") or (scale and word != "gaussian"):
            hint = nearest(word, ("zero", "gaussian", "data"))
            raise InvalidInputError(f"--probe is '{self.probe}'{hint}, expected zero, gaussian, gaussian:SCALE or data")
        if self.data is not None and self.probe in ("zero", "data"):  # --data alone means it
            images = load_images(self.data, shape=family.shape, value_range=self.range, seed=self.seed)
            return DataProbe(images, family.prediction)
        if word == "data" or self.data is not None:
            raise InvalidInputError("--probe data and --data DATA belong together")
        return None if word == "zero" else GaussianProbe(family.shape, _scale(scale or "1"))

    def _measure(
        self, family: NetworkFamily, shard: tuple[int, int] | None, place: Place, earlier: Geometry | None
    ) -> Geometry:
        """Measure with a journal; what was measured before something stopped it is kept by the leading process."""
        try:
            with progress_bar("networks") as progress:
                return measure_geometry(
                    family,
                    **self.options(),
                    probe=self._probe(family),
                    shard=shard,
                    state=place.journal,
                    extend=earlier,
                    like=None if self.like is None else Geometry.load(self.like),
                    progress=progress,
                )
        except MeasurementInterruptedError as interrupt:
            if interrupt.geometry is None or not is_leading():
                raise KeyboardInterrupt(NOTHING) from None
            raise KeyboardInterrupt(f"interrupted; {place.keep(interrupt.geometry)}") from None
        except MeasurementFailedError as error:
            raise ScoregrainError(f"{error}; {place.keep(error.geometry)}" if is_leading() else str(error)) from None


def _scale(text: str) -> float:
    """A positive number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InvalidInputError(f"--probe is 'gaussian:{text}', expected a positive scale such as gaussian:0.5")
    return value


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """``i/n`` as two numbers."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InvalidInputError(f"--shard is '{text}', expected i/n with 1 <= i <= n such as 1/4")
    return int(match[1]), int(match[2])
