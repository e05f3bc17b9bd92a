"""Telling white noise from shaped where the numbers leave no doubt."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from scoregrain.noise import ForwardNoise

NATS = 20.0
"""How much likelier one law must be: a wrong verdict on noise has a probability below e⁻²⁰."""

DEVIATIONS = 6.0
"""How far the energy ‖T⁻¹x‖² may lie from that of noise, so that zeros, constants and images are no noise at all."""

ELEMENTS = 2**16
"""How many numbers of one tensor are looked at, or one array where that has more."""


@dataclass
class Evidence:
    """What tensors seen one after another, all of one law, tell about it.

    On the support of Σ, of rank r, N arrays of either law have after whitening by it an energy of law χ² with N r
    degrees of freedom; a verdict needs that and a log-likelihood ratio of 20 nats. However often it is asked on the
    way, the ratio of the wrong law ever exceeds that with probability below e⁻²⁰ (Ville 1939). White noise has about
    α²/4 nats for each number of images under a power law of small α: 80/α² numbers settle it.

    Args:
        noise: The shaped law.

    Attributes:
        seen: How many numbers were looked at.
    """

    noise: ForwardNoise
    seen: int = 0
    _degrees: int = 0
    _white: float = 0.0
    _shaped: float = 0.0
    _log_det: float = 0.0

    def add(self, x: Tensor) -> str | None:
        """Return whether all so far is plainly ``white``, plainly ``shaped`` as the noise has it, or None for neither.

        At most 65,536 elements (at least one array) are looked at, on the CPU.

        Args:
            x: (N, C, *space).

        Raises:
            InvalidInputError: When the noise does not fit ``x``.
        """
        if x.numel() > 0:
            self._look(x[: max(1, ELEMENTS // x[0].numel())].detach().cpu().double())
        ratio = (self._white - self._shaped - self._log_det) / 2
        if ratio > NATS and _fits(self._shaped, self._degrees):
            return "shaped"
        return "white" if ratio < -NATS and _fits(self._white, self._degrees) else None

    def _look(self, x: Tensor) -> None:
        shape = x.shape[1:]
        self._white += self.noise.project(x).square().sum().item()
        self._shaped += self.noise.mahalanobis(x).sum().item()
        self._log_det += len(x) * self.noise.log_det(shape)
        self._degrees += len(x) * self.noise.rank(shape)
        self.seen += x.numel()


def recognise(noise: ForwardNoise, x: Tensor) -> str | None:
    """Return what :class:`Evidence` says of one tensor ``x`` (N, C, *space)."""
    return Evidence(noise).add(x)


def _fits(energy: float, degrees: int) -> bool:
    """The cube root of χ² is nearly normal, for few degrees too (Wilson and Hilferty 1931)."""
    variance = 2 / (9 * degrees)
    return abs(math.cbrt(energy / degrees) - (1 - variance)) < DEVIATIONS * math.sqrt(variance)
