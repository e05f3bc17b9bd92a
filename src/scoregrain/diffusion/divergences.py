"""Gaussian laws along the process: the posterior of a step and the density of a noise (MATH B7, B11)."""

from __future__ import annotations

import math
from typing import TypeVar

from torch import Tensor

from scoregrain.noise import ForwardNoise

Scalar = TypeVar("Scalar", float, Tensor)


def posterior_coefficients(c_t: Scalar, v_t: Scalar, c_s: Scalar, v_s: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Return a, b, v of q(x_s | x_t, x0) = N(a x0 + b x_t, v) for two levels s < t of a chain (MATH B7).

    The levels are x = c x0 + N(0, v), and x_t = (c_t/c_s) x_s plus fresh noise. Tensors hold one chain in each
    place: with v per frequency these are the coefficients of noise whose colour changes from step to step.

    Args:
        c_t: Signal at t.
        v_t: Noise variance at t, above zero.
        c_s: Signal at s, above zero.
        v_s: Noise variance at s.

    Example:
        >>> posterior_coefficients(0.0, 1.0, 0.8, 0.36)
        (0.8, 0.0, 0.36)
    """
    gain = c_t / c_s
    added = v_t - gain**2 * v_s
    return c_s * added / v_t, gain * v_s / v_t, v_s * added / v_t


def noise_nll(noise: ForwardNoise, x: Tensor, scale: float = 1.0) -> Tensor:
    """Return -log N(x; 0, scale² Σ) in nats, float64 (N,), on the range of Σ, for ``x`` (N, C, *space).

    The part of ``x`` off the range is ignored. The density is one of as many dimensions as Σ has rank.
    """
    shape = x.shape[1:]
    volume = noise.rank(shape) * math.log(2 * math.pi * scale**2) + noise.log_det(shape)
    return 0.5 * (volume + noise.mahalanobis(x) / scale**2)
