"""Every stock scheduler class of the installed diffusers refuses the configuration of a shaped one."""

import json

import diffusers
import pytest

from scoregrain import (
    InvalidInputError,
    ShapedDDIMScheduler,
    ShapedDDPMScheduler,
    ShapedDPMSolverMultistepScheduler,
)
from scoregrain.diffusion.scheduler_config import BARRIER
from scoregrain.noise import ForwardNoise, PowerLaw
from tests.diffusion.stock import required_arguments, stock_schedulers

NOISE = ForwardNoise(PowerLaw(alpha=-0.6))
SHAPED = {
    "ddpm": (ShapedDDPMScheduler, diffusers.DDPMScheduler),
    "ddim": (ShapedDDIMScheduler, diffusers.DDIMScheduler),
    "dpm": (ShapedDPMSolverMultistepScheduler, diffusers.DPMSolverMultistepScheduler),
}


# with betas given as numbers the name of their schedule is never read
@pytest.fixture(
    scope="module",
    params=[(kind, betas) for kind in SHAPED for betas in (None, [0.01] * 50)],
    ids=lambda pair: f"{pair[0]}{'-betas' if pair[1] else ''}",
)
def saved(request, tmp_path_factory):
    kind, betas = request.param
    scheduler = SHAPED[kind][0](NOISE, trained_betas=betas, num_train_timesteps=50)
    folder = tmp_path_factory.mktemp("scheduler")
    scheduler.save_pretrained(folder)
    return scheduler, folder


@pytest.mark.parametrize("kind", stock_schedulers(), ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore")
def test_every_stock_from_config_refuses(kind, saved):
    """In memory with the reason; as a dictionary and from disk by what the dictionary holds. None accepts."""
    scheduler, folder = saved
    required = required_arguments(kind)
    with pytest.raises(InvalidInputError, match="a stock scheduler would draw white noise"):
        kind.from_config(scheduler.config, **required)
    saved_config = json.loads((folder / "scheduler_config.json").read_text())
    for make in (
        lambda: kind.from_config(dict(scheduler.config), **required),
        lambda: kind.from_config(saved_config, **required),
        lambda: kind.from_pretrained(folder, **required),
    ):
        with pytest.raises((TypeError, ValueError, NotImplementedError)):
            make()


@pytest.mark.parametrize("source", ["ddpm", "ddim"])
@pytest.mark.parametrize("kind", stock_schedulers(), ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore")
def test_without_the_entries_that_refuse_every_stock_class_accepts(kind, source):
    """So that the refusals above are ours. (DPM-Solver's algorithm is unknown to SASolver, noise or not.)"""
    config = SHAPED[source][0](NOISE).config
    bare = {key: value for key, value in config.items() if key not in (BARRIER, "noise")}
    kind.from_config(bare | {"beta_schedule": "squaredcos_cap_v2"}, **required_arguments(kind))
    with pytest.raises(TypeError, match=f"argument '{BARRIER}'"):
        kind.from_config(
            bare | {"beta_schedule": "squaredcos_cap_v2", BARRIER: config[BARRIER]}, **required_arguments(kind)
        )


@pytest.mark.parametrize("source", SHAPED)
@pytest.mark.parametrize("target", SHAPED)
def test_a_swap_from_disk_names_the_shaped_schedule(source, target, tmp_path):
    SHAPED[source][0](NOISE).save_pretrained(tmp_path)
    with pytest.raises(NotImplementedError, match="shaped:linear is not implemented for"):
        SHAPED[target][1].from_pretrained(tmp_path)
