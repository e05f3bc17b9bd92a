"""An operator seen through an orthogonal change of coordinates (MATH C5)."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.operators._spectrum import SpectralFunction
from scoregrain.operators.base import Operator


class OrthogonalMap(Protocol):
    """What rotates arrays of one shape: ``scoregrain.Rotation`` is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, *space)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return W x for x (..., C, *space)."""

    def inverse(self, x: Tensor) -> Tensor:
        """Return Wᵀ x for x (..., C, *space)."""


class RotatedOperator(Operator):
    """WᵀAW: the operator A acts after the rotation W and is undone back into the coordinates before it.

    Args:
        operator: A.
        rotation: W, of the same shape.

    Raises:
        InvalidInputError: When the shapes differ.
    """

    def __init__(self, operator: Operator, rotation: OrthogonalMap) -> None:
        super().__init__(operator.shape)
        if tuple(rotation.shape) != self.shape:
            raise InvalidInputError(
                f"the rotation turns arrays of shape {tuple(rotation.shape)}, the operator's are {self.shape}"
            )
        self._operator, self._rotation = operator, rotation

    def _apply(self, f: SpectralFunction, x: Tensor) -> Tensor:
        arrays = (*x.shape[:-1], *self.shape)
        turned = self._rotation(x.reshape(arrays)).reshape(x.shape)
        return self._rotation.inverse(self._operator._apply(f, turned).reshape(arrays)).reshape(x.shape)

    def _eigenvalues(self) -> Tensor:
        return self._operator.eigenvalues

    def _cutoff(self) -> float:
        return self._operator._cutoff()
