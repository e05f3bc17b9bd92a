"""Named families: the papers' U-Nets and transformers and our time-aware defaults (ARCHITECTURE 5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from scoregrain._errors import InvalidInputError, nearest
from scoregrain.models.dit import DiT
from scoregrain.models.family import NetworkFamily

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
_DITS: dict[str, tuple[int, int, int]] = {
    # name: (size, channels, patch)
    "dit-16/2": (16, 1, 2),
    "dit-16/4": (16, 1, 4),
    "dit-16/8": (16, 1, 8),
    "dit-28/2": (28, 1, 2),
    "dit-28/4": (28, 1, 4),
    "dit-32/2": (32, 3, 2),
    "dit-32/4": (32, 3, 4),
    "dit-32/8": (32, 3, 8),
}


def preset_names() -> tuple[str, ...]:
    """All preset names, in the order they are documented."""
    return (*_UNETS, *_DITS)


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


def build_unet(config: dict[str, Any]) -> nn.Module:
    """Build a ``diffusers.UNet2DModel`` (imported here: diffusers takes seconds to import)."""
    from diffusers import UNet2DModel

    network: nn.Module = UNet2DModel(**config)
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
    """
    base, _, option = name.partition(":")
    channels = _channels(name, option)
    build: Callable[[], nn.Module]
    if base in _UNETS:
        size, default, levels, blocks, groups = _UNETS[base]
        config = unet_config(size, channels or default, levels, blocks, groups)
        build = partial(build_unet, config)
        config = {"class": "diffusers.UNet2DModel", **config}
    elif base in _DITS:
        size, default, patch = _DITS[base]
        arguments = {"size": size, "channels": channels or default, "patch": patch}
        build = partial(DiT, **arguments)
        config = {"class": "scoregrain.DiT", **arguments}
    else:
        raise InvalidInputError(
            f"unknown model '{name}'{nearest(base, preset_names())}; presets: {', '.join(preset_names())}"
        )
    return NetworkFamily(build, (channels or default, size, size), init=init, name=name, config=config)


def _channels(name: str, option: str) -> int | None:
    """Parse ``c=3``; None when there is no option."""
    if not option:
        return None
    if not re.fullmatch(r"c=[1-9]\d?", option):
        raise InvalidInputError(f"'{name}': unknown option '{option}', expected c=CHANNELS such as c=1")
    return int(option[2:])
