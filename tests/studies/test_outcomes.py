import math

import pytest
import torch
from torch import nn

from scoregrain.datasets import Gaussian, RankOne
from scoregrain.diffusion import DiffusionProcess, GaussianMixtureScore
from scoregrain.schedules import linear_schedule
from scoregrain.studies.outcomes import (
    Sampling,
    distances,
    draw,
    excess_outcomes,
    first_order_gap,
    gap_outcomes,
    law_outcomes,
    sampler_outcomes,
    shape_outcomes,
)

SHAPE = (1, 4, 4)
V = torch.zeros(SHAPE, dtype=torch.float64)
V[0, 1, 2] = 1
LAW = RankOne(V)
PROCESS = DiffusionProcess(linear_schedule(1000))
SAMPLING = Sampling(400, "ddim", 20)


class Biased(nn.Module):
    """The exact model of a law plus a constant along one direction."""

    def __init__(self, law, bias=0.0, direction=V):
        super().__init__()
        self.exact = GaussianMixtureScore(law.weights, law.means, law.covariances, PROCESS)
        self.offset = bias * direction

    def forward(self, x, t):
        return self.exact(x, t) + self.offset.to(x)


@pytest.fixture(scope="module")
def ideal():
    return law_outcomes(Biased(LAW), PROCESS, LAW, SAMPLING, 0)


def test_the_exact_model_has_no_excess_and_no_gap(ideal):
    for name in ("excess", "excess_last", "excess_along", "excess_along_last", "excess_off"):
        assert abs(ideal[name]) < 1e-12, name
    assert max(ideal["excess_levels"]) < 1e-12
    for name in ("gap", "gap_along", "gap_off"):
        assert ideal[name] < 1e-5, name
    assert ideal["sw2"] == pytest.approx(ideal["sw2_exact"], rel=1e-6)
    assert ideal["width"] == pytest.approx(1, abs=0.2)
    assert ideal["off"] < 1e-3


def test_baselines_are_the_closed_forms_of_trivial_generators(ideal):
    assert ideal["sw2_zeros"] == pytest.approx(1, rel=0.1)  # MATH A8: SW₂² → tr M / D
    assert ideal["sw2_resample"] < 0.3 < ideal["sw2_white"]


def test_a_constant_error_along_the_direction_is_found_along_it():
    found = excess_outcomes(Biased(LAW, 0.3), PROCESS, LAW, Biased(LAW).exact, 0, count=64)
    assert found["excess_along"] == pytest.approx(0.09, rel=1e-5)
    assert found["excess_along_levels"] == pytest.approx([0.09] * 10, rel=1e-5)
    assert found["excess_along_last"] == pytest.approx(0.09, rel=1e-5)
    assert found["excess"] == pytest.approx(0.09 / 16, rel=1e-5)
    assert abs(found["excess_off"]) < 1e-9
    assert found["levels"] == [50 + 100 * i for i in range(10)]


def test_small_errors_end_where_the_first_order_says():
    """A constant error δ along v: the sampler with many steps moves every sample by δ ∫ d asinh(r/S)."""
    bias, process = 0.02, PROCESS
    model, exact = Biased(LAW, bias), Biased(LAW)
    sampling = Sampling(200, "heun", 200)
    moved, kept = (draw(each, process, SHAPE, sampling, 0) for each in (model, exact))
    found = gap_outcomes(moved, kept, LAW)["gap_along"]
    constant = torch.full((10,), bias**2, dtype=torch.float64)
    assert first_order_gap(constant, process, LAW.scale) == pytest.approx(found, rel=0.02)
    r = process.level(999)[1] / process.level(999)[0]
    assert first_order_gap(constant, process, 4.0) == pytest.approx(bias * math.asinh(r / 4), rel=0.01)


def test_a_constant_error_off_the_direction_is_found_off_it():
    other = torch.zeros(SHAPE, dtype=torch.float64)
    other[0, 0, 0] = 1
    found = excess_outcomes(Biased(LAW, 0.3, other), PROCESS, LAW, Biased(LAW).exact, 0, count=64)
    assert abs(found["excess_along"]) < 1e-9
    assert found["excess_off"] == pytest.approx(0.09 / 15, rel=1e-5)


def test_width_and_energy_off_are_those_of_the_samples():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(20_000, *SHAPE, generator=generator, dtype=torch.float64)
    samples[:, 0, 1, 2] *= 8  # twice the law's width, which is √16
    found = shape_outcomes(samples, LAW)
    assert found["width"] == pytest.approx(2, rel=0.02)
    assert found["off"] == pytest.approx(1, rel=0.02)


def test_the_gap_is_that_of_paired_samples():
    x = LAW.sample(50, torch.Generator().manual_seed(0), torch.float64)
    moved = x + 2 * V
    found = gap_outcomes(moved, x, LAW)
    assert found["gap"] == pytest.approx(2 / 4)
    assert found["gap_along"] == pytest.approx(2 / 4)  # in units of the width, 4
    assert found["gap_off"] == pytest.approx(0, abs=1e-9)
    gaussian = Gaussian(torch.zeros(SHAPE), 1.0)
    assert set(gap_outcomes(moved, x, gaussian)) == {"gap"}


class Exploding(nn.Module):
    def forward(self, x, t):
        return x * float("inf")


def test_samples_that_are_not_finite_are_none():
    assert draw(Exploding(), PROCESS, SHAPE, SAMPLING, 0) is None
    x = LAW.sample(100, torch.Generator().manual_seed(0))
    found = distances(None, x, x.flip(0), SAMPLING, 0)
    assert (found["sw2"], found["sw2_error"], found["msw2"]) == (None, None, None)
    assert math.isfinite(found["sw2_zeros"])
    assert found["sw2_resample"] == pytest.approx(0, abs=1e-6)
    assert shape_outcomes(None, LAW) == {"width": None, "off": None}
    assert gap_outcomes(None, x, LAW) == {"gap": None, "gap_along": None, "gap_off": None}


def test_pairs_share_what_is_drawn():
    a, b = (draw(Biased(LAW), PROCESS, SHAPE, SAMPLING, 3) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, draw(Biased(LAW), PROCESS, SHAPE, SAMPLING, 4))


def test_another_sampler_has_its_own_names():
    found = sampler_outcomes(Biased(LAW), PROCESS, LAW, Sampling(400, "ddpm", 20), 0)
    assert set(found) == {"sw2_ddpm", "sw2_exact_ddpm"}
    assert found["sw2_ddpm"] == pytest.approx(found["sw2_exact_ddpm"], rel=1e-6)


def test_a_network_that_diverged_has_no_error_and_no_distance():
    found = law_outcomes(Exploding(), PROCESS, LAW, SAMPLING, 0)
    assert set(found) == set(law_outcomes(Biased(LAW), PROCESS, LAW, Sampling(50, "ddim", 5), 0))
    lost = {"sw2", "sw2_error", "msw2", "width", "off", "gap", "gap_along", "gap_off", "levels"}
    assert {name for name, value in found.items() if value is None} == lost | {n for n in found if "excess" in n} | {
        "gap_first_order"
    }
