"""Checkpoints: written beside the old ones, named in ``latest`` when they are whole (ARCHITECTURE 4, "Artefacts")."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn

from scoregrain._errors import ScoregrainError
from scoregrain._folders import damaged, explained, new_folder

LATEST = "latest"
_NAME = re.compile(r"step-\d{8}")
_LEFT = re.compile(r"\.step-\d{8}\.scoregrain-\w{8}")  # half-written by a process that was killed


@dataclass(frozen=True, eq=False)
class State:
    """What goes into a checkpoint and comes out of it; restoring changes the parts in place.

    Attributes:
        network: The network that is trained.
        average: The running mean of its parameters, if there is one.
        optimizer: With its moments.
    """

    network: nn.Module
    average: nn.Module | None
    optimizer: torch.optim.Optimizer

    def save(self, run: Path, step: int, keep: int) -> Path:
        """Write the checkpoint after ``step`` updates, then name it in ``latest``; drop all but the newest ``keep``.

        Raises:
            ScoregrainError: It cannot be written; the last good one stays, and stays named.
        """
        folder = run / "checkpoints" / checkpoint_name(step)
        if folder.exists():  # of a run that was killed before it could name it
            shutil.rmtree(folder)
        with new_folder(folder) as temporary:
            _save_network(self.network, temporary / "model.safetensors")
            if self.average is not None:
                _save_network(self.average, temporary / "ema.safetensors")
            tensors, groups = _optimizer_state(self.optimizer)
            save_file(tensors, temporary / "optimizer.safetensors")
            state = {"kind": "checkpoint", "format": 1, "step": step, "groups": groups, "torch": torch.__version__}
            (temporary / "state.json").write_text(json.dumps(state, indent=2) + "\n")
            for file in temporary.glob("*.safetensors"):
                file.chmod(0o644)  # safetensors writes it for the owner alone
        write_atomically(run / LATEST, folder.name + "\n")
        prune(folder, keep)
        return folder

    def restore(self, run: Path) -> int:
        """Load the checkpoint that ``latest`` names; return its step.

        Raises:
            ScoregrainError: It is damaged, or of another network or optimizer.
        """
        folder = latest(run)
        if folder is None:
            raise ScoregrainError(f"'{run}' has no checkpoint")
        load_weights(self.network, folder / "model.safetensors")
        if self.average is not None:
            load_weights(self.average, folder / "ema.safetensors")
        state = read_state(folder)
        try:
            _restore_optimizer(self.optimizer, load_file(folder / "optimizer.safetensors"), state["groups"])
        except Exception as error:  # a damaged file can raise any
            raise damaged(folder, error) from error
        return int(state["step"])


def checkpoint_name(step: int) -> str:
    """Return the name of a checkpoint's folder."""
    return f"step-{step:08d}"


def latest(run: Path) -> Path | None:
    """Return the folder of the newest whole checkpoint; None before the first.

    Raises:
        ScoregrainError: ``latest`` names none of this run's.
    """
    file = run / LATEST
    if not file.is_file():
        return None
    name = file.read_text(errors="replace").strip()
    folder = run / "checkpoints" / name
    if _NAME.fullmatch(name) is None or not folder.is_dir():  # nothing outside the run is ever followed
        raise ScoregrainError(f"'{file}' names the checkpoint '{name[:40]}', which is not there: the run is damaged")
    return folder


def read_state(folder: Path) -> dict[str, Any]:
    """Return what ``state.json`` of a checkpoint says.

    Raises:
        ScoregrainError: It is missing or damaged.
    """
    try:
        state = json.loads((folder / "state.json").read_bytes())
        int(state["step"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise damaged(folder, error) from error
    return dict(state)


def load_weights(network: nn.Module, file: Path) -> None:
    """Load the parameters and buffers of a network in place.

    Raises:
        ScoregrainError: The file is missing, damaged, or of another network.
    """
    try:
        load_model(network, os.fspath(file), strict=True)
    except Exception as error:  # safetensors, torch and the system each raise their own
        raise damaged(file.parent, error) from error


def write_atomically(file: Path, text: str) -> None:
    """Replace a small file by one of that text, all of it or nothing."""
    temporary = file.with_name(f".{file.name}.new")
    with explained(file):
        temporary.write_text(text)
        temporary.replace(file)


def _save_network(network: nn.Module, file: Path) -> None:
    save_model(network, os.fspath(file))  # as save_file, but tensors may share memory (tied weights)


def prune(newest: Path, keep: int) -> None:
    """Leave ``keep`` checkpoints up to the newest; what killed processes left goes, such as one beyond it."""
    names = sorted(path.name for path in newest.parent.iterdir())
    kept = [name for name in names if _NAME.fullmatch(name) and name <= newest.name][-keep:]
    for name in names:
        if name not in kept and (_NAME.fullmatch(name) or _LEFT.fullmatch(name)):
            shutil.rmtree(newest.parent / name, ignore_errors=True)


def _optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimizer's tensors as ``PARAMETER.NAME``, and its groups' numbers."""
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": value.contiguous()
        for index, values in state["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }
    groups = [{key: value for key, value in group.items() if _is_plain(value)} for group in state["param_groups"]]
    return tensors, groups


def _is_plain(value: object) -> bool:
    """Is it what JSON holds exactly?"""
    return value is None or isinstance(value, bool | int | float | str | list | tuple)


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    own = optimizer.state_dict()["param_groups"]
    merged = [{**mine, **_tuples(theirs)} for mine, theirs in zip(own, groups, strict=True)]
    optimizer.load_state_dict({"state": state, "param_groups": merged})


def _tuples(group: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples, Adam's betas are one."""
    return {key: tuple(value) if key == "betas" else value for key, value in group.items()}
