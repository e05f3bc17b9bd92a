"""DDIM and, at η = 1, DDPM (MATH B7)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from scoregrain._errors import InvalidInputError
from scoregrain.diffusion.sampler import Sampler, SamplerState


@dataclass(frozen=True)
class DDIM(Sampler):
    """x_s = c_s x̂0 + sqrt(s_s² - s_η²) ε̂ + s_η T ξ,  s_η = η (s_s/s_t) sqrt(s_t² - (c_t/c_s)² s_s²).

    One network call a step, order 1.

    Args:
        eta: η in [0, 1]: 0 is deterministic, the Euler method of the probability flow; 1 draws from the posterior
            q(x_s | x_t, x̂0), which is DDPM.

    Raises:
        InvalidInputError: When η is outside [0, 1].
    """

    eta: float = 0.0
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise InvalidInputError(f"eta must lie between 0 and 1, got {self.eta:g}")

    def step(self, state: SamplerState, t: int, s: int) -> SamplerState:
        """Move from step t to s; at s = -1 the result is x̂0."""
        (c_t, s_t), (c_s, s_s) = state.level(t), state.level(s)
        prediction = state.predict(state.x, t)
        drawn = self.eta * s_s / s_t * math.sqrt(max(s_t**2 - (c_t / c_s * s_s) ** 2, 0.0))
        x = c_s * prediction.x0 + math.sqrt(max(s_s**2 - drawn**2, 0.0)) * prediction.eps
        return state.advance(x + drawn * state.draw() if drawn > 0 else x)
