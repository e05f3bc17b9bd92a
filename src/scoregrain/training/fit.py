"""Train in memory: the updates of :func:`train` without a run folder, for many short trainings (studies)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from scoregrain.training.config import TrainConfig
from scoregrain.training.launch import make_accelerator, own_randomness
from scoregrain.training.setup import Setup, prepare
from scoregrain.training.trainer import Trainer

LAST = 0.1
"""The share of the updates, at the end, whose mean loss is told."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network that was written nowhere.

    Attributes:
        setup: What was trained, on what: family, process, rotation, data.
        model: f(x_t, t) in data space, in evaluation mode, without gradients; of the running mean where there is one.
        loss: Mean training loss of the last tenth of the updates; NaN or infinity where the training diverged.
    """

    setup: Setup
    model: nn.Module
    loss: float


def fit(config: TrainConfig) -> Fitted:
    """Train a network in memory; parameter for parameter what ``train(config)`` gives.

    Nothing is logged, written or stopped: a training that diverges says so by its loss.

    Args:
        config: What to train; ``out`` and what concerns checkpoints, pictures and trackers is not used.

    Raises:
        InvalidInputError: As :func:`train`.
    """
    setup = prepare(config)
    accelerator = make_accelerator(config, Path())
    with own_randomness(accelerator.device):
        trainer = Trainer(setup, Path(), accelerator, progress=False)
        losses = torch.stack([trainer.update(k)[0] for k in range(config.steps)])
    model = trainer.wrapped(trainer.trained()).eval().requires_grad_(False)
    return Fitted(setup, model, float(losses[-math.ceil(LAST * config.steps) :].double().mean()))
