"""What the commands that measure networks share: their options, what becomes of a measurement that stops, a bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain._folders import check_target
from scoregrain.cli.model import find_schedule, notes, resolve_model
from scoregrain.cli.ranks import is_leading, own_device
from scoregrain.cli.unfinished import Place, free_folder
from scoregrain.geometry import Geometry, MeasurementFailedError
from scoregrain.geometry.running import find_device
from scoregrain.models import NetworkFamily

NOTHING = "interrupted before the first 32 networks; nothing was written"


@dataclass
class MeasureOptions:
    """What measuring a geometry needs; shared by the commands that do."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A preset such as dit-16/4, a diffusers .json or folder, or your own module:function or file.py:function."""

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

    schedule: Annotated[str, tyro.conf.arg(metavar="NAME")] = "linear"
    """Noise schedule of 1000 steps: linear or cosine."""

    trained: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Read the trained weights (safetensors) in the diffusers folder MODEL."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder to write; ./scoregrain-COMMAND-MODEL-...-N by default."""

    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the folder if scoregrain wrote it."""

    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print one JSON object on stdout and nothing else there."""

    command: tyro.conf.Suppress[str] = ""

    def family(self, word: str | None = None) -> NetworkFamily:
        """The networks that are asked for, or that a word names; what they leave unused is noted on stderr."""
        word = self.model if word is None else word
        find_schedule(self.schedule)  # refused before anything is built
        family = resolve_model(word, shape=self.shape, prediction=self.prediction, init=self.init, trained=self.trained)
        for note in notes(word, prediction=self.prediction, trained=self.trained, schedule=self.schedule):
            say_note(note)
        return family

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
            "device": find_device(own_device(self.device)),
            "schedule": find_schedule(self.schedule),
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


def say_note(note: str) -> None:
    """Print a note on stderr, once."""
    if is_leading():
        print(f"note: {note}", file=sys.stderr)


def parse_directions(text: str | None) -> int | str | None:
    """A number of directions, ``all``, or nothing."""
    if text is None or text == "all":
        return text
    if not text.isdecimal():
        raise InvalidInputError(f"--directions is '{text}', expected a number or all")
    return int(text)


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a progress callback that draws a bar on stderr, nothing where that is no terminal."""
    from tqdm import tqdm

    with tqdm(unit=f" {unit}", disable=None if is_leading() else True, leave=False, delay=1.0) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
