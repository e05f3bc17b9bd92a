"""Radial spectra against laws with a known spectrum, a direct transform and the spread of repetitions."""

import math

import numpy as np
import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.metrics.spectra import radial_spectrum
from scoregrain.operators import FrequencyGrid, Rings

F64 = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=stream(seed, "spectra"), dtype=F64)


def coloured(shape, exponent, seed=0):
    """Noise of power (r + 0.1)^(2 exponent)."""
    gain = (FrequencyGrid(shape[2:]).radius("raw") + 0.1) ** exponent
    axes = tuple(range(2, len(shape)))
    return torch.fft.ifftn(torch.fft.fftn(normal(*shape, seed=seed), dim=axes) * gain, dim=axes).real


@pytest.mark.parametrize("shape", [(30, 2, 16), (30, 1, 9, 12), (20, 1, 4, 5, 6)])
def test_it_is_the_mean_over_rings_of_a_direct_transform(shape):
    x = 1 + normal(*shape)
    found = radial_spectrum(x)
    power = np.abs(np.fft.fftn(x.numpy(), axes=range(2, len(shape)), norm="ortho")) ** 2
    rings = Rings.of(FrequencyGrid(shape[2:]))
    each = np.stack([power.mean(1)[:, rings.index.numpy() == k].mean(1) for k in range(len(rings.count))], 1)
    np.testing.assert_allclose(found.power, each.mean(0), rtol=1e-10)
    np.testing.assert_allclose(found.error, each.std(0, ddof=1) / math.sqrt(shape[0]), rtol=1e-10)
    np.testing.assert_allclose(found.covariance, np.cov(each.T) / shape[0], rtol=1e-8, atol=1e-12)
    assert torch.equal(found.radius, rings.radius)
    assert torch.equal(found.count, rings.count)
    total = float(found.count.double() @ found.power)
    assert total == pytest.approx(float(x.square().mean() * math.prod(shape[2:])), rel=1e-12)  # Parseval


def test_white_noise_has_power_one_and_a_power_law_its_slope():
    white = radial_spectrum(normal(200, 1, 32, 32))
    assert float(((white.power - 1) / white.error).abs().max()) < 4
    np.testing.assert_allclose(white.error[1:], (2 / (white.count[1:] * 200.0)).sqrt(), rtol=0.3)
    law = radial_spectrum(coloured((200, 1, 32, 32), -1.5))
    ring_mean = Rings.of(FrequencyGrid((32, 32))).mean((FrequencyGrid((32, 32)).radius("raw") + 0.1) ** -3)
    assert float(((law.power - ring_mean) / law.error).abs().max()) < 4


def test_removing_the_mean_array_leaves_what_varies():
    x = normal(50, 1, 8, 8)
    constant = 5 * normal(1, 1, 8, 8, seed=2)
    found, plain = radial_spectrum(x + constant, centre=True), radial_spectrum(x, centre=True)
    torch.testing.assert_close(found.power, plain.power)
    total = float(found.count.double() @ found.power)
    assert total == pytest.approx(float(torch.trace(x.flatten(1).T.cov())), rel=1e-10)
    assert float(radial_spectrum(x + constant).power.max()) > 5 * float(found.power.max())


def test_blocks_change_nothing(monkeypatch):
    x = normal(10, 1, 8, 8)
    expected = radial_spectrum(x)
    monkeypatch.setattr("scoregrain.metrics.spectra._NUMBERS", 3 * 64)
    torch.testing.assert_close(radial_spectrum(x).power, expected.power, rtol=1e-13, atol=0)
    assert radial_spectrum(x.float()).power.dtype == F64


# the log-ratio -------------------------------------------------------------------------------------------------------


def test_a_factor_of_two_in_amplitude_is_log_four_in_every_ring():
    x = normal(50, 1, 8, 8)
    found = radial_spectrum(2 * x).log_ratio(radial_spectrum(x))
    np.testing.assert_allclose(found.log_ratio, math.log(4), rtol=1e-12)
    assert found.distance == pytest.approx(math.log(4), rel=1e-12)
    back = radial_spectrum(x).log_ratio(radial_spectrum(2 * x))
    np.testing.assert_allclose(back.log_ratio, -math.log(4), rtol=1e-12)
    assert radial_spectrum(x).log_ratio(radial_spectrum(-x)).distance == 0


