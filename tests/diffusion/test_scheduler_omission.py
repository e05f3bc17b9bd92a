"""The schedulers under a noise that leaves a band out: nothing comes into it (MATH B12)."""

import pytest
import torch

from scoregrain import (
    InvalidInputError,
    ShapedDDIMScheduler,
    ShapedDDPMScheduler,
    ShapedDPMSolverMultistepScheduler,
)
from scoregrain.noise import BandPass, ForwardNoise

SHAPED = {
    "ddpm": ShapedDDPMScheduler,
    "ddim": ShapedDDIMScheduler,
    "dpm": ShapedDPMSolverMultistepScheduler,
}
SHAPE = (8, 1, 16, 16)
NOISE = ForwardNoise(BandPass(low=0.4, high=1.0))
RUNS = {
    f"{name}-{prediction}": (SHAPED[kind](NOISE, prediction_type=prediction, **options), arguments)
    for name, (kind, options, arguments) in {
        "ddpm": ("ddpm", {"clip_sample": False}, {}),
        "ddim": ("ddim", {"clip_sample": False}, {}),
        "ddim-1": ("ddim", {"clip_sample": False}, {"eta": 1.0}),
        "dpm": ("dpm", {}, {}),
        "dpm-sde": ("dpm", {"algorithm_type": "sde-dpmsolver++"}, {}),
    }.items()
    for prediction in ("epsilon", "sample", "v_prediction")
}


pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # diffusers' own


def white(shape=SHAPE, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def band(x):
    return x - NOISE.project(x)


def power(x):
    """The largest power per pixel among arrays."""
    return x.square().flatten(1).mean(1).max()


IMAGE = white(seed=7)


def run(name, leak):
    """A run in float64 of a network that leaks into the band; the largest band power it was shown."""
    scheduler, arguments = RUNS[name]
    generator = torch.Generator().manual_seed(1)
    scheduler.set_timesteps(20)
    x, shown = scheduler.start_noise(SHAPE, generator, dtype=torch.float64), []
    for t in scheduler.timesteps:
        shown.append(power(band(x)))
        output = NOISE.project(0.3 * x + IMAGE) + leak * band(torch.sin(3 * x) + IMAGE)
        x = scheduler.step(output, t, x, generator=generator, **arguments).prev_sample
    return x, max(shown)


@pytest.mark.parametrize("name", RUNS)
def test_a_network_that_leaks_leaves_the_band_empty(name):
    """Up to float32, in which DPM-Solver steps whatever it is given; the others in float64."""
    bound = 1e-12 if name.startswith("dpm") else 1e-24
    x, shown = run(name, leak=1.0)
    assert power(band(x)) < bound * power(x)
    assert shown < bound * power(x)  # what a network of the marginal law must see
    assert power(x) > 0.1


@pytest.mark.parametrize("name", RUNS)
def test_what_leaks_changes_nothing_beside_the_band(name):
    loud, tight = (run(name, leak)[0] for leak in (5.0, 0.0))
    assert (loud - tight).norm() < 1e-5 * tight.norm()


@pytest.mark.parametrize("kind", ["ddpm", "ddim"])
def test_the_clean_image_that_is_returned_holds_nothing_in_the_band_either(kind):
    scheduler = SHAPED[kind](NOISE, clip_sample=False)
    scheduler.set_timesteps(5)
    x = scheduler.start_noise(SHAPE, dtype=torch.float64)
    assert power(band(scheduler.step(IMAGE, 800, x).pred_original_sample)) < 1e-20


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("kind", SHAPED)
def test_what_an_image_has_in_the_band_is_taken_away_too(kind, prediction):
    """Image-to-image, whatever the network predicts."""
    options = {"clip_sample": False} if kind != "dpm" else {}
    scheduler = SHAPED[kind](NOISE, prediction_type=prediction, **options)
    scheduler.set_timesteps(5)
    eps = scheduler.start_noise(SHAPE, dtype=torch.float64)
    t = scheduler.timesteps[2:3]
    x = scheduler.add_noise(IMAGE, eps, t)
    assert power(band(x)) > 1e-3
    assert power(band(scheduler.step(x, t[0], x).prev_sample)) < 1e-12


@pytest.mark.parametrize(
    ("kind", "options"),
    [("ddpm", {}), ("ddim", {}), ("dpm", {"thresholding": True}), ("ddim", {"thresholding": True})],
)
def test_clipping_would_fill_the_band_and_is_refused_in_training_and_sampling(kind, options):
    off = {"clip_sample": False} if kind != "dpm" else {}
    refusing, allowed = SHAPED[kind](NOISE, **options), SHAPED[kind](NOISE, **off)
    x, times = white().float(), torch.arange(8)
    for call in (
        lambda scheduler: scheduler.add_noise(x, NOISE.colour(x), times),
        lambda scheduler: scheduler.step(x, scheduler.timesteps[0], x),
    ):
        for scheduler in (refusing, allowed):
            scheduler.set_timesteps(5)
        call(allowed)
        with pytest.raises(InvalidInputError, match=r"leaves a band out, .* clip_sample=False and thresholding=False"):
            call(refusing)
