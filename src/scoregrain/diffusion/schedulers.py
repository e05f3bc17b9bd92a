"""diffusers' schedulers under any noise: the same steps, every draw coloured (MATH B5, B7).

Scalars commute with T, so the coefficients are the stock ones; only the start and the noise of the steps change, and a
band that the noise leaves out stays empty (MATH B12).
Importing this module imports diffusers.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from diffusers.schedulers.scheduling_ddpm import DDPMSchedulerOutput
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.diffusion.parameterization import recover
from scoregrain.diffusion.shaped_scheduler import Generator, ShapedScheduler, is_white, then_prepend


class ShapedDDPMScheduler(ShapedScheduler, DDPMScheduler):  # type: ignore[misc]
    """diffusers' ``DDPMScheduler`` under a shaped noise: x_s = posterior mean + √β̃ T ξ (MATH B7).

    Runs in the stock ``DDPMPipeline``, which draws a white start: ``set_timesteps`` repeats the first timestep, and
    the first step returns T x whatever the model says (its ``pred_original_sample`` is None): exact, one extra call
    of the model. In a loop of your own ``start_noise`` draws the start instead. White noise changes nothing.
    It remembers whether the start has its colour: one run at a time, a copy for each thread.

    A noise that leaves a band out leaves zeros there: each step takes what the network or an image has in the band
    away, so that a network trained on ``noise.project(x_t)`` draws the marginal law and one trained on x_t the law of
    the rest given an empty band (MATH B12). Other contents are for ``scoregrain.sample``.

    Args:
        noise: The noise, what makes one (``ForwardNoise.of``), or None for white.
        **stock: diffusers' arguments. ``beta_schedule`` may have the prefix ``shaped:``, as in the configuration.

    Raises:
        InvalidInputError: When the noise is unknown, ``variance_type`` is learned (a network's variances have no
            colour) or ``prediction_type`` is none of epsilon, sample and v_prediction.
    """

    __module__ = "scoregrain"  # where a saved pipeline looks for the class
    _known: ClassVar = {**ShapedScheduler._known, "variance_type": ("fixed_small", "fixed_small_log", "fixed_large")}
    set_timesteps = then_prepend(DDPMScheduler.set_timesteps)

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        generator: Generator = None,
        return_dict: bool = True,
    ) -> Any:
        """Return x_s and x̂0, each (N, C, *space), as the stock method does.

        Raises:
            InvalidInputError: Before ``set_timesteps``; or when the start is plainly shaped already, or plainly white
                where no step is left to colour it; or the noise leaves a band out that clipping would fill.
        """
        if (start := self._colour_start(timestep, sample)) is not None:
            return DDPMSchedulerOutput(start) if return_dict else (start, None)
        if self._first is None and not is_white(self.forward_noise):
            raise InvalidInputError(
                "call set_timesteps first: it adds the step that colours a white start; or set_timesteps, then"
                " start_noise"
            )
        model_output, sample = self._on_support(model_output, sample)
        x0, mean = self._posterior(model_output, timestep, sample)
        if timestep > 0:
            drawn = self._draw(model_output.shape, generator, model_output.dtype, model_output.device)
            mean = mean + self._deviation(timestep) * drawn
        self._show_extra(timestep)
        return DDPMSchedulerOutput(mean, x0) if return_dict else (mean, x0)

    def _posterior(self, output: Tensor, t: int | Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """x̂0 and the mean of q(x_s | x_t, x̂0)."""
        s = self.previous_timestep(t)
        alpha_bar, before = self.alphas_cumprod[t], self.alphas_cumprod[s] if s >= 0 else self.one
        beta = 1 - alpha_bar / before
        x0 = recover(self.config.prediction_type, x, output, alpha_bar.sqrt(), (1 - alpha_bar).sqrt()).x0
        if self.config.thresholding:
            x0 = self._threshold_sample(x0)
        elif self.config.clip_sample:
            x0 = x0.clamp(-self.config.clip_sample_range, self.config.clip_sample_range)
        mean = before.sqrt() * beta / (1 - alpha_bar) * x0 + (1 - beta).sqrt() * (1 - before) / (1 - alpha_bar) * x
        return x0, mean

    def _deviation(self, t: int | Tensor) -> Tensor:
        variance: Tensor = self._get_variance(t)
        return variance if self.config.variance_type == "fixed_small_log" else variance.sqrt()  # the first is a root


class ShapedDDIMScheduler(ShapedScheduler, DDIMScheduler):  # type: ignore[misc]
    """diffusers' ``DDIMScheduler`` under a shaped noise (MATH B7); as :class:`ShapedDDPMScheduler` otherwise.

    The stock ``DDIMPipeline`` refuses it: that one makes a white scheduler of whatever it is given. Use
    ``DDPMPipeline``, which runs it with η = 0.

    Args:
        noise: The noise, what makes one (``ForwardNoise.of``), or None for white.
        **stock: diffusers' arguments. ``beta_schedule`` may have the prefix ``shaped:``, as in the configuration.

    Raises:
        InvalidInputError: When the noise or ``prediction_type`` is unknown.
    """

    __module__ = "scoregrain"
    set_timesteps = then_prepend(DDIMScheduler.set_timesteps)

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
        generator: Generator = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Return x_s and x̂0 as the stock method does; ``variance_noise`` is T ξ, coloured by whoever drew it.

        Raises:
            InvalidInputError: As for DDPM, or when ``variance_noise`` is plainly white.
        """
        if (start := self._colour_start(timestep, sample)) is not None:
            return DDIMSchedulerOutput(start) if return_dict else (start, None)
        model_output, sample = self._on_support(model_output, sample)
        if variance_noise is not None:
            self._check_drawn(variance_noise)
        elif eta > 0:
            variance_noise = self._draw(model_output.shape, generator, model_output.dtype, model_output.device)
        stepped = super().step(
            model_output,
            timestep,
            sample,
            eta,
            use_clipped_model_output,
            variance_noise=variance_noise,
            return_dict=return_dict,
        )
        self._show_extra(timestep)
        return stepped


