"""The running mean of a network's parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class Average(AveragedModel):
    """Exponential moving average with decay min(decay, (1+k)/(10+k)) after k updates; buffers are copied.

    The warm-up keeps a short training from being judged by its initialisation.

    Args:
        network: What is averaged; copied.
        decay: Of the mean.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        def update(averages: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
            k = int(self.n_averaged)  # on the CPU; reading the count, a copy beside the parameters, would wait for them
            torch._foreach_lerp_(list(averages), list(current), 1 - min(decay, (1 + k) / (10 + k)))

        with torch.no_grad():
            super().__init__(network, multi_avg_fn=update)
        self.requires_grad_(False).eval()
