"""What the word MODEL on the command line stands for: a preset, a diffusers configuration, or a Python function."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from scoregrain._errors import InvalidInputError, ScoregrainError, nearest
from scoregrain.models import NetworkFamily, preset_names
from scoregrain.models.checkpoint import holds_weights
from scoregrain.models.configuration import looks_like_hub, read_configuration
from scoregrain.schedules import SCHEDULES, Schedule

MODEL_FIRST = "where a command takes MODEL DATA, the model comes first"


def resolve_model(
    word: str,
    *,
    shape: tuple[int, ...] | None = None,
    prediction: str | None = None,
    init: str = "as-is",
    trained: bool = False,
) -> NetworkFamily:
    """Return the family a command-line word names.

    Args:
        word: a preset; a diffusers configuration as a JSON file or folder; or ``module:function`` /
            ``file.py:function``, where the function returns a fresh ``nn.Module``.
        shape: ``(C, *space)``, required with a function, another size for a configuration, not for a preset.
        prediction: what the network predicts; ``epsilon`` unless a configuration says otherwise.
        init: see :class:`NetworkFamily`.
        trained: read the weights in the folder ``word``.

    Raises:
        InvalidInputError: unknown word, a function without a shape, or a configuration that is not known.
        ScoregrainError: the module or the function raised, or weights do not fit.
    """
    if is_preset(word):
        if shape is not None or prediction not in (None, "epsilon"):
            raise InvalidInputError(f"--shape and --prediction belong to your own networks; '{word}' is a preset")
        if trained:
            raise InvalidInputError(f"'{word}' is a preset without trained weights; --trained takes a diffusers folder")
        return NetworkFamily.from_preset(word, init=init)
    if trained:
        if init != "as-is":
            raise InvalidInputError("--init re-draws layers of untrained networks; it does not go with --trained")
        return NetworkFamily.from_pretrained(word, shape=shape, prediction=prediction)
    if _is_configuration(word):
        return NetworkFamily.from_config(word, shape=shape, prediction=prediction, init=init)
    where, _, name = word.rpartition(":")
    if not (where and name):
        raise InvalidInputError(_unknown(word))
    build = _function(where, name)
    if shape is None:
        raise InvalidInputError(f"'{word}' needs the shape of its input: --shape C H W")
    prediction = prediction or "epsilon"
    return NetworkFamily(build, shape, prediction=prediction, init=init, name=word, config={"build": word})


def is_preset(word: str) -> bool:
    """Does the word name a preset, with or without options?"""
    return word.split(":")[0] in preset_names()


def is_data(word: str) -> bool:
    """Does the word name the embedded data or a file of images?"""
    return word == "digits" or (word.endswith(".npz") and ":" not in word)


def notes(word: str, *, prediction: str | None, trained: bool, schedule: str) -> list[str]:
    """What a diffusers folder holds that is not used: its weights, its pipeline's noise schedule."""
    if is_preset(word) or not os.path.isdir(word):
        return []
    found, said = read_configuration(word, prediction), []
    if not trained and found.folder is not None and holds_weights(found.folder):
        said.append(f"'{word}' holds trained weights, which are not read; --trained reads them")
    if found.noise_schedule not in (None, schedule):
        offered = f"; --schedule {found.noise_schedule} is that one" if found.noise_schedule in SCHEDULES else ""
        said.append(
            f"the scheduler of '{word}' has the noise schedule {found.noise_schedule}, used is {schedule}{offered}"
        )
    return said


def find_schedule(word: str) -> Schedule:
    """The noise schedule of 1000 steps that a word names.

    Raises:
        InvalidInputError: unknown.
    """
    if word not in SCHEDULES:
        raise InvalidInputError(f"--schedule is '{word}'{nearest(word, SCHEDULES)}, expected {' or '.join(SCHEDULES)}")
    return SCHEDULES[word]()


def _is_configuration(word: str) -> bool:
    """Is the word a path, and not one of Python code, of data or of a folder of images?"""
    path = word.rstrip(":")
    if path.endswith((".py", ".npz")) or word.rpartition(":")[0].endswith(".py"):
        return False
    if word.endswith(".json"):
        return True
    if os.path.isdir(word):
        return any(os.path.isfile(os.path.join(word, name)) for name in ("config.json", "model_index.json"))
    return os.path.isfile(word) or word.startswith((".", "/"))


def _unknown(word: str) -> str:
    """Message for a word that names no model, with the likely mistake."""
    path = word.rstrip(":")
    if path.endswith(".py"):
        return f"'{path}' is a Python file: name its function that builds the network, as in {path}:build"
    if os.path.isdir(word):
        found = sorted(name for name in os.listdir(word) if name.endswith(".json"))[:5]
        named = f"a configuration in it is named itself: {', '.join(os.path.join(word, name) for name in found)}"
        return (
            f"'{word}' is a folder, not a model (it has no config.json or model_index.json), expected that of a "
            f"diffusers model or pipeline; {named if found else MODEL_FIRST}"
        )
    if is_data(word):
        return f"'{word}' is data, not a model; {MODEL_FIRST}"
    hint = nearest(word, preset_names())
    if looks_like_hub(word) and not nearest(word.split("/")[0], [name.split("/")[0] for name in preset_names()]):
        return (
            f"unknown model '{word}': models on a hub are not looked up; download it and name its local folder, or "
            f"give a preset ({', '.join(preset_names())})"
        )
    return (
        f"unknown model '{word}'{hint}; expected a preset ({', '.join(preset_names())}), "
        "a diffusers configuration (.json or folder), module:function or file.py:function"
    )


def _function(where: str, name: str) -> Callable[[], Any]:
    """Import a function that builds a network from a module or a file of the user's own code."""
    module = _import(where)
    function = getattr(module, name, None)
    if not callable(function):
        if hasattr(module, name):
            raise InvalidInputError(
                f"'{name}' in '{where}' exists but is not callable (it is a {type(function).__name__}); expected a "
                "function that returns a new network"
            )
        known = [word for word, value in vars(module).items() if callable(value)]
        raise InvalidInputError(
            f"'{where}' has no function '{name}'{nearest(name, known)}; expected one that returns a new network"
        )

    def build() -> Any:
        with _explained(f"building a network by '{where}:{name}'"):
            return function()

    return build


def _import(where: str) -> ModuleType:
    """Import a file, or a module that Python finds from the current folder."""
    if where.endswith(".py"):
        if not os.path.isfile(where):
            raise InvalidInputError(f"no such file: '{where}'")
        with _explained(f"importing '{where}'"):
            return _load_file(Path(where))
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with _explained(f"importing '{where}'"):
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{where}.".startswith(f"{error.name}."):
                raise  # something else that the module imports is missing
            raise InvalidInputError(_unknown(where)) from error


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Turn whatever the user's own code raises into one message."""
    try:
        yield
    except ScoregrainError:
        raise
    except (Exception, SystemExit) as error:  # a script that parses its own arguments exits
        text = " ".join(str(error).split())
        raise ScoregrainError(f"{doing} failed: {type(error).__name__}: {text}") from error


def _load_file(path: Path) -> ModuleType:
    """Import one Python file under its own name."""
    if str(path.parent.resolve()) not in sys.path:
        sys.path.insert(0, str(path.parent.resolve()))  # as Python does for a script
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module
