"""What adapter and hooks add to a forward pass: below 5 %.

The wrapped network as the library runs it (adapter or wrapper, checks of its output, a hook on its last layer) against
the network inside, called directly with inputs at hand: one module, one thread, batch 1, inference mode, in turn.

    python -m benchmarks.adapters                       # about ten seconds
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common import interleaved, report
from scoregrain import NetworkFamily, SigmaNetwork, linear_schedule
from scoregrain.models import captured_input, evaluate, last_layer
from scoregrain.models.presets import build_diffusers, unet_config

UNET = unet_config(16, 1, levels=3, blocks=1, groups=8)
DIT = {
    "_class_name": "DiTTransformer2DModel",
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 8,
    "patch_size": 2,
    "num_layers": 8,
    "num_attention_heads": 4,
    "attention_head_dim": 24,
    "num_embeds_ada_norm": 1000,
}


def sigma_network() -> nn.Module:
    """A U-Net that is told σ."""
    return SigmaNetwork(build_diffusers("UNet2DModel", UNET), linear_schedule().sigmas)


FAMILIES: dict[str, Callable[[], NetworkFamily]] = {
    "UNet2DModel, bare": lambda: NetworkFamily.from_config({"_class_name": "UNet2DModel", **UNET}),
    "DiTTransformer2DModel, class label and learned variance": lambda: NetworkFamily.from_config(DIT),
    "SigmaNetwork": lambda: NetworkFamily(sigma_network, (1, 16, 16), prediction="edm"),
}


def compared(family: NetworkFamily) -> dict[str, Callable[[], object]]:
    """One forward pass of one network, wrapped and hooked, and of what is inside it."""
    network = family.construct(0, 0)
    inside = getattr(network, "network", network)
    layer = last_layer(network, family.shape)
    x, t = torch.zeros(1, *family.shape), torch.full((1,), 500)
    told, given = _direct(network, t)

    def wrapped() -> object:
        with torch.inference_mode(), captured_input(network, layer):
            return evaluate(network, x, t)

    def direct() -> object:
        with torch.inference_mode():
            return inside(x, told, **given)

    return {"wrapped": wrapped, "direct": direct}


def _direct(network: nn.Module, t: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """What the network inside is told and given, computed beforehand."""
    if isinstance(network, SigmaNetwork):
        return network.times[t].float(), {}
    return t, {name: network.get_buffer(name) for name in getattr(network, "inputs", ())}


def main() -> None:
    torch.set_num_threads(1)
    results = {}
    for name, family in FAMILIES.items():
        medians = interleaved(compared(family()), repeats=400)
        results[name] = {
            "milliseconds_wrapped": 1e3 * medians["wrapped"],
            "milliseconds_direct": 1e3 * medians["direct"],
            "ratio": medians["wrapped"] / medians["direct"],
        }
    report("adapters", {"ratio_to_be_below": 1.05, "networks": results})


if __name__ == "__main__":
    main()
