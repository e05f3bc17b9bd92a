"""The optimizer, and the learning rate of every update."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from scoregrain.training.config import TrainConfig


def learning_rate(config: TrainConfig) -> Callable[[int], float]:
    """Return the learning rate of update k as a function of k: diffusers' schedules, which hold no state then."""
    from diffusers.optimization import get_scheduler

    name = "constant_with_warmup" if config.lr_schedule == "constant" else config.lr_schedule
    unused = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    made = get_scheduler(name, unused, num_warmup_steps=config.warmup, num_training_steps=config.steps)
    return lambda k: config.learning_rate * float(made.lr_lambdas[0](k))


def make_optimizer(config: TrainConfig, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Return Adam, or AdamW with its weight decay."""
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.Adam(parameters, lr=config.learning_rate)
