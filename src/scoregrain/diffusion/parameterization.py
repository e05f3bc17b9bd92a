"""What a network's output means: one linear algebra for ε, v, x0, flow and EDM (MATH B10).

Every parameterisation trains the output o = a x0 + b ε at x_t = c x0 + s ε, so x0 and ε follow from two linear
equations. The noise's colour enters nowhere: scalars commute with T.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError, nearest
from scoregrain._predictions import PREDICTIONS


@dataclass(frozen=True)
class Prediction:
    """What a network says about x_t = c x0 + s ε.

    Attributes:
        x0: The expected clean array E[x0 | x_t], (N, C, *space).
        eps: The expected noise E[ε | x_t], coloured, (N, C, *space); c x0 + s eps = x_t.
    """

    x0: Tensor
    eps: Tensor


def target_coefficients(prediction: str, c: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Return a and b of the output o = a x0 + b ε at the level (c, s).

    Raises:
        InvalidInputError: When ``prediction`` is unknown.
    """
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    match prediction:
        case "epsilon":
            return zero, one
        case "v_prediction":
            return -s, c
        case "sample" | "edm":
            return one, zero
        case "flow":
            return -one, one
    known = ", ".join(PREDICTIONS)
    raise InvalidInputError(f"unknown prediction '{prediction}'{nearest(prediction, PREDICTIONS)}; known: {known}")


def target(prediction: str, x0: Tensor, eps: Tensor, c: Tensor, s: Tensor) -> Tensor:
    """Return the output o = a x0 + b ε a network is trained towards."""
    a, b = target_coefficients(prediction, c, s)
    return a * x0 + b * eps


def recover(prediction: str, x_t: Tensor, output: Tensor, c: Tensor, s: Tensor) -> Prediction:
    """Solve x_t = c x0 + s ε and o = a x0 + b ε for x0 and ε."""
    a, b = target_coefficients(prediction, c, s)
    determinant = c * b - s * a
    # four passes over the arrays: what is divided are the coefficients
    return Prediction(
        torch.addcmul(b / determinant * x_t, -s / determinant, output),
        torch.addcmul(c / determinant * output, -a / determinant, x_t),
    )
