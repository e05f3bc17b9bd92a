"""Training from a configuration: the run folder, the processes, and the randomness of others left alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from scoregrain._errors import InvalidInputError, nearest
from scoregrain._folders import check_target, free_folder, locked, new_folder, refuse_busy
from scoregrain.training.checkpoint import latest, read_state
from scoregrain.training.config import TrainConfig
from scoregrain.training.record import read_record, refuse_other, write_record, write_run
from scoregrain.training.run import Run
from scoregrain.training.setup import Setup, prepare
from scoregrain.training.trainer import Trainer

if TYPE_CHECKING:
    from accelerate import Accelerator


def train(config: TrainConfig, *, resume: bool = False, overwrite: bool = False, progress: bool = True) -> Run:
    """Train a network, or go on where a run stopped; return the run.

    Under torchrun every process calls this with the same configuration; all return the run, the first one writes it.

    Args:
        config: What to train, on what and how.
        resume: Continue the run in ``config.out`` from its last good checkpoint. ``steps`` may be larger than it was.
        overwrite: Replace the folder if scoregrain wrote it.
        progress: Show a bar with loss and images per second, on a terminal only.

    Raises:
        InvalidInputError: An argument is wrong, two of them disagree, the data are too few, the folder exists, or it
            holds a run that was trained otherwise.
        ScoregrainError: The loss is not finite, or nothing can be written: the last good checkpoint stays.
        KeyboardInterrupt: After Ctrl-C, with a checkpoint written.

    Example:
        >>> import scoregrain as sg
        >>> run = sg.train(sg.TrainConfig(model="unet-28", data="mnist.npz", steps=4000))  # doctest: +SKIP
        >>> run.sample(16).shape  # doctest: +SKIP
        torch.Size([16, 1, 28, 28])
    """
    setup = prepare(config)
    folder = Path(config.out) if config.out is not None else free_folder(f"train-{setup.family.name}-{setup.data_name}")
    accelerator = make_accelerator(config, folder)
    _check_world(config, accelerator.num_processes)
    with own_randomness(accelerator.device):
        trainer = Trainer(setup, folder, accelerator, progress)
        if accelerator.is_main_process:
            _open(folder, setup, resume, overwrite)
        accelerator.wait_for_everyone()
        with locked(folder) if accelerator.is_main_process else nullcontext():
            trainer.run()
    accelerator.wait_for_everyone()
    return Run.load(folder, family=setup.family, data=setup.split)


def _open(folder: Path, setup: Setup, resume: bool, overwrite: bool) -> None:
    """Make the folder of a new run, or check that the one there can be continued."""
    if resume and overwrite:
        raise InvalidInputError("resume (--resume) continues a run, overwrite (--overwrite) starts it again: give one")
    refuse_busy(folder)
    if resume:
        refuse_other(folder, read_record(folder), setup)
        _refuse_fewer(folder, setup.config.steps)
        write_record(setup, folder)
        return
    if folder.exists() and not overwrite and latest(folder) is not None:
        raise InvalidInputError(f"'{folder}' holds a run: continue it with --resume, or replace it with --overwrite")
    check_target(folder, overwrite=overwrite, run=True)
    with new_folder(folder, overwrite=overwrite, run=True) as temporary:
        write_run(setup, temporary)


def _refuse_fewer(folder: Path, steps: int) -> None:
    """Fail where more updates were made than are asked for: they cannot be taken back."""
    checkpoint = latest(folder)
    if checkpoint is not None and (made := read_state(checkpoint)["step"]) > steps:
        raise InvalidInputError(f"'{folder}' has made {made} steps: --steps must be at least that, got {steps}")


def make_accelerator(config: TrainConfig, folder: Path) -> Accelerator:
    """Accelerate's state for this process, on the device asked for; trackers write into the folder."""
    from accelerate import Accelerator

    if config.device not in (None, "cpu", "cuda"):
        raise InvalidInputError(
            f"device is '{config.device}', expected cpu or cuda; CUDA_VISIBLE_DEVICES=1 chooses among several cards"
        )
    if config.device == "cuda" and not torch.cuda.is_available():
        raise InvalidInputError("device 'cuda' cannot be used: torch finds no such device")
    _check_tracker(config.tracker)
    try:
        accelerator = Accelerator(
            cpu=config.device == "cpu",
            mixed_precision="no",  # the loop has its own, and leaves the process as it was
            log_with=config.tracker,
            project_dir=str(folder),
        )
    except ValueError as error:
        text = " ".join(str(error).split())
        raise InvalidInputError(f"Accelerate refuses: {text}") from error
    if config.device not in (None, accelerator.device.type):  # its state is the process's, made once
        raise InvalidInputError(
            f"this process has trained on {accelerator.device.type}: a training on {config.device} needs one of its own"
        )
    return accelerator


def _check_tracker(name: str | None) -> None:
    """Fail on a tracker that is not there: Accelerate would train without."""
    from accelerate.tracking import get_available_trackers

    installed = [str(each) for each in get_available_trackers()]
    if name is not None and not (name in installed or (name == "all" and installed)):
        raise InvalidInputError(
            f"the tracker '{name}' is not installed, or Accelerate knows none of that name{nearest(name, installed)};"
            f" installed: {', '.join(installed) or 'none'}"
        )


def _check_world(config: TrainConfig, world: int) -> None:
    if config.batch_size % (world * config.accumulation):
        raise InvalidInputError(
            f"a batch of {config.batch_size} cannot be cut into {world} processes times {config.accumulation} parts:"
            f" choose a multiple of {world * config.accumulation}"
        )


@contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """Leave torch's global random state as it was: layers such as dropout draw from it, seeded at every update."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # all of many cards would warn
        yield
