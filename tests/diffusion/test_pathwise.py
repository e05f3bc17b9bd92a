"""D5, the strongest test of a sampler: under Σ it is T times the sampler of the whitened problem, path by path."""

from dataclasses import replace

import pytest
import torch

from scoregrain.diffusion.ddim import DDIM
from scoregrain.diffusion.heun import Heun
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.diffusion.sampler import Sampler, SamplerState
from scoregrain.diffusion.sampling import SAMPLERS, sample
from scoregrain.noise import ForwardNoise, PowerLaw
from scoregrain.operators import DenseOperator
from scoregrain.schedules import linear_schedule
from tests.diffusion.linear_runs import CASES, network, relative

SHAPE, T = (2, 5, 4), 40
MODEL = network(SHAPE, T)


def dense_noise():
    A = torch.randn(40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return ForwardNoise(DenseOperator.from_matrix(SHAPE, A @ A.T + 4 * torch.eye(40, dtype=torch.float64)))


NOISES = {"fourier": ForwardNoise(PowerLaw(alpha=-0.7)), "dense": dense_noise()}


def whitened(noise):
    """The network T⁻¹ f(T y, t)."""
    return lambda y, t: noise.whiten(MODEL(noise.colour(y), t))


def disagreement(sampler, prediction, noise, steps=T, whitened_sampler=None):
    """How far the sampler under Σ is from T times its whitened twin of the same ξ."""

    def run(model, noise, sampler):
        process = DiffusionProcess(linear_schedule(T), noise, prediction)
        generator = torch.Generator().manual_seed(11)
        return sample(model, process, 3, SHAPE, sampler, steps, generator=generator, dtype=torch.float64)

    expected = noise.colour(run(whitened(noise), None, whitened_sampler or sampler))
    return relative(run(MODEL, noise, sampler), expected)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("name", "prediction"), CASES)
def test_d5_a_sampler_is_the_whitened_one_seen_through_the_noise(name, prediction, noise):
    assert disagreement(SAMPLERS[name], prediction, NOISES[noise]) < 1e-10


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("sampler", [DDIM(eta=0.5), *SAMPLERS.values()], ids=str)
def test_d5_holds_for_fewer_steps(sampler, steps):
    assert disagreement(sampler, "flow", NOISES["fourier"], steps) < 1e-10


class WhiteStart(Sampler):
    """Another sampler, from ξ instead of T ξ."""

    def __init__(self, sampler):
        self.sampler, self.order = sampler, sampler.order

    def step(self, state, t, s):
        if t == T - 1:
            state = replace(state, x=state.run.process.noise.whiten(state.x))
        return self.sampler.step(state, t, s)


class WhiteDraws(SamplerState):
    def draw(self):
        return self.run.process.noise.whiten(super().draw())


class OneWhiteStep(Sampler):
    """DDPM with ξ instead of T ξ at one step of forty."""

    order = 1

    def step(self, state, t, s):
        drawing = WhiteDraws if t == 20 else SamplerState
        return DDIM(eta=1.0).step(drawing(state.run, state.x), t, s)


@pytest.mark.parametrize("broken", [WhiteStart(DDIM()), WhiteStart(Heun()), OneWhiteStep()])
def test_d5_sees_a_single_draw_left_white(broken):
    correct = broken.sampler if isinstance(broken, WhiteStart) else DDIM(eta=1.0)
    assert disagreement(correct, "epsilon", NOISES["fourier"]) < 1e-10
    assert disagreement(broken, "epsilon", NOISES["fourier"], whitened_sampler=correct) > 1e-5
