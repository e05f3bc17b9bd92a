"""An operator without structure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

from torch import Tensor

from scoregrain.operators._spectrum import SpectralFactor, SpectralFunction, psd_eigh
from scoregrain.operators.base import Operator, check_shape


class DenseOperator(Operator):
    """U diag(λ) Uᵀ with any U.

    Args:
        shape: (C, *space).
        eigenvalues: (D,), any order, non-negative up to rounding.
        eigenvectors: (D, D), orthonormal columns in the order of ``eigenvalues``.

    Raises:
        InvalidInputError: When a shape, a sign or the orthonormality is wrong.

    Example:
        >>> import torch
        >>> from scoregrain.operators import DenseOperator
        >>> geometry = DenseOperator.from_matrix((1, 2), torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
        >>> geometry.eigenvalues
        tensor([3., 1.], dtype=torch.float64)
    """

    def __init__(self, shape: Sequence[int], eigenvalues: Tensor, eigenvectors: Tensor) -> None:
        super().__init__(shape)
        self._spectrum = SpectralFactor(eigenvalues, eigenvectors, self.size)

    @classmethod
    def from_matrix(cls, shape: Sequence[int], matrix: Tensor) -> Self:
        """Decompose a (D, D) matrix in float64.

        Raises:
            InvalidInputError: When it has another shape or is not symmetric and PSD up to rounding.
        """
        return cls(shape, *psd_eigh(matrix, math.prod(check_shape(shape))))

    def _apply(self, f: SpectralFunction, x: Tensor) -> Tensor:
        return self._spectrum.apply(f, x)

    def _eigenvalues(self) -> Tensor:
        return self._spectrum.values

    def eigh(self) -> tuple[Tensor, Tensor]:
        """Return eigenvalues (D,), descending, and eigenvectors (D, D) as columns, both float64."""
        return self._spectrum.values, self._spectrum.basis.value
