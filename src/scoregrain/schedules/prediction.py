"""From a network's output to the score: F = a·x + b·o for each meaning of the output o (MATH A2)."""

from __future__ import annotations

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError, nearest
from scoregrain._predictions import PREDICTIONS
from scoregrain.schedules.schedule import Schedule


def score_coefficients(schedule: Schedule, prediction: str) -> tuple[Tensor, Tensor]:
    """Return a and b, float64 (T,) each, of the score F = a·x + b·o (MATH A2).

    The array x is what the network is given at step k of T:

    - ``epsilon``, ``v_prediction``, ``sample``: x = √ᾱ x0 + σ ε;
    - ``flow``: x = (1-t) x0 + t ε with t = (k+1)/T, the levels of diffusers' flow-matching schedulers without
      shift. A flow has its own clock: of the schedule only the number of steps is used;
    - ``edm``: x = x0 + s ε and o is the denoised array. The noise level is s = σ/√ᾱ, the one with the
      schedule's signal-to-noise ratio, as in diffusers' Euler schedulers.

    Raises:
        InvalidInputError: When ``prediction`` is unknown.
    """
    signal, sigma = schedule.alpha_bar.sqrt(), schedule.sigma
    match prediction:
        case "epsilon":
            return torch.zeros_like(sigma), -1 / sigma
        case "v_prediction":
            return -torch.ones_like(sigma), -signal / sigma
        case "sample":
            return -1 / sigma**2, signal / sigma**2
        case "flow":
            t = torch.ones_like(sigma).cumsum(0) / schedule.num_steps
            return -1 / t, -(1 - t) / t
        case "edm":
            precision = schedule.alpha_bar / sigma**2
            return -precision, precision
    known = ", ".join(PREDICTIONS)
    raise InvalidInputError(f"unknown prediction '{prediction}'{nearest(prediction, PREDICTIONS)}; known: {known}")


def noising_coefficients(schedule: Schedule, prediction: str) -> tuple[Tensor, Tensor]:
    """Return c and s, float64 (T,) each: a network with this prediction is given x = c·x0 + s·ε (MATH A2).

    Raises:
        InvalidInputError: When ``prediction`` is unknown.
    """
    a, b = score_coefficients(schedule, prediction)
    match prediction:
        case "flow":
            t = -1 / a
            return 1 - t, t
        case "edm":
            return torch.ones_like(b), b.rsqrt()
    return schedule.alpha_bar.sqrt(), schedule.sigma


def score_weight(schedule: Schedule, prediction: str) -> Tensor:
    """Return ω(t) = b², float64 (T,): at x = 0 the score's outer product is ω(t) o oᵀ (MATH A2).

    Raises:
        InvalidInputError: When ``prediction`` is unknown.

    Example:
        >>> from scoregrain.schedules import linear_schedule
        >>> round(score_weight(linear_schedule(), "epsilon").mean().item(), 9)
        32.05434525
    """
    return score_coefficients(schedule, prediction)[1] ** 2


def concentration(weights: Tensor) -> float:
    """Return κ = mean(w²) / mean(w)² ≥ 1; T/κ is how many steps effectively carry the weight (MATH A2).

    Args:
        weights: (T,), non-negative, not all zero.

    Raises:
        InvalidInputError: When ``weights`` is not such a tensor.
    """
    weights = weights.double()
    if weights.ndim != 1 or not bool((weights >= 0).all()) or not bool(weights.any()):
        raise InvalidInputError(
            f"weights must be non-negative, not all zero and of shape (T,), got shape {tuple(weights.shape)}"
        )
    return (weights.square().mean() / weights.mean() ** 2).item()
