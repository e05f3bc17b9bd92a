"""Operators that repeat one small matrix: over channels (convolutions) or inside tokens (transformers)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.operators._spectrum import SpectralFactor, SpectralFunction, psd_eigh
from scoregrain.operators.base import Operator, check_shape


class ChannelKronecker(Operator):
    """I_C ⊗ A: the same n×n matrix A over the n pixels of every channel (MATH A6 P2, C1.2).

    Every eigenvalue of A comes C times. No D×D matrix is formed but by ``eigh`` and ``to_dense``.

    Args:
        shape: (C, *space), n = prod(space).
        eigenvalues: of A, (n,), any order, non-negative up to rounding.
        eigenvectors: of A, (n, n), orthonormal columns in the order of ``eigenvalues``.

    Raises:
        InvalidInputError: When a shape, a sign or the orthonormality is wrong.

    Example:
        >>> import torch
        >>> from scoregrain.operators import ChannelKronecker
        >>> operator = ChannelKronecker.from_matrix((3, 2), torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
        >>> operator.eigenvalues
        tensor([3., 3., 3., 1., 1., 1.], dtype=torch.float64)
    """

    def __init__(self, shape: Sequence[int], eigenvalues: Tensor, eigenvectors: Tensor) -> None:
        super().__init__(shape)
        self._channels = self.shape[0]
        self._spectrum = SpectralFactor(eigenvalues, eigenvectors, self.size // self._channels)

    @classmethod
    def from_matrix(cls, shape: Sequence[int], matrix: Tensor) -> Self:
        """Decompose A (n, n) in float64.

        Raises:
            InvalidInputError: When it has another shape or is not symmetric and PSD up to rounding.
        """
        return cls(shape, *psd_eigh(matrix, math.prod(check_shape(shape)[1:])))

    def _apply(self, f: SpectralFunction, x: Tensor) -> Tensor:
        channels = x.reshape(*x.shape[:-1], self._channels, self._spectrum.size)
        return self._spectrum.apply(f, channels).flatten(-2)

    def _eigenvalues(self) -> Tensor:
        return self._spectrum.values.repeat_interleave(self._channels)

    def eigh(self) -> tuple[Tensor, Tensor]:
        """Return eigenvalues (D,), descending, and eigenvectors (D, D) as columns, both float64."""
        vectors = _repeat_vectors(self._spectrum.basis.value, self._channels)
        # Rows come as (pixel, channel); the array has them as (channel, pixel).
        return self._eigenvalues(), vectors.view(-1, self._channels, self.size).transpose(0, 1).flatten(0, 1)


class TokenKronecker(Operator):
    """Q (A ⊗ I_L) Qᵀ: T tokens of L entries each, written to the array by a permutation (MATH A6 P3, C1.2).

    Every eigenvalue of A comes L = D / T times. No D×D matrix is formed but by ``eigh`` and ``to_dense``.

    Args:
        shape: (C, *space).
        eigenvalues: of A, (T,), any order, non-negative up to rounding; T divides D.
        eigenvectors: of A, (T, T), orthonormal columns in the order of ``eigenvalues``.
        permutation: int64 (D,): entry l of token i is entry ``permutation[i * L + l]`` of the flat array.

    Raises:
        InvalidInputError: When a shape, a sign or the orthonormality is wrong, T does not divide D, or
            ``permutation`` is not a permutation of 0 … D-1.

    Example:
        Two tokens, the even and the odd pixels of four:

        >>> import torch
        >>> from scoregrain.operators import TokenKronecker
        >>> unpatchify = torch.tensor([0, 2, 1, 3])
        >>> operator = TokenKronecker.from_matrix((1, 4), torch.tensor([[1.0, 0.0], [0.0, 5.0]]), unpatchify)
        >>> operator @ torch.ones(1, 4)
        tensor([[1., 5., 1., 5.]])
    """

    def __init__(self, shape: Sequence[int], eigenvalues: Tensor, eigenvectors: Tensor, permutation: Tensor) -> None:
        super().__init__(shape)
        self._spectrum = SpectralFactor(eigenvalues, eigenvectors)
        self._tokens = self._spectrum.size
        if self._tokens == 0 or self.size % self._tokens:
            raise InvalidInputError(f"the number of tokens must divide D = {self.size}, got {self._tokens}")
        self._inner = self.size // self._tokens
        self._permutation = _check_permutation(permutation, self.size)
        self._inverse_permutation = self._permutation.argsort()

    @classmethod
    def from_matrix(cls, shape: Sequence[int], matrix: Tensor, permutation: Tensor) -> Self:
        """Decompose A (T, T) in float64.

        Raises:
            InvalidInputError: When A is not symmetric and PSD up to rounding, or as the class says.
        """
        return cls(shape, *psd_eigh(matrix), permutation)

    def _apply(self, f: SpectralFunction, x: Tensor) -> Tensor:
        tokens = x[..., self._permutation.to(x.device)].reshape(*x.shape[:-1], self._tokens, self._inner)
        mixed = self._spectrum.apply(f, tokens.transpose(-1, -2)).transpose(-1, -2)
        return mixed.flatten(-2)[..., self._inverse_permutation.to(x.device)]

    def _eigenvalues(self) -> Tensor:
        return self._spectrum.values.repeat_interleave(self._inner)

    def eigh(self) -> tuple[Tensor, Tensor]:
        """Return eigenvalues (D,), descending, and eigenvectors (D, D) as columns, both float64."""
        vectors = _repeat_vectors(self._spectrum.basis.value, self._inner)
        return self._eigenvalues(), vectors[self._inverse_permutation]


def _repeat_vectors(vectors: Tensor, times: int) -> Tensor:
    """Return V ⊗ I: its columns k·times … k·times + times-1 span the eigenspace of column k of V."""
    return torch.kron(vectors, torch.eye(times, dtype=torch.float64, device="cpu"))


def _check_permutation(permutation: Tensor, size: int) -> Tensor:
    if permutation.dtype != torch.int64 or tuple(permutation.shape) != (size,):
        raise InvalidInputError(
            f"permutation must be an int64 tensor of shape ({size},),"
            f" got {permutation.dtype} of shape {tuple(permutation.shape)}"
        )
    permutation = permutation.cpu().clone()
    if not torch.equal(permutation.sort().values, torch.arange(size, device=permutation.device)):
        raise InvalidInputError(f"permutation must hold each of 0 … {size - 1} once")
    return permutation
