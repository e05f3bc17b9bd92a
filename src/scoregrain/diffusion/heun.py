"""Heun's method on the probability flow (MATH B8, B9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from scoregrain.diffusion.sampler import Sampler, SamplerState


@dataclass(frozen=True)
class Heun(Sampler):
    """The trapezoidal rule on dx = x̂0 dc + ε̂ ds along the levels (c, s), Euler's on the step to the clean end.

    The probability flow in these coordinates holds for every prediction and has no 1/c or 1/s that grows at an end;
    for ``edm``, where c = 1, it is dx/ds = (x - x̂0)/s and this the sampler of Karras et al. (arXiv 2206.00364)
    without churn. Two network calls a step, one on the last; order 2.
    """

    order: ClassVar[int] = 2

    def step(self, state: SamplerState, t: int, s: int) -> SamplerState:
        """Move from step t to s; at s = -1 the result is x̂0."""
        (c_t, s_t), (c_s, s_s) = state.level(t), state.level(s)
        here = state.predict(state.x, t)
        x = c_s * here.x0 + s_s * here.eps
        if s < 0:
            return state.advance(x)
        there = state.predict(x, s)
        x0, eps = (here.x0 + there.x0) / 2, (here.eps + there.eps) / 2
        return state.advance(state.x + (c_s - c_t) * x0 + (s_s - s_t) * eps)
