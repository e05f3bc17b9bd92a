"""The frequencies of a periodic grid: integer wavenumbers, radii and bands (MATH B1, B3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError, nearest

RADIUS_UNITS = ("raw", "corner", "nyquist")
"""Units of the radial frequency: cycles per pixel; 1 at the corner of the plane; 1 at an axis' Nyquist frequency."""

EVENNESS = 1e-12
"""How far a gain may differ from its mirror, relative to the largest one (MATH B1)."""


class FrequencyGrid:
    """The frequencies f = k/N of arrays of the given sizes, in FFT layout: the constant (DC) comes first.

    Args:
        size: (N_1, …, N_d), one to three of them.

    Raises:
        InvalidInputError: When ``size`` is not such a size.

    Example:
        >>> FrequencyGrid((4,)).radius("raw")
        tensor([0.0000, 0.2500, 0.5000, 0.2500], dtype=torch.float64)
    """

    def __init__(self, size: Sequence[int]) -> None:
        self.size = tuple(size)
        if not 1 <= len(self.size) <= 3 or not all(isinstance(side, int) and side >= 1 for side in self.size):
            raise InvalidInputError(f"a frequency grid has one to three sizes, all at least 1, got {self.size}")

    def __repr__(self) -> str:
        return f"FrequencyGrid({self.size})"

    @cached_property
    def wavenumbers(self) -> tuple[Tensor, ...]:
        """The integers k of each axis, int64, that broadcast over the grid; Nyquist is negative, as in ``fftfreq``."""
        axes = []
        for axis, side in enumerate(self.size):
            k = (torch.arange(side, device="cpu") + side // 2) % side - side // 2
            axes.append(k.reshape(-1, *[1] * (len(self.size) - 1 - axis)))
        return tuple(axes)

    @cached_property
    def _period(self) -> int:
        return math.lcm(*self.size)

    @cached_property
    def _squared_radius(self) -> Tensor:
        """Σ (k_a L/N_a)², int64 ``size``: r² times L², L the least common multiple of the sizes."""
        period = self._period
        terms = [(k * (period // side)) ** 2 for k, side in zip(self.wavenumbers, self.size, strict=True)]
        return sum(terms, torch.zeros(self.size, dtype=torch.int64, device="cpu"))

    def radius(self, unit: str = "raw") -> Tensor:
        """Return the radial frequency, float64 ``size`` (MATH B3).

        Args:
            unit: ``raw``, r = sqrt(Σ f²) in cycles per pixel, up to √d/2; ``corner``, r divided by √d/2, at most 1;
                ``nyquist``, r divided by ½, so that 1 is the highest frequency of one axis.

        Raises:
            InvalidInputError: When the unit is unknown.
        """
        return self._squared_radius.double().sqrt() / self._period / math.sqrt(_squared_unit(unit, len(self.size)))

    def band(self, low: float, high: float, unit: str = "corner") -> Tensor:
        """Return the mask low ≤ r < high, bool ``size``; the last band, to the corner's radius, is closed.

        Decided in integers: an edge is the fraction with the smallest denominator that its decimals stand for, so
        that frequencies which lie on an edge (MATH B3 counts them) fall on the same side on every machine.

        Raises:
            InvalidInputError: When the unit is unknown or not 0 ≤ low < high.
        """
        if not 0 <= low < high < math.inf:
            raise InvalidInputError(f"a band needs edges 0 <= low < high, got low={low:g}, high={high:g}")
        squared_unit = _squared_unit(unit, len(self.size))
        inside = self._squared_radius >= self._threshold(low, squared_unit)
        if high >= math.sqrt(len(self.size) / 4 / squared_unit) * (1 - 1e-12):
            return inside
        return inside & (self._squared_radius < self._threshold(high, squared_unit))

    def _threshold(self, edge: float, squared_unit: Fraction) -> int:
        """Return the least integer n with n ≥ (edge·L)² in units of cycles per pixel."""
        return min(math.ceil((_fraction(edge) * self._period) ** 2 * squared_unit), torch.iinfo(torch.int64).max)

    def mirror(self, plane: Tensor) -> Tensor:
        """Return ``plane`` (…, *size) at -k: what a real array's spectrum is the conjugate of (MATH B1)."""
        axes = tuple(range(-len(self.size), 0))
        return plane.flip(axes).roll([1] * len(axes), axes)

    def check_even(self, gains: Tensor) -> Tensor:
        """Return ``gains``, ``size``, after checking that w(-k) = w(k) to 1e-12 of the largest.

        Raises:
            InvalidInputError: When the shape is another one, or when a real array would become complex.
        """
        if tuple(gains.shape) != self.size:
            raise InvalidInputError(f"gains must have the shape {self.size} of the grid, got {tuple(gains.shape)}")
        error = (gains - self.mirror(gains)).abs()
        if not bool((error <= EVENNESS * gains.abs().max()).all()):
            place = tuple(int(i) for i in torch.unravel_index(error.argmax(), gains.shape))
            raise InvalidInputError(
                f"gains must be even, w(-k) = w(k), so that real noise stays real; at index {place} the gain"
                f" {gains[place]:.6g} has the mirror {self.mirror(gains)[place]:.6g}"
            )
        return gains

    def half(self, plane: Tensor) -> Tensor:
        """Return the part of ``plane`` (…, *size) that ``rfftn`` keeps: the last axis up to N//2."""
        return plane[..., : self.size[-1] // 2 + 1].contiguous()


@lru_cache(maxsize=256)
def _fraction(edge: float) -> Fraction:
    return Fraction(edge).limit_denominator(1_000_000)


def _squared_unit(unit: str, dimensions: int) -> Fraction:
    """The square of one ``unit`` in cycles per pixel."""
    match unit:
        case "raw":
            return Fraction(1)
        case "corner":
            return Fraction(dimensions, 4)
        case "nyquist":
            return Fraction(1, 4)
    known = ", ".join(RADIUS_UNITS)
    raise InvalidInputError(f"unknown radius unit '{unit}'{nearest(unit, RADIUS_UNITS)}; known: {known}")
