"""Rotations on disk: ``config.json`` and safetensors (ARCHITECTURE 4)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._folders import damaged, new_folder
from scoregrain.align.rotation import MODES, Rotation

FORMAT = 1
MAX_SKEW = 1e-8  # of WᵀW - I: rounding of float64 is far below, a damaged or a float32 matrix far above


def save_rotation(rotation: Rotation, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write ``config.json`` and ``rotation.safetensors``, both or nothing."""
    with new_folder(folder, overwrite=overwrite) as temporary:
        write_rotation(rotation, temporary)
    return Path(folder)


def write_rotation(rotation: Rotation, folder: Path) -> None:
    """Write the files of a rotation into an existing folder."""
    from scoregrain import __version__

    tensors = {"core": rotation.core} | ({} if rotation.basis is None else {"basis": rotation.basis})
    file = folder / "rotation.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    file.chmod(0o644)  # safetensors writes it for the owner alone
    config = {
        "kind": "rotation",
        "format": FORMAT,
        "scoregrain": __version__,
        "torch": torch.__version__,
        "shape": list(rotation.shape),
        "mode": rotation.mode,
        "rank": rotation.rank,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def load_rotation(folder: str | os.PathLike[str]) -> Rotation:
    """Read what :func:`save_rotation` wrote.

    Raises:
        InvalidInputError: no such folder, or not a rotation of this format.
        ScoregrainError: a file is damaged, or the matrix in it is not orthogonal.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise InvalidInputError(f"'{folder}' is not a saved rotation: it has no config.json")
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise damaged(folder, error) from error
    kind, version = (config.get("kind"), config.get("format")) if isinstance(config, dict) else (None, None)
    if (kind, version) != ("rotation", FORMAT):
        found = f"'{kind}' of format {version}" if kind else "no rotation"
        inside = folder / "rotation"
        hint = f"; its rotation is '{inside}'" if (inside / "config.json").is_file() else ""
        raise InvalidInputError(f"'{folder}' holds {found}, expected a rotation of format {FORMAT}{hint}")
    try:
        return _rebuild(config, load_file(folder / "rotation.safetensors"))
    except Exception as error:  # safetensors and the system have errors of their own; a damaged file can raise any
        raise damaged(folder, error) from error


def _rebuild(config: dict[str, Any], tensors: dict[str, Tensor]) -> Rotation:
    if config["mode"] not in MODES:
        raise ValueError(f"unknown mode '{config['mode']}'")
    rotation = Rotation(
        tensors["core"], tuple(config["shape"]), config["mode"], tensors.get("basis"), rank=config["rank"]
    )
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float64:
            raise ValueError(f"the {name} of the rotation is {tensor.dtype}, expected float64")
        skew = float((tensor.T @ tensor - torch.eye(tensor.shape[1], dtype=torch.float64)).abs().max())
        if not skew <= MAX_SKEW:
            raise ValueError(f"the {name} of the rotation is not orthogonal, WᵀW - I reaches {skew:.1g}")
    return rotation
