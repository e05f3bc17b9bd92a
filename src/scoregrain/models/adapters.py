"""Diffusers networks as families: a class by its name, its conditioning held fixed, its output cut.

The classes of :data:`ADAPTERS` are known; nothing else that a configuration names is ever imported.
"""

from __future__ import annotations

import copy
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from scoregrain._errors import InvalidInputError, ScoregrainError, nearest
from scoregrain.models.checkpoint import check_folder, load_network
from scoregrain.models.conditioning import (
    Conditioned,
    Inputs,
    asks_for_size,
    dit_inputs,
    fill,
    pixart_inputs,
    unet1d_inputs,
    unet_condition_inputs,
    unet_inputs,
)
from scoregrain.models.configuration import Configuration, read_configuration
from scoregrain.models.family import NetworkFamily

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Adapter:
    """How a diffusers class is called.

    Attributes:
        inputs: what it needs beside ``(x, t)``, by its full configuration and the space of one input.
        space: number of space dimensions.
        square: it is built for square images of one size.
        bare: called as ``f(x, t)`` when it needs nothing else.
    """

    inputs: Callable[[Config, tuple[int, ...]], Inputs]
    space: int = 2
    square: bool = False
    bare: bool = True


ADAPTERS = {
    "UNet2DModel": Adapter(unet_inputs),
    "UNet2DConditionModel": Adapter(unet_condition_inputs),
    "UNet1DModel": Adapter(unet1d_inputs, space=1),
    "DiTTransformer2DModel": Adapter(dit_inputs, square=True),
    "PixArtTransformer2DModel": Adapter(pixart_inputs, square=True, bare=False),
}
# how DiT and PixArt were called before diffusers 0.28, as in the configurations published with them
_LEGACY = {"ada_norm_zero": "DiTTransformer2DModel", "ada_norm_single": "PixArtTransformer2DModel"}


def diffusers_family(
    config: Config | str | os.PathLike[str],
    *,
    shape: tuple[int, ...] | None = None,
    prediction: str | None = None,
    init: str = "as-is",
    conditioning: Mapping[str, Tensor] | None = None,
    name: str | None = None,
    trained: bool = False,
) -> NetworkFamily:
    """The family behind :meth:`NetworkFamily.from_config` and :meth:`NetworkFamily.from_pretrained`."""
    if trained:
        check_folder(_path(config))
    found = read_configuration(config, prediction)
    class_name = _class_name(found)
    adapter, network_class = ADAPTERS[class_name], _diffusers(class_name)
    arguments = _arguments(found, network_class)
    full = _defaults(network_class) | arguments
    with _explained(class_name):
        size = _shape(adapter, class_name, full, shape)
        values, words = fill(adapter.inputs(full, size[1:]), conditioning or {})
        cut = _cut(full)
    if shape is not None and not trained:
        arguments |= _resized(class_name, full, size)
    source = partial(_build, class_name, arguments)
    if trained:
        assert found.folder is not None
        source = partial(copy.deepcopy, load_network(found.folder, network_class))
    bare = adapter.bare and not values and not cut
    record = {"class": f"diffusers.{class_name}"} | arguments
    record |= ({"conditioning": words} if words else {}) | ({"output": cut} if cut else {})
    return NetworkFamily(
        source if bare else (lambda: Conditioned(source(), values)),
        size,
        prediction=found.prediction or "epsilon",
        init=init,
        name=name or found.name,
        config=record,
        trained=trained,
    )


def _path(config: Config | str | os.PathLike[str]) -> str | os.PathLike[str]:
    if isinstance(config, Mapping):
        raise InvalidInputError("a dictionary holds no trained weights; expected the local folder of a diffusers model")
    return config


def _class_name(found: Configuration) -> str:
    """The class to build, by today's name."""
    class_name = found.class_name
    if class_name == "Transformer2DModel":
        class_name = _LEGACY.get(str(found.arguments.get("norm_type")), class_name)
    if class_name not in ADAPTERS:
        raise InvalidInputError(
            f"unknown class '{class_name}'{_nearest_class(class_name)}; known: {', '.join(ADAPTERS)}; any other "
            "network can be measured through a function that builds it"
        )
    return class_name


