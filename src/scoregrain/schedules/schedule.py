"""Variance-preserving noise schedules in float64 (MATH 0)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError, nearest


@dataclass(frozen=True, eq=False)
class Schedule:
    """A discrete schedule: x_t = √ᾱ_t x_0 + σ_t ε at the steps t = 0 (least noisy) … T-1.

    Two schedules are equal only when they are the same object (tensors have no single truth value).

    Attributes:
        name: What the schedule is called in messages and files.
        betas: β_t, float64 (T,), each strictly between 0 and 1.

    Raises:
        InvalidInputError: When ``betas`` is not such a tensor. A float32 one is refused, not cast: its
            rounding has already spoiled the small steps.
    """

    name: str
    betas: Tensor

    def __post_init__(self) -> None:
        if self.betas.dtype != torch.float64 or self.betas.ndim != 1 or len(self.betas) == 0:
            raise InvalidInputError(
                f"betas must be a float64 tensor of shape (T,), got {self.betas.dtype}"
                f" of shape {tuple(self.betas.shape)}"
            )
        if not bool(((self.betas > 0) & (self.betas < 1)).all()):
            raise InvalidInputError(
                f"every beta must lie strictly between 0 and 1, got values from {self.betas.min():.3g}"
                f" to {self.betas.max():.3g}"
            )

    @property
    def num_steps(self) -> int:
        """The number of steps T."""
        return len(self.betas)

    @cached_property
    def alpha_bar(self) -> Tensor:
        """ᾱ_t = Π_{s≤t} (1 - β_s), float64 (T,): the share of signal in the variance."""
        return torch.cumprod(1 - self.betas, dim=0)

    @cached_property
    def sigma(self) -> Tensor:
        """σ_t = √(1 - ᾱ_t), float64 (T,): the standard deviation of the noise."""
        return (1 - self.alpha_bar).sqrt()

    @cached_property
    def sigmas(self) -> Tensor:
        """σ_t/√ᾱ_t, float64 (T,), increasing: the noise of x_t/√ᾱ_t = x_0 + (σ_t/√ᾱ_t) ε (MATH B9).

        The level that EDM, k-diffusion and diffusers' Euler schedulers call sigma. Not σ_t, which is ``sigma``.
        """
        return self.sigma / self.alpha_bar.sqrt()


def linear_schedule(T: int = 1000) -> Schedule:
    """Return β = linspace(0.1/T, 20/T, T), the schedule of the first paper (MATH 0).

    Raises:
        InvalidInputError: When T ≤ 20, where the last β would reach 1.

    Example:
        >>> linear_schedule().alpha_bar[0].item()
        0.9999
    """
    if T <= 20:
        raise InvalidInputError(f"a linear schedule needs more than 20 steps (beta would reach 1), got {T}")
    return Schedule("linear", torch.linspace(0.1 / T, 20 / T, T, dtype=torch.float64, device="cpu"))


def cosine_schedule(T: int = 1000) -> Schedule:
    """Return β_τ = min(1 - f(τ+1)/f(τ), 0.999), f(τ) = cos²(((τ/T + 0.008)/1.008)·π/2) (MATH 0).

    Raises:
        InvalidInputError: When T < 1.
    """
    if T < 1:
        raise InvalidInputError(f"a schedule needs at least 1 step, got {T}")
    tau = torch.arange(T + 1, dtype=torch.float64, device="cpu")
    f = torch.cos((tau / T + 0.008) / 1.008 * math.pi / 2) ** 2
    return Schedule("cosine", (1 - f[1:] / f[:-1]).clamp(0, 0.999))


SCHEDULES = {"linear": linear_schedule, "cosine": cosine_schedule}
"""Schedules by name; each takes T."""


def named_schedule(name: str, T: int = 1000) -> Schedule:
    """Return the schedule of a name, ``linear`` or ``cosine``.

    Raises:
        InvalidInputError: When the name is unknown, or T does not fit.
    """
    if name not in SCHEDULES:
        raise InvalidInputError(f"unknown schedule '{name}'{nearest(name, SCHEDULES)}; known: {', '.join(SCHEDULES)}")
    return SCHEDULES[name](T)
