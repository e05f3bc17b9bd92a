"""White noise: the same variance in every direction."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.operators._spectrum import SpectralFunction
from scoregrain.operators.base import Operator


class IdentityOperator(Operator):
    """scale · I.

    Args:
        shape: (C, *space).
        scale: The variance of every direction, finite and at least 0.

    Raises:
        InvalidInputError: When ``shape`` or ``scale`` is wrong.

    Example:
        >>> from scoregrain.operators import IdentityOperator
        >>> IdentityOperator((1, 2, 2), scale=3.0).trace()
        12.0
    """

    def __init__(self, shape: Sequence[int], scale: float = 1.0) -> None:
        super().__init__(shape)
        if not 0.0 <= scale < math.inf:
            raise InvalidInputError(f"scale must be finite and at least 0, got {scale}")
        self._scale = torch.tensor(scale, dtype=torch.float64, device="cpu")

    def _matmul(self, x: Tensor) -> Tensor:
        return self._scale.item() * x

    def _apply(self, f: SpectralFunction, x: Tensor) -> Tensor:
        return f(self._scale).to(x) * x

    def _eigenvalues(self) -> Tensor:
        return self._scale.repeat(self.size)

    def _on_support(self, f: SpectralFunction) -> IdentityOperator:
        return IdentityOperator(self.shape, f(self._scale).item() if self._scale > 0 else 0.0)

    def eigh(self) -> tuple[Tensor, Tensor]:
        """Return eigenvalues (D,), descending, and eigenvectors (D, D) as columns, both float64."""
        return self._eigenvalues(), torch.eye(self.size, dtype=torch.float64, device="cpu")
