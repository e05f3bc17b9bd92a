"""Noise colours of sharp bands (MATH B3, B4)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.noise._fields import check_numbers, check_word
from scoregrain.noise.weight import DC_RULES, Weight, with_dc
from scoregrain.operators import RADIUS_UNITS, FrequencyGrid

CONVENTIONS = {"sagd": "corner", "workshop": "raw"}
"""How a two-band noise reads its band edges: convention → unit of the radius."""


@dataclass(frozen=True)
class BandPass(Weight):
    """w = 1 on low ≤ r < high, 0 elsewhere: the rest of the plane is not noised (omission, MATH B12).

    Args:
        low: Where the band starts.
        high: Where it ends; a band that reaches the corner of the plane includes it.
        radius: Unit of the edges; ``corner`` makes 1 the corner.
        dc: The constant's gain: ``formula``, 1 if the band starts at 0; ``floor``, that of the smallest r > 0;
            ``zero``, none.

    Raises:
        InvalidInputError: When a field is not such a value or not 0 ≤ low < high.
    """

    low: float
    high: float
    radius: str = "corner"
    dc: str = "formula"

    def __post_init__(self) -> None:
        check_numbers(self, "low", "high")
        check_word(self, "radius", RADIUS_UNITS)
        check_word(self, "dc", DC_RULES)
        if not 0 <= self.low < self.high:
            raise InvalidInputError(f"a band needs edges 0 <= low < high, got low={self.low:g}, high={self.high:g}")

    def __call__(self, grid: FrequencyGrid) -> Tensor:
        """Return the mask of the band."""
        return with_dc(grid.band(self.low, self.high, self.radius).double(), grid, self.dc)


@dataclass(frozen=True)
class TwoBand(Weight):
    """w = γ_l on low_start ≤ r < low_end, γ_h on high_start ≤ r < high_end, 0 elsewhere.

    The two-band mixture ε = γ_l ε_low + γ_h ε_high of arXiv 2502.10236 and 2510.09660. γ are AMPLITUDES: the power
    ratio is (γ_l/γ_h)². They sum to 1 unless both are given; the sum matters under normalize="none" alone, where
    ½ and ½ is white noise of a quarter of the variance ("unit" makes it standard white noise). A gap between the
    bands is omitted (MATH B12).

    What the papers leave AMBIGUOUS, and is therefore chosen by name (MATH B3, B4): the unit of the edges, a large
    difference (r < 0.5 holds 401 of 1024 bins of a 32×32 plane under ``sagd``, 793 under ``workshop``); whether a
    bin on an edge belongs to both bands (here to the upper one); whether the noise is normalised (``ForwardNoise``).

    Args:
        gamma_low: γ_l ≥ 0.
        gamma_high: γ_h ≥ 0; None is 1 - γ_l.
        low_start: Where the low band starts.
        low_end: Where it ends.
        high_start: Where the high band starts.
        high_end: Where it ends; a band that reaches the corner of the plane includes it.
        convention: ``sagd`` reads the edges with the corner of the plane at 1, so that [0, 1] is all of it;
            ``workshop`` reads them literally as the workshop paper's radius d in cycles per pixel, which ends at
            √½ = 0.707 for images although edges are quoted up to 1.
        dc: The constant's gain: ``formula``, its band's; ``floor``, that of the smallest r > 0; ``zero``, none.

    Raises:
        InvalidInputError: When a field is not such a value, γ are both 0 or do not leave γ_h ≥ 0, or the bands are
            empty, overlap or stand in the wrong order.
    """

    gamma_low: float
    gamma_high: float | None = None
    low_start: float = 0.0
    low_end: float = 0.5
    high_start: float = 0.5
    high_end: float = 1.0
    convention: str = "sagd"
    dc: str = "formula"

    def __post_init__(self) -> None:
        check_numbers(self, "gamma_low", "low_start", "low_end", "high_start", "high_end", minimum=0.0)
        check_word(self, "convention", list(CONVENTIONS))
        check_word(self, "dc", DC_RULES)
        if self.gamma_high is not None:
            check_numbers(self, "gamma_high", minimum=0.0)
        elif self.gamma_low > 1:
            raise InvalidInputError(f"gamma_low must be at most 1 unless gamma_high is given, got {self.gamma_low:g}")
        if self.gamma_low == self.gamma_high == 0:
            raise InvalidInputError("gamma_low and gamma_high are both 0: nothing would be noised")
        if not self.low_start < self.low_end <= self.high_start < self.high_end:
            raise InvalidInputError(
                "bands must not be empty, overlap or stand in the wrong order, low_start < low_end <= high_start <"
                f" high_end; got [{self.low_start:g}, {self.low_end:g}) and [{self.high_start:g}, {self.high_end:g})"
            )

    def __call__(self, grid: FrequencyGrid) -> Tensor:
        """Return γ_l on the low band and γ_h on the high one."""
        unit = CONVENTIONS[self.convention]
        high = grid.band(self.high_start, self.high_end, unit)
        low = grid.band(self.low_start, self.low_end, unit) & ~high  # a band that reaches the corner is closed
        gamma_high = 1 - self.gamma_low if self.gamma_high is None else self.gamma_high
        return with_dc(self.gamma_low * low.double() + gamma_high * high.double(), grid, self.dc)
