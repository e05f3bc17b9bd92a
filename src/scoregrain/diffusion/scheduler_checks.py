"""Does a scheduler draw the noise a model was trained with? Asked of its behaviour, not of its name."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.noise import ForwardNoise, Weight, White
from scoregrain.operators import Operator

TRIAL_STEPS = 4


def check_scheduler(scheduler: Any, noise: ForwardNoise | Weight | Operator | str) -> None:
    """Fail when a diffusers scheduler draws other noise than the ``noise`` a model was trained with.

    A shaped scheduler passes when it has this very noise. A stock one passes when the noise is white, or when its
    steps draw none: then it needs nothing but a shaped start, ``noise.sample(shape)`` times
    ``scheduler.init_noise_sigma``. That is found by running a copy of it twice on a tiny array, with two seeds. An
    option of ``step`` that adds noise counts as drawing when it is ``eta``; leave others (``s_churn``) at zero.
    To pass means no more than that: inverse schedulers (from image to noise) and those of other models pass too.

    Args:
        scheduler: A diffusers scheduler; it is not changed.
        noise: The noise of the training, or what makes one (``ForwardNoise.of``).

    Raises:
        InvalidInputError: When the scheduler has another noise, draws white noise or cannot be tried; or ``noise``
            makes no noise.
    """
    noise = ForwardNoise.of(noise)
    own = getattr(scheduler, "forward_noise", None)
    if own is not None and own != noise:
        raise InvalidInputError(f"the scheduler draws {own}, the model was trained with {noise}")
    if own is not None or isinstance(noise.weight, White):
        return
    try:
        trial = copy.deepcopy(scheduler)  # the same for both runs: it may hold a generator of its own
        drawing = not torch.equal(_run(trial, 0), _run(trial, 1))
    except Exception as error:  # whatever a stranger's step raises
        reason = f"cannot be tried ({type(error).__name__}: {' '.join(str(error).split())[:100]}), so it may draw"
    else:
        reason = "draws" if drawing else ""
    if reason:
        raise InvalidInputError(
            f"{type(scheduler).__name__} {reason} white noise, the model was trained with {noise}: {_advice(scheduler)}"
        )


def _run(scheduler: Any, seed: int) -> Tensor:
    """All the steps of a short run; torch's global generator is left as it was."""
    generator = torch.Generator().manual_seed(seed)
    device = getattr(getattr(scheduler, "alphas_cumprod", None), "device", "cpu")  # add_noise moves them
    fixed = torch.linspace(-1, 1, 64, device=device).reshape(1, 4, 4, 4)
    known = inspect.signature(scheduler.step).parameters
    options = {name: value for name, value in {"generator": generator, "eta": 1.0}.items() if name in known}
    with torch.random.fork_rng(devices=[fixed.device] if fixed.is_cuda else []), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        scheduler.set_timesteps(TRIAL_STEPS)
        x, path = fixed * getattr(scheduler, "init_noise_sigma", 1.0), []
        for t in scheduler.timesteps:
            if hasattr(scheduler, "scale_model_input"):  # Euler-like ones insist on it
                scheduler.scale_model_input(x, t)
            x = scheduler.step(fixed.flip(-1), t, x, **options, return_dict=False)[0]
            path.append(x)
    return torch.stack(path)


def _advice(scheduler: Any) -> str:
    config = getattr(scheduler, "config", None)
    if not isinstance(config, Mapping) or "beta_schedule" not in config:
        return "take a deterministic scheduler of its kind and start it from noise.sample(shape)"
    name = type(scheduler).__name__
    if "DDPM" in name:
        shaped = "ShapedDDPMScheduler"
    elif "DPM" in name:
        shaped = "ShapedDPMSolverMultistepScheduler"
    else:
        shaped = "ShapedDDIMScheduler"
    return f"use scoregrain.{shaped}.from_config(scheduler.config, noise=noise)"
