"""A law on disk, so that a run knows for ever what it was trained on, and can be judged by its exact model."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._folders import damaged
from scoregrain.datasets import Gaussian, GaussianMixture, Law, RankOne, Sphere, parse_law
from scoregrain.operators import DenseOperator, Operator

FILE = "law.safetensors"


def stored_law(law: Law) -> Law:
    """Return the law as it would be read from a file: its draws are then the same for ever.

    Raises:
        InvalidInputError: It is of the caller's own class, which no file can name.
    """
    if hasattr(law, "stored") or _is_parsed(law):
        return law
    return _rebuild(_tensors(law), law.name, law.shape)


def write_law(law: Law, folder: Path) -> None:
    """Write what :func:`stored_law` returned into a new folder: a string, and tensors where that says too little."""
    folder.mkdir()
    config = {"kind": "law", "format": 1, "law": law.name, "shape": list(law.shape)}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if (tensors := getattr(law, "stored", None)) is not None:
        save_file(tensors, folder / FILE)
        (folder / FILE).chmod(0o644)  # safetensors writes it for the owner alone


def read_law(folder: Path) -> Law | None:
    """Return the law of a folder, None where there is none.

    Raises:
        ScoregrainError: It is damaged.
    """
    if not folder.is_dir():
        return None
    try:
        config = json.loads((folder / "config.json").read_bytes())
        name, shape = str(config["law"]), tuple(config["shape"])
        if (folder / FILE).is_file():
            return _rebuild(load_file(folder / FILE), name, shape)
        return parse_law(name, shape)
    except Exception as error:  # a damaged file can raise any
        raise damaged(folder, error) from error


def _is_parsed(law: Law) -> bool:
    """Does its name alone give it back?"""
    try:
        parsed = parse_law(law.name, law.shape)
    except InvalidInputError:
        return False
    if type(parsed) is not type(law):
        return False
    ours, theirs = _tensors(law), _tensors(parsed)  # a name is the caller's to choose
    return all(torch.equal(ours[key], theirs[key]) for key in ours)


def _tensors(law: Law) -> dict[str, Tensor]:
    if type(law) is RankOne:
        return {"direction": law.direction, "scale": torch.tensor(law.scale, dtype=torch.float64)}
    if type(law) is Sphere:
        return {"directions": law.directions.contiguous()}
    if type(law) in (Gaussian, GaussianMixture) and isinstance(law, GaussianMixture):
        covariances = torch.stack([each.to_dense() for each in law.covariances])
        return {"weights": law.weights, "means": law.means, "covariances": covariances}
    raise InvalidInputError(
        f"a law of your own class {type(law).__name__} cannot be stored with a run: train on its arrays instead,"
        " data=law.sample(10_000)"
    )


def _rebuild(tensors: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Law:
    law: Law
    if "direction" in tensors:
        law = RankOne(tensors["direction"], shape, float(tensors["scale"]), name)
    elif "directions" in tensors:
        law = Sphere(tensors["directions"], shape, name)
    else:
        covariances: list[Operator] = [DenseOperator.from_matrix(shape, each) for each in tensors["covariances"]]
        means = tensors["means"]
        law = (
            Gaussian(means[0], covariances[0], name)
            if len(means) == 1
            else GaussianMixture(tensors["weights"], means, covariances, name)
        )
    vars(law)["stored"] = tensors
    return law
