"""One layer of a network, watched while the network runs, and the network's output when the layer's is replaced."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from scoregrain._random import stream
from scoregrain.models import evaluate, random_input

CHECK_TIMES = (0, 0, 999, 500)
LOOSE, TIGHT = 1e-3, 1e-6


class NoHeadError(Exception):
    """Why a layer is no head."""


class LayerRun:
    """A network watched at one layer while it runs on a few inputs, zero and random, at a few noise levels.

    It runs in float64 where it can: then rounding hides nothing.
    """

    def __init__(self, network: nn.Module, layer: str, shape: tuple[int, ...]) -> None:
        self.network, self.layer, self.shape = in_float64(network, shape), layer, shape
        self.module = self.network.get_submodule(layer)
        self.x, _ = random_input(self.network, shape, "head-check", count=len(CHECK_TIMES))
        self.x[::2] = 0
        self.t = torch.tensor(CHECK_TIMES, device=self.x.device)
        calls = self._calls(self.network, self.x, self.t)
        self.calls, (self.features, self.o) = len(calls), calls[-1]
        random = torch.randn(self.o.shape, generator=stream(0, "head-output"), dtype=torch.float64)
        self.random = random.to(self.o)

    def _calls(self, network: Any, x: Tensor, t: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Inputs and outputs of the layer in one run; copies, since the network may go on in place."""
        calls: list[tuple[Tensor, Tensor]] = []

        def keep(_module: nn.Module, args: Any, named: Any, output: Tensor) -> None:
            calls.append(((args[0] if args else named["input"]).clone(), output.clone()))

        with torch.no_grad(), self.module.register_forward_hook(keep, with_kwargs=True):
            evaluate(network, x, t)
        return calls

    def given(self, o: Tensor) -> Tensor:
        """The output ``(N, D)`` when the layer's is ``o``."""
        with torch.no_grad():
            return output_given(self.network, self.layer, o, self.x, self.t)

    def check_layer(self) -> None:
        """The layer runs once, sample by sample, as its kind does, and its weights act through it alone."""
        if self.calls != 1:
            raise NoHeadError("it runs more than once")
        alone = self._calls(self.network, self.x[:1], self.t[:1])[-1]
        lengths = [len(self.features), len(self.o), len(alone[0]), len(alone[1])]
        if lengths != [len(self.x), len(self.x), 1, 1]:
            raise NoHeadError("it does not see the batch in the first dimension")
        if not torch.allclose(self.o, plain_output(self.module, self.features), rtol=1e-4, atol=1e-5):
            raise NoHeadError("a hook or its own forward changes what it computes")
        other = {f"{self.layer}.{name}": 0.5 - 2 * value for name, value in self.module.named_parameters()}

        def with_other_weights(x: Tensor, t: Tensor) -> Any:
            return functional_call(self.network, other, (x, t))

        elsewhere = NoHeadError("its weights act elsewhere in the network too")
        if not torch.equal(self._calls(with_other_weights, self.x, self.t)[0][0], self.features):
            raise elsewhere
        with torch.no_grad(), self.module.register_forward_hook(lambda *_: self.random.clone()):
            output = evaluate(with_other_weights, self.x, self.t).flatten(1).double()
        if not torch.equal(output, self.given(self.random)):
            raise elsewhere


@torch.no_grad()
def plain_output(layer: nn.Module, h: Tensor) -> Tensor:
    """What a layer of this kind computes."""
    if isinstance(layer, nn.Linear):
        return functional.linear(h, layer.weight, layer.bias)
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    result: Tensor = layer._conv_forward(h, layer.weight, layer.bias)
    return result


def in_float64(network: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """A float64 copy of the network; itself if there is none or it does not run."""
    try:
        double = copy.deepcopy(network).double()
        with torch.no_grad():
            evaluate(double, *random_input(double, shape, "float64"))
    except Exception:  # whatever a foreign network raises while it is copied or run
        return network
    return double


def output_given(network: nn.Module, layer: str, o: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """The network's output, float64 ``(N, D)``, when the layer's is ``o`` ``(N, ...)``."""
    # a copy: the network may change it in place
    with network.get_submodule(layer).register_forward_hook(lambda *_: o.clone()):
        return evaluate(network, x, t).flatten(1).double()


def tolerance(parameter: Tensor) -> float:
    """Relative rounding to allow for in a network with such parameters."""
    return TIGHT if parameter.dtype == torch.float64 else LOOSE
