"""Does a network use the noise level at all? (MATH A11)."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import nn

from scoregrain._errors import TimeBlindWarning
from scoregrain.models.family import evaluate, global_seed, random_input, unzero, zero_layers

TIMES = (0, 10, 100, 500, 999)
BLIND = 1e-5


def timestep_sensitivity(model: nn.Module, shape: tuple[int, ...], *, name: str = "") -> float:
    """How much the output depends on the noise level: 0 means time-blind (MATH A11).

    The output's standard deviation over five noise levels, for one fixed Gaussian input, divided by the
    output's rms. Rounding leaves about 1e-7 in float32 and 1e-15 in float64 for a network that ignores t. Layers
    that start at zero are re-drawn in a copy first: an adaLN-zero transformer ignores t only until it is trained.

    Args:
        model: called as ``model(x, t)``.
        shape: ``(C, *space)`` of one input.
        name: how the warning calls the model; by default its class.

    Returns:
        The ratio, without unit; 0 for a network whose output is zero.

    Warns:
        TimeBlindWarning: the ratio is below 1e-5.
    """
    if zero_layers(model):
        model = copy.deepcopy(model)
        with global_seed(0):
            unzero(model, shape, "unzero-all")
    x, _ = random_input(model, shape, "timestep-sensitivity")
    with torch.no_grad():
        times = torch.tensor(TIMES, device=x.device)
        output = evaluate(model, x.expand(len(TIMES), *shape), times).double()
    rms = output.square().mean().sqrt()
    spread = output.var(dim=0, unbiased=False).mean().sqrt()
    sensitivity = float(spread / rms) if rms > 0 else 0.0
    if sensitivity < BLIND:
        called = name or type(model).__name__
        warnings.warn(time_blind(called, grouped=one_channel_groups(model)), TimeBlindWarning, stacklevel=2)
    return sensitivity


def one_channel_groups(model: nn.Module) -> bool:
    """Has it a GroupNorm with one channel in each group, which removes what is added before it (MATH A11)?"""
    return any(isinstance(m, nn.GroupNorm) and m.num_groups == m.num_channels for m in model.modules())


def time_blind(name: str, *, grouped: bool) -> str:
    """What is said of a time-blind network, and of the cause where it is seen."""
    said = f"'{name}' is time-blind: its output does not depend on the noise level."
    if not grouped:
        return said
    return (
        f"{said} It has GroupNorm layers with one channel in each group, which remove a time embedding for any "
        "weights: use fewer groups, as the unet presets do, unless you reproduce published results."
    )
