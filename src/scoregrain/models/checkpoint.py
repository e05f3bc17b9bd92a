"""Trained diffusers checkpoints of a local folder: safetensors alone, never pickled weights, never a hub."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

from torch import nn

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.models.configuration import read_json

WEIGHTS = "diffusion_pytorch_model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def load_network(folder: Path, network_class: Any) -> nn.Module:
    """Load a trained network.

    Args:
        folder: a diffusers model folder with its weights as safetensors, in one file or in shards.
        network_class: the diffusers class.

    Raises:
        InvalidInputError: no weights, pickled ones, or shards outside the folder.
        ScoregrainError: weights that cannot be read or do not fit the configuration.
    """
    check_weights(folder)
    try:
        network, report = network_class.from_pretrained(
            os.fspath(folder.resolve()),
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,  # the other way needs accelerate
            output_loading_info=True,
        )
    except Exception as error:  # damaged files, other shapes: diffusers, safetensors and torch each raise their own
        text = textwrap.shorten(str(error), 300, placeholder=" ...")
        misfit = " shape" in text or "size mismatch" in text
        what = "are not those of its config.json" if misfit else "cannot be loaded"
        raise ScoregrainError(f"the weights in '{folder}' {what}: {type(error).__name__}: {text}") from error
    for what, names in (("lack", report["missing_keys"]), ("hold the unknown", report["unexpected_keys"])):
        if names:
            raise ScoregrainError(
                f"the weights in '{folder}' {what} '{min(names)}': they are not those of its config.json"
            )
    assert isinstance(network, nn.Module)
    return network


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Refuse what is no local folder: a file of weights, or the name of a model on a hub.

    Raises:
        InvalidInputError: says which of them it is.
    """
    path = Path(folder)
    if path.is_file() and path.suffix in PICKLED:
        raise InvalidInputError(_pickled(path))
    if not path.is_dir():
        what = "is a file" if path.is_file() else "does not exist (models on a hub are not looked up)"
        raise InvalidInputError(f"'{path}' {what}; expected the local folder of a diffusers model or pipeline")


def holds_weights(folder: Path) -> bool:
    """Are there trained weights that :func:`load_network` would read?"""
    return (folder / INDEX).is_file() or (folder / WEIGHTS).is_file()


def check_weights(folder: Path) -> None:
    """Refuse a folder that holds no safetensors of its own.

    Raises:
        InvalidInputError: no weights, pickled ones (named), or shards outside the folder.
    """
    if (folder / INDEX).is_file():
        _check_shards(folder)
        return
    if (folder / WEIGHTS).is_file():
        return
    pickled = sorted(path for path in folder.iterdir() if path.suffix in PICKLED)
    if pickled:
        raise InvalidInputError(_pickled(pickled[0]))
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    found = f"found '{others[0]}'" if others else "found no weights"
    raise InvalidInputError(f"'{folder}' holds no trained checkpoint: expected {WEIGHTS}, {found}")


def _pickled(path: Path) -> str:
    return (
        f"'{path}' holds pickled weights, which can run any code when they are read: convert them to safetensors "
        "(where you trust them: load them with diffusers and save_pretrained them) and name the new folder"
    )


def _check_shards(folder: Path) -> None:
    """The index of a sharded checkpoint may name files of its own folder only."""
    index = read_json(folder / INDEX)
    shards = index.get("weight_map")
    if not isinstance(shards, dict):
        raise InvalidInputError(f"'{folder / INDEX}' has no weight_map")
    for shard in sorted({str(value) for value in shards.values()}):
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise InvalidInputError(f"'{folder / INDEX}' names '{shard}', expected .safetensors files beside it")
        if not (folder / shard).is_file():
            raise InvalidInputError(f"'{folder}' lacks the shard '{shard}' that its index names")
