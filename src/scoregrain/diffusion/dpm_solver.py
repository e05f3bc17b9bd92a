"""DPM-Solver++ of order two, multistep (arXiv 2211.01095, algorithm 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from scoregrain.diffusion.sampler import Sampler, SamplerState


@dataclass(frozen=True)
class DPMSolverPP(Sampler):
    """x_s = (s_s/s_t) x_t + (c_s - (s_s/s_t) c_t) D,  D = x̂0 + (x̂0 - x̂0_before) h/(2 h_before).

    The steps h are those of the log signal-to-noise ratio λ = log(c/s). D is x̂0 alone, which is DDIM, on the first
    step, on the step to the clean end, where h is infinite, and after a start without signal, where h_before is.
    One network call a step, order 2; remembers one array.
    """

    order: ClassVar[int] = 2

    def step(self, state: SamplerState, t: int, s: int) -> SamplerState:
        """Move from step t to s; at s = -1 the result is x̂0."""
        (c_t, s_t), (c_s, s_s) = state.level(t), state.level(s)
        x0 = state.predict(state.x, t).x0
        data = x0
        if state.history is not None and s >= 0:
            x0_before, before = state.history
            h, h_before = _log_snr(c_s, s_s) - _log_snr(c_t, s_t), _log_snr(c_t, s_t) - _log_snr(*state.level(before))
            data = x0 + h / (2 * h_before) * (x0 - x0_before)
        kept = s_s / s_t
        return state.advance(kept * state.x + (c_s - kept * c_t) * data, history=(x0, t))


def _log_snr(c: float, s: float) -> float:
    return math.log(c / s) if c > 0 else -math.inf
