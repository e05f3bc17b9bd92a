"""Closed-form conditional second moment of the last layer: Rao–Blackwell over its weights (MATH C1.1–C1.2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoregrain.geometry.structure import ChannelStructure, Structure, TokenStructure
from scoregrain.models import InitLaws, evaluate, last_layer, random_input


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

    Verified: the layer runs last and once, its parameters are its own and follow a zero-mean law, and the rest of
    the network behind it is a permutation — by running it on basis indices and by superposition on a random input.
    """
    name = last_layer(network, shape)
    if name is None:
        return None, "no linear or convolutional layer runs in the forward pass"
    module = network.get_submodule(name)
    variances = _variances(network, name, module, laws)
    if isinstance(variances, str):
        return None, f"last layer {name}: {variances}"
    permutation = _tail_permutation(network, module, shape)
    if permutation is None:
        return None, f"the output is not a rearrangement of the last layer {name}"
    straight = torch.equal(permutation, torch.arange(len(permutation)))
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


def _tail_permutation(network: nn.Module, module: nn.Module, shape: tuple[int, ...]) -> Tensor | None:
    """``permutation[j]`` = place of entry j of the layer's output in the network's, None if it is no permutation."""
    x, t = random_input(network, shape, "head-check")
    calls: list[Tensor] = []
    replaced: list[Tensor] = []

    def keep(_module: nn.Module, _args: Any, output: Tensor) -> None:
        calls.append(output)

    def replace(_module: nn.Module, _args: Any, _output: Tensor) -> Tensor:
        return replaced[0]

    with torch.no_grad():
        with module.register_forward_hook(keep):
            evaluate(network, x, t)
        size = x[0].numel()
        if len(calls) != 1 or calls[0].numel() != size:
            return None
        layer_output = calls[0]
        with module.register_forward_hook(replace):
            replaced.append(torch.arange(size).to(layer_output).reshape(layer_output.shape))
            landed = evaluate(network, x, t).flatten().round().long().cpu()
            random = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(layer_output)
            replaced[0] = random.reshape(layer_output.shape)
            output = evaluate(network, x, t).flatten()
    if not torch.equal(landed.sort().values, torch.arange(size)):
        return None
    # landed[p] is the entry that lands at place p: the superposition check, then its inverse
    if not torch.allclose(output, random[landed.to(random.device)]):
        return None
    return landed.argsort()


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
