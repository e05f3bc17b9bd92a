"""The law of what stock pipelines produce, frequency by frequency; each test fails with white noise put in."""

import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, DPMSolverMultistepScheduler
from safetensors.torch import load_file

from scoregrain import (
    InvalidInputError,
    ShapedDDIMScheduler,
    ShapedDDPMScheduler,
    ShapedDPMSolverMultistepScheduler,
)
from scoregrain.noise import Custom, ForwardNoise, PowerLaw
from scoregrain.operators import FrequencyGrid
from tests.diffusion.gaussian_unet import GaussianUNet

ROOT = Path(__file__).parents[2]
SIZE, STEPS, IMAGES = (8, 7), 100, 2048
NOISE = ForwardNoise(PowerLaw(alpha=-0.6))
SCHEDULE = {"num_train_timesteps": STEPS, "beta_start": 0.001, "beta_end": 0.2, "clip_sample": False}
P = NOISE.operator((1, *SIZE)).power
BOUND = 5 * math.sqrt(2 / IMAGES)
"""Five standard deviations of a relative power estimate, at the frequencies that are their own conjugates."""


def data_power():
    """Steeper than the noise; a pixel's standard deviation is 0.1, so that the pipeline's clamp at ±1 is never felt."""
    power = (FrequencyGrid(SIZE).radius("raw") + 0.1) ** -1.6
    return 0.01 * power / power.mean()


S = data_power()


def exact_unet(data=S, noise=P):
    unet = GaussianUNet(SIZE, SCHEDULE["beta_end"], STEPS)
    with torch.no_grad():
        unet.data.copy_(data)
        unet.noise.copy_(noise)
    return unet


def exact_power(eta, start=P, drawn=P, steps=STEPS, beta_end=SCHEDULE["beta_end"]):
    """The sampler's output power: every step is linear, so a variance per frequency is all there is (MATH B7)."""
    alpha_bar = (1 - torch.linspace(beta_end / 200, beta_end, steps, dtype=torch.float64)).cumprod(0)
    levels = [*alpha_bar.flip(0).tolist(), 1.0]
    power = start.clone()
    for a_t, a_s in pairwise(levels):
        eps = math.sqrt(1 - a_t) * P / (a_t * S + (1 - a_t) * P)
        x0 = (1 - math.sqrt(1 - a_t) * eps) / math.sqrt(a_t)
        added = eta**2 * (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)
        gain = math.sqrt(a_s) * x0 + math.sqrt(1 - a_s - added) * eps
        power = gain**2 * power + added * drawn
    return power


def run(scheduler, steps=STEPS, unet=None, seed=0):
    pipe = DDPMPipeline(unet or exact_unet(), scheduler)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(seed)
    images = pipe(batch_size=IMAGES, generator=generator, num_inference_steps=steps, output_type="np").images
    return torch.from_numpy(images).movedim(-1, 1)


def measured_power(images):
    return torch.fft.fft2((2 * images - 1).double(), norm="ortho").abs().square().mean((0, 1))


def error(power, law):
    return (power / law - 1).abs().max().item()


@pytest.mark.parametrize(("eta", "coarse", "fine"), [(0.0, 0.244, 0.038), (1.0, 0.380, 0.080)])
def test_the_samplers_own_error_vanishes_with_the_steps(eta, coarse, fine):
    """What :func:`exact_power` accounts for: at the frequency of least power, with 100 and with 1000 steps."""
    errors = [error(exact_power(eta, steps=n, beta_end=20 / n), S) for n in (100, 1000, 10_000)]
    assert errors[:2] == pytest.approx([coarse, fine], rel=0.01)
    assert errors[2] < errors[1] / 5


def test_ddpm_has_the_law_and_white_steps_have_not():
    law = exact_power(1.0)
    assert error(measured_power(run(ShapedDDPMScheduler(NOISE, **SCHEDULE))), law) < BOUND
    wrong = measured_power(run(DDPMScheduler(**SCHEDULE)))
    assert error(wrong, law) > 0.5
    assert error(wrong, exact_power(1.0, torch.ones_like(P), torch.ones_like(P))) < BOUND


