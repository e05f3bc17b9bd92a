"""Named families: the papers' U-Nets and transformers, our time-aware defaults and others (ARCHITECTURE 5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from scoregrain._errors import InvalidInputError, nearest
from scoregrain.models.dit import DiT
from scoregrain.models.family import NetworkFamily
from scoregrain.models.mlp import MLP, LinearMap
from scoregrain.models.vit import ViT

# topology: size, channels, resolution levels, residual blocks a level. MATH A9 writes the multipliers as [1]+mults.
_UNETS: dict[str, tuple[int, int, int, int, int]] = {
    # name: (size, channels, levels, blocks, groups)
    "iddpm-16": (16, 1, 3, 1, 32),
    "iddpm-28": (28, 1, 3, 2, 32),
    "iddpm-56": (56, 1, 4, 2, 32),
    "iddpm-cifar": (32, 3, 4, 2, 32),
    "unet-16": (16, 1, 3, 1, 8),
    "unet-28": (28, 1, 3, 2, 8),
    "unet-32": (32, 3, 4, 2, 8),
    "unet-64": (64, 3, 4, 2, 8),
}
_TRANSFORMERS: dict[str, tuple[type[nn.Module], int, int, int]] = {
    # name: (class, size, channels, patch)
    "dit-16/2": (DiT, 16, 1, 2),
    "dit-16/4": (DiT, 16, 1, 4),
    "dit-16/8": (DiT, 16, 1, 8),
    "dit-28/2": (DiT, 28, 1, 2),
    "dit-28/4": (DiT, 28, 1, 4),
    "dit-32/2": (DiT, 32, 3, 2),
    "dit-32/4": (DiT, 32, 3, 4),
    "dit-32/8": (DiT, 32, 3, 8),
    "vit-16/4": (ViT, 16, 1, 4),
}
_FLAT: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    # name: (class, shape)
    "mlp-16": (MLP, (1, 16, 16)),
    "linear-16": (LinearMap, (1, 16, 16)),
}
_UNETS_1D: dict[str, tuple[int, int, int]] = {
    # name: (length, channels, levels)
    "unet1d-64": (64, 1, 3),
}

Recipe = tuple[tuple[int, ...], Callable[[], nn.Module], dict[str, Any]]
"""Shape, build and config of a family."""


def preset_names() -> tuple[str, ...]:
    """All preset names, in the order they are documented."""
    return (*_UNETS, *_TRANSFORMERS, *_FLAT, *_UNETS_1D)


def unet_config(size: int, channels: int, levels: int, blocks: int, groups: int, base: int = 32) -> dict[str, Any]:
    """``diffusers.UNet2DModel`` arguments of the iDDPM U-Net of MATH A9: attention in the middle only, 4 heads."""
    return {
        "sample_size": size,
        "in_channels": channels,
        "out_channels": channels,
        "layers_per_block": blocks,
        "block_out_channels": (base,) * levels,
        "down_block_types": ("DownBlock2D",) * levels,
        "up_block_types": ("UpBlock2D",) * levels,
        "attention_head_dim": base // 4,
        "norm_num_groups": groups,
        "norm_eps": 1e-5,
        "act_fn": "silu",
        "freq_shift": 0,
        "flip_sin_to_cos": True,
        "downsample_padding": 1,
    }


def unet1d_config(length: int, channels: int, levels: int, base: int = 32) -> dict[str, Any]:
    """``diffusers.UNet1DModel`` arguments in which every block sees the time step.

    Of that class's blocks only the ``Resnet`` and ``ResTemporal`` ones do: the others take the embedding and leave
    it, but for the first, to which it comes as further channels.
    """
    return {
        "sample_size": length,
        "in_channels": channels,
        "out_channels": channels,
        "layers_per_block": 1,
        "block_out_channels": (base,) * levels,
        "down_block_types": ("DownResnetBlock1D",) * levels,
        "mid_block_type": "MidResTemporalBlock1D",
        "up_block_types": ("UpResnetBlock1D",) * levels,
        "out_block_type": "OutConv1DBlock",
        "time_embedding_type": "positional",
        "use_timestep_embedding": True,
        "flip_sin_to_cos": True,
        "freq_shift": 0.0,
        "act_fn": "mish",
        "norm_num_groups": 8,
    }


def build_diffusers(name: str, config: dict[str, Any]) -> nn.Module:
    """Build a class of diffusers (imported here: diffusers takes seconds to import)."""
    import diffusers

    network: nn.Module = getattr(diffusers, name)(**config)
    return network


def preset(name: str, *, init: str = "as-is") -> NetworkFamily:
    """Return the family of a preset, ``NAME`` or ``NAME:c=CHANNELS``.

    Args:
        name: one of :func:`preset_names`; ``:c=1`` or ``:c=3`` overrides the number of channels.
        init: see :class:`NetworkFamily`.

    Raises:
        InvalidInputError: unknown name (the nearest one is named) or option.

    >>> preset("iddpm-16").shape
    (1, 16, 16)
    >>> preset("unet-32:c=1").shape
    (1, 32, 32)
    >>> preset("unet1d-64").shape
    (1, 64)
    """
    base, _, option = name.partition(":")
    shape, build, config = _recipe(base, _channels(name, option))
    return NetworkFamily(build, shape, init=init, name=name, config=config)


def _recipe(base: str, channels: int | None) -> Recipe:
    """Look a preset up; ``channels`` replaces its own."""
    if base in _UNETS:
        size, own, levels, blocks, groups = _UNETS[base]
        c = channels or own
        return _diffusers("UNet2DModel", (c, size, size), unet_config(size, c, levels, blocks, groups))
    if base in _UNETS_1D:
        size, own, levels = _UNETS_1D[base]
        c = channels or own
        return _diffusers("UNet1DModel", (c, size), unet1d_config(size, c, levels))
    if base in _TRANSFORMERS:
        kind, size, own, patch = _TRANSFORMERS[base]
        c = channels or own
        return _ours(kind, (c, size, size), {"size": size, "channels": c, "patch": patch})
    if base in _FLAT:
        kind, shape = _FLAT[base]
        shape = (channels or shape[0], *shape[1:])
        return _ours(kind, shape, {"shape": shape})
    known = preset_names()
    raise InvalidInputError(f"unknown model '{base}'{nearest(base, known)}; presets: {', '.join(known)}")


def _diffusers(name: str, shape: tuple[int, ...], config: dict[str, Any]) -> Recipe:
    """Recipe of a class of diffusers."""
    return shape, partial(build_diffusers, name, config), {"class": f"diffusers.{name}", **config}


def _ours(kind: type[nn.Module], shape: tuple[int, ...], arguments: dict[str, Any]) -> Recipe:
    """Recipe of a class of this library."""
    return shape, partial(kind, **arguments), {"class": f"scoregrain.{kind.__name__}", **arguments}


def _channels(name: str, option: str) -> int | None:
    """Parse ``c=3``; None when there is no option."""
    if not option:
        return None
    if not re.fullmatch(r"c=[1-9]\d?", option):
        raise InvalidInputError(f"'{name}': unknown option '{option}', expected c=CHANNELS such as c=1")
    return int(option[2:])
