"""Closed-form conditional second moment of the last layer: Rao–Blackwell over its weights (MATH C1.1–C1.2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from scoregrain.geometry.structure import ChannelStructure, Structure, TokenStructure
from scoregrain.models import InitLaws, captured_input, evaluate, last_layer, random_input


class Head(ABC):
    """A last layer whose weights are iid with zero mean and independent of the features it sees.

    A subclass is bound to one layer of one network. ``second_moment`` is ``gram`` followed by ``finish``; both
    are linear in the Gram matrix, so many networks are accumulated before the one ``finish`` (MATH C1.2).

    Attributes:
        layer: name of the layer in the network.
        structure: how the reduced second moment expands to D directions.
        weight_variance: v_w, the variance of one weight.
        bias_variance: v_b, the variance of one bias entry, 0 without bias.
    """

    structure: Structure

    def __init__(self, layer: str, weight_variance: float, bias_variance: float) -> None:
        self.layer, self.weight_variance, self.bias_variance = layer, weight_variance, bias_variance

    @staticmethod
    @abstractmethod
    def matches(module: nn.Module) -> bool:
        """Is this the kind of layer the class knows?"""

    @abstractmethod
    def gram(self, features: Tensor) -> Tensor:
        """Gram matrix of features ``(m, ...)`` summed over m and channels, float64."""

    @abstractmethod
    def finish(self, gram: Tensor, weight: float) -> Tensor:
        """Reduced second moment ``Σ E[o oᵀ | h]`` of accumulated Gram matrices of total weight ``weight``."""

    def second_moment(self, features: Tensor) -> Tensor:
        """``Σ_m E[o oᵀ | h_m]`` for features ``(m, ...)``, reduced, float64 (MATH C1.2)."""
        return self.finish(self.gram(features), len(features))


class ConvHead(Head):
    """Convolution of any kernel, stride, dilation and padding, in 1 to 3 dimensions: ``I_C ⊗ A``.

    ``A[u,u'] = v_w Σ_a K[u+a, u'+a] + v_b`` over the kernel's offsets a, with K the Gram matrix over channels
    of the padded features (MATH C1.2, "the same thing by shifts").
    """

    def __init__(
        self,
        layer: str,
        conv: nn.Module,
        shape: tuple[int, ...],
        weight_variance: float,
        bias_variance: float,
    ) -> None:
        super().__init__(layer, weight_variance, bias_variance)
        assert isinstance(conv, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        self.structure = ChannelStructure(shape)
        self.space = shape[1:]
        self.conv = conv

    @staticmethod
    def matches(module: nn.Module) -> bool:
        """An ungrouped convolution."""
        return isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.groups == 1

    def gram(self, features: Tensor) -> Tensor:
        """Features ``(m, C_in, *space_in)``; returns ``(n_in, n_in)``."""
        self.space_in = features.shape[2:]
        rows = features.flatten(2).flatten(0, 1).double()
        return rows.T @ rows

    def finish(self, gram: Tensor, weight: float) -> Tensor:
        """Pad the accumulated Gram matrix and sum its shifts, once."""
        k = gram.reshape(*self.space_in, *self.space_in)
        dims = len(self.space)
        padding = self.conv._reversed_padding_repeated_twice[::-1]
        for axis in range(2 * dims):
            after, before = padding[2 * (axis % dims) : 2 * (axis % dims) + 2]
            k = _pad(k, axis, before, after, self.conv.padding_mode)
        a = torch.zeros(*self.space, *self.space, dtype=torch.float64, device=gram.device)
        for offset in torch.cartesian_prod(*map(torch.arange, self.conv.kernel_size)).reshape(-1, dims).tolist():
            a += k[self._window(offset) * 2]
        n = self.structure.reduced
        return self.weight_variance * a.reshape(n, n) + self.bias_variance * weight

    def _window(self, offset: Sequence[int]) -> tuple[slice, ...]:
        """Where the kernel's tap ``offset`` lies, for every output pixel."""
        return tuple(
            slice(o * d, o * d + (n - 1) * s + 1, s)
            for o, d, s, n in zip(offset, self.conv.dilation, self.conv.stride, self.space, strict=True)
        )


class TokenHead(Head):
    """Linear layer over T tokens followed by a permutation: ``Q (A ⊗ I_L) Qᵀ``, ``A = v_w H Hᵀ + v_b 11ᵀ``.

    A plain linear head is the case of one token.
    """

    def __init__(self, layer: str, structure: TokenStructure, weight_variance: float, bias_variance: float) -> None:
        super().__init__(layer, weight_variance, bias_variance)
        self.structure = structure

    @staticmethod
    def matches(module: nn.Module) -> bool:
        """A linear layer."""
        return isinstance(module, nn.Linear)

    def gram(self, features: Tensor) -> Tensor:
        """Features ``(m, ..., d)`` of T tokens; returns ``(T, T)``."""
        tokens = features.reshape(len(features), self.structure.reduced, -1).double()
        columns = tokens.transpose(0, 1).flatten(1)
        return columns @ columns.T

    def finish(self, gram: Tensor, weight: float) -> Tensor:
        """``v_w Σ H Hᵀ + v_b`` for each unit of weight: the tokens share one bias."""
        return self.weight_variance * gram + self.bias_variance * weight


