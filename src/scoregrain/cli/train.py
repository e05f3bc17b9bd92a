"""``scoregrain train MODEL [DATA]``: train a network with a noise and a rotation, into a run folder."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from scoregrain._errors import InvalidInputError
from scoregrain.cli.laws import find_law
from scoregrain.cli.model import find_schedule, is_preset, resolve_model
from scoregrain.cli.options import say_note
from scoregrain.cli.ranks import is_leading
from scoregrain.cli.runs import is_run
from scoregrain.training import Run, TrainConfig, train
from scoregrain.training.record import OPERATIONAL, read_config, read_record


@dataclass
class Train:
    """Train a score network: any model, any forward noise, any rotation, with checkpoints that resume exactly.

    Writes a run folder with checkpoints, the log of the loss and pictures of samples; of a diffusers U-Net it is a
    pipeline that diffusers loads. Look at it with scoregrain sample and scoregrain evaluate.
    """

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A preset such as unet-28, a diffusers .json or folder, module:function or file.py:function; with --resume also a
    run folder, which is continued as it was begun."""

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[DATA]")] = "digits"
    """digits (embedded), an .npz file, a folder of images, a Hugging Face name, or a law such as
    rank-one:basis=dct-ii,index=3 (with geometry=DIR in place of basis: along that direction)."""

    noise: Annotated[str, tyro.conf.arg(metavar="NOISE")] = "white"
    """Forward noise such as power-law:alpha=-0.06, or a saved one: ./DIR."""

    rotation: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """A rotation that scoregrain align wrote: the folder rotation in its own. The network sees the data rotated."""

    steps: Annotated[int, tyro.conf.arg(metavar="N")] = 10_000
    """Updates of the parameters."""

    batch_size: Annotated[int, tyro.conf.arg(metavar="N")] = 128
    """Images in one update, over all processes together."""

    learning_rate: Annotated[float, tyro.conf.arg(metavar="X")] = 1e-3
    """Its largest value."""

    lr_schedule: Annotated[str, tyro.conf.arg(metavar="NAME")] = "constant"
    """After the warm-up: constant, or linear or cosine down to zero."""

    warmup: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Updates over which the learning rate rises from zero."""

    optimizer: Annotated[str, tyro.conf.arg(metavar="NAME")] = "adam"
    """adam or adamw."""

    weight_decay: Annotated[float, tyro.conf.arg(metavar="X")] = 0.01
    """Of adamw."""

    clip: Annotated[float, tyro.conf.arg(metavar="X")] = 1.0
    """Largest norm of the gradient; 0 for none."""

    ema: Annotated[float, tyro.conf.arg(metavar="X")] = 0.999
    """Decay of the running mean of the parameters, which samples are drawn from; 0 for none."""

    accumulation: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Parts of a batch that go through the network one after another, to save memory."""

    mixed_precision: Annotated[str, tyro.conf.arg(metavar="NAME")] = "no"
    """no, or bf16."""

    prediction: Annotated[str | None, tyro.conf.arg(metavar="KIND", help_behavior_hint="")] = None
    """What the network predicts: epsilon, v_prediction, sample, flow or edm; by default what the model says."""

    omission: Annotated[str | None, tyro.conf.arg(metavar="MODE", help_behavior_hint="")] = None
    """conditional or marginal, for a noise that leaves a band out."""

    weighting: Annotated[str, tyro.conf.arg(metavar="NAME")] = "l2"
    """l2, or whitened: the loss of the variational bound under shaped noise."""

    schedule: Annotated[str, tyro.conf.arg(metavar="NAME")] = "linear"
    """Noise schedule: linear or cosine."""

    timesteps: Annotated[int, tyro.conf.arg(metavar="T")] = 1000
    """Its steps."""

    seed: int = 0
    """The whole training is a function of this."""

    limit: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """At most so many training images, a seeded random choice; all by default."""

    held_out: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 0.1
    """Share of the images that is not trained on, where the data do not say."""

    range: Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="LO HI", help_behavior_hint="")] = None
    """Values of black and white in an .npz file, e.g. 0 1; by default 0 255 for integers, -1 1 for floats."""

    enlarge: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Allow images smaller than the model's input: they are enlarged."""

    shape: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="C H W", help_behavior_hint="")] = None
    """Input shape of your own network; another size for a diffusers configuration."""

    init: Annotated[str, tyro.conf.arg(metavar="POLICY")] = "as-is"
    """as-is, or unzero-head / unzero-all: re-draw the last layer / all layers that start at zero."""

    trained: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Begin with the trained weights (safetensors) in the diffusers folder MODEL."""

    checkpoint_every: Annotated[int, tyro.conf.arg(metavar="N")] = 1000
    """Updates between checkpoints."""

    keep: Annotated[int, tyro.conf.arg(metavar="N")] = 2
    """How many of the newest checkpoints stay."""

    sample_every: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Updates between pictures of samples; 0 for one at the end."""

    log_every: Annotated[int, tyro.conf.arg(metavar="N")] = 10
    """Updates between lines of metrics.jsonl."""

    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE", help_behavior_hint="")] = None
    """cpu or cuda; by default what is there."""

    tracker: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """A tracker that Accelerate knows and that is installed, such as tensorboard."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Run folder to write; ./scoregrain-train-MODEL-DATA-N by default."""

    resume: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Continue a run from its last checkpoint: that of --out, or the run folder MODEL."""

    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the folder if scoregrain wrote it."""

    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print one JSON object on stdout and nothing else there."""

    command: tyro.conf.Suppress[str] = ""

    def run(self) -> str:
        """Train, return where the run lies and how its loss ended."""
        continued = not self.trained and is_run(self.model)
        if continued and not self.resume:
            raise InvalidInputError(f"'{self.model}' is a run: continue it with --resume, or name a model")
        config = self._continued() if continued else self._config()
        if self.resume and config.out is None:
            raise InvalidInputError("--resume needs the run to continue: name its folder with --out, or as MODEL")
        run = train(config, resume=self.resume, overwrite=self.overwrite)
        if is_leading():
            for note in run.record["data"]["notes"]:
                say_note(note)
        return self._said(run)

    def _config(self) -> TrainConfig:
        """The training that the words describe."""
        find_schedule(self.schedule)
        family = resolve_model(
            self.model,
            shape=self.shape,
            prediction=None if is_preset(self.model) else self.prediction,
            init=self.init,
            trained=self.trained,
        )
        data = find_law(self.data, family.shape) or self.data
        own: dict[str, Any] = {"model": family, "value_range": self.range, "data": data}
        names = [f.name for f in fields(TrainConfig) if f.name not in own]
        return TrainConfig(**own, **{name: getattr(self, name) for name in names})

    def _continued(self) -> TrainConfig:
        """The training of a run folder, with what may change when it goes on."""
        folder = Path(self.model)
        given = {name: getattr(self, name) for name in self._given()}
        other = [name for name in given if name not in (*OPERATIONAL, "model", "resume", "json", "command")]
        if other or self.out is not None:
            named = ", ".join("DATA" if name == "data" else f"--{name.replace('_', '-')}" for name in other or ["out"])
            raise InvalidInputError(f"'{folder}' is continued as it was begun: {named} cannot be given with it")
        config = read_config(folder, read_record(folder))
        return replace(config, **{name: value for name, value in given.items() if name in OPERATIONAL})

    def _given(self) -> list[str]:
        """The options that were said, be it with their default values."""
        words = shlex.split(self.command)
        if self.model in words:
            words.remove(self.model)
        said = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words if word[:2] == "--"}
        said |= {"data"} if self.data in words else set()
        return [f.name for f in fields(Train) if f.name in said or getattr(self, f.name) != f.default]

    def _said(self, run: Run) -> str:
        last: dict[str, Any] = run.history[-1] if run.history else {}
        numbers = {"out": str(run.folder), "run": run.name, "step": run.step, **last}
        if self.json:
            return json.dumps(numbers)
        own = run.record["model"]["config"].get("build")  # code of the user's, which no run folder may call
        again = "" if own is None else f" --model {own}"
        held_out = last.get("held_out_loss")
        beside = "" if held_out is None else f", {held_out:.4g} on held-out data"
        return "\n".join(
            [
                f"trained {run.name}: {run.step} steps, loss {last.get('loss', float('nan')):.4g}{beside}",
                f"run: {run.folder} (next: scoregrain evaluate {run.folder}{again})",
            ]
        )
