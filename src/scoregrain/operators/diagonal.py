"""An operator that is diagonal in a known orthonormal basis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scoregrain.operators._spectrum import Constant, SpectralFunction, check_columns, check_values, descending
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
        self._values = Constant(check_values(eigenvalues, self.size))
        self._basis = None if basis is None else Constant(check_columns(basis, self.size, self.size))

    def _matmul(self, x: Tensor) -> Tensor:
        return self._scale(self._values.like(x), x)

    def _apply(self, f: SpectralFunction, x: Tensor) -> Tensor:
        return self._scale(f(self._values.value).to(x), x)

    def _scale(self, values: Tensor, x: Tensor) -> Tensor:
        if self._basis is None:
            return values * x
        basis = self._basis.like(x)
        return (x @ basis * values) @ basis.T

    def _eigenvalues(self) -> Tensor:
        return self._values.value

    def _on_support(self, f: SpectralFunction) -> DiagonalOperator:
        mapped = torch.where(self._values.value > self._cutoff(), f(self._values.value), 0.0)
        return DiagonalOperator(self.shape, mapped, None if self._basis is None else self._basis.value)

    def eigh(self) -> tuple[Tensor, Tensor]:
        """Return eigenvalues (D,), descending, and eigenvectors (D, D) as columns, both float64."""
        basis = torch.eye(self.size, dtype=torch.float64, device="cpu") if self._basis is None else self._basis.value
        return descending(self._values.value, basis)
