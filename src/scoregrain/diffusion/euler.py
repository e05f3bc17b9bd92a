"""Euler's method for flow matching (MATH B10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from scoregrain._errors import InvalidInputError
from scoregrain.diffusion.sampler import Sampler, SamplerState


@dataclass(frozen=True)
class FlowEuler(Sampler):
    """x_s = x_t + (τ_s - τ_t) û along the straight path x_τ = (1-τ) x0 + τ ε, û = ε̂ - x̂0 the network's velocity.

    One network call a step, order 1. What :class:`DDIM` does for a flow, under its usual name.
    """

    order: ClassVar[int] = 1

    def step(self, state: SamplerState, t: int, s: int) -> SamplerState:
        """Move from step t to s; at s = -1 the result is x̂0.

        Raises:
            InvalidInputError: When the process is no flow.
        """
        prediction = state.run.process.prediction
        if prediction != "flow":
            raise InvalidInputError(
                f"the sampler 'euler' follows the velocity of a flow, this process has prediction='{prediction}':"
                " use 'ddim', which is Euler's method of its probability flow"
            )
        (_, tau_t), (_, tau_s) = state.level(t), state.level(s)
        said = state.predict(state.x, t)
        return state.advance(state.x + (tau_s - tau_t) * (said.eps - said.x0))
