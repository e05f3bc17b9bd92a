"""Each sampler has the order it declares: fitted to the exact flow of a Gaussian, without Monte Carlo."""

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from scoregrain.diffusion.ddim import DDIM
from scoregrain.diffusion.dpm_solver import DPMSolverPP
from scoregrain.diffusion.euler import FlowEuler
from scoregrain.diffusion.heun import Heun
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.diffusion.sampler import Sampler
from scoregrain.noise import ForwardNoise, PowerLaw
from scoregrain.schedules import PREDICTIONS, linear_schedule
from tests.diffusion.linear_runs import covariance_after, relative, walk
from tests.reference.gaussian_diffusion import DenseGaussian

SHAPE = (1, 8)
T, START, END = 4096, 3071, 1023
COUNTS = (16, 32, 64, 128, 256)
NOISE = ForwardNoise(PowerLaw(alpha=-0.5, eps=0.05, dc="formula"))
BASIS = torch.eye(8, dtype=torch.float64).unflatten(1, SHAPE)

DETERMINISTIC = [DDIM(), Heun(), DPMSolverPP()]


def problem(prediction):
    """A process, and data whose covariance does not commute with the noise's."""
    process = DiffusionProcess(linear_schedule(T), NOISE, prediction)
    A = torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    S = A @ A.T / 8 + 0.1 * torch.eye(8, dtype=torch.float64)
    return process, DenseGaussian(process, S, NOISE.operator(SHAPE).to_dense())


def grid(count):
    return range(START, END - 1, -(START - END) // count)


def uneven_grid(count):
    """Steps in the ratio 1 to 3, in turns."""
    even = grid(count)
    return [t if k % 2 == 0 else t + (even[0] - even[1]) // 2 for k, t in enumerate(even)]


def fitted_order(errors):
    """The slope of log error against log step size, by least squares."""
    h = -torch.tensor(COUNTS, dtype=torch.float64).log2()
    y = torch.tensor(errors, dtype=torch.float64).log2()
    h = h - h.mean()
    return ((h * y).sum() / h.square().sum()).item()


def order_of_flow(sampler, prediction, grid=grid):
    process, model = problem(prediction)
    exact = model.flow(START, END)
    return fitted_order([relative(walk(sampler, model, process, BASIS, grid(n)).flatten(1).T, exact) for n in COUNTS])


def order_of_law(sampler, prediction, white_steps=False):
    process, model = problem(prediction)
    factor = torch.linalg.cholesky(model.covariance(START)).T.unflatten(1, SHAPE)
    exact = model.covariance(END)
    laws = [covariance_after(sampler, model, process, factor, grid(n), white_steps=white_steps) for n in COUNTS]
    return fitted_order([relative(law, exact) for law in laws])


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("sampler", DETERMINISTIC, ids=str)
def test_a_sampler_follows_the_probability_flow_with_its_order(sampler, prediction):
    assert order_of_flow(sampler, prediction) == pytest.approx(sampler.order, abs=0.2)


def test_euler_follows_the_flow_with_its_order():
    assert order_of_flow(FlowEuler(), "flow") == pytest.approx(FlowEuler.order, abs=0.2)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_a_stochastic_sampler_has_the_right_law_with_its_order(eta, prediction):
    assert order_of_law(DDIM(eta), prediction) == pytest.approx(DDIM.order, abs=0.2)


@dataclass(frozen=True)
class LevelOfTheStart(DDIM):
    """The noise of t where that of s belongs: consistent, and wrong by a constant."""

    def step(self, state, t, s):
        (c_s, _), (_, s_t) = state.level(s), state.level(t)
        said = state.predict(state.x, t)
        return state.advance(c_s * said.x0 + s_t * said.eps)


@dataclass(frozen=True)
class HeunOnStaleNoise(Heun):
    """Heun whose second look takes the ε̂ of the first."""

    def step(self, state, t, s):
        (c_t, s_t), (c_s, s_s) = state.level(t), state.level(s)
        here = state.predict(state.x, t)
        there = state.predict(c_s * here.x0 + s_s * here.eps, s)
        return state.advance(state.x + (c_s - c_t) * (here.x0 + there.x0) / 2 + (s_s - s_t) * here.eps)


@dataclass(frozen=True)
class Extrapolation(Sampler):
    """DPM-Solver++ with another weight of what it remembers; ½ h/h_before is right."""

    power: float
    factor: float
    order: ClassVar[int] = 2

    def step(self, state, t, s):
        first_order = DPMSolverPP().step(state.advance(state.x), t, s)
        if state.history is None:
            return first_order
        r = log_snr_step(state, state.history[1], t) / log_snr_step(state, t, s)
        right = DPMSolverPP().step(state, t, s).x - first_order.x
        wrong = right * (2 * r) * self.factor * r**self.power
        return state.advance(first_order.x + wrong, first_order.history)


def log_snr_step(state, t, s):
    (c_t, s_t), (c_s, s_s) = state.level(t), state.level(s)
    return math.log(c_s / s_s * s_t / c_t)


def test_a_multistep_sampler_keeps_its_order_on_uneven_steps():
    assert order_of_flow(DPMSolverPP(), "epsilon", uneven_grid) == pytest.approx(2, abs=0.2)
    assert order_of_flow(Extrapolation(power=-1, factor=0.5), "epsilon", uneven_grid) == pytest.approx(2, abs=0.2)
    steps_taken_as_equal = Extrapolation(power=0, factor=0.5)
    assert order_of_flow(steps_taken_as_equal, "epsilon", uneven_grid) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(
    ("broken", "order"),
    [(LevelOfTheStart(), 0), (HeunOnStaleNoise(), 1), (Extrapolation(power=-1, factor=1), 1)],
    ids=str,
)
def test_a_sampler_with_one_wrong_letter_has_another_order(broken, order):
    fitted = order_of_flow(broken, "epsilon")
    assert abs(fitted - broken.order) > 0.5
    assert fitted == pytest.approx(order, abs=0.2)


def test_a_stochastic_sampler_with_white_steps_converges_to_another_law():
    assert order_of_law(DDIM(eta=1.0), "epsilon", white_steps=True) < 0.2
