"""Noises on disk: a JSON file with the string, and safetensors for what has none (ARCHITECTURE 4)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain._folders import damaged, explained, new_folder
from scoregrain.noise._fields import kebab
from scoregrain.noise.describing import MAX_SPECTRUM, OPERATOR, operator_spectrum, tensor_fields
from scoregrain.noise.forward import ForwardNoise
from scoregrain.noise.parsing import KINDS, make_weight, product, split
from scoregrain.noise.weight import Weight
from scoregrain.noise.weights import factors_of
from scoregrain.operators import NULL_TOLERANCE, DiagonalOperator, Operator

FORMAT = 1
CONFIG = "noise_config.json"  # beside other files, such as a scheduler's; a folder of its own has config.json
TENSORS = "noise.safetensors"


def save_noise(noise: ForwardNoise, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a folder of ``config.json`` and, for what has tensors, ``noise.safetensors``: both or nothing.

    Raises:
        InvalidInputError: As :func:`write_noise`; or the folder exists and may not be replaced.
        ScoregrainError: It cannot be written.
    """
    with new_folder(folder, overwrite=overwrite) as temporary:
        write_noise(noise, temporary, "config.json")
    return Path(folder)


def load_noise(folder: str | os.PathLike[str]) -> ForwardNoise:
    """Read what :func:`save_noise` wrote.

    Raises:
        InvalidInputError: There is no such folder, or it holds no noise of this format.
        ScoregrainError: A file is missing, damaged or was changed.
    """
    return read_noise(folder, "config.json")


def write_noise(noise: ForwardNoise, folder: str | os.PathLike[str], config: str = CONFIG) -> None:
    """Write the files of a noise into an existing folder: ``config`` and, for what has tensors, TENSORS.

    Raises:
        InvalidInputError: A weight is of the caller's own class, which no file can name; or the noise was made from
            an operator that eigenvalues and eigenvectors do not hold: beyond 4096 dimensions, or variances over ten
            orders of magnitude.
        ScoregrainError: The folder cannot be written to.
    """
    from scoregrain import __version__

    tensors = _tensors(noise.weight)
    contents = {
        "kind": "noise",
        "format": FORMAT,
        "scoregrain": __version__,
        "torch": torch.__version__,
        "noise": str(noise),
        "shape": list(noise.weight.shape) if isinstance(noise.weight, Operator) else None,
    }
    file = Path(folder) / TENSORS
    with explained(Path(folder)):
        file.unlink(missing_ok=True)
        if tensors:
            save_file(tensors, file)
            file.chmod(0o644)  # safetensors writes it for the owner alone
        (Path(folder) / config).write_text(json.dumps(contents, indent=2) + "\n")


def read_noise(folder: str | os.PathLike[str], config: str = CONFIG) -> ForwardNoise:
    """Read what :func:`write_noise` wrote.

    Raises:
        InvalidInputError: There is no such file, or it holds no noise of this format.
        ScoregrainError: A file is missing, damaged or was changed.
    """
    folder = Path(folder)
    if not (folder / config).is_file():
        raise InvalidInputError(f"'{folder}' is not a saved noise: it has no {config}")
    try:
        contents = json.loads((folder / config).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(folder, error) from error
    kind, version = (contents.get("kind"), contents.get("format")) if isinstance(contents, dict) else (None, None)
    if (kind, version) != ("noise", FORMAT):
        found = f"'{kind}' of format {version}" if kind else "no noise"
        hint = _noise_of_preview(folder, contents) if kind == "noise preview" else ""
        raise InvalidInputError(f"'{folder}' holds {found}, expected a noise of format {FORMAT}{hint}")
    try:
        noise = _rebuild(contents, folder / TENSORS)
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise damaged(folder, error) from error
    if str(noise) != contents["noise"]:
        raise ScoregrainError(
            f"'{folder}' was damaged or changed: its files make the noise '{noise}', expected '{contents['noise']}'"
        )
    return noise


def forget_noise(folder: str | os.PathLike[str]) -> None:
    """Remove what :func:`write_noise` wrote beside other files, if anything."""
    with explained(Path(folder)):
        for name in (CONFIG, TENSORS):
            (Path(folder) / name).unlink(missing_ok=True)


def check_nameable(weight: Weight | Operator) -> None:
    """Refuse a weight of the caller's own class, which no file can name.

    Raises:
        InvalidInputError: As it says.
    """
    for factor in () if isinstance(weight, Operator) else factors_of(weight):
        if type(factor) not in KINDS.values():
            raise InvalidInputError(
                f"the noise colour {kebab(type(factor))} is of your own class {type(factor).__name__}, which no file"
                " can name: save its gains for one size instead, Custom(weight(FrequencyGrid(size)))"
            )


def _tensors(weight: Weight | Operator) -> dict[str, Tensor]:
    """Return what must be written as tensors, each under ``<index of the factor>.<field>``."""
    if isinstance(weight, Operator):
        if weight.size > MAX_SPECTRUM:
            raise InvalidInputError(
                f"a noise made from an operator is saved with its eigenvectors, which is possible up to"
                f" {MAX_SPECTRUM} dimensions; this one has {weight.size}: save what it was made from"
            )
        values, vectors = operator_spectrum(weight)
        if weight.rank() != int((values > NULL_TOLERANCE * values[0]).sum()):
            raise InvalidInputError(
                f"the variances of this operator span more than {1 / NULL_TOLERANCE:.0e}, the smallest would not be"
                " saved: save what it was made from"
            )
        return {"eigenvalues": values.contiguous(), "eigenvectors": vectors.contiguous()}
    check_nameable(weight)
    tensors: dict[str, Tensor] = {}
    for index, factor in enumerate(factors_of(weight)):
        tensors |= {f"{index}.{name}": tensor for name, tensor in tensor_fields(factor).items()}
    return tensors


def _rebuild(contents: dict[str, Any], file: Path) -> ForwardNoise:
    if not isinstance(contents["noise"], str):
        raise TypeError(f"the noise is no string but {contents['noise']!r:.40}")
    factors, normalize = split(contents["noise"])
    tensors = load_file(file) if "@" in contents["noise"] else {}
    if factors[0].kind == OPERATOR:
        operator = DiagonalOperator(contents["shape"], tensors["eigenvalues"], tensors["eigenvectors"])
        return ForwardNoise(operator, normalize or "unit")
    weights = [make_weight(factor, _tensors_of(index, tensors)) for index, factor in enumerate(factors)]
    return ForwardNoise(product(weights), normalize or "unit")


def _tensors_of(index: int, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{index}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _noise_of_preview(folder: Path, contents: dict[str, Any]) -> str:
    """Say which noise to take instead of a preview: the one it keeps, or its name where a string says all."""
    path = str(folder / "noise")
    if (folder / "noise" / "config.json").is_file():
        return f": load the noise in it, {path if path.startswith(('.', '/')) else f'./{path}'}"
    return f": it shows the noise {contents.get('noise')}"