def _nearest_class(class_name: str) -> str:
    """The known class of nearly the same name; all of them end alike, which makes no Flux a DiT."""

    def stem(name: str) -> str:
        return re.sub(r"(Transformer2D)?(Model)?$", "", name, count=1)

    stems = {stem(name): name for name in ADAPTERS}
    hint = nearest(stem(class_name), stems)
    return next((hint.replace(f"'{short}'", f"'{name}'") for short, name in stems.items() if f"'{short}'" in hint), "")


def _diffusers(class_name: str) -> Any:
    """One of the known classes (imported here: diffusers takes seconds to import)."""
    import diffusers

    return getattr(diffusers, class_name)


def _defaults(network_class: Any) -> dict[str, Any]:
    """All arguments of a class with their default values."""
    parameters = inspect.signature(network_class.__init__).parameters
    return {key: value.default for key, value in parameters.items() if key != "self"}


def _arguments(found: Configuration, network_class: Any) -> dict[str, Any]:
    """The configuration's arguments; diffusers itself would ignore what it does not know."""
    known = set(_defaults(network_class))
    allowed = set(known)
    if found.class_name == "Transformer2DModel":
        allowed |= set(_defaults(_diffusers("Transformer2DModel")))
    for key, value in found.arguments.items():
        if key not in allowed and value not in (None, False):
            raise InvalidInputError(
                f"the configuration of '{found.name}' has '{key}'{nearest(key, known)}, which "
                f"{network_class.__name__} of this diffusers does not know"
            )
    return {key: value for key, value in found.arguments.items() if key in known}


def _shape(adapter: Adapter, class_name: str, full: Config, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """``(C, *space)`` of one input: as asked for, otherwise by the configuration's sample_size."""
    channels, size = int(full["in_channels"]), full["sample_size"]
    words = ("C", "H", "W") if adapter.space == 2 else ("C", "L")
    if shape is None:
        if size is None:
            raise InvalidInputError(
                f"the configuration says no sample_size: give the shape of one input, shape=({', '.join(words)}) "
                f"(--shape {' '.join(words)})"
            )
        space = tuple(size) if isinstance(size, list | tuple) else (size,) * adapter.space
        shape = (channels, *(int(n) for n in space))
    if len(shape) != len(words) or shape[0] != channels:
        raise InvalidInputError(
            f"the shape {tuple(shape)} does not fit: this {class_name} takes ({', '.join(words)}) with C = {channels}"
        )
    if adapter.square and shape[1] != shape[2]:
        raise InvalidInputError(f"a {class_name} is built for square images, not {shape[1]} × {shape[2]}")
    return tuple(shape)


def _cut(full: Config) -> str:
    """What is said of outputs of twice the input's channels; empty for equal numbers.

    Raises:
        InvalidInputError: any other number of channels.
    """
    entering = int(full["in_channels"])
    leaving = entering if full["out_channels"] is None else int(full["out_channels"])
    if entering > leaving:
        raise InvalidInputError(
            f"in_channels is {entering} and out_channels is {leaving}: {entering - leaving} input channels (a mask, "
            "a masked image, a depth map ...) are an input that the adapter does not know"
        )
    if leaving not in (entering, 2 * entering):
        raise InvalidInputError(
            f"out_channels is {leaving} with in_channels {entering}: expected {entering}, or {2 * entering} with a "
            "learned variance"
        )
    return f"the first {entering} of {leaving} channels (learned variance)" if leaving > entering else ""


def _resized(class_name: str, full: Config, shape: tuple[int, ...]) -> dict[str, Any]:
    """The arguments that make an untrained network for another size."""
    if not ADAPTERS[class_name].square:
        return {"sample_size": shape[1] if len(set(shape[1:])) == 1 else list(shape[1:])}
    asks = {"use_additional_conditions": asks_for_size(full)} if class_name == "PixArtTransformer2DModel" else {}
    return {"sample_size": shape[1]} | asks


def _build(class_name: str, arguments: Config) -> nn.Module:
    """A freshly initialised network."""
    with _explained(class_name):
        network: nn.Module = _diffusers(class_name).from_config(dict(arguments))
    return network


@contextmanager
def _explained(class_name: str) -> Iterator[None]:
    """Say in one line what diffusers does not like about a configuration."""
    try:
        yield
    except ScoregrainError:
        raise
    except Exception as error:  # diffusers checks little: a bad value can raise anything, deep in a layer
        text = textwrap.shorten(str(error), 300, placeholder=" ...")
        raise InvalidInputError(
            f"{class_name} cannot be built from this configuration: {type(error).__name__}: {text}"
        ) from error
