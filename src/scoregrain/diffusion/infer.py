"""What a model says about the arrays it takes: their shape, dtype and device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from scoregrain._errors import InvalidInputError
from scoregrain.diffusion.process import DiffusionProcess, Model
from scoregrain.operators import Operator


def infer_shape(model: Model, process: DiffusionProcess) -> tuple[int, ...]:
    """Return (C, *space): the model's ``shape``, a diffusers configuration's, or that of a noise built for one shape.

    Raises:
        InvalidInputError: When none of them says.
    """
    shape = getattr(model, "shape", None)
    if isinstance(shape, tuple | list) and len(shape) >= 2:
        return tuple(int(side) for side in shape)
    config = getattr(model, "config", None)
    channels, size = getattr(config, "in_channels", None), getattr(config, "sample_size", None)
    if isinstance(channels, int) and isinstance(size, tuple | list):
        return (channels, *(int(side) for side in size))
    if isinstance(channels, int) and isinstance(size, int) and "2D" in type(model).__name__:
        return channels, size, size
    if isinstance(process.noise.weight, Operator):
        return process.noise.weight.shape
    raise InvalidInputError("the model does not say the shape of its arrays: give shape=(C, *space)")


def infer_device(model: Model, generator: torch.Generator | Sequence[torch.Generator] | None) -> torch.device:
    """Return the device of the model's parameters, else the generator's, else torch's default."""
    parameters = list(model.parameters()) if isinstance(model, nn.Module) else []
    if parameters:
        return parameters[0].device
    first = generator[0] if isinstance(generator, Sequence) and generator else generator
    return first.device if isinstance(first, torch.Generator) else torch.get_default_device()


def infer_dtype(model: Model) -> torch.dtype:
    """Return the dtype of the model's first floating parameter, else torch's default."""
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    return next((p.dtype for p in parameters if p.is_floating_point()), torch.get_default_dtype())