class ShapedDPMSolverMultistepScheduler(ShapedScheduler, DPMSolverMultistepScheduler):  # type: ignore[misc]
    """diffusers' ``DPMSolverMultistepScheduler`` under a shaped noise; as :class:`ShapedDDPMScheduler` otherwise.

    Args:
        noise: The noise, what makes one (``ForwardNoise.of``), or None for white.
        **stock: diffusers' arguments. ``beta_schedule`` may have the prefix ``shaped:``, as in the configuration.

    Raises:
        InvalidInputError: When the noise or ``prediction_type`` is unknown.
    """

    __module__ = "scoregrain"
    _reusable = False
    _known: ClassVar = {"prediction_type": (*ShapedScheduler._known["prediction_type"], "flow_prediction")}
    set_timesteps = then_prepend(DPMSolverMultistepScheduler.set_timesteps)

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start in the middle of ``timesteps``, as image-to-image pipelines do: nothing is coloured then."""
        if begin_index > 0 and self._extra:
            self._hide_extra()
            begin_index -= 1
        super().set_begin_index(begin_index)

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        generator: Generator = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Return x_s as the stock method does; ``variance_noise`` is T ξ, coloured by whoever drew it.

        Raises:
            InvalidInputError: As for DDPM, or when ``variance_noise`` is plainly white.
        """
        if (start := self._colour_start(timestep, sample)) is not None:
            return SchedulerOutput(start) if return_dict else (start,)
        model_output, sample = self._on_support(model_output, sample)
        if variance_noise is not None:
            self._check_drawn(variance_noise)
        elif self.config.algorithm_type.startswith("sde-"):
            variance_noise = self._draw(model_output.shape, generator, torch.float32, model_output.device)
        return super().step(model_output, timestep, sample, variance_noise=variance_noise, return_dict=return_dict)
