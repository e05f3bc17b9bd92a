"""Features that need no trained network: a random convolutional network, the same for everyone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream

WIDTHS = (32, 64, 64)
"""Channels of the three layers; the strides are 1, 2, 2."""

_CONVOLUTIONS = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}


class RandomFeatures:
    """Spatial means of a three-layer ReLU network of fixed random 3-wide kernels, (N, C, *space) to (N, 160).

    Normal weights of variance 2/fan_in and no biases; a function of C and the number of axes alone. They see texture at
    three scales and nothing of what images mean: comparable between models of one data set, not with any other
    features.
    """

    name = "random-conv"

    def __call__(self, x: Tensor) -> Tensor:
        """Return the features of ``x`` (N, C, *space), float32 (N, 160)."""
        axes = x.ndim - 2
        if axes not in _CONVOLUTIONS:
            raise InvalidInputError(f"random features take samples (N, C, *space) of 1 to 3 axes, got {tuple(x.shape)}")
        means, h = [], x.float()
        for layer, width in enumerate(WIDTHS):
            shape = (width, h.shape[1], *[3] * axes)
            generator = stream(0, f"random-features-{x.shape[1]}-{axes}", layer)
            weight = torch.randn(shape, generator=generator, device="cpu") * math.sqrt(2 / math.prod(shape[1:]))
            h = _CONVOLUTIONS[axes](h, weight.to(h), stride=1 if layer == 0 else 2, padding=1).relu()
            means.append(h.flatten(2).mean(2))
        return torch.cat(means, 1)
