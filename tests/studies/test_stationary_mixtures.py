"""The laws and levels of the limit study."""

import pytest
import torch

from scoregrain._random import stream
from scoregrain.operators import FourierOperator
from scoregrain.studies.stationary_mixtures import SCALES, Rings, component_spectrum, levels, mixture

SHAPE = (1, 8, 8)


def test_rings_gather_frequencies_of_one_radius():
    """On 4 × 4: r² in sixteenths 0, 1, 2, 4, 5, 8 of 1, 4, 4, 2, 4, 1 frequencies."""
    ring = Rings((4, 4))
    assert ring.counts.tolist() == [1, 4, 4, 2, 4, 1]
    torch.testing.assert_close(ring.radii, torch.tensor([0, 1, 2, 4, 5, 8.0], dtype=torch.float64).sqrt() / 4)


def test_the_power_of_rings_is_the_energy():
    x = torch.randn(5, *SHAPE, generator=stream(0, "x"), dtype=torch.float64)
    ring = Rings(SHAPE[1:])
    assert float((ring.power(x) * ring.counts).sum()) == pytest.approx(float(x.square().sum()) / 5)


def test_the_power_of_a_covariance_is_read_from_its_impulse_response():
    plane = component_spectrum(SHAPE)
    ring = Rings(SHAPE[1:])
    torch.testing.assert_close(ring.power_of(FourierOperator(SHAPE, plane)), ring.mean(plane))
    torch.testing.assert_close(ring.mean(plane), 1 / (1 + (ring.radii / 0.1).square()))


def test_samples_have_the_power_of_components_and_means():
    law, ring = mixture(SHAPE, 0), Rings(SHAPE[1:])
    x = law.sample(20_000, stream(0, "samples"), dtype=torch.float64)
    inside = ring.mean(component_spectrum(SHAPE)) * float(SCALES.mean())
    between = ring.power(law.means - law.mean)
    torch.testing.assert_close(ring.power(x - law.mean), inside + between, rtol=0.04, atol=0)


def test_a_singular_mixture_has_no_power_in_its_upper_frequencies():
    law = mixture(SHAPE, 0, singular=True)
    power = Rings(SHAPE[1:]).power(law.sample(50, stream(0, "samples"), dtype=torch.float64))
    radii = Rings(SHAPE[1:]).radii
    assert power[radii > 0.36].max() < 1e-25
    assert power[radii < 0.36].min() > 1e-3
    assert law.covariance.rank() < 64


def test_levels_are_ten_to_the_decade():
    sigmas = levels().sigmas
    assert len(sigmas) == 61
    torch.testing.assert_close(sigmas, torch.logspace(-4, 2, 61, dtype=torch.float64), rtol=1e-6, atol=0)
