"""``scoregrain sample RUN``: draw samples from a trained network, into a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from scoregrain._arguments import whole
from scoregrain._folders import check_target, free_folder, new_folder
from scoregrain.cli.runs import load_run, run_name, write_samples
from scoregrain.training import Run
from scoregrain.training.run import BATCH


@dataclass
class Sample:
    """Draw samples from a run that scoregrain train wrote.

    Writes a folder with samples.npz (array samples, float32, not clipped), samples.png (the first 64) and config.json.
    Sample i depends on the run, the sampler, --steps, --seed and i alone.
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run folder."""

    n: Annotated[int, tyro.conf.arg(metavar="N", aliases=["-n"])] = 64
    """How many."""

    sampler: Annotated[str, tyro.conf.arg(metavar="NAME")] = "ddim"
    """ddim, ddpm, heun, dpm-solver++, or euler for a flow."""

    steps: Annotated[int, tyro.conf.arg(metavar="S")] = 50
    """Steps of the sampler."""

    seed: int = 0
    """Of the draws."""

    batch_size: Annotated[int, tyro.conf.arg(metavar="N")] = BATCH
    """Samples drawn at a time; changes memory and speed only."""

    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE", help_behavior_hint="")] = None
    """Where the network runs: cpu (the default), cuda, cuda:1, ..."""

    model: Annotated[str | None, tyro.conf.arg(metavar="MODEL", help_behavior_hint="")] = None
    """The function that built a network of your own, as given to scoregrain train: file.py:function."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder to write; ./scoregrain-sample-RUN-N by default."""

    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the folder if scoregrain wrote it."""

    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print one JSON object on stdout and nothing else there."""

    command: tyro.conf.Suppress[str] = ""

    def run(self) -> str:
        """Sample, write the folder, say where."""
        whole(self.n, "-n", least=1)
        run = load_run(self.folder, self.model, self.device)
        target = self.out or free_folder(f"sample-{run_name(self.folder)}")
        check_target(target, overwrite=self.overwrite)
        samples = run.sample(self.n, self.sampler, self.steps, self.seed, self.batch_size, progress=True)
        config = self._record(run)
        with new_folder(target, overwrite=self.overwrite) as temporary:
            write_samples(samples, config, temporary)
        if self.json:
            return json.dumps(config | {"out": str(target)})
        outside = float((samples.abs() > 1).double().mean())
        return "\n".join(
            [
                f"{self.n} samples of {run.name} (step {run.step}), {self.sampler} with {self.steps} steps",
                f"{100 * outside:.3g} % of the values lie outside [-1, 1]; samples.npz holds them as they are",
                f"written to {target}",
            ]
        )

    def _record(self, run: Run) -> dict[str, Any]:
        """How the samples were made."""
        return {
            "run": run.name,
            "folder": str(self.folder),
            "step": run.step,
            "count": self.n,
            "shape": list(run.shape),
            "sampler": self.sampler,
            "steps": self.steps,
            "seed": self.seed,
            "command": self.command,
        }
