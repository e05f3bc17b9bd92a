"""Train in memory: the updates of :func:`train` without a run folder, for many short trainings (studies)."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from scoregrain._errors import ScoregrainError
from scoregrain._folders import damaged, explained
from scoregrain.training.checkpoint import latest
from scoregrain.training.config import TrainConfig
from scoregrain.training.launch import make_accelerator, own_randomness
from scoregrain.training.setup import Setup, prepare
from scoregrain.training.trainer import Trainer

if TYPE_CHECKING:
    from accelerate import Accelerator

LAST = 0.1
"""The share of the updates, at the end, whose mean loss is told."""

LOSSES = "losses.safetensors"


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


def fit(config: TrainConfig, unfinished: Path | None = None) -> Fitted:
    """Train a network in memory; parameter for parameter what ``train(config)`` gives.

    Nothing is logged or stopped: a training that diverges says so by its loss.

    Args:
        config: What to train; ``out`` and what concerns pictures and trackers is not used.
        unfinished: A folder in which the state is kept after every ``checkpoint_every`` updates. If a killed call of
            the same configuration has left something there, it is gone on from, to the same bits; what is damaged is
            thrown away.

    Raises:
        InvalidInputError: As :func:`train`.
        ScoregrainError: Nothing can be written there.
    """
    setup = prepare(config)
    accelerator = make_accelerator(config, Path())
    with own_randomness(accelerator.device):
        trainer, losses = _begun(setup, accelerator, unfinished)
        for k in range(len(losses), config.steps):
            losses.append(trainer.update(k)[0])
            if unfinished is not None and (k + 1) % config.checkpoint_every == 0:
                _keep(trainer, unfinished, losses)
    model = trainer.wrapped(trainer.trained()).eval().requires_grad_(False)
    last = torch.stack(losses[-math.ceil(LAST * config.steps) :])
    return Fitted(setup, model, float(last.double().mean()))


def _keep(trainer: Trainer, folder: Path, losses: list[Tensor]) -> None:
    """Write the losses so far, then the checkpoint that says how many of them count."""
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f".{LOSSES}.new"
        new.write_bytes(save({"losses": torch.stack(losses).cpu()}))
        new.replace(folder / LOSSES)
    trainer.state.save(folder, len(losses), keep=1)


def _begun(setup: Setup, accelerator: Accelerator, unfinished: Path | None) -> tuple[Trainer, list[Tensor]]:
    """A trainer, and the losses of the updates that it has behind it."""
    trainer = Trainer(setup, Path(), accelerator, progress=False)
    if unfinished is None:
        return trainer, []
    try:
        return trainer, _resumed(trainer, unfinished)
    except ScoregrainError:  # after a power cut, say; the trainer may be half restored
        shutil.rmtree(unfinished, ignore_errors=True)
        return Trainer(setup, Path(), accelerator, progress=False), []


def _resumed(trainer: Trainer, folder: Path) -> list[Tensor]:
    """Go on from what :func:`_keep` wrote; the losses of the updates that were made."""
    if latest(folder) is None:
        return []
    step = trainer.state.restore(folder)
    try:
        losses = load_file(folder / LOSSES, device=str(trainer.device))["losses"]
        if len(losses) < step:
            raise ValueError(f"{len(losses)} losses of {step} updates")
    except Exception as error:  # a damaged file can raise any
        raise damaged(folder, error) from error
    return list(losses[:step].unbind())