def test_rings_count_as_their_frequencies():
    """Half of a ring's amplitude removed: share · (log 4)² is left, the root of it."""
    x = normal(50, 1, 8, 8)
    rings = Rings.of(FrequencyGrid((8, 8)))
    halved = torch.fft.ifftn(torch.fft.fftn(x, dim=(2, 3)) * torch.where(rings.index == 2, 0.5, 1), dim=(2, 3)).real
    found = radial_spectrum(x).log_ratio(radial_spectrum(halved))
    assert found.distance == pytest.approx(math.log(4) * math.sqrt(rings.count[2] / 64), rel=1e-10)


def test_the_declared_errors_are_the_spread_of_repetitions():
    """Arrays of random contrast: rings move together, so the error of the distance needs their covariance."""

    def found(seed):
        x = normal(60, 1, 8, 8, seed=2 * seed) * (0.3 * normal(60, 1, 1, 1, seed=10_000 + seed)).exp()
        return radial_spectrum(2 * x).log_ratio(radial_spectrum(coloured((80, 1, 8, 8), -0.3, seed=2 * seed + 1)))

    many = [found(k) for k in range(300)]
    spread = np.std([each.distance for each in many], ddof=1)
    assert np.mean([each.distance_error for each in many]) == pytest.approx(spread, rel=0.12)
    spreads = np.std([each.log_ratio.numpy() for each in many], axis=0, ddof=1)
    np.testing.assert_allclose(np.mean([each.error.numpy() for each in many], axis=0), spreads, rtol=0.2)


def test_a_ring_without_power_on_one_side_is_infinitely_far_and_on_both_sides_equal():
    low = torch.ones(4, 1, 8, 8) * torch.linspace(1, 2, 4)[:, None, None, None]
    white = normal(30, 1, 8, 8)
    found = radial_spectrum(low).log_ratio(radial_spectrum(white))
    assert math.isfinite(found.log_ratio[0])
    assert bool((found.log_ratio[1:] == -math.inf).all())
    assert bool(found.error[1:].isnan().all())
    assert (found.distance, math.isnan(found.distance_error)) == (math.inf, True)
    same = radial_spectrum(low).log_ratio(radial_spectrum(3 * low))
    assert same.log_ratio.tolist() == pytest.approx([-math.log(9)] + [0] * (len(same.log_ratio) - 1))
    zeros = radial_spectrum(torch.zeros(3, 1, 8, 8))
    assert zeros.log_ratio(zeros).distance == 0
    assert radial_spectrum(white).log_ratio(zeros).distance == math.inf


def test_rounding_of_single_precision_is_no_power():
    x = (coloured((20, 1, 16, 16), -0.1) @ torch.eye(16, dtype=F64)).float()
    rings = Rings.of(FrequencyGrid((16, 16)))
    kept = torch.fft.ifftn(torch.fft.fftn(x.double(), dim=(2, 3)) * (rings.index < 4), dim=(2, 3)).real.float()
    other = torch.fft.ifftn(torch.fft.fftn(x.double(), dim=(2, 3)) * (rings.index < 4) / 3, dim=(2, 3)).real.float()
    found = radial_spectrum(kept).log_ratio(radial_spectrum(other))
    assert bool((found.log_ratio[4:] == 0).all())
    np.testing.assert_allclose(found.log_ratio[:4], math.log(9), rtol=1e-5)


# bad input -----------------------------------------------------------------------------------------------------------


def test_what_has_no_spectrum_is_refused_in_one_line():
    with pytest.raises(InvalidInputError, match=r"samples \(N, C, \*space\) of 1 to 3 space dimensions, got 2 axes"):
        radial_spectrum(torch.zeros(3, 4))
    with pytest.raises(InvalidInputError, match="x holds too few samples: 1"):
        radial_spectrum(torch.zeros(1, 1, 4, 4))
    with pytest.raises(InvalidInputError, match=r"arrays of one size are compared, got \(4, 4\) and \(4, 5\)"):
        radial_spectrum(torch.zeros(2, 1, 4, 4)).log_ratio(radial_spectrum(torch.zeros(2, 1, 4, 5)))
    with pytest.raises(InvalidInputError, match="the other spectrum must be of type RadialSpectrum, got Tensor"):
        radial_spectrum(torch.zeros(2, 1, 4, 4)).log_ratio(torch.zeros(2))
