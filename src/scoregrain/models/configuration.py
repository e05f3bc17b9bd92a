"""Reading what describes a diffusers network: a dictionary, a JSON file, a model folder or a pipeline folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scoregrain._errors import InvalidInputError, nearest
from scoregrain._predictions import PREDICTIONS

COMPONENTS = ("unet", "transformer")
"""Sub-folders of a pipeline folder that hold the score network."""

# schedulers of networks that are told, and scaled by, a noise level of their own
PRECONDITIONED = ("EDM", "CMStochasticIterative", "KarrasVe", "ScoreSdeVe")


@dataclass(frozen=True)
class Configuration:
    """A network described but not yet built.

    Attributes:
        class_name: diffusers' name of the class.
        arguments: its arguments as the configuration gives them.
        name: what messages and reports call the network.
        prediction: what the network predicts, None where nobody says.
        folder: where its weights would lie, None for a dictionary or a JSON file.
    """

    class_name: str
    arguments: dict[str, Any]
    name: str
    prediction: str | None = None
    folder: Path | None = None


def read_configuration(
    config: Mapping[str, Any] | str | os.PathLike[str], prediction: str | None = None
) -> Configuration:
    """Read a configuration: a dictionary, a JSON file, or a folder of a diffusers model or pipeline.

    Args:
        config: what to read.
        prediction: what the network predicts; by default what a pipeline's scheduler says.

    Raises:
        InvalidInputError: no such file or folder, no configuration there, broken JSON, no ``_class_name``.
    """
    if isinstance(config, Mapping):
        return _configuration(dict(config), "the configuration", None, prediction)
    path = Path(config)
    if path.is_dir():
        return _read_folder(path, prediction)
    if not path.is_file():
        raise InvalidInputError(f"no such file or folder: '{path}'; expected a diffusers configuration")
    if path.suffix != ".json":
        raise InvalidInputError(f"'{path}' is no .json file; expected a diffusers configuration or its folder")
    return _configuration(read_json(path), f"'{path}'", path.stem, prediction)


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object.

    Raises:
        InvalidInputError: unreadable, broken, or no object.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:  # not UTF-8 is a ValueError, too
        raise InvalidInputError(f"'{path}' cannot be read as JSON: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"'{path}' holds a JSON {type(value).__name__}, expected an object {{...}}")
    return value


def _read_folder(folder: Path, prediction: str | None) -> Configuration:
    """A model folder, or the network of a pipeline folder with what its scheduler says."""
    name = folder.resolve().name
    if not (folder / "model_index.json").is_file():
        return _model_folder(folder, name, prediction)
    parts = [part for part in COMPONENTS if (folder / part).is_dir()]
    if not parts and (folder / "config.json").is_file():  # pipelines of one network, as published first
        parts = ["."]
    if len(parts) != 1:
        found = f"holds {' and '.join(parts)}" if parts else "has neither"
        raise InvalidInputError(
            f"the pipeline '{folder}' {found}: expected one network in {' or '.join(f'{p}/' for p in COMPONENTS)}; "
            "name the folder of the network itself"
        )
    scheduler = folder / ("scheduler" if parts != ["."] else ".") / "scheduler_config.json"
    if prediction is None and scheduler.is_file():
        prediction = _prediction(read_json(scheduler), scheduler)
    return _model_folder(folder / parts[0], name, prediction)


def _model_folder(folder: Path, name: str, prediction: str | None) -> Configuration:
    path = folder / "config.json"
    if not path.is_file():
        raise InvalidInputError(
            f"'{folder}' holds neither config.json (a diffusers model) nor model_index.json (a diffusers pipeline)"
        )
    return _configuration(read_json(path), f"'{path}'", name, prediction, folder)


def _configuration(
    values: dict[str, Any], where: str, name: str | None, prediction: str | None, folder: Path | None = None
) -> Configuration:
    """Separate the class from its arguments; keys with an underscore are diffusers' own notes."""
    if "scoregrain" in values:
        raise InvalidInputError(
            f"{where} is a result of scoregrain ({values.get('kind', 'of unknown kind')}), not a network to measure"
        )
    class_name = values.get("_class_name")
    if not isinstance(class_name, str):
        raise InvalidInputError(f"{where} does not say '_class_name', the diffusers class it configures")
    arguments = {key: value for key, value in values.items() if not key.startswith("_")}
    return Configuration(class_name, arguments, name or class_name, prediction, folder)


def _prediction(scheduler: dict[str, Any], path: Path) -> str:
    """What the network predicts, by its scheduler; diffusers' others mean epsilon when they do not say."""
    class_name = str(scheduler.get("_class_name"))
    if class_name.startswith("FlowMatch"):
        return "flow"
    if class_name == "IPNDMScheduler":
        return "v_prediction"
    word = str(scheduler.get("prediction_type", "epsilon"))
    if word == "flow_prediction":
        return "flow"
    if class_name.startswith(PRECONDITIONED):
        problem = f"{class_name} preconditions the network, whose own output is none that scoregrain knows"
    elif word not in PREDICTIONS:
        problem = f"unknown prediction_type '{word}'{nearest(word, PREDICTIONS)}"
    else:
        return word
    raise InvalidInputError(
        f"'{path}': {problem}; say what the network predicts with prediction= (--prediction): {', '.join(PREDICTIONS)}"
    )
