"""What a sampler is: one step of the reverse process, and what it is given (MATH B7, B12)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from scoregrain._errors import ScoregrainError
from scoregrain.diffusion.parameterization import Prediction
from scoregrain.diffusion.process import DiffusionProcess, Model


@dataclass(frozen=True)
class SamplingRun:
    """What does not change from step to step.

    Attributes:
        model: f(x_t, t).
        process: The law to reverse.
        generator: Draws every ξ of the run.
        null_content: m (N, C, *space), zero outside the omitted band; None when nothing is omitted.
        clip: The range x̂0 is held to, if any; ε̂ follows (MATH B7).
    """

    model: Model
    process: DiffusionProcess
    generator: torch.Generator | Sequence[torch.Generator] | None = None
    null_content: Tensor | None = None
    clip: tuple[float, float] | None = None


@dataclass(frozen=True)
class SamplerState:
    """Where a run stands: x_t, and what a multistep method remembers of the step before.

    Attributes:
        run: What does not change.
        x: x_t, (N, C, *space).
        history: x̂0 of the step before, like x, and that step; None at the start and for one-step methods.
    """

    run: SamplingRun
    x: Tensor
    history: tuple[Tensor, int] | None = None

    def level(self, t: int) -> tuple[float, float]:
        """Return (c_t, s_t); t = -1 is the clean end, (1, 0)."""
        return self.run.process.level(t)

    def predict(self, x: Tensor, t: int) -> Prediction:
        """Return what the model says about ``x`` at step t, clipped if the run asks for it.

        Raises:
            ScoregrainError: When the model's output is not finite.
        """
        run = self.run
        prediction = run.process.predict(run.model, x, t, run.null_content)
        if not bool(torch.stack(prediction.x0.aminmax()).isfinite().all()):
            raise ScoregrainError(
                f"the model's output is infinite or NaN at step {t} of {run.process.num_steps}: nothing was sampled;"
                " is it trained for these steps, this noise and this dtype?"
            )
        if run.clip is None:
            return prediction
        c, s = self.level(t)
        x0 = prediction.x0.clamp(*run.clip)
        return Prediction(x0, (x - c * x0) / s)

    def draw(self) -> Tensor:
        """Draw T ξ like x."""
        return self.run.process.noise.sample(self.x.shape, self.run.generator, self.x.dtype, self.x.device)

    def advance(self, x: Tensor, history: tuple[Tensor, int] | None = None) -> SamplerState:
        """Return the state after a step that ends at ``x``; a multistep method adds the x̂0 it saw, and where."""
        return replace(self, x=x, history=history)


class Sampler(ABC):
    """A way from noise to data: one step of the reverse process.

    To add one write ``step`` and declare ``order``, the power of the step size with which the error of the law
    falls; a test fits it on the exact Gaussian model. Every ξ must come from ``state.draw()``.
    """

    order: ClassVar[int]

    @abstractmethod
    def step(self, state: SamplerState, t: int, s: int) -> SamplerState:
        """Move from step t to s < t, both steps of the schedule; s = -1 is the clean end, where x0 is returned."""
