"""What a training is: network, data, noise and how to optimise, checked before any work (ARCHITECTURE 4)."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from scoregrain._arguments import whole
from scoregrain._errors import InvalidInputError, nearest
from scoregrain._predictions import PREDICTIONS
from scoregrain.align import Rotation
from scoregrain.datasets import Images, Law, Split
from scoregrain.datasets.stack import Array
from scoregrain.diffusion.process import OMISSIONS, WEIGHTINGS
from scoregrain.models import NetworkFamily
from scoregrain.noise import ForwardNoise, Weight
from scoregrain.operators import Operator
from scoregrain.schedules import SCHEDULES

OPTIMIZERS = ("adam", "adamw")
LR_SCHEDULES = ("constant", "linear", "cosine")
PRECISIONS = ("no", "bf16")

_WORDS: dict[str, tuple[str, ...]] = {
    "prediction": PREDICTIONS,
    "omission": OMISSIONS,
    "schedule": tuple(SCHEDULES),
    "weighting": WEIGHTINGS,
    "optimizer": OPTIMIZERS,
    "lr_schedule": LR_SCHEDULES,
    "mixed_precision": PRECISIONS,
}
_LEAST = {
    "timesteps": 1,
    "steps": 1,
    "batch_size": 1,
    "accumulation": 1,
    "warmup": 0,
    "checkpoint_every": 1,
    "keep": 1,
    "sample_every": 0,
    "log_every": 1,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainConfig:
    """A training, as a value: two trainings of equal configurations give the same bits on one kind of device.

    Attributes:
        model: A preset's name or a family. Network 0 of ``seed`` is trained; of a trained family, its network.
        data: What :func:`load_split` takes; images (a share of them is held out); a split made already; or a law,
            of which ``limit`` arrays (10,000 when None) are drawn.
        noise: Forward noise, or what makes one.
        rotation: W or the folder of a saved one: the network sees W x (MATH C5).
        prediction: What the network's output means; the family's own when None.
        omission: As in :class:`DiffusionProcess`.
        schedule: ``linear`` or ``cosine``.
        timesteps: T. The network is told the step, 0 … T-1, as diffusers tells it.
        steps: Updates of the parameters.
        batch_size: Arrays in one update, over all processes and accumulated parts together.
        accumulation: Parts of a batch that go through the network one after another.
        optimizer: ``adam`` or ``adamw``.
        learning_rate: Its largest value.
        lr_schedule: After the warm-up: ``constant``, or ``linear`` or ``cosine`` down to zero at the last update.
        warmup: Updates over which the learning rate rises from zero.
        weight_decay: Of ``adamw``.
        clip: Largest norm of the gradient; 0 for none.
        ema: Decay of the running mean of the parameters, from which samples are drawn; 0 for none. At update k it is
            at most (1+k)/(10+k).
        weighting: ``l2`` or ``whitened`` (:meth:`DiffusionProcess.loss`).
        mixed_precision: ``no``, or ``bf16`` for what the network computes.
        seed: The whole training is a function of it.
        limit: The largest number of training arrays; None for all.
        held_out: Share of the data that is not trained on, where the data do not say.
        value_range: As in :func:`load_images`.
        enlarge: Allow images smaller than the network's input.
        checkpoint_every: Updates between checkpoints; there is one at the end in any case.
        keep: How many of the newest checkpoints stay.
        sample_every: Updates between pictures of samples; 0 for one at the end.
        log_every: Updates between lines of ``metrics.jsonl``, each the mean since the last.
        device: ``cpu``, ``cuda``, or None for what Accelerate chooses.
        tracker: A tracker that Accelerate knows by name, such as ``tensorboard``; it must be installed.
        out: The run folder; ``./scoregrain-train-MODEL-DATA-N`` when None.

    Raises:
        InvalidInputError: A value is not as above.
    """

    model: str | NetworkFamily = "unet-16"
    data: str | os.PathLike[str] | Array | Tensor | Images | Split | Law | None = "digits"
    noise: ForwardNoise | Weight | Operator | str = "white"
    rotation: Rotation | str | os.PathLike[str] | None = None
    prediction: str | None = None
    omission: str | None = None
    schedule: str = "linear"
    timesteps: int = 1000
    steps: int = 10_000
    batch_size: int = 128
    accumulation: int = 1
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    lr_schedule: str = "constant"
    warmup: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    weighting: str = "l2"
    mixed_precision: str = "no"
    seed: int = 0
    limit: int | None = None
    held_out: float = 0.1
    value_range: tuple[float, float] | None = None
    enlarge: bool = False
    checkpoint_every: int = 1000
    keep: int = 2
    sample_every: int = 0
    log_every: int = 10
    device: str | None = None
    tracker: str | None = None
    out: str | Path | None = None

    def __post_init__(self) -> None:
        for name, known in _WORDS.items():
            _check_word(name, getattr(self, name), known)
        for name, least in _LEAST.items():
            whole(getattr(self, name), name, least=least)
        whole(self.seed, "seed")
        for name in ("learning_rate", "weight_decay", "clip", "ema"):
            _check_number(name, getattr(self, name), least=0.0)
        if self.learning_rate == 0:
            raise InvalidInputError("learning_rate is 0: nothing would be learnt")
        if self.ema >= 1:
            raise InvalidInputError(f"ema is {self.ema}, expected a decay below 1 such as 0.999, or 0 for none")
        if self.batch_size % self.accumulation:
            raise InvalidInputError(
                f"a batch of {self.batch_size} cannot be cut into {self.accumulation} equal parts (accumulation)"
            )


def _check_word(name: str, word: Any, known: tuple[str, ...]) -> None:
    if word is None and name in ("prediction", "omission"):
        return
    if word not in known:
        hint = nearest(word, known) if isinstance(word, str) else ""
        raise InvalidInputError(f"unknown {name} '{word}'{hint}; known: {', '.join(known)}")


def _check_number(name: str, value: Any, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value >= least):
        raise InvalidInputError(f"{name} must be a finite number of at least {least:g}, got {value!r}")