def find_head(network: nn.Module, shape: tuple[int, ...], laws: InitLaws) -> tuple[Head | None, str]:
    """Find the last layer and verify that it is a head; return it, or None and why not.

    Verified by running the network: the layer runs last and once, on one sample a sample of the batch; it computes
    what a layer of its kind does; its weights act nowhere else; and what follows it only rearranges its output, on
    basis indices and on a random input. The laws of its weights must be known, with zero mean.
    """
    name = last_layer(network, shape)
    if name is None:
        return None, "no linear or convolutional layer runs in the forward pass"
    module = network.get_submodule(name)
    variances = _variances(network, name, module, laws)
    if isinstance(variances, str):
        return None, f"last layer {name}: {variances}"
    run = _LayerRun(network, name, module, shape)
    if obstacle := run.obstacle():
        return None, f"last layer {name}: {obstacle}"
    permutation = run.tail_permutation()
    if permutation is None:
        return None, f"the output is not a rearrangement of the last layer {name}"
    straight = run.output.shape[1:] == shape and torch.equal(permutation, torch.arange(len(permutation)))
    if ConvHead.matches(module) and straight:
        return ConvHead(name, module, shape, *variances), ""
    if TokenHead.matches(module):
        assert isinstance(module, nn.Linear)
        tokens = len(permutation) // module.out_features
        return TokenHead(name, TokenStructure(shape, tokens, permutation), *variances), ""
    return None, f"the last layer {name} ({type(module).__name__}) has no closed form here"


def _variances(network: nn.Module, name: str, module: nn.Module, laws: InitLaws) -> tuple[float, float] | str:
    """(v_w, v_b) from the verified laws of the layer, or why there are none."""
    used = [id(p) for _, p in network.named_parameters(remove_duplicate=False)]
    if any(used.count(id(p)) > 1 for p in module.parameters()):
        return "its parameters are shared with another layer"
    weight, bias = laws.tensors.get(f"{name}.weight"), laws.tensors.get(f"{name}.bias")
    if weight is None or weight.bound == 0:
        return "the law of its weights is not a known one with zero mean"
    if "bias" not in dict(module.named_parameters()):
        return weight.variance, 0.0
    if bias is None or (bias.bound == 0 and not bias.is_zero):
        return "the law of its bias is not a known one with zero mean"
    return weight.variance, bias.variance


class _LayerRun:
    """One layer of a network, watched while the network runs on two random samples."""

    def __init__(self, network: nn.Module, name: str, module: nn.Module, shape: tuple[int, ...]) -> None:
        self.network, self.name, self.module = network, name, module
        self.x, self.t = random_input(network, shape, "head-check", count=2)
        calls: list[tuple[Tensor, Tensor]] = []

        def keep(_module: nn.Module, args: Any, named: Any, output: Tensor) -> None:
            calls.append((args[0] if args else named["input"], output))

        with torch.no_grad(), module.register_forward_hook(keep, with_kwargs=True):
            evaluate(network, self.x, self.t)
        self.calls = len(calls)
        self.features, self.output = calls[-1]

    def obstacle(self) -> str:
        """Why the layer is no head, empty when nothing speaks against it."""
        if self.calls != 1:
            return "it runs more than once"
        if self.output.numel() != self.x.numel():
            return "its output is not of the network's size"
        if len(self.output) != 2 or len(self.features) != 2:
            return "it does not see the batch in the first dimension"
        if not torch.allclose(self.output, self._plain(self.features), rtol=1e-4, atol=1e-5):
            return "a hook or its own forward changes what it computes"
        if not torch.equal(self._features_with_other_weights(), self.features):
            return "its weights act elsewhere in the network too"
        return ""

    @torch.no_grad()
    def _plain(self, h: Tensor) -> Tensor:
        """What a layer of this kind computes."""
        layer = self.module
        if isinstance(layer, nn.Linear):
            return functional.linear(h, layer.weight, layer.bias)
        assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        result: Tensor = layer._conv_forward(h, layer.weight, layer.bias)
        return result

    @torch.no_grad()
    def _features_with_other_weights(self) -> Tensor:
        """The layer's input when its weights are others."""
        other = {f"{self.name}.{name}": 0.5 - 2 * value for name, value in self.module.named_parameters()}
        with captured_input(self.network, self.name) as capture:
            evaluate(lambda x, t: functional_call(self.network, other, (x, t)), self.x, self.t)
        return capture[0]

    @torch.no_grad()
    def tail_permutation(self) -> Tensor | None:
        """``permutation[j]``: where entry j of the layer's output lands in the network's; None if it is none."""
        size = self.x[0].numel()
        landed = self._run_with(torch.arange(size)).round().long().cpu()
        random = torch.randn(size, generator=torch.Generator().manual_seed(0))
        output = self._run_with(random)
        if not torch.equal(landed[0], landed[1]) or not torch.equal(landed[0].sort().values, torch.arange(size)):
            return None
        # landed[p] is the entry that lands at place p: the superposition check, then its inverse
        expected = random.to(output)[landed.to(output.device)]
        return landed[0].argsort() if torch.allclose(output, expected, rtol=1e-3) else None

    def _run_with(self, entries: Tensor) -> Tensor:
        """The network's output ``(2, D)`` when the layer's is given."""
        given = entries.to(self.output).expand(2, -1).reshape(self.output.shape)
        with self.module.register_forward_hook(lambda *_: given):
            return evaluate(self.network, self.x, self.t).flatten(1)


def _pad(k: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """Pad one axis of the Gram tensor as the convolution pads its input."""
    n = k.shape[axis]
    index = torch.arange(1, n + 1, dtype=torch.float64)[None, None]
    if mode == "zeros":
        index = functional.pad(index, (before, after))
        k = torch.cat([torch.zeros_like(k.narrow(axis, 0, 1)), k], dim=axis)
    else:
        index = functional.pad(index, (before, after), mode=mode) - 1
    return k.index_select(axis, index[0, 0].long().to(k.device))
