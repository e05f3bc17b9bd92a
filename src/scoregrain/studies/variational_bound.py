"""A likelihood bound of a trained network: one unit for denoisers under any noise (MATH B11)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scoregrain._random import stream
from scoregrain.diffusion import DiffusionProcess
from scoregrain.diffusion.process import Model

LEVELS = 25
"""How many noise levels the integral is taken from."""


def variational_bound(
    model: Model, process: DiffusionProcess, x0: Tensor, seed: int = 0, levels: int = LEVELS
) -> float:
    """Return the bound on -log p(x0) of a chain of ever smaller steps, mean over arrays, in bits per dimension.

    It is prior + ½ ∫ E‖T⁻¹(ε - ε̂)‖² d log SNR + decoder, the limit of the sum of :meth:`DiffusionProcess.step_kl`: the
    divergence of a step is ½ (SNR_s - SNR_t) ‖x0 - x̂0‖²_Σ⁻¹, and SNR ‖x0 - x̂0‖²_Σ⁻¹ = ‖T⁻¹(ε - ε̂)‖². Noises of other
    colours and amounts bound one and the same likelihood, log det Σ included. The integral is the trapezoidal rule over
    steps that are evenly spread in log SNR, from T - 1 to 0. Of continuous densities the bound may be negative.

    Data without a density, such as images with pixels that never change, have no finite likelihood: there the bound
    falls with the noise of the last step and differs between noises even for exact models. Then only what a model's
    bound is above that of a common reference under the same noise, such as the best affine denoiser, can be compared.

    Args:
        model: f(x_t, t).
        process: Of full support, with signal at every step.
        x0: (N, C, *space), held out.
        seed: Of the ξ, one for each array and level: pairs share them.
        levels: Steps taken.
    """
    log_snr = 2 * (process.signal / process.sigma).log()
    wanted = torch.linspace(float(log_snr[-1]), float(log_snr[0]), levels, dtype=log_snr.dtype)
    steps = [int((log_snr - each).abs().argmin()) for each in wanted]
    errors = torch.stack([_whitened_error(model, process, x0, t, seed) for t in steps])
    integral = torch.trapezoid(errors, log_snr[steps], dim=0) / 2
    with torch.no_grad():
        last = process.predict(model, process.noised(x0, 0, _white(x0, 0, seed))[0], 0).x0
    total = process.prior_kl(x0).cpu() + integral + process.decoder_nll(x0, last).cpu()
    return float(total.mean()) / (x0[0].numel() * math.log(2))


def _whitened_error(model: Model, process: DiffusionProcess, x0: Tensor, t: int, seed: int) -> Tensor:
    """‖T⁻¹(ε - ε̂)‖² of each array, float64 (N,) on the CPU."""
    x_t, eps = process.noised(x0, t, _white(x0, t, seed))
    with torch.no_grad():
        return process.noise.mahalanobis(process.predict(model, x_t, t).eps - eps).cpu()


def _white(x0: Tensor, t: int, seed: int) -> Tensor:
    return torch.randn(x0.shape, generator=stream(seed, "study bound", t)).to(x0)
