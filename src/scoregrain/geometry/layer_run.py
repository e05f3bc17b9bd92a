"""One layer of a network, watched while the network runs, and the network's output when the layer's is replaced."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
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
        self.own, self.network, self.layer, self.shape = network, in_float64(network, shape), layer, shape
        self.module = self.network.get_submodule(layer)
        self.x, _ = random_input(self.network, shape, "head-check", count=len(CHECK_TIMES))
        self.x[::2] = 0
        self.t = torch.tensor(CHECK_TIMES, device=self.x.device)
        calls = layer_calls(self.network, self.layer, self.x, self.t)
        self.calls, (self.features, self.o) = len(calls), calls[-1]
        random = torch.randn(self.o.shape, generator=stream(0, "head-output"), dtype=torch.float64)
        self.random = random.to(self.o)

    def given(self, o: Tensor) -> Tensor:
        """The output ``(N, D)`` when the layer's is ``o``."""
        with torch.no_grad():
            return output_given(self.network, self.layer, o, self.x, self.t)

    def check_layer(self) -> None:
        """The layer runs once, sample by sample, as its kind does, and its weights act through it alone."""
        if self.calls != 1:
            raise NoHeadError("it runs more than once")
        alone = layer_calls(self.network, self.layer, self.x[:1], self.t[:1])[-1]
        lengths = [len(self.features), len(self.o), len(alone[0]), len(alone[1])]
        if lengths != [len(self.x), len(self.x), 1, 1]:
            raise NoHeadError("it does not see the batch in the first dimension")
        if not torch.allclose(self.o, plain_output(self.module, self.features), rtol=1e-4, atol=1e-5):
            raise NoHeadError("a hook or its own forward changes what it computes")
        before = self._around()
        with _other_weights(self.own.get_submodule(self.layer)):
            after = self._around()
        if not all(map(torch.equal, before, after)):
            raise NoHeadError("its weights act elsewhere in the network too")

    def _around(self) -> tuple[Tensor, Tensor]:
        """What enters the layer, and the output when the layer's is given, of the network itself.

        A copy would do where weights act through the module alone; references to them from elsewhere, such as those
        of a closure, lead to the original.
        """
        x = self.x.to(next(self.own.parameters()).dtype)
        features = layer_calls(self.own, self.layer, x, self.t)[-1][0]
        with torch.no_grad():
            return features, output_given(self.own, self.layer, self.random.to(features.dtype), x, self.t)


@contextmanager
def _other_weights(layer: nn.Module) -> Iterator[None]:
    """Other parameters in place, for a while: whatever refers to the same memory sees them."""
    kept = [(p, p.detach().clone()) for p in layer.parameters()]
    try:
        with torch.no_grad():
            for p, value in kept:
                p.copy_(0.5 - 2 * value)
        yield
    finally:
        with torch.no_grad():
            for p, value in kept:
                p.copy_(value)


def layer_calls(network: nn.Module, layer: str, x: Tensor, t: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Inputs and outputs of a layer in one run of the network; copies, since it may go on in place."""
    calls: list[tuple[Tensor, Tensor]] = []

    def keep(_module: nn.Module, args: Any, named: Any, output: Tensor) -> None:
        calls.append(((args[0] if args else named["input"]).clone(), output.clone()))

    with torch.no_grad(), network.get_submodule(layer).register_forward_hook(keep, with_kwargs=True):
        evaluate(network, x, t)
    return calls


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
