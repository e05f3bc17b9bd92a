"""D12: with white noise the samplers are those of diffusers, for the same ξ and the same steps."""

import pytest
import torch

from scoregrain.diffusion.ddim import DDIM
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.diffusion.sampling import sample
from scoregrain.schedules import linear_schedule, subsampled_steps
from tests.diffusion.linear_runs import network, relative, walk

diffusers = pytest.importorskip("diffusers")

T, SHAPE = 50, (2, 5)
SCHEDULE = linear_schedule(T)
EPSILON = network(SHAPE, T)


def scheduler_of(name, **options):
    """A scheduler of diffusers with our ᾱ: its own are float32, wrong by 1e-4 where 1 - ᾱ is small."""
    scheduler = getattr(diffusers, name)(num_train_timesteps=T, trained_betas=SCHEDULE.betas.numpy(), **options)
    scheduler.alphas_cumprod = SCHEDULE.alpha_bar
    scheduler.one = scheduler.final_alpha_cumprod = torch.ones((), dtype=torch.float64)
    return scheduler


def run(scheduler, scale=1.0, draws=False, **options):
    """A user's loop around a scheduler, with the generator that ``mine`` has."""
    generator = torch.Generator().manual_seed(5)
    x = scale * torch.randn(4, *SHAPE, generator=generator, dtype=torch.float64)
    for t in scheduler.timesteps:
        output = EPSILON(scheduler.scale_model_input(x, t), torch.full((4,), int(t)))
        x = scheduler.step(output, t, x, **options, **({"generator": generator} if draws else {})).prev_sample
    return x


def mine(sampler, steps, model=EPSILON, prediction="epsilon"):
    process = DiffusionProcess(SCHEDULE, prediction=prediction)
    generator = torch.Generator().manual_seed(5)
    return sample(model, process, 4, SHAPE, sampler, steps, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("steps", [50, 13])
def test_ddpm_is_ddpm(steps):
    scheduler = scheduler_of("DDPMScheduler", clip_sample=False)
    scheduler.set_timesteps(timesteps=subsampled_steps(T, steps))
    assert relative(mine("ddpm", steps), run(scheduler, draws=True)) < 1e-6


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_is_ddim(eta):
    scheduler = scheduler_of("DDIMScheduler", clip_sample=False)
    scheduler.set_timesteps(T)
    expected = run(scheduler, draws=True, eta=eta)
    assert relative(mine(DDIM(eta), T), expected) < 1e-6


def test_ddim_is_ddim_on_the_steps_of_diffusers():
    """Its spacing ends at t = 0 by equal strides, ours starts at T - 1."""
    scheduler = scheduler_of("DDIMScheduler", clip_sample=False)
    scheduler.set_timesteps(10)
    visited = [*scheduler.timesteps.tolist(), -1]
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    assert relative(walk(DDIM(), EPSILON, DiffusionProcess(SCHEDULE), x, visited), run(scheduler)) < 1e-6


@pytest.mark.parametrize("steps", [50, 13])
def test_dpm_solver_is_dpm_solver(steps):
    scheduler = scheduler_of("DPMSolverMultistepScheduler", final_sigmas_type="zero")
    scheduler.alphas_cumprod = SCHEDULE.alpha_bar.numpy()
    scheduler.set_timesteps(timesteps=subsampled_steps(T, steps))
    assert relative(mine("dpm-solver++", steps), run(scheduler)) < 1e-6


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in the scheduler's constructor
def test_heun_is_heun_of_edm():
    """HeunDiscrete steps in σ = σ_t/√ᾱ_t whatever the prediction: ours for ``edm``."""
    scheduler = scheduler_of("HeunDiscreteScheduler", prediction_type="epsilon")
    scheduler.alphas_cumprod = SCHEDULE.alpha_bar.numpy()
    scheduler.set_timesteps(T)

    def denoiser(x, t):
        sigma = SCHEDULE.sigmas[t].view(-1, 1, 1)
        return x - sigma * EPSILON(x / (1 + sigma**2).sqrt(), t)

    expected = run(scheduler, scale=SCHEDULE.sigmas[-1])
    assert relative(mine("heun", T, denoiser, prediction="edm"), expected) < 1e-6
