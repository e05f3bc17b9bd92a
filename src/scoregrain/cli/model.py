"""What the word MODEL on the command line stands for: a preset, or a Python function that builds a network."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from scoregrain._errors import InvalidInputError, ScoregrainError, nearest
from scoregrain.models import NetworkFamily, preset_names


def resolve_model(
    word: str, *, shape: tuple[int, ...] | None = None, prediction: str = "epsilon", init: str = "as-is"
) -> NetworkFamily:
    """Return the family a command-line word names.

    Args:
        word: a preset, or ``module:function`` / ``file.py:function``; the function returns a fresh ``nn.Module``.
        shape: ``(C, *space)``, required with a function and only there.
        prediction: what a function's network predicts.
        init: see :class:`NetworkFamily`.

    Raises:
        InvalidInputError: unknown word, or a function without a shape.
        ScoregrainError: the module or the function raised.
    """
    if word.split(":")[0] in preset_names() or ":" not in word:
        if word.split(":")[0] not in preset_names():
            raise InvalidInputError(_unknown(word))
        if shape is not None or prediction != "epsilon":
            raise InvalidInputError(f"--shape and --prediction belong to your own networks; '{word}' is a preset")
        return NetworkFamily.from_preset(word, init=init)
    build = _function(word)
    if shape is None:
        raise InvalidInputError(f"'{word}' needs the shape of its input: --shape C H W")
    return NetworkFamily(build, shape, prediction=prediction, init=init, name=word, config={"build": word})


def _unknown(word: str) -> str:
    """Message for a word that names no model, with the likely mistake."""
    if word == "digits" or word.endswith(".npz"):
        return f"'{word}' is data, not a model; the model comes first: scoregrain analyze MODEL DATA"
    return (
        f"unknown model '{word}'{nearest(word, preset_names())}; expected a preset ({', '.join(preset_names())}) "
        "or your own module:function"
    )


def _function(word: str) -> Callable[[], Any]:
    """Import ``module:function`` or ``file.py:function`` of the user's own code."""
    where, _, name = word.rpartition(":")
    try:
        module = _load_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"unknown model '{word}': {error}; expected a preset ({', '.join(preset_names())}), module:function "
            "or file.py:function"
        ) from error
    except ScoregrainError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise ScoregrainError(f"importing '{where}' failed: {type(error).__name__}: {text}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InvalidInputError(f"'{where}' has no function '{name}'{nearest(name, vars(module))}")

    def build() -> Any:
        try:
            return function()
        except Exception as error:
            text = " ".join(str(error).split())
            raise ScoregrainError(f"'{word}' failed to build a network: {type(error).__name__}: {text}") from error

    return build


def _load_file(path: Path) -> ModuleType:
    """Import one Python file under its own name."""
    if not path.is_file():
        raise InvalidInputError(f"no such file: '{path}'")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def resolve_device(word: str | None) -> torch.device:
    """Return a device that is there.

    Raises:
        InvalidInputError: no such device.
    """
    try:
        device = torch.device(word or "cpu")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        text = " ".join(str(error).split())
        raise InvalidInputError(f"device '{word}' cannot be used: {text[:200]}") from error
    return device
