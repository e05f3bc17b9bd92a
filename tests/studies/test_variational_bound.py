import math

import pytest
import torch

import scoregrain as sg
from scoregrain.operators import IdentityOperator
from scoregrain.studies.variational_bound import variational_bound

SHAPE = (1, 4, 4)
BITS = 16 * math.log(2)


@pytest.fixture(scope="module")
def law():
    root = torch.randn(16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 3
    return root @ root.T + 0.1 * torch.eye(16, dtype=torch.float64)


@pytest.fixture(scope="module")
def x0(law):
    xi = torch.randn(400, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (xi @ torch.linalg.cholesky(law).T).reshape(-1, *SHAPE)


def exact(law, process):
    return sg.GaussianScore(torch.zeros(SHAPE, dtype=torch.float64), law, process)


@pytest.mark.parametrize("noise", ["white", "power-law:alpha=-0.3", "power-law:alpha=-0.3,eps=1e-4,normalize=none"])
def test_the_exact_model_reaches_the_likelihood_under_any_noise(law, x0, noise):
    process = sg.DiffusionProcess(sg.linear_schedule(1000), noise)
    model = exact(law, process)
    truth = -float(model.log_prob(x0).mean()) / BITS
    found = [variational_bound(model, process, x0, seed) for seed in range(8)]
    assert sum(found) / 8 == pytest.approx(truth, abs=0.03)  # 0.012 is the standard error


def test_a_network_that_says_nothing_pays_for_the_whole_range(x0):
    process = sg.DiffusionProcess(sg.linear_schedule(1000))
    found = variational_bound(lambda x, t: torch.zeros_like(x), process, x0, 0)
    snr = (process.signal / process.sigma).square()
    scale = float(snr[0]) ** -0.5  # of the decoder, whose error is then ε
    expected = 8 * math.log(float(snr[0] / snr[-1])) + 8 * (math.log(2 * math.pi * scale**2) + 1)
    assert found == pytest.approx((expected + float(process.prior_kl(x0).mean())) / BITS, rel=0.02)


def test_a_worse_model_has_a_higher_bound(law, x0):
    process = sg.DiffusionProcess(sg.linear_schedule(1000))
    model = exact(law, process)
    best = variational_bound(model, process, x0, 0)
    assert variational_bound(lambda x, t: 0.9 * model(x, t), process, x0, 0) > best + 0.05


def test_coloured_noise_is_white_noise_on_whitened_data_but_for_the_volume(law, x0):
    noise = sg.ForwardNoise.parse("power-law:alpha=-0.5,normalize=none")
    coloured, white = (sg.DiffusionProcess(sg.linear_schedule(1000), each) for each in (noise, "white"))
    whitener = torch.linalg.inv(noise.operator(SHAPE).sqrt().to_dense())
    y0 = (x0.flatten(1) @ whitener.T).reshape(x0.shape)
    found = variational_bound(exact(law, coloured), coloured, x0, 3)
    expected = variational_bound(exact(whitener @ law @ whitener.T, white), white, y0, 3)
    assert found == pytest.approx(expected + 0.5 * noise.log_det(SHAPE) / BITS, rel=1e-6)


def test_data_without_a_density_make_every_noise_cost_what_it_is(x0):
    flat = x0 * (torch.arange(16).reshape(SHAPE) < 12)  # a quarter of the pixels never change
    rows = flat.flatten(1)
    found = []
    for gain in (1.0, 4.0):
        noise = sg.ForwardNoise(IdentityOperator(SHAPE, gain), normalize="none")
        process = sg.DiffusionProcess(sg.linear_schedule(1000), noise)
        exact_model = sg.GaussianScore(torch.zeros(SHAPE, dtype=torch.float64), rows.T.cov(), process)
        found.append(variational_bound(exact_model, process, flat, 0))
    assert found[1] - found[0] == pytest.approx(0.25, abs=0.03)  # a quarter of ½ log₂ 4, of models that are both exact
