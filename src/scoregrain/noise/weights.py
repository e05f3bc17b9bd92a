"""Smooth noise colours, gains of one's own, and products (MATH B2, B4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.noise._fields import check_numbers, check_word
from scoregrain.noise.weight import DC_RULES, Weight, with_dc
from scoregrain.operators import RADIUS_UNITS, FrequencyGrid

SMALLEST = torch.finfo(torch.float64).tiny
"""Stands for a positive gain below it, so that it is refused as too small and not taken for an omitted frequency."""


@dataclass(frozen=True)
class White(Weight):
    """w = 1: the isotropic noise of ordinary diffusion models."""

    def __call__(self, grid: FrequencyGrid) -> Tensor:
        """Return ones."""
        return torch.ones(grid.size, dtype=torch.float64, device="cpu")


@dataclass(frozen=True)
class PowerLaw(Weight):
    """w = (r + ε)^α, power r^2α: α > 0 boosts HIGH frequencies (rough noise), α < 0 low ones, α = 0 is white.

    This is the sign of arXiv 2510.09660; other tools have the opposite one: in ComfyUI-sonar alpha > 0 boosts LOW
    frequencies. Natural images have power r⁻², like the noise of α = -1.

    Args:
        alpha: α.
        eps: ε ≥ 0, in the unit of the radius. Published values leave it open (MATH B13); 1e-8 with dc="formula"
            is the papers' literal formula, whose constant can dominate (MATH B2).
        radius: Unit of r (``FrequencyGrid.radius``); without ε it changes the amount of noise alone.
        dc: The constant's gain: ``floor``, that of the smallest r > 0; ``formula``, ε^α; ``zero``, none.

    Raises:
        InvalidInputError: When a field is not such a value, or the constant's gain is infinite (α < 0, ε = 0,
            dc="formula").
    """

    alpha: float
    eps: float = 0.0
    radius: str = "raw"
    dc: str = "floor"

    def __post_init__(self) -> None:
        check_numbers(self, "alpha")
        check_numbers(self, "eps", minimum=0.0)
        check_word(self, "radius", RADIUS_UNITS)
        check_word(self, "dc", DC_RULES)
        if self.alpha < 0 and self.eps == 0 and self.dc == "formula":
            raise InvalidInputError(
                f"the gain (r + 0)^{self.alpha:g} is infinite at r = 0: use dc=floor, dc=zero or eps > 0"
            )

    def __call__(self, grid: FrequencyGrid) -> Tensor:
        """Return (r + ε)^α with the constant's gain by rule."""
        base = grid.radius(self.radius) + self.eps
        return with_dc((base**self.alpha).clamp(min=SMALLEST * base.sign()), grid, self.dc)


