"""Networks on flattened signals: one linear map, and a multi-layer perceptron (Theorem 1 and Proposition 1)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from scoregrain.models.dit import FREQUENCIES, time_embedding


class LinearMap(nn.Module):
    """One linear layer of the flattened input: the linear denoiser of Theorem 1 (MATH A4), with a bias.

    The bias is what the zero probe sees. The noise level is ignored, so the network is time-blind by construction.

    Args:
        shape: ``(C, *space)`` of one input.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        size = math.prod(shape)
        self.linear = nn.Linear(size, size)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Map ``(N, *shape)`` to the same shape, whatever the noise levels ``(N,)``."""
        o: Tensor = self.linear(x.flatten(1))
        return o.view_as(x)


class MLP(nn.Module):
    """Multi-layer perceptron of the flattened input; the noise level's embedding is added to the first layer.

    All layers keep the framework's default initialisation.

    Args:
        shape: ``(C, *space)`` of one input.
        width: units of a hidden layer.
        depth: hidden layers, each followed by SiLU.
    """

    def __init__(self, shape: tuple[int, ...], width: int = 256, depth: int = 3) -> None:
        super().__init__()
        size = math.prod(shape)
        self.embed = nn.Linear(size, width)
        self.time = nn.Linear(FREQUENCIES, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.final = nn.Linear(width, size)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Map ``(N, *shape)`` at noise levels ``(N,)`` to the prediction, same shape."""
        h = self.embed(x.flatten(1)) + self.time(time_embedding(t).to(x.dtype))
        for layer in self.hidden:
            h = layer(nn.functional.silu(h))
        o: Tensor = self.final(nn.functional.silu(h))
        return o.view_as(x)
