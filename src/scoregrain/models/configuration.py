"""Reading what describes a diffusers network: a dictionary, a JSON file, a model folder or a pipeline folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
        noise: the configuration of a pipeline's scheduler, None where there is none.
    """

    class_name: str
    arguments: dict[str, Any]
    name: str
    prediction: str | None = None
    folder: Path | None = None
    noise: dict[str, Any] | None = None

    @property
    def noise_schedule(self) -> str | None:
        """Name of the pipeline's noise schedule if it states one: ``linear`` and ``cosine`` are ours."""
        if self.noise is None or self.prediction == "flow":
            return None
        if (class_name := str(self.noise.get("_class_name"))).startswith(PRECONDITIONED):
            return f"of {class_name}"
        values = _NOISE | self.noise
        word = str(values["beta_schedule"]).removeprefix(
            "shaped:"
        )  # a shaped scheduler's, its levels are the stock ones
        if self.noise.get("trained_betas") is not None:
            return "trained_betas"
        if self.noise.get("rescale_betas_zero_snr"):
            return f"{word}, rescaled to a terminal signal of zero"
        if values["num_train_timesteps"] != _NOISE["num_train_timesteps"]:
            return f"{word} of {values['num_train_timesteps']} steps"
        if word == "squaredcos_cap_v2":
            return "cosine"
        ours = all(values[key] == _NOISE[key] for key in ("beta_start", "beta_end"))
        return word if word == "linear" and ours else f"{word} from {values['beta_start']} to {values['beta_end']}"


# what diffusers' schedulers are without these entries: our linear schedule
_NOISE = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02, "num_train_timesteps": 1000}


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
        hub = "; models on a hub are not looked up: name a local folder" if looks_like_hub(str(config)) else ""
        raise InvalidInputError(f"no such file or folder: '{path}'; expected a diffusers configuration{hub}")
    if path.suffix != ".json":
        raise InvalidInputError(f"'{path}' is no .json file; expected a diffusers configuration or its folder")
    return _configuration(read_json(path), f"'{path}'", path.stem, prediction)


def looks_like_hub(word: str) -> bool:
    """Is it like the name of a model on a hub, ``owner/name``?"""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", word) is not None and not word.endswith(".json")


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
    noise = read_json(scheduler) if scheduler.is_file() else None
    if prediction is None and noise is not None:
        prediction = _prediction(noise, scheduler)
    return replace(_model_folder(folder / parts[0], name, prediction), noise=noise)


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
