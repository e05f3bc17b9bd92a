"""What the commands that take a run share: the run itself, and samples as a file."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.cli.model import is_preset, resolve_model
from scoregrain.cli.ranks import own_device
from scoregrain.datasets import load_images
from scoregrain.datasets.reading import reading
from scoregrain.geometry.running import find_device
from scoregrain.training import Run
from scoregrain.training.record import read_record

FILE, ARRAY = "samples.npz", "samples"


def load_run(folder: Path, model: str | None, device: str | None) -> Run:
    """The run in a folder; of networks of the user's own, with the function that builds them.

    Raises:
        InvalidInputError: there is none with a checkpoint, or its networks are not found.
        ScoregrainError: it is damaged.
    """
    found, own = read_record(folder), own_device(device)
    place = find_device(own)
    if model is None:
        return Run.load(folder, device=place)
    try:
        shape, prediction, init = (found["model"][key] for key in ("shape", "prediction", "init"))
    except (KeyError, TypeError) as error:
        raise ScoregrainError(f"'{folder}' is damaged: its config.json does not say what the network is") from error
    if is_preset(model):
        raise InvalidInputError(f"--model is for networks of your own (file.py:function); '{model}' is a preset")
    family = resolve_model(model, shape=tuple(shape), prediction=prediction, init=init)
    return Run.load(folder, family=family, device=place)


def is_run(word: str) -> bool:
    """Does the word name a run folder? Presets win over paths."""
    if is_preset(word) or not os.path.isdir(word):
        return False
    try:
        return bool(read_record(Path(word)))
    except InvalidInputError:
        return False


def run_name(folder: Path) -> str:
    """How folders that are made of a run are called."""
    return Path(folder).resolve().name.removeprefix("scoregrain-")


def write_samples(samples: Tensor, config: dict[str, Any], folder: Path) -> None:
    """Write raw samples, a picture of some and how they were made into a new folder."""
    from scoregrain import __version__
    from scoregrain.datasets import tile

    np.savez(folder / FILE, samples=samples.float().numpy())
    tile(samples[:64]).save(folder / "samples.png", "PNG")
    head = {"kind": "samples", "format": 1, "scoregrain": __version__, "torch": torch.__version__}
    (folder / "config.json").write_text(json.dumps(head | config, indent=2) + "\n")


def read_samples(word: str, shape: tuple[int, ...] | None) -> tuple[Tensor, list[str]]:
    """Samples as they are, where they are an array of that name; anything else is read as data are, with its notes.

    Args:
        word: a folder that scoregrain sample wrote, an ``.npz`` with an array ``samples`` (N, C, *space) of floats,
            or images as :func:`scoregrain.datasets.load_images` takes them.
        shape: ``(C, *space)`` that images are fitted to.

    Raises:
        InvalidInputError: there are none, or they are no floats.
    """
    path = Path(word)
    path = path / FILE if (path / FILE).is_file() else path
    array = _raw(path) if path.suffix == ".npz" and path.is_file() else None
    if array is None:
        images = load_images(word, shape=shape, limit=None)
        return images.pixels, list(images.notes)
    if array.dtype.kind != "f" or array.ndim < 3:
        raise InvalidInputError(
            f"'{path}': {ARRAY} must be floats (N, C, *space), black -1 and white 1, got {array.dtype} of shape"
            f" {array.shape}; images of 0..255 are an array of another name, such as images"
        )
    return torch.from_numpy(array.astype(np.float32)), []


def _raw(path: Path) -> np.ndarray[Any, np.dtype[Any]] | None:
    """The array ``samples`` of a file, None where it has none."""
    with reading(path, "an .npz file"), zipfile.ZipFile(path), np.load(path, allow_pickle=False) as archive:
        return np.asarray(archive[ARRAY]) if ARRAY in archive.files else None
