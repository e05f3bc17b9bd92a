"""Samplers step by step, against numbers and a plain implementation: D4, S8, D12."""

import math
from itertools import pairwise

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.diffusion.ddim import DDIM
from scoregrain.diffusion.dpm_solver import DPMSolverPP
from scoregrain.diffusion.euler import FlowEuler
from scoregrain.diffusion.heun import Heun
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.diffusion.sampler import SamplerState, SamplingRun
from scoregrain.diffusion.sampling import SAMPLERS, sample
from scoregrain.schedules import linear_schedule, subsampled_steps
from tests.diffusion.linear_runs import CASES, RING, SHAPE, gaussian, network, relative, scripted, walk


def one_step(sampler, t, s, output, x=1.0, xi=0.0, prediction="epsilon", history=None):
    process = scripted(DiffusionProcess(linear_schedule(1000), prediction=prediction))
    process.noise.xi = torch.full((1, 1, 4), xi, dtype=torch.float64)
    run = SamplingRun(lambda x_t, t: torch.full_like(x_t, output), process)
    state = SamplerState(run, torch.full((1, 1, 4), x, dtype=torch.float64), history)
    return sampler.step(state, t, s).x[0, 0, 0].item()


def test_d4_a_step_of_ddim_and_of_ddpm():
    assert one_step(DDIM(), 500, -1, 0.5) == pytest.approx(1.8637671376, rel=1e-9)
    assert one_step(DDIM(), 500, 250, 0.5) == pytest.approx(1.6917155963, rel=1e-9)
    assert one_step(DDIM(eta=1.0), 500, 250, 0.5, xi=0.3) == pytest.approx(1.6414091176, rel=1e-9)
    drawn = one_step(DDIM(eta=1.0), 500, 250, 0.5, xi=1.0) - one_step(DDIM(eta=1.0), 500, 250, 0.5)
    assert drawn == pytest.approx(0.6644711430, rel=1e-9)


def test_s8_the_deviation_of_the_last_drawn_step():
    drawn = one_step(DDIM(eta=1.0), 1, 0, 0.5, xi=1.0) - one_step(DDIM(eta=1.0), 1, 0, 0.5)
    assert drawn == pytest.approx(0.00738457017117, rel=1e-8)


def test_a_stochastic_step_between_neighbours_is_the_posterior():
    """MATH B7: mean in ε form and variance β̃."""
    beta, alpha_bar, t = linear_schedule(1000).betas, linear_schedule(1000).alpha_bar, 300
    mean = (1.0 - beta[t] / (1 - alpha_bar[t]).sqrt() * 0.5) / (1 - beta[t]).sqrt()
    variance = (1 - alpha_bar[t - 1]) * beta[t] / (1 - alpha_bar[t])
    assert one_step(DDIM(eta=1.0), t, t - 1, 0.5) == pytest.approx(mean.item(), rel=1e-12)
    assert one_step(DDIM(eta=1.0), t, t - 1, 0.5, xi=2.0) == pytest.approx((mean + 2 * variance.sqrt()).item())


@pytest.mark.parametrize(("name", "prediction"), CASES)
def test_the_last_step_returns_what_the_model_says_of_the_data(name, prediction):
    process, model = gaussian(RING, prediction)
    x = torch.randn(3, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = process.predict(model, x, 120).x0
    history = (torch.full_like(x, 1e6), 400)  # a multistep method must not use it: h is infinite
    state = SAMPLERS[name].step(SamplerState(SamplingRun(model, process), x, history), 120, -1)
    assert relative(state.x, expected) < 1e-12


def test_the_first_step_of_a_flow_has_no_signal_to_divide_by():
    """c_T = 0: all samplers take the same, finite, first step; the second of DPM-Solver++ extrapolates by nothing."""
    process, model = gaussian(RING, "flow")
    x = process.noise.sample((3, *SHAPE), torch.Generator().manual_seed(1), torch.float64)
    first = {name: walk(sampler, model, process, x, [999, 800]) for name, sampler in SAMPLERS.items()}
    assert relative(first["dpm-solver++"], first["ddim"]) < 1e-13
    assert relative(first["euler"], first["ddim"]) < 1e-13
    both = walk(DPMSolverPP(), model, process, x, [999, 800, 600])
    assert relative(both, walk(DDIM(), model, process, first["ddim"], [800, 600])) < 1e-13


def test_heun_on_edm_is_the_sampler_of_karras():
    process, model = gaussian(RING, "edm")
    x = torch.randn(3, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    sigma = linear_schedule(1000).sigmas

    def slope(x, t):
        return (x - model(x, torch.full((3,), t))) / sigma[t]

    h, first = sigma[600] - sigma[700], slope(x, 700)
    expected = x + h * (first + slope(x + h * first, 600)) / 2
    assert relative(walk(Heun(), model, process, x, [700, 600]), expected) < 1e-12


def test_euler_is_ddim_of_a_flow_and_for_nothing_else():
    process, model = gaussian(RING, "flow")
    x = process.noise.sample((3, *SHAPE), torch.Generator().manual_seed(1), torch.float64)
    visited = [*subsampled_steps(1000, 20), -1]
    assert relative(walk(FlowEuler(), model, process, x, visited), walk(DDIM(), model, process, x, visited)) < 1e-12
    with pytest.raises(InvalidInputError, match=r"velocity of a flow.*'epsilon': use 'ddim'"):
        sample(model, DiffusionProcess(linear_schedule(1000)), 2, SHAPE, sampler="euler")


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_eta_outside_its_range_is_refused(eta):
    with pytest.raises(InvalidInputError, match="eta must lie between 0 and 1"):
        DDIM(eta=eta)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=str)
def test_samplers_of_equal_settings_are_equal(sampler):
    assert sampler == type(sampler)(**vars(sampler))
    assert sampler.order in (1, 2)


T = 50


def plain(epsilon, schedule, shape, visited, eta, generator):
    """DDPM and DDIM as their papers write them."""
    alpha_bar = [a.item() for a in schedule.alpha_bar]
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    for t, s in pairwise(visited):
        a, b = alpha_bar[t], alpha_bar[s] if s >= 0 else 1.0
        eps = epsilon(x, torch.full((shape[0],), t))
        x0 = (x - (1 - a) ** 0.5 * eps) / a**0.5
        deviation = eta * ((1 - b) / (1 - a)) ** 0.5 * (1 - a / b) ** 0.5
        x = b**0.5 * x0 + (1 - b - deviation**2) ** 0.5 * eps
        if deviation > 0:
            x = x + deviation * torch.randn(shape, generator=generator, dtype=torch.float64)
    return x


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_d12_white_noise_is_the_plain_sampler(eta):
    epsilon, schedule, seeded = network((2, 5), T), linear_schedule(T), torch.Generator().manual_seed
    mine = sample(
        epsilon, DiffusionProcess(schedule), 4, (2, 5), DDIM(eta), 13, generator=seeded(5), dtype=torch.float64
    )
    expected = plain(epsilon, schedule, (4, 2, 5), [*subsampled_steps(T, 13), -1], eta, seeded(5))
    assert relative(mine, expected) < 1e-12
