"""What is measured on a sphere: the exact score against quadrature, shapes against closed forms."""

import math

import pytest
import torch
from torch import nn

from scoregrain.datasets import Sphere
from scoregrain.diffusion import DiffusionProcess
from scoregrain.metrics import direction_error
from scoregrain.schedules import linear_schedule
from scoregrain.studies.outcomes import Sampling
from scoregrain.studies.sphere_outcomes import exact_epsilon, langevin, shape_of, sphere_outcomes

SHAPE = (1, 4, 4)


@pytest.fixture(scope="module")
def process():
    return DiffusionProcess(linear_schedule(1000))


@pytest.fixture(scope="module")
def law():
    columns = torch.linalg.qr(torch.randn(16, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    return Sphere(columns, SHAPE)


def test_langevin_is_its_formula_and_its_limits():
    kappa = torch.tensor([1e-6, 9.99e-3, 1.001e-2, 1.0, 50.0, 1e6], dtype=torch.float64)
    exact = torch.tensor(
        [3.3333333333326e-7, 3.3299778445e-3, 3.3366444e-3, 1 / math.tanh(1) - 1, 0.98, 1 - 1e-6], dtype=torch.float64
    )
    torch.testing.assert_close(langevin(kappa), exact, rtol=1e-7, atol=0)
    assert langevin(torch.zeros(1)) == 0


@pytest.mark.parametrize("t", [5, 300, 700, 999])
def test_the_exact_model_is_the_posterior_mean_by_quadrature(process, law, t):
    """E[x | x_t] by importance weights over a dense lattice of the sphere."""
    count = 400_000
    k = torch.arange(count, dtype=torch.float64) + 0.5
    polar, azimuth = torch.acos(1 - 2 * k / count), math.pi * (1 + 5**0.5) * k
    units = torch.stack([azimuth.cos() * polar.sin(), azimuth.sin() * polar.sin(), polar.cos()], 1)
    c, s = process.level(t)
    x0 = law.sample(3, torch.Generator().manual_seed(1), torch.float64)
    x_t = c * x0 + s * torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = x_t.flatten(1) @ law.directions
    weights = torch.softmax(c * 4 * (y @ units.T) / s**2, dim=1)
    mean = 4 * (weights @ units) @ law.directions.T
    epsilon = (x_t.flatten(1) - c * mean) / s
    torch.testing.assert_close(
        exact_epsilon(law, process)(x_t, torch.tensor([t])).flatten(1), epsilon, rtol=0, atol=2e-3
    )


def test_no_model_denoises_better_than_the_exact_one(process, law):
    """The error of any model is the exact one's plus its distance from it: a shift of it adds its square."""
    exact = exact_epsilon(law, process)

    def shifted(x_t, t):
        return exact(x_t, t) + 0.3

    x0 = law.sample(4000, torch.Generator().manual_seed(3))
    found = direction_error(shifted, process, x0, torch.eye(16, dtype=torch.float64), exact, levels=[100, 500, 900])
    assert found.excess.value == pytest.approx(0.09, rel=1e-4)
    gap = (found.error.value - found.bayes.value - 0.09).abs()
    assert (gap < 5 * (0.6 / 4000**0.5)).all()  # the cross term: 2 · 0.3 · (ε* - ε), which has a variance below 1


def test_shapes_are_those_of_what_was_put_in(law):
    sphere = law.sample(50, torch.Generator().manual_seed(0), torch.float64)
    assert shape_of(sphere, law) == pytest.approx({"radius": 0, "off": 0}, abs=1e-12)
    assert shape_of(1.5 * sphere, law) == pytest.approx({"radius": 0.5, "off": 0}, abs=1e-12)
    rest = torch.linalg.qr(torch.cat([law.directions, torch.eye(16, dtype=torch.float64)], 1))[0][:, 3:16]
    moved = sphere + 2 * rest[:, 0].reshape(SHAPE)
    assert shape_of(moved, law) == pytest.approx({"radius": math.sqrt(20 / 16) - 1, "off": 4 / 13})


def test_the_exact_model_has_no_excess_and_samples_like_a_resample(process, law):
    found = sphere_outcomes(exact_epsilon(law, process), process, law, Sampling(400, steps=50), seed=0)
    assert found["excess_along"] == found["excess_off"] == 0
    assert found["sw2"] == found["sw2_exact"]
    assert found["sw2"] < 2 * found["sw2_resample"] < 0.5 * found["sw2_zeros"]
    assert found["radius"] < 0.05
    assert found["off"] < 1e-3


def test_zeros_are_at_one(process, law):
    found = sphere_outcomes(exact_epsilon(law, process), process, law, Sampling(64, steps=2), seed=0)
    assert found["sw2_zeros"] == pytest.approx(1, abs=0.03)


def test_a_model_of_no_numbers_has_none(process, law):
    class Broken(nn.Module):
        def forward(self, x, t):
            return x * math.nan

    found = sphere_outcomes(Broken(), process, law, Sampling(16, steps=2), seed=0)
    for name in ("sw2", "radius", "off", "excess_along", "excess_off"):
        assert found[name] is None
    assert found["sw2_zeros"] > 0
