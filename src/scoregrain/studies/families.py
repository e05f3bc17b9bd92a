"""Families of the studies: the presets' topologies at any size and number of groups (MATH A9, A11)."""

from __future__ import annotations

import re
from functools import partial

from scoregrain._errors import InvalidInputError
from scoregrain.models import MLP, DiT, LinearMap, NetworkFamily, ViT
from scoregrain.models.presets import build_diffusers, unet_config

BLIND_GROUPS, AWARE_GROUPS = 32, 8
"""GroupNorm groups of the paper's U-Net (time-blind, MATH A11) and of ours."""

_NAME = re.compile(r"(iddpm|unet|dit|vit|mlp|linear)-(\d+)(?:/(\d+))?(?::groups=(\d+))?")


def study_family(name: str) -> NetworkFamily:
    """Return a family by name: ``iddpm-8``, ``unet-8``, ``unet-8:groups=16``, ``dit-8/2``, ``vit-8/4``, ``mlp-8``.

    At 16 and 28 pixels these are the presets' networks, at any other their topology in grey.

    Raises:
        InvalidInputError: The name is none of these.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise InvalidInputError(f"'{name}' names no family of the studies, such as unet-8 or dit-8/2")
    kind, size, patch, groups = match[1], int(match[2]), match[3], match[4]
    shape = (1, size, size)
    if kind in ("iddpm", "unet"):
        chosen = int(groups) if groups else BLIND_GROUPS if kind == "iddpm" else AWARE_GROUPS
        config = unet_config(size, 1, 3 + (size >= 32), 1 + (size >= 28), chosen)
        return NetworkFamily(
            partial(build_diffusers, "UNet2DModel", config),
            shape,
            name=name,
            config={"class": "diffusers.UNet2DModel", **config},
        )
    if kind in ("dit", "vit"):
        module = DiT if kind == "dit" else ViT
        arguments = {"size": size, "channels": 1, "patch": int(patch or 2)}
        build = partial(module, **arguments)
        return NetworkFamily(build, shape, name=name, config={"class": f"scoregrain.{module.__name__}", **arguments})
    flat = MLP if kind == "mlp" else LinearMap
    return NetworkFamily(
        partial(flat, shape=shape), shape, name=name, config={"class": f"scoregrain.{flat.__name__}", "shape": shape}
    )