def test_ddim_has_the_law_and_a_white_start_has_not():
    law = exact_power(0.0)
    assert error(measured_power(run(ShapedDDIMScheduler(NOISE, **SCHEDULE))), law) < BOUND
    wrong = measured_power(run(DDIMScheduler(**SCHEDULE)))
    assert error(wrong, law) > 0.5
    assert error(wrong, exact_power(0.0, start=torch.ones_like(P))) < BOUND


def test_a_white_start_would_be_invisible_with_drawn_steps():
    assert error(exact_power(1.0, start=torch.ones_like(P)), exact_power(1.0)) < 1e-3


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # diffusers reads a tensor into numpy as it may not
@pytest.mark.parametrize("algorithm", ["dpmsolver++", "sde-dpmsolver++"])
def test_dpm_solver_has_the_law_and_white_noise_has_not(algorithm):
    """The law is that of the stock solver on whitened data, times the noise's power (MATH B11)."""
    options = {key: value for key, value in SCHEDULE.items() if key != "clip_sample"} | {"algorithm_type": algorithm}
    stock = DPMSolverMultistepScheduler(**options)
    law = P * measured_power(run(stock, 50, exact_unet(S / P, torch.ones_like(P)), seed=1))
    right = measured_power(run(ShapedDPMSolverMultistepScheduler(NOISE, **options), 50))
    assert error(right, law) < math.sqrt(2) * BOUND
    assert error(measured_power(run(stock, 50)), law) > 0.5


SCRIPT = """
import sys
from diffusers import DDPMPipeline
from safetensors.torch import save_file
import torch
import tests.diffusion.gaussian_unet
folder, out, images, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
try:
    DDPMPipeline.from_pretrained(f"{folder}/ddpm", use_safetensors=True)
except ValueError as error:
    assert "import scoregrain" in str(error), error
else:
    assert "scoregrain" in sys.modules  # older diffusers import it themselves
import scoregrain
powers = {}
for name in ("ddpm", "ddim"):
    pipe = DDPMPipeline.from_pretrained(f"{folder}/{name}", use_safetensors=True)
    pipe.set_progress_bar_config(disable=True)
    drawn = pipe(batch_size=images, generator=torch.Generator().manual_seed(1), num_inference_steps=steps,
                 output_type="np").images
    drawn = torch.from_numpy(drawn).movedim(-1, 1)
    powers[name] = torch.fft.fft2((2 * drawn - 1).double(), norm="ortho").abs().square().mean((0, 1))
save_file(powers, out)
"""


def test_a_saved_pipeline_has_the_law_in_a_new_process(tmp_path):
    for name, kind in (("ddpm", ShapedDDPMScheduler), ("ddim", ShapedDDIMScheduler)):
        DDPMPipeline(exact_unet(), kind(NOISE, **SCHEDULE)).save_pretrained(tmp_path / name)
    arguments = [str(tmp_path), str(tmp_path / "powers"), str(IMAGES), str(STEPS)]
    subprocess.run([sys.executable, "-c", SCRIPT, *arguments], cwd=ROOT, check=True)
    powers = load_file(tmp_path / "powers")
    assert error(powers["ddpm"], exact_power(1.0)) < BOUND
    assert error(powers["ddim"], exact_power(0.0)) < BOUND


def test_a_pipeline_folder_carries_a_noise_with_tensors(tmp_path):
    noise = ForwardNoise(Custom(P.sqrt()))
    original = DDPMPipeline(exact_unet(), ShapedDDPMScheduler(noise, **SCHEDULE))
    original.save_pretrained(tmp_path)
    again = DDPMPipeline.from_pretrained(tmp_path, use_safetensors=True)
    assert type(again.scheduler) is ShapedDDPMScheduler
    assert again.scheduler.forward_noise == noise
    assert sorted(path.name for path in (tmp_path / "scheduler").iterdir()) == [
        "noise.safetensors",
        "noise_config.json",
        "scheduler_config.json",
    ]


@pytest.mark.parametrize("kind", [ShapedDDPMScheduler, ShapedDDIMScheduler])
def test_the_stock_ddim_pipeline_refuses_and_says_what_to_use(kind):
    with pytest.raises(InvalidInputError, match=r"white noise where .* power-law:alpha=-0.6: use a shaped one"):
        DDIMPipeline(exact_unet(), kind(NOISE, **SCHEDULE))
