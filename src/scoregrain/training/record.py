"""A training as JSON: what a run folder says of itself, and what resuming compares (ARCHITECTURE 4, "Artefacts")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from scoregrain._errors import InvalidInputError
from scoregrain._folders import damaged
from scoregrain.align import Rotation, write_rotation
from scoregrain.models import NetworkFamily, rebuild_family
from scoregrain.noise.storage import load_noise, write_noise
from scoregrain.training.checkpoint import write_atomically
from scoregrain.training.config import TrainConfig
from scoregrain.training.laws import read_law, write_law
from scoregrain.training.setup import Setup, fingerprint, source_word

KIND, FORMAT = "run", 1
OPERATIONAL = ("steps", "checkpoint_every", "keep", "sample_every", "log_every", "device", "tracker", "out")
"""What may differ when a run is resumed: it changes none of the updates made so far."""

_PARTS = ("model", "data", "noise", "rotation")
_PLAIN = tuple(f.name for f in fields(TrainConfig) if f.name not in (*_PARTS, "out"))


def record(setup: Setup) -> dict[str, Any]:
    """Return a training as JSON types."""
    from scoregrain import __version__

    config, family, train = setup.config, setup.family, setup.split.train
    return {
        "kind": KIND,
        "format": FORMAT,
        "scoregrain": __version__,
        "torch": torch.__version__,
        "model": {
            "name": family.name,
            "shape": list(family.shape),
            "prediction": family.prediction,
            "init": family.init,
            "trained": family.trained,
            "fingerprint": family.fingerprint(config.seed, min(config.timesteps, 1000)),
            "config": dict(family.config),
        },
        "data": {
            "name": train.name,
            "source": source_word(config),
            "count": len(train),
            "held_out": len(setup.split.held_out),
            "notes": list(train.notes),
            "fingerprint": fingerprint(train.pixels),
        },
        "noise": str(setup.process.noise),
        "rotation": None if setup.rotation is None else _rotation_word(setup.rotation),
        "training": {name: getattr(config, name) for name in _PLAIN},
    }


def _rotation_word(rotation: Rotation) -> str:
    return "/".join(fingerprint(part) for part in (rotation.core, rotation.basis) if part is not None)


def write_run(setup: Setup, folder: Path) -> None:
    """Write what does not change while a run trains into its new folder."""
    for name in ("noise", "checkpoints"):
        (folder / name).mkdir()
    write_noise(setup.process.noise, folder / "noise", "config.json")
    if setup.rotation is not None:
        (folder / "rotation").mkdir()
        write_rotation(setup.rotation, folder / "rotation")
    if setup.law is not None:
        write_law(setup.law, folder / "law")
    write_record(setup, folder)


def write_record(setup: Setup, folder: Path) -> None:
    """Write what a run is into its folder; a run that goes on longer says so."""
    write_atomically(folder / "config.json", json.dumps(record(setup), indent=2, default=str) + "\n")


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a run folder.

    Raises:
        InvalidInputError: There is no such folder, or it holds no run of this format.
        ScoregrainError: It is damaged.
    """
    file = folder / "config.json"
    if not file.is_file():
        what = "has no config.json" if folder.is_dir() else "does not exist"
        raise InvalidInputError(f"'{folder}' is not a run: it {what}; expected a folder that scoregrain train wrote")
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(folder, error) from error
    kind, version = (found.get("kind"), found.get("format")) if isinstance(found, dict) else (None, None)
    if (kind, version) != (KIND, FORMAT):
        what = f"'{kind}' of format {version}" if kind else "no run"
        raise InvalidInputError(
            f"'{folder}' holds {what}, expected a run of format {FORMAT}, as scoregrain train writes it"
        )
    if not all(isinstance(found.get(name), dict) for name in ("model", "data", "training")):
        raise damaged(folder, LookupError("config.json lacks what was trained"))
    return dict(found)


def read_config(folder: Path, found: Mapping[str, Any], family: NetworkFamily | None = None) -> TrainConfig:
    """Return the configuration of a run.

    Args:
        folder: The run.
        found: Its record.
        family: Its networks; needed where they were built by the caller's own code, which no file may name.

    Raises:
        InvalidInputError: The family is needed, or is not the run's.
        ScoregrainError: The folder is damaged.
    """
    try:
        model, data, options = found["model"], found["data"], dict(found["training"])
        if options.get("value_range") is not None:
            options["value_range"] = tuple(options["value_range"])
        law, source = read_law(folder / "law"), data["source"]
        recorded = tuple(model["shape"]), model["prediction"], model["init"], model["name"], dict(model["config"])
        rotated = found["rotation"] is not None
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise damaged(folder, error) from error
    if family is None:
        family = rebuild_family(*recorded)
    if list(family.shape) != model["shape"]:
        raise InvalidInputError(
            f"the run '{folder}' is of arrays {tuple(model['shape'])}, the family '{family.name}' of {family.shape}"
        )
    return TrainConfig(
        model=family,
        data=law or source,
        noise=load_noise(folder / "noise"),
        rotation=Rotation.load(folder / "rotation") if rotated else None,
        out=folder,
        **{key: value for key, value in options.items() if key in _PLAIN},
    )


def refuse_other(folder: Path, found: Mapping[str, Any], setup: Setup) -> None:
    """Fail where a run was trained otherwise than it is to be continued.

    Raises:
        InvalidInputError: Names the first difference.
    """
    if found["model"].get("trained") and not setup.family.trained:  # its folder holds no copy of where it began
        raise InvalidInputError(
            f"'{folder}' began with trained weights: continue it with the words it was begun with, and --resume"
        )
    mine = json.loads(json.dumps(record(setup), default=str))
    for name, key, here, there in _differences(mine, found):
        if name == "training" and key in OPERATIONAL and not (key == "steps" and _steps_matter(setup.config)):
            continue
        said = f"{key or name} {there!r}, now it is {here!r}"
        if key == "fingerprint":
            said = f"another {'network' if name == 'model' else 'set of arrays'} (fingerprint {there}, now {here})"
        raise InvalidInputError(f"'{folder}' was trained with {said}: continue with the same, or choose another --out")


def _differences(mine: Mapping[str, Any], found: Mapping[str, Any]) -> list[tuple[str, str, Any, Any]]:
    """Entries that differ, as (section, key, mine, found), in the order of the record; versions do not count."""
    pairs: list[tuple[str, str, Any, Any]] = []
    for name in ("training", "model", "data"):  # an option explains more than the hash it changes
        pairs += [(name, key, value, found[name].get(key)) for key, value in mine[name].items() if _counts(name, key)]
    pairs += [(name, "", mine[name], found.get(name)) for name in ("noise", "rotation")]
    return [pair for pair in pairs if pair[2] != pair[3]]


def _counts(name: str, key: str) -> bool:
    """A network is compared by its shape, prediction and fingerprint, data by their content."""
    return name == "training" or key in ("shape", "prediction", "init", "fingerprint", "count")


def _steps_matter(config: TrainConfig) -> bool:
    """Does the learning rate of every update depend on how many there will be?"""
    return config.lr_schedule in ("linear", "cosine")
