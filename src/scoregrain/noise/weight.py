"""The law of a noise colour: a gain for every frequency of a grid (MATH B1, B4)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from scoregrain._errors import InvalidInputError, nearest
from scoregrain.operators import FrequencyGrid

if TYPE_CHECKING:
    from scoregrain.noise.weights import Product

DC_RULES = ("formula", "floor", "zero")


class Weight(ABC):
    """The gain w ≥ 0 of shaped noise ε = F⁻¹(w ⊙ F ξ) at every frequency; its power is w² (MATH B1).

    To add a noise colour write a frozen dataclass with ``__call__``. Products, normalisation and every check
    (shape, evenness, sign, support) are done by :class:`ForwardNoise`.
    """

    @abstractmethod
    def __call__(self, grid: FrequencyGrid) -> Tensor:
        """Return w, float64, of the shape ``grid.size``, in FFT layout (``grid.radius`` and ``grid.band`` help)."""

    def __mul__(self, other: Weight) -> Product:
        """Return the weight whose gain is the product of both."""
        from scoregrain.noise.weights import Product

        return Product((self, other))


def with_dc(gains: Tensor, grid: FrequencyGrid, dc: str) -> Tensor:
    """Return ``gains`` with the constant's gain w(0) by rule (MATH B2).

    Args:
        gains: w, float64 ``grid.size``; may be infinite at k = 0 unless ``dc`` is ``formula``.
        grid: The frequencies.
        dc: ``formula`` keeps w(0); ``floor`` copies the gain at the smallest radius above zero, 1 on a grid of
            one point; ``zero`` leaves mean brightness without noise.

    Raises:
        InvalidInputError: When the rule is unknown.
    """
    if dc not in DC_RULES:
        raise InvalidInputError(f"unknown dc rule '{dc}'{nearest(dc, DC_RULES)}; known: {', '.join(DC_RULES)}")
    origin = (0,) * gains.ndim
    gains = gains.clone()
    if dc == "zero":
        gains[origin] = 0.0
    elif dc == "floor":
        radius = grid.radius("raw")
        gains[origin] = gains[radius == radius[radius > 0].min()][0] if gains.numel() > 1 else 1.0
    return gains
