"""Every sampler under every kind of noise gives an exact Gaussian model its covariance back, without Monte Carlo."""

import pytest
import torch

from scoregrain.align import Rotation
from scoregrain.diffusion import DiffusionProcess, GaussianScore
from scoregrain.diffusion.sampling import SAMPLERS
from scoregrain.noise import (
    BandPass,
    Blue,
    Brown,
    Custom,
    EqualSNR,
    Exponential,
    ForwardNoise,
    Pink,
    PowerLaw,
    TwoBand,
    White,
)
from scoregrain.operators import DenseOperator
from scoregrain.schedules import linear_schedule
from tests.diffusion.linear_runs import EYE, SHAPE, covariance_after, data_covariance, relative, start_factor
from tests.reference import dense_operators as reference

GEOMETRY = DenseOperator.from_matrix(SHAPE, reference.random_psd(8, 8, seed=1))
SPECTRUM = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.25, 0.5, 1.0, 2.0], dtype=torch.float64)
FULL = {
    "white": ForwardNoise(White()),
    "power law, none": ForwardNoise(PowerLaw(0.2), normalize="none"),
    "exponential": ForwardNoise(Exponential(3.0)),
    "two bands": ForwardNoise(TwoBand(0.3)),
    "blue": ForwardNoise(Blue()),
    "pink": ForwardNoise(Pink()),
    "brown": ForwardNoise(Brown()),
    "equal snr": ForwardNoise(EqualSNR(SPECTRUM)),
    "custom": ForwardNoise(Custom(SPECTRUM.sqrt())),
    "product": ForwardNoise(PowerLaw(-0.2) * Exponential(1.0)),
    "in a basis": ForwardNoise.in_basis(GEOMETRY, gamma=1.0),
    "operator": ForwardNoise(GEOMETRY),
    "rotated": ForwardNoise(Pink()).rotated(Rotation(reference.random_orthonormal(8, 8, seed=2), SHAPE, "minimize")),
}
SINGULAR = {
    "band-pass": ForwardNoise(BandPass(0.3, 1.0)),
    "no constant": ForwardNoise(PowerLaw(0.3, dc="zero")),
    "low rank": ForwardNoise(DenseOperator.from_matrix(SHAPE, reference.random_psd(8, 5, seed=3))),
}
STEPS = [*range(999, -1, -1), -1]
GENERAL = [name for name in SAMPLERS if name != "euler"]


@pytest.mark.parametrize("name", GENERAL)
@pytest.mark.parametrize("kind", FULL)
def test_the_covariance_of_the_data_comes_out(kind, name):
    """1% for DDPM, 0.5% without noise in the steps (D6)."""
    process = DiffusionProcess(linear_schedule(1000), FULL[kind])
    model = GaussianScore(torch.zeros(SHAPE), data_covariance(), process)
    covariance = covariance_after(SAMPLERS[name], model, process, start_factor(process), STEPS)
    assert relative(covariance, data_covariance()) < (0.01 if name == "ddpm" else 0.005)


@pytest.mark.parametrize("name", GENERAL)
@pytest.mark.parametrize("omission", ["conditional", "marginal"])
@pytest.mark.parametrize("kind", SINGULAR)
def test_an_omitted_band_leaves_the_law_it_promises(kind, omission, name):
    """Of the noised part, given an empty band or its marginal; nothing at all in the band (B12)."""
    process = DiffusionProcess(linear_schedule(1000), SINGULAR[kind], omission=omission)
    model = GaussianScore(torch.zeros(SHAPE), data_covariance(), process)
    empty = torch.zeros(1, *SHAPE, dtype=torch.float64)
    covariance = covariance_after(SAMPLERS[name], model, process, start_factor(process), STEPS, empty)
    on = process.noise.operator(SHAPE).projector().to_dense()
    expected = on @ data_covariance() @ on
    if omission == "conditional":
        off = EYE - on
        rest = off @ data_covariance() @ off
        expected -= on @ data_covariance() @ torch.linalg.pinv(rest, rtol=1e-9) @ data_covariance() @ on
    assert relative(covariance, expected) < (0.01 if name == "ddpm" else 0.005)
