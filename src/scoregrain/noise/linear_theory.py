"""What shaped noise does to the training of a linear model, in closed form (MATH A4, C5).

The model Ω = ΦΘ, Θ trained, sees q = x + σε of data x = ξu_i along one direction u_i, with ξ standard normal and
ε ~ N(0, Σ). A = ΦΦᵀ = U diag(λ) Uᵀ is its geometry and Σ = U diag(s) Uᵀ shares the directions. These are theorems for
this model alone; for a network they are a design rule to test: s ∝ 1/λ (``ForwardNoise.in_basis`` with γ = 1) gives
every direction off the data the same rate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError, nearest

TARGETS = ("score", "epsilon")


def decay_rates(eigenvalues: Tensor, s: Tensor, sigma: float, direction: int) -> Tensor:
    """Return the rates λ_j (σ² s_j + δ_ij) at which gradient descent forgets the error along every u_j (MATH C5).

    A step of size η multiplies the mean error along u_j by 1 - 2ηλ_j(σ²s_j + δ_ij); the slowest direction sets the
    time of training.

    Args:
        eigenvalues: λ, (D,).
        s: Variance of the noise along every u_j, (D,).
        sigma: σ > 0.
        direction: i, the direction of the data, from 0.

    Returns:
        Float64 (D,).

    Raises:
        InvalidInputError: When λ or s are not D finite non-negative numbers, σ is not positive, or i is not a
            direction.
    """
    values, variances = _checked(eigenvalues, s, sigma)
    if not 0 <= direction < len(values):
        raise InvalidInputError(f"direction must lie in 0 … {len(values) - 1}, got {direction}")
    moments = sigma**2 * variances
    moments[direction] += 1
    return values * moments


def gradient_noise(eigenvalues: Tensor, s: Tensor, sigma: float, target: str = "score") -> Tensor:
    """Return the trace of the covariance of one example's gradient ∇_Θ at the optimum, for data along every u_i.

    With the score target -Σ⁻¹ε/σ it is 4λ_i tr(B) / (σ²s_i(1+σ²s_i)), with the target ε it is
    4λ_i tr(B) s_i/(1+σ²s_i), where tr B = 1 + σ² Σ_j s_j, which is 1 + Dσ² for noise of mean variance 1 (MATH C5).
    Divide by the batch size; a step of size η multiplies by η².

    Args:
        eigenvalues: λ, (D,).
        s: Variance of the noise along every u_j, (D,); positive for the score target.
        sigma: σ > 0.
        target: ``score`` or ``epsilon``: what the model regresses on.

    Returns:
        Float64 (D,).

    Raises:
        InvalidInputError: When λ or s are not D finite non-negative numbers, σ is not positive, the target is
            unknown, or the score target meets an s of zero, where there is no score.
    """
    values, variances = _checked(eigenvalues, s, sigma)
    if target not in TARGETS:
        raise InvalidInputError(f"unknown target '{target}'{nearest(target, TARGETS)}; known: {', '.join(TARGETS)}")
    residual = variances / (1 + sigma**2 * variances)
    if target == "score":
        if bool((variances == 0).any()):
            raise InvalidInputError("the score does not exist along directions without noise: s must be positive")
        residual = residual / (sigma * variances) ** 2
    return 4 * values * (1 + sigma**2 * variances.sum()) * residual


def _checked(eigenvalues: Tensor, s: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    for name, numbers in (("eigenvalues", eigenvalues), ("s", s)):
        if numbers.ndim != 1 or not bool((numbers.isfinite() & (numbers >= 0)).all()):
            raise InvalidInputError(f"{name} must be finite non-negative numbers (D,), got {tuple(numbers.shape)}")
    if len(eigenvalues) != len(s):
        raise InvalidInputError(f"expected one variance s for each of {len(eigenvalues)} eigenvalues, got {len(s)}")
    if not 0 < sigma < float("inf"):
        raise InvalidInputError(f"sigma must be positive and finite, got {sigma}")
    return eigenvalues.to(torch.float64), s.to(torch.float64)
