"""``scoregrain measure MODEL``: the geometry of an untrained network, written to a folder."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from scoregrain._errors import InvalidInputError, ScoregrainError, nearest
from scoregrain._folders import check_target
from scoregrain.cli.describe import describe
from scoregrain.cli.model import resolve_device, resolve_model
from scoregrain.cli.ranks import is_leading, launched_team, own_device
from scoregrain.cli.unfinished import Place, find_place, free_folder, kept_journal
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
from scoregrain.models import NetworkFamily

NOTHING = "interrupted before the first 32 networks; nothing was written"


@dataclass
class MeasureOptions:
    """What measuring a geometry needs; shared by the commands that do."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A preset such as unet-16, dit-16/4; a diffusers configuration (.json file or folder); or your own network as
    module:function or file.py:function."""

    networks: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Untrained networks to draw (4000 by default); with --tolerance, at most so many."""

    tolerance: Annotated[float | None, tyro.conf.arg(metavar="R", help_behavior_hint="")] = None
    """Draw networks until the relative error is at most this, e.g. 0.02."""

    seed: int = 0
    """Network i is a function of this and of i."""

    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE", help_behavior_hint="")] = None
    """Where the networks run: cpu (the default), cuda, cuda:1, ..."""

    directions: Annotated[str | None, tyro.conf.arg(metavar="K", help_behavior_hint="")] = None
    """Measure only so many leading directions (of one channel or token), or "all"; 64 beyond 4096 dimensions."""

    init: Annotated[str, tyro.conf.arg(metavar="POLICY")] = "as-is"
    """as-is, or unzero-head / unzero-all: re-draw the last layer / all layers that start at zero."""

    shape: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="C H W", help_behavior_hint="")] = None
    """Input shape of your own network; another size for a diffusers configuration."""

    prediction: Annotated[str | None, tyro.conf.arg(metavar="KIND", help_behavior_hint="")] = None
    """What your own network predicts: epsilon (the default), v_prediction, sample, flow or edm."""

    trained: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Read the trained weights (safetensors) in the diffusers folder MODEL."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder to write; ./scoregrain-COMMAND-MODEL-...-N by default."""

    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the folder if scoregrain wrote it."""

    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print one JSON object on stdout and nothing else there."""

    command: tyro.conf.Suppress[str] = ""

    def family(self) -> NetworkFamily:
        """The networks that are asked for."""
        return resolve_model(
            self.model, shape=self.shape, prediction=self.prediction, init=self.init, trained=self.trained
        )

    def target(self, *names: str) -> Path:
        """The folder to write, checked; asked for before measuring and again when there is something to write."""
        target = self.out or free_folder("-".join(names))
        check_target(target, overwrite=self.overwrite)
        return target

    def options(self) -> dict[str, Any]:
        """Arguments of :func:`measure_geometry`."""
        return {
            "networks": self.networks,
            "tolerance": self.tolerance,
            "seed": self.seed,
            "device": resolve_device(own_device(self.device)),
            "rank": parse_directions(self.directions),
        }

    def keep(self, geometry: Geometry | None, *names: str) -> KeyboardInterrupt:
        """Save what was measured before Ctrl-C, never over an old result; return the interruption that says so."""
        if geometry is None:
            return KeyboardInterrupt(NOTHING)
        target = self.out or free_folder("-".join(names))
        return KeyboardInterrupt(f"interrupted; {Place(target, '-'.join(names), journalled=False).keep(geometry)}")

    def keep_failed(self, error: MeasurementFailedError, *names: str) -> ScoregrainError:
        """Save what was measured before a network failed, never over an old result; return the error that says so."""
        target = self.out or free_folder("-".join(names))
        return ScoregrainError(f"{error}; {Place(target, '-'.join(names), journalled=False).keep(error.geometry)}")

    def warn_of_tolerance(self, geometry: Geometry) -> None:
        """Say when --networks ended a measurement before --tolerance was reached."""
        error = geometry.relative_error
        if self.tolerance is not None and (error is None or error > self.tolerance):
            reached = "not known below 512 networks" if error is None else f"{error:.2g}"
            print(
                f"warning: --networks {self.networks} ended the measurement before --tolerance {self.tolerance:g} "
                f"was reached; the relative error is {reached}",
                file=sys.stderr,
            )


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
            geometry = self._measure(family, shard, place)
            if not is_leading():
                return ""
            try:
                target = place.save(geometry)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"interrupted; {place.keep(geometry)}") from None
        self.warn_of_tolerance(geometry)
        numbers = summary(geometry) | {"seconds": geometry.info["seconds"], "out": str(target)}
        return json.dumps(numbers) if self.json else describe(geometry, target)

    def _probe(self, family: NetworkFamily) -> Probe | None:
        """The law of the inputs that is asked for; None for the zero probe."""
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

    def _measure(self, family: NetworkFamily, shard: tuple[int, int] | None, place: Place) -> Geometry:
        """Measure with a journal; what was measured before something stopped it is kept by the leading process."""
        try:
            with progress_bar("networks") as progress:
                return measure_geometry(
                    family,
                    **self.options(),
                    probe=self._probe(family),
                    shard=shard,
                    state=place.journal,
                    extend=place.earlier(),
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


def parse_directions(text: str | None) -> int | str | None:
    """A number of directions, ``all``, or nothing."""
    if text is None or text == "all":
        return text
    if not text.isdecimal():
        raise InvalidInputError(f"--directions is '{text}', expected a number or all")
    return int(text)


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """``i/n`` as two numbers."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InvalidInputError(f"--shard is '{text}', expected i/n with 1 <= i <= n such as 1/4")
    return int(match[1]), int(match[2])


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a progress callback that draws a bar on stderr, nothing where that is no terminal."""
    from tqdm import tqdm

    with tqdm(unit=f" {unit}", disable=None if is_leading() else True, leave=False, delay=1.0) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
