"""Telling white noise from shaped where the numbers leave no doubt."""

from __future__ import annotations

import math

from torch import Tensor

from scoregrain.noise import ForwardNoise

NATS = 20.0
"""How much likelier one law must be: a wrong verdict on noise has a probability below e⁻²⁰."""

DEVIATIONS = 6.0
"""How far the energy ‖T⁻¹x‖² may lie from that of noise, so that zeros, constants and images are no noise at all."""

ELEMENTS = 2**16


def recognise(noise: ForwardNoise, x: Tensor) -> str | None:
    """Return whether ``x`` is plainly ``white`` noise, plainly ``shaped`` as ``noise`` has it, or None for neither.

    On the support of Σ, of rank r, N arrays of either law have after whitening by it an energy of law χ² with N r
    degrees of freedom; the verdict needs that and a log-likelihood ratio of 20 nats. At most 65,536 elements (at least
    one array) are looked at, on the CPU.

    Args:
        noise: The shaped law.
        x: (N, C, *space).

    Raises:
        InvalidInputError: When the noise does not fit ``x``.
    """
    if x.numel() == 0:
        return None
    x = x[: max(1, ELEMENTS // max(1, x[0].numel()))].detach().cpu().double()
    degrees = len(x) * noise.rank(x.shape[1:])
    white = noise.project(x).square().sum().item()
    shaped = noise.mahalanobis(x).sum().item()
    ratio = (white - shaped - len(x) * noise.log_det(x.shape[1:])) / 2
    if ratio > NATS and _fits(shaped, degrees):
        return "shaped"
    return "white" if ratio < -NATS and _fits(white, degrees) else None


def _fits(energy: float, degrees: int) -> bool:
    """The cube root of χ² is nearly normal, for few degrees too (Wilson and Hilferty 1931)."""
    variance = 2 / (9 * degrees)
    return abs(math.cbrt(energy / degrees) - (1 - variance)) < DEVIATIONS * math.sqrt(variance)
