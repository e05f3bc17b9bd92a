"""The noises that the study ``power-law`` compares: colour, amount, both (MATH B2)."""

from __future__ import annotations

import math

from scoregrain.noise import ForwardNoise
from scoregrain.operators import IdentityOperator

KINDS = {
    "white": "white",
    "colour": "colour alone (unit)",
    "both": "colour and amount (none)",
    "amount": "amount alone (white, scaled)",
    "literal": "the formula as printed (ε = 1e-8, none)",
}
"""Noises by the names in cells."""


def noise_of(kind: str, alpha: float, shape: tuple[int, ...]) -> ForwardNoise:
    """Return the noise of an arm, by the names of :data:`KINDS`, for arrays (C, *space)."""
    if kind == "white":
        return ForwardNoise.parse("white")
    if kind == "literal":
        return ForwardNoise.parse(f"power-law:alpha={alpha},eps=1e-8,dc=formula,normalize=none")
    law = f"power-law:alpha={alpha},normalize={'unit' if kind == 'colour' else 'none'}"
    noise = ForwardNoise.parse(law)
    if kind == "amount":
        return ForwardNoise(IdentityOperator(shape, energy(noise, shape)), normalize="none")
    return noise


def energy(noise: ForwardNoise, shape: tuple[int, ...]) -> float:
    """E‖ε‖²/D: 1 of white noise."""
    return noise.operator(shape).trace() / math.prod(shape)
