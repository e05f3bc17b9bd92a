"""A U-Net in rotated coordinates as a diffusers model (MATH C5). Importing this module imports diffusers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn

from scoregrain.align import Rotation
from scoregrain.align.rotation import turn


class RotatedUNet2DModel(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """``Wᵀ f(W x, t)`` with f a ``UNet2DModel``, as stock pipelines load and sample it after ``import scoregrain``.

    The rotation lies with the weights; networks of half precision rotate in float32.

    Args:
        unet_config: The configuration of f but for the next two.
        in_channels: C.
        sample_size: Of the space, one number for squares.
        columns: k of a rotation of low rank; None for a dense one.
    """

    __module__ = "scoregrain"  # where a saved pipeline looks for the class
    _keep_in_fp32_modules = ["rotation", "rotation_basis"]  # noqa: RUF012 - diffusers' own

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        unet_config: Mapping[str, Any],
        in_channels: int,
        sample_size: int | Sequence[int],
        columns: int | None = None,
    ) -> None:
        super().__init__()
        space = (sample_size, sample_size) if isinstance(sample_size, int) else tuple(sample_size)
        self.shape = (in_channels, *space)
        self.unet: nn.Module = UNet2DModel.from_config(
            {**unet_config, "in_channels": in_channels, "sample_size": sample_size}
        )
        size = in_channels * space[0] * space[1]
        self.register_buffer("rotation", torch.eye(columns or size))
        if columns is not None:
            self.register_buffer("rotation_basis", torch.zeros(size, columns))

    @classmethod
    def around(cls, arguments: Mapping[str, Any], rotation: Rotation) -> RotatedUNet2DModel:
        """Return one with a fresh U-Net of these arguments inside."""
        own = {key: arguments[key] for key in ("in_channels", "sample_size")}
        inner = {key: value for key, value in arguments.items() if key not in own}
        core, *basis = rotation.factors
        model: RotatedUNet2DModel = cls(inner, **own, columns=len(core) if basis else None)
        for buffer, factor in zip(model.buffers(recurse=False), rotation.factors, strict=True):
            buffer.copy_(factor)
        return model

    def forward(self, sample: Tensor, timestep: Tensor | float, return_dict: bool = True) -> Any:
        """Return Wᵀ f(W x, t).

        Args:
            sample: x, (N, C, *space).
            timestep: (N,), or one for all.
            return_dict: Return it as the ``sample`` of an object, else in a tuple.
        """
        factors = tuple(self.buffers(recurse=False))
        turned = self.unet(turn(sample, self.shape, factors), timestep, return_dict=False)[0]
        output = turn(turned, self.shape, factors, back=True)
        return UNet2DOutput(output) if return_dict else (output,)
