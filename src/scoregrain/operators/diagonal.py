"""An operator that is diagonal in a known orthonormal basis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scoregrain.operators._spectrum import Basis, SpectralFunction, check_columns, check_values, descending
from scoregrain.operators.base import Operator


class DiagonalOperator(Operator):
    """B diag(s) Bᵀ: the variance s[i] along column i of the basis B.

    Args:
        shape: (C, *space).
        eigenvalues: s, (D,), any order, non-negative up to rounding.
        basis: B, (D, D), orthonormal columns; None is the canonical basis, one entry of the array each.

    Raises:
        InvalidInputError: When a shape, a sign or the orthonormality is wrong.

    Example:
        >>> import torch
        >>> from scoregrain.operators import DiagonalOperator
        >>> DiagonalOperator((1, 3), torch.tensor([1.0, 4.0, 0.0])).rank()
        2
    """

    def __init__(self, shape: Sequence[int], eigenvalues: Tensor, basis: Tensor | None = None) -> None:
        super().__init__(shape)
        self._values = check_values(eigenvalues, self.size)
        self._basis = None if basis is None else Basis(check_columns(basis, self.size, self.size))

    def _apply(self, f: SpectralFunction, x: Tensor) -> Tensor:
        values = f(self._values).to(x)
        if self._basis is None:
            return values * x
        basis = self._basis.like(x)
        return (x @ basis * values) @ basis.T

    def _eigenvalues(self) -> Tensor:
        return self._values

    def eigh(self) -> tuple[Tensor, Tensor]:
        """Return eigenvalues (D,), descending, and eigenvectors (D, D) as columns, both float64."""
        basis = torch.eye(self.size, dtype=torch.float64) if self._basis is None else self._basis.matrix
        return descending(self._values, basis)
