"""A family from what a file recorded of it; nothing is imported that the file names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from scoregrain._errors import InvalidInputError
from scoregrain.models.dit import DiT
from scoregrain.models.family import NetworkFamily
from scoregrain.models.mlp import MLP, LinearMap
from scoregrain.models.vit import ViT

_OURS: dict[str, type[nn.Module]] = {f"scoregrain.{kind.__name__}": kind for kind in (DiT, ViT, MLP, LinearMap)}
_SAID = ("class", "conditioning", "output")  # entries of a record that are no arguments


def rebuild_family(
    shape: Sequence[int], prediction: str, init: str, name: str, config: Mapping[str, Any]
) -> NetworkFamily:
    """Return the family whose ``config`` was recorded: a preset's or a diffusers configuration's.

    Args:
        shape: ``(C, *space)``.
        prediction: see :class:`NetworkFamily`.
        init: see :class:`NetworkFamily`.
        name: see :class:`NetworkFamily`.
        config: what :attr:`NetworkFamily.config` was.

    Raises:
        InvalidInputError: it was built by the caller's own code, or with conditioning that was given.
    """
    kind = str(config.get("class"))
    arguments = {key: value for key, value in config.items() if key not in _SAID}
    given = any(str(words).startswith("given,") for words in dict(config.get("conditioning") or {}).values())
    if given:
        raise InvalidInputError(
            f"the network '{name}' was conditioned on values that were given: give its family again"
        )
    if kind in _OURS:
        arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
        return NetworkFamily(
            partial(_OURS[kind], **arguments), tuple(shape), prediction, init=init, name=name, config=config
        )
    if kind.startswith("diffusers."):
        described = {"_class_name": kind.removeprefix("diffusers."), **arguments}
        return NetworkFamily.from_config(described, shape=tuple(shape), prediction=prediction, init=init, name=name)
    raise InvalidInputError(
        f"the network '{name}' was built by code that no file may name: give its family again (--model); to train on,"
        " repeat the words that began the run, with --resume"
    )
