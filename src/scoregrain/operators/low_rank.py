"""A few known directions and one variance for all the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.operators._spectrum import Constant, SpectralFunction, check_columns, check_values, descending
from scoregrain.operators.base import Operator


class LowRankOperator(Operator):
    """U diag(s) Uᵀ + residual·(I - U Uᵀ): what a sketch of a large operator gives (MATH C4).

    A product costs O(Dk). No D×D matrix is formed but by ``eigh`` and ``to_dense``.

    Args:
        shape: (C, *space).
        eigenvalues: s, (k,), any order, non-negative up to rounding.
        eigenvectors: U, (D, k), orthonormal columns in the order of ``eigenvalues``.
        residual: Variance of each direction orthogonal to U, at least 0.

    Raises:
        InvalidInputError: When a shape, a sign or the orthonormality is wrong.

    Example:
        >>> import torch
        >>> from scoregrain.operators import LowRankOperator
        >>> LowRankOperator((1, 4), torch.tensor([7.0]), torch.eye(4)[:, :1], residual=0.5).trace()
        8.5
    """

    def __init__(self, shape: Sequence[int], eigenvalues: Tensor, eigenvectors: Tensor, residual: float = 0.0) -> None:
        super().__init__(shape)
        if not 0.0 <= residual < math.inf:
            raise InvalidInputError(f"residual must be finite and at least 0, got {residual}")
        values = check_values(eigenvalues)
        self._basis = Constant(check_columns(eigenvectors, self.size, len(values)))
        # One tensor, the residual last, so that a spectral function is called once.
        self._values = torch.cat((values, torch.tensor([residual], dtype=torch.float64, device="cpu")))

    def _apply(self, f: SpectralFunction, x: Tensor) -> Tensor:
        basis = self._basis.like(x)
        values = f(self._values).to(x)
        return values[-1] * x + (x @ basis * (values[:-1] - values[-1])) @ basis.T

    def _eigenvalues(self) -> Tensor:
        rest = self._values[-1:].expand(self.size - len(self._values) + 1)
        return torch.cat((self._values[:-1], rest))

    def eigh(self) -> tuple[Tensor, Tensor]:
        """Return eigenvalues (D,), descending, and eigenvectors (D, D) as columns, both float64."""
        known = self._basis.value
        complement = torch.linalg.qr(known, mode="complete").Q[:, known.shape[1] :]
        return descending(self._eigenvalues(), torch.cat((known, complement), dim=1))
