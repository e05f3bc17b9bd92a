"""Closed-form conditional second moment of the last layer: Rao–Blackwell over its weights (MATH C1.1–C1.2)."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoregrain.geometry.structure import DenseStructure, Structure
from scoregrain.geometry.tail import Tail


class Head(ABC):
    """A last layer whose weights are iid with zero mean and independent of the features it sees.

    A subclass is bound to one layer of one network. ``second_moment`` is ``gram`` followed by ``finish``; both
    are linear in the Gram matrix, so many networks are accumulated before the one ``finish`` (MATH C1.2). The
    moment is that of the layer's output o as the map Q behind it places it in the network's: ``E[Q o oᵀ Qᵀ | h]``.
    The factor s of the noise level and the offset of ``out = offset + s Q o`` are the ``tail``'s.

    Args:
        layer: name of the layer in the network.
        structure: how the reduced second moment expands to D directions.
        weight_variance: v_w, the variance of one weight.
        bias_variance: v_b, the variance of one bias entry, 0 without bias.
        units: the tokens or pixels of the layer's output that the network keeps, in the order of the reduced
            matrix; None keeps all as they are.

    Attributes:
        tail: what follows the layer in the network, as :func:`~scoregrain.geometry.find_head.find_head` found it.
    """

    tail: Tail

    def __init__(
        self,
        layer: str,
        structure: Structure,
        weight_variance: float,
        bias_variance: float,
        units: Tensor | None = None,
    ) -> None:
        self.layer, self.structure, self.units = layer, structure, units
        self.weight_variance, self.bias_variance = weight_variance, bias_variance

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

    def sketch(self, features: Tensor, weight: float, omega: Tensor) -> tuple[Tensor, float]:
        """Products of the reduced second moment S with test vectors, and its trace (MATH C4).

        Args:
            features: ``(m, ...)``, as :meth:`gram` takes them.
            weight: their total weight, as :meth:`finish` takes it.
            omega: Ω, float64 ``(r, l)``.

        Returns:
            ``S Ω``, float64 ``(r, l)``, and ``tr S``. Convolutions and tokens form no r × r matrix.
        """
        moment = self.finish(self.gram(features), weight)
        return moment @ omega, float(moment.trace())

    def _sketch(self, rows: Iterator[Tensor], weight: float, omega: Tensor) -> tuple[Tensor, float]:
        """``v_w Σ Hᵀ(H Ω) + v_b 11ᵀ Ω`` and the trace, for parts H ``(·, r)`` of the features."""
        product = (self.bias_variance * weight * omega.sum(0)).repeat(len(omega), 1)
        trace = self.bias_variance * weight * len(omega)
        for h in rows:
            product += self.weight_variance * (h.T @ (h @ omega))
            trace += self.weight_variance * float(h.square().sum())
        return product, trace


class ConvHead(Head):
    """Convolution of any kernel, stride, dilation and padding, in 1 to 3 dimensions: ``I_C ⊗ A``.

    ``A[u,u'] = v_w Σ_a K[u+a, u'+a] + v_b`` over the kernel's offsets a, with K the Gram matrix over channels
    of the padded features (MATH C1.2, "the same thing by shifts").

    Args:
        conv: the convolution.
        space: space dimensions of its output.
        structure: of the reduced moment over the pixels kept.
    """

    def __init__(
        self,
        layer: str,
        conv: nn.Module,
        space: tuple[int, ...],
        structure: Structure,
        weight_variance: float,
        bias_variance: float,
        units: Tensor | None = None,
    ) -> None:
        super().__init__(layer, structure, weight_variance, bias_variance, units)
        assert isinstance(conv, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        self.conv, self.space = conv, space
        self.offsets = list(itertools.product(*map(range, conv.kernel_size)))

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
        for offset in self.offsets:
            a += k[self._window(offset) * 2]
        n = math.prod(self.space)
        a = self.weight_variance * a.reshape(n, n) + self.bias_variance * weight
        return a if self.units is None else a[self.units[:, None], self.units]

    def sketch(self, features: Tensor, weight: float, omega: Tensor) -> tuple[Tensor, float]:
        """Features ``(m, C_in, *space_in)``; one strided window of the padded features at a time."""
        mode = "constant" if self.conv.padding_mode == "zeros" else self.conv.padding_mode
        padded = functional.pad(features.double(), list(self.conv._reversed_padding_repeated_twice), mode=mode)
        windows = (
            padded[(slice(None), slice(None), *self._window(offset))].flatten(2).flatten(0, 1)
            for offset in self.offsets
        )
        return self._sketch((h if self.units is None else h[:, self.units] for h in windows), weight, omega)

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

    @staticmethod
    def matches(module: nn.Module) -> bool:
        """A linear layer."""
        return isinstance(module, nn.Linear)

    def gram(self, features: Tensor) -> Tensor:
        """Features ``(m, ..., d)`` of T tokens; returns ``(T, T)``."""
        columns = self._rows(features).T
        return columns @ columns.T

    def finish(self, gram: Tensor, weight: float) -> Tensor:
        """``v_w Σ H Hᵀ + v_b`` for each unit of weight: the tokens share one bias."""
        return self.weight_variance * gram + self.bias_variance * weight

    def sketch(self, features: Tensor, weight: float, omega: Tensor) -> tuple[Tensor, float]:
        """Features ``(m, ..., d)``; ``v_w H (Hᵀ Ω) + v_b 11ᵀ Ω``."""
        return self._sketch(iter([self._rows(features)]), weight, omega)

    def _rows(self, features: Tensor) -> Tensor:
        """``Hᵀ``: the kept tokens of all samples as columns, float64 ``(m·d, T)``."""
        tokens = features.reshape(len(features), -1, features.shape[-1]).double()
        return (tokens if self.units is None else tokens[:, self.units]).transpose(1, 2).flatten(0, 1)


class DenseTailHead(Head):
    """A layer of one of the other kinds, and behind it a linear map Q that mixes its entries: ``Q E[o oᵀ | h] Qᵀ``.

    Args:
        inner: the layer as if its output were the network's.
        matrix: Q, float64 ``(D, D_layer)``.
        shape: ``(C, *space)`` of the network's output.
    """

    def __init__(self, inner: Head, matrix: Tensor, shape: tuple[int, ...]) -> None:
        super().__init__(inner.layer, DenseStructure(shape), inner.weight_variance, inner.bias_variance)
        self.inner, self.matrix = inner, matrix

    @staticmethod
    def matches(module: nn.Module) -> bool:
        """A layer one of the other heads knows."""
        return ConvHead.matches(module) or TokenHead.matches(module)

    def gram(self, features: Tensor) -> Tensor:
        """That of the layer."""
        return self.inner.gram(features)

    def finish(self, gram: Tensor, weight: float) -> Tensor:
        """The layer's own second moment, in full, between Q and Qᵀ."""
        matrix = self.matrix.to(gram.device)
        return matrix @ self.inner.structure.matrix(self.inner.finish(gram, weight)) @ matrix.T


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