@dataclass(frozen=True)
class _NamedColour(Weight):
    """A power law whose exponent has a name."""

    eps: float = 0.0
    radius: str = "raw"
    dc: str = "floor"
    alpha: ClassVar[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", self.law.eps)

    @property
    def law(self) -> PowerLaw:
        """The power law meant."""
        return PowerLaw(self.alpha, self.eps, self.radius, self.dc)

    def __call__(self, grid: FrequencyGrid) -> Tensor:
        """Return the gains of the power law."""
        return self.law(grid)


@dataclass(frozen=True)
class Blue(_NamedColour):
    """Power at r proportional to r: ``PowerLaw(alpha=+1/2)``, rough; the other fields are that law's."""

    alpha = 0.5


@dataclass(frozen=True)
class Pink(_NamedColour):
    """Power at r proportional to 1/r: ``PowerLaw(alpha=-1/2)``, smooth; the other fields are that law's."""

    alpha = -0.5


@dataclass(frozen=True)
class Brown(_NamedColour):
    """Power at r proportional to 1/r²: ``PowerLaw(alpha=-1)``, very smooth; the other fields are that law's."""

    alpha = -1.0


@dataclass(frozen=True)
class Exponential(Weight):
    """w = exp(-β r²): smooth noise, of condition number exp(2β r_max²), e^β for square images in raw units.

    Args:
        beta: β ≥ 0, in the unit of the radius; 0 is white.
        radius: Unit of r.
        dc: The constant's gain: ``formula``, 1; ``floor``, that of the smallest r > 0; ``zero``, none.

    Raises:
        InvalidInputError: When a field is not such a value.
    """

    beta: float
    radius: str = "raw"
    dc: str = "formula"

    def __post_init__(self) -> None:
        check_numbers(self, "beta", minimum=0.0)
        check_word(self, "radius", RADIUS_UNITS)
        check_word(self, "dc", DC_RULES)

    def __call__(self, grid: FrequencyGrid) -> Tensor:
        """Return exp(-β r²) with the constant's gain by rule."""
        return with_dc((-self.beta * grid.radius(self.radius) ** 2).exp().clamp(min=SMALLEST), grid, self.dc)


@dataclass(frozen=True, eq=False)
class Custom(Weight):
    """Gains of one's own, for arrays of one size.

    Args:
        gains: w, the full plane (*space) in FFT layout (the constant first), even: w(-k) = w(k).

    Raises:
        InvalidInputError: When the plane is not finite, non-negative and even, or all zero; at use, when the arrays
            have another size.
    """

    gains: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "gains", checked_plane(self.gains, "gains"))

    def __call__(self, grid: FrequencyGrid) -> Tensor:
        """Return the gains."""
        return sized(self.gains, grid, "custom")


def checked_plane(plane: Tensor, what: str) -> Tensor:
    """Return a float64 copy of a full plane (*space) on the CPU, once it is real, finite, non-negative and even."""
    if not isinstance(plane, Tensor) or plane.is_complex():
        got = plane.dtype if isinstance(plane, Tensor) else type(plane).__name__
        raise InvalidInputError(f"{what} must be a real tensor, got {got}")
    with torch.inference_mode(False):
        plane = plane.detach().to(device="cpu", dtype=torch.float64, copy=True)
    if not bool(plane.isfinite().all()):
        raise InvalidInputError(f"{what} must be finite, got NaN or infinity")
    FrequencyGrid(plane.shape).check_even(plane)
    if bool((plane < 0).any()):
        raise InvalidInputError(f"{what} must be non-negative, got {plane.min():.3g}")
    if not bool(plane.any()):
        raise InvalidInputError(f"{what} must not all be zero: nothing would be noised")
    return plane


def sized(plane: Tensor, grid: FrequencyGrid, kind: str) -> Tensor:
    """Return the plane once it is of the grid's size."""
    if tuple(plane.shape) != grid.size:
        raise InvalidInputError(f"this {kind} noise was built for arrays of size {tuple(plane.shape)}, got {grid.size}")
    return plane


@dataclass(frozen=True)
class Product(Weight):
    """The product of several gains, what ``a * b`` makes: the powers multiply at every frequency.

    Args:
        factors: The weights, at least one; products among them are taken apart.

    Raises:
        InvalidInputError: When there is none, or one is not a Weight.
    """

    factors: tuple[Weight, ...]

    def __post_init__(self) -> None:
        for factor in self.factors:
            if not isinstance(factor, Weight):
                raise InvalidInputError(f"weights are multiplied by weights, got {type(factor).__name__}")
        if not self.factors:
            raise InvalidInputError("a product needs at least one weight")
        flat = [leaf for factor in self.factors for leaf in factors_of(factor)]
        object.__setattr__(self, "factors", tuple(flat))

    def __call__(self, grid: FrequencyGrid) -> Tensor:
        """Return the product of the factors' gains."""
        return torch.stack([factor(grid) for factor in self.factors]).prod(0)


def factors_of(weight: Weight) -> tuple[Weight, ...]:
    """Return the factors of a product, or the weight itself."""
    return weight.factors if isinstance(weight, Product) else (weight,)
