"""``scoregrain evaluate RUN``: judge a trained network, or any samples, beside trivial baselines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from torch import Tensor

from scoregrain._arguments import whole
from scoregrain._errors import InvalidInputError
from scoregrain._folders import check_target, free_folder
from scoregrain.cli.laws import find_law
from scoregrain.cli.options import say_note
from scoregrain.cli.runs import is_run, load_run, read_samples, run_name
from scoregrain.datasets import Law, data_name
from scoregrain.datasets.sources import is_fetched
from scoregrain.geometry import Geometry
from scoregrain.report.evaluation import Evaluation
from scoregrain.report.judging import evaluate
from scoregrain.report.material import LEAST
from scoregrain.training import Run
from scoregrain.training.setup import source_word

NO_FEATURES = "none"


@dataclass
class Evaluate:
    """Judge the samples of a run: distances from data it never saw, each beside those of generating nothing.

    Drawn samples cost --steps passes of the network each: 1000 of unet-28 take about 5 minutes on one core. Writes a
    folder with report.html (samples, spectra, errors, nearest training images) and evaluation.json.
    """

    folder: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[RUN]", help_behavior_hint="")] = None
    """The run folder; without one, --samples are judged by --data."""

    samples: Annotated[str | None, tyro.conf.arg(metavar="SAMPLES", help_behavior_hint="")] = None
    """Judge these instead of drawing: a folder of scoregrain sample, an .npz file (floats in an array samples are taken
    as they are), or images."""

    data: Annotated[str | None, tyro.conf.arg(metavar="DATA", help_behavior_hint="")] = None
    """What to judge by, without a run; with one, where its training data are now."""

    n: Annotated[int | None, tyro.conf.arg(metavar="N", aliases=["-n"], help_behavior_hint="")] = None
    """Samples to draw (1000 by default), or to judge of those given (at most 10000 by default)."""

    sampler: Annotated[str, tyro.conf.arg(metavar="NAME")] = "ddim"
    """ddim, ddpm, heun, dpm-solver++, or euler for a flow."""

    steps: Annotated[int, tyro.conf.arg(metavar="S")] = 50
    """Steps of the sampler."""

    seed: int = 0
    """Of samples, baselines and projections."""

    geometry: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Measure energy and error along the directions of this geometry, as scoregrain measure wrote it."""

    projections: Annotated[int | None, tyro.conf.arg(metavar="L", help_behavior_hint="")] = None
    """Of the sliced distances; 64 for each dimension by default, at most 16384."""

    features: Annotated[str, tyro.conf.arg(metavar="NAME")] = "random"
    """Of the Fréchet distance: random, pixels, or none."""

    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE", help_behavior_hint="")] = None
    """Where the network runs: cpu (the default), cuda, cuda:1, ..."""

    model: Annotated[str | None, tyro.conf.arg(metavar="MODEL", help_behavior_hint="")] = None
    """The function that built a network of your own, as given to scoregrain train: file.py:function."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder to write; ./scoregrain-evaluate-RUN-N by default."""

    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the folder if scoregrain wrote it."""

    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print one JSON object on stdout and nothing else there."""

    command: tyro.conf.Suppress[str] = ""

    def run(self) -> str:
        """Judge, write the folder, return the verdict and the distances."""
        self._check()
        run = None if self.folder is None else load_run(self.folder, self.model, self.device)
        if run is not None and self.data is None:
            _tell_data(run)
        name = run_name(self.folder) if self.folder is not None else data_name(self.samples or "")
        target = self.out or free_folder(f"evaluate-{name}")
        check_target(target, overwrite=self.overwrite)
        evaluation = self._evaluated(run)
        evaluation.save(target, overwrite=self.overwrite, command=self.command)
        for note in (*evaluation.notes, *evaluation.warnings):
            say_note(note)
        if self.json:
            return json.dumps(evaluation.summary() | {"out": str(target)})
        return "\n".join([evaluation.headline, *evaluation.lines, f"written to {target / 'report.html'}"])

    def _check(self) -> None:
        """Refuse what would be refused after minutes."""
        if self.n is not None:
            whole(self.n, "-n", least=LEAST)
        if self.folder is None and (self.samples is None or self.data is None):
            raise InvalidInputError("without RUN, both --samples and --data are needed: what to judge, and by what")
        if self.folder is None and self.model is not None:
            raise InvalidInputError("--model names the network of a run: give RUN too")
        drawing = [name for name in ("sampler", "steps") if getattr(self, name) != getattr(Evaluate, name)]
        if self.samples is not None and drawing:
            raise InvalidInputError(f"--samples are drawn already: --{drawing[0]} would have no effect")
        if self.samples is not None and is_run(self.samples):
            raise InvalidInputError(
                f"--samples '{self.samples}' is a run, not samples: scoregrain sample {self.samples} draws some into a"
                " folder, which is given here"
            )
        if self.features not in ("random", "pixels", NO_FEATURES):
            raise InvalidInputError(f"--features is '{self.features}', expected random, pixels or {NO_FEATURES}")

    def _evaluated(self, run: Run | None) -> Evaluation:
        geometry = None if self.geometry is None else Geometry.load(self.geometry)
        samples = self._samples(None if run is None else run.shape)
        data: str | Law | None = self.data
        shape = run.shape if run is not None else None if samples is None else tuple(samples.shape[1:])
        if self.data is not None and shape is not None:
            data = find_law(self.data, shape) or self.data
        return evaluate(
            run,
            samples,
            data=data,
            n=self.n,
            seed=self.seed,
            sampler=self.sampler,
            steps=self.steps,
            geometry=geometry,
            projections=self.projections,
            features=None if self.features == NO_FEATURES else self.features,
            progress=True,
        )

    def _samples(self, shape: tuple[int, ...] | None) -> Tensor | None:
        """Those given, with notes on what was done to them."""
        if self.samples is None:
            return None
        samples, notes = read_samples(self.samples, shape)
        for note in notes:
            say_note(f"samples: {note}")
        return samples


def _tell_data(run: Run) -> None:
    """Say which data are read because a run folder names them; for such a name nothing is fetched from elsewhere.

    Raises:
        InvalidInputError: They are no file or folder, but may be on the Hugging Face hub.
    """
    named = source_word(run.config)
    if named is None or named == "digits" or run.law is not None:
        return
    if is_fetched(named):
        raise InvalidInputError(
            f"the run names the Hugging Face data set '{named}' (no file or folder here is called so), which is not"
            f" fetched unasked: give it with --data {named}, or say where the data are now"
        )
    say_note(f"reading the data '{named}' that the run names; --data names them otherwise")
