"""Exact structure of a geometry: what is stored, and how it expands to all D directions (MATH A6, C4)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from scoregrain.operators import ChannelKronecker, DenseOperator, Operator, TokenKronecker


class Structure(ABC):
    """How a D × D geometry follows from a reduced r × r matrix A.

    Reduced eigenvector k becomes the ``multiplicity`` columns ``k·multiplicity + j`` of the full one.

    Attributes:
        kind: the name written into artefacts.
        shape: ``(C, *space)``.
        reduced: r, the side of A.
        layout: shape of the arrays whose flattened entries index A, None where they are no pixels.
    """

    kind: str
    shape: tuple[int, ...]
    reduced: int
    layout: tuple[int, ...] | None = None

    @property
    def size(self) -> int:
        """The dimension D."""
        return math.prod(self.shape)

    @property
    def multiplicity(self) -> int:
        """How many orthogonal directions share each reduced eigenvalue."""
        return self.size // self.reduced

    @abstractmethod
    def matrix(self, a: Tensor) -> Tensor:
        """The full D × D matrix of a reduced one."""

    @abstractmethod
    def reduce(self, b: Tensor) -> Tensor:
        """The r × r matrix R with ``tr(matrix(A) B) = sum(A ⊙ R)`` for every symmetric A."""

    @abstractmethod
    def columns(self, v: Tensor, indices: Sequence[int]) -> Tensor:
        """Eigenvectors of the given indices among all D as columns, from reduced ones ``(r, k)``."""

    @abstractmethod
    def operator(self, values: Tensor, vectors: Tensor) -> Operator:
        """The geometry as an operator, from its reduced eigen-decomposition."""


class DenseStructure(Structure):
    """No structure: A is the geometry itself."""

    kind = "dense"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.layout, self.reduced = shape, shape, math.prod(shape)

    def matrix(self, a: Tensor) -> Tensor:
        """Return A."""
        return a

    def reduce(self, b: Tensor) -> Tensor:
        """Return B."""
        return b

    def columns(self, v: Tensor, indices: Sequence[int]) -> Tensor:
        """Pick columns."""
        return v[:, list(indices)]

    def operator(self, values: Tensor, vectors: Tensor) -> Operator:
        """Dense operator."""
        return DenseOperator(self.shape, values, vectors)


class ChannelStructure(Structure):
    """``I_C ⊗ A``: output channels with iid zero-mean filters (P2 of MATH A6)."""

    kind = "channel"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.layout, self.reduced = shape, shape[1:], math.prod(shape[1:])

    def matrix(self, a: Tensor) -> Tensor:
        """``I_C ⊗ A``."""
        return torch.kron(torch.eye(self.multiplicity, dtype=a.dtype), a)

    def reduce(self, b: Tensor) -> Tensor:
        """Sum of the diagonal channel blocks."""
        c, n = self.multiplicity, self.reduced
        return b.reshape(c, n, c, n).diagonal(dim1=0, dim2=2).sum(-1)

    def columns(self, v: Tensor, indices: Sequence[int]) -> Tensor:
        """Column ``k·C + c`` is eigenvector k in channel c."""
        index = torch.tensor(list(indices))
        full = v.new_zeros(self.multiplicity, self.reduced, len(index))
        full[index % self.multiplicity, :, torch.arange(len(index))] = v[:, index // self.multiplicity].T
        return full.reshape(self.size, len(index))

    def operator(self, values: Tensor, vectors: Tensor) -> Operator:
        """Kronecker operator that never forms D × D."""
        return ChannelKronecker(self.shape, values, vectors)


class TokenStructure(Structure):
    """``Q (A ⊗ I_L) Qᵀ``: tokens that share one linear layer with L outputs (P3 of MATH A6).

    ``permutation[i·L + l]`` is where entry l of token i lies in the flattened output.
    """

    kind = "token"

    def __init__(self, shape: tuple[int, ...], tokens: int, permutation: Tensor) -> None:
        self.shape, self.reduced, self.permutation = shape, tokens, permutation

    def matrix(self, a: Tensor) -> Tensor:
        """``Q (A ⊗ I_L) Qᵀ``."""
        full = a.new_empty(self.size, self.size)
        eye = torch.eye(self.multiplicity, dtype=a.dtype)
        full[self.permutation[:, None], self.permutation] = torch.kron(a, eye)
        return full

    def reduce(self, b: Tensor) -> Tensor:
        """Partial trace over the L inner entries."""
        t, inner = self.reduced, self.multiplicity
        ordered = b[self.permutation[:, None], self.permutation]
        return ordered.reshape(t, inner, t, inner).diagonal(dim1=1, dim2=3).sum(-1)

    def columns(self, v: Tensor, indices: Sequence[int]) -> Tensor:
        """Column ``k·L + l`` is eigenvector k over tokens in inner entry l."""
        index = torch.tensor(list(indices))
        tokens = v.new_zeros(self.reduced, self.multiplicity, len(index))
        tokens[:, index % self.multiplicity, torch.arange(len(index))] = v[:, index // self.multiplicity]
        full = torch.empty_like(tokens).reshape(self.size, len(index))
        full[self.permutation] = tokens.reshape(self.size, len(index))
        return full

    def operator(self, values: Tensor, vectors: Tensor) -> Operator:
        """Kronecker operator that never forms D × D."""
        return TokenKronecker(self.shape, values, vectors, self.permutation)
