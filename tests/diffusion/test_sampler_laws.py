"""The law of many steps, exactly: D6 and D11."""

from itertools import pairwise

import pytest
import torch

from scoregrain.diffusion.ddim import DDIM
from scoregrain.diffusion.euler import FlowEuler
from scoregrain.diffusion.sampling import SAMPLERS
from scoregrain.noise import PowerLaw, White
from tests.diffusion.linear_runs import (
    CASES,
    EYE,
    RING,
    SHAPE,
    covariance_after,
    gaussian,
    relative,
    start_factor,
    walk,
)

WEIGHTS = {
    "ring": RING,
    "white": White(),
    "smooth": PowerLaw(alpha=-0.4, dc="floor"),
    "rough": PowerLaw(alpha=0.3, eps=0.1, dc="formula"),
}
GENERAL = {name: sampler for name, sampler in SAMPLERS.items() if name != "euler"}
ALL_STEPS = [*range(999, -1, -1), -1]


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("name", GENERAL)
def test_d6_the_data_covariance_comes_out(name, weight):
    process, model = gaussian(WEIGHTS[weight])
    covariance = covariance_after(SAMPLERS[name], model, process, start_factor(process), ALL_STEPS)
    assert relative(covariance, model.S) < (0.01 if name == "ddpm" else 0.005)


@pytest.mark.parametrize(("name", "prediction"), CASES)
def test_d6_holds_for_every_prediction(name, prediction):
    process, model = gaussian(RING, prediction)
    covariance = covariance_after(SAMPLERS[name], model, process, start_factor(process), ALL_STEPS)
    assert relative(covariance, model.S) < 0.01


def ring_data():
    """Stationary data, S(f) ∝ (|f| + .1)⁻¹, which commute with the noise."""
    fourier = torch.fft.fft(EYE, norm="ortho")
    power = (torch.fft.fftfreq(8, dtype=torch.float64).abs() + 0.1) ** -1
    return (fourier.conj().T * (power / power.mean()) @ fourier).real


def test_d6_a_white_start_shows_without_noise_and_hides_with_it():
    """η = 0 carries T⁻¹ to the data, S Σ⁻¹ instead of S; η = 1 forgets its start."""
    process, model = gaussian(RING, S=ring_data())
    white = EYE.unflatten(1, SHAPE)
    mistaken = covariance_after(DDIM(), model, process, white, ALL_STEPS)
    expected = model.S @ torch.linalg.inv(model.Sigma)
    assert relative(mistaken, expected) < 0.01
    assert relative(mistaken, model.S) > 0.5
    assert relative(covariance_after(DDIM(eta=1.0), model, process, white, ALL_STEPS), model.S) < 0.01


def test_d6_white_steps_spoil_the_law():
    process, model = gaussian(RING, S=ring_data())
    start = start_factor(process)
    mistaken = covariance_after(DDIM(eta=1.0), model, process, start, ALL_STEPS, white_steps=True)
    assert relative(mistaken, model.S) > 0.5


# D11: flow matching -------------------------------------------------------------------------------------------


def romberg(values):
    """The limit of values whose error is a power series in the step, at steps h, h/2, h/4, …"""
    values = list(values)
    for k in range(1, len(values)):
        values = [(2**k * fine - coarse) / (2**k - 1) for coarse, fine in pairwise(values)]
    return values[0]


def test_d11_the_flow_ends_at_the_data_with_a_coloured_source_only():
    process, model = gaussian(RING, "flow", S=ring_data(), T=2048)

    def limit(factor):
        grids = ([*range(2047, -1, -2048 // n), -1] for n in (32, 64, 128, 256, 512, 1024, 2048))
        return romberg([walk(FlowEuler(), model, process, factor, grid).flatten(1) for grid in grids])

    rows = limit(start_factor(process))
    assert relative(rows.T @ rows, model.S) < 1e-8
    rows = limit(EYE.unflatten(1, SHAPE))
    assert relative(rows.T @ rows, model.S) > 0.5
