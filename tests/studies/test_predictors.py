import itertools

import numpy as np
import pytest
import torch

from scoregrain.datasets import Images, probing_basis
from scoregrain.geometry import measure_geometry
from scoregrain.studies.families import study_family
from scoregrain.studies.predictors import (
    HALVES,
    PREDICTORS,
    crossed_interval,
    initial_loss,
    named_law,
    network_permutations,
    pooled,
    predict,
    within,
)

LAWS = ("smooth", "rough", "low", "high", "pixel", "mixture", "rough-mixture")
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("name", LAWS)
def test_laws_have_the_energy_of_white_noise(name):
    law = named_law(name, 8)
    energy = float(law.covariance.to_dense().trace() + law.mean.square().sum())
    assert energy == pytest.approx(64, rel=0.02)  # the mixtures' spread adds a hundredth


def test_smooth_and_rough_fields_have_one_spectrum_in_opposite_order():
    smooth, rough = (named_law(name, 8).covariance.to_dense() for name in ("smooth", "rough"))
    waves = probing_basis("dct-ii", (1, 8, 8))
    assert torch.linalg.eigvalsh(smooth) == pytest.approx(torch.linalg.eigvalsh(rough))
    constant, fastest = waves[:, 0], waves[:, -1]
    assert constant @ smooth @ constant == pytest.approx(float(fastest @ rough @ fastest))
    assert constant @ smooth @ constant / (fastest @ smooth @ fastest) == pytest.approx(99**1.5)  # 1 + 7² + 7²


def test_rank_one_laws_lie_where_they_say():
    assert named_law("pixel", 8).direction[0, 4, 4] == 1
    assert abs(named_law("low", 8).direction.sum()) < 1e-12  # not the constant
    assert named_law("high", 8).direction.flatten() @ probing_basis("dct-ii", (1, 8, 8))[:, -1] == pytest.approx(1)
    assert named_law("digits", 8) is None


@pytest.mark.filterwarnings("ignore::scoregrain._errors.TimeBlindWarning")
def test_predictors_of_an_isotropic_network_are_chance():
    family = study_family("linear-4")
    x = named_law("low", 4).sample(300, torch.Generator().manual_seed(0))
    found = predict(family, measure_geometry(family, 64), Images(x, "low", ()))
    assert list(found) == [*PREDICTORS, *HALVES]
    assert found["alpha"] == found["centred"] == found["alpha_first"] == found["alpha_second"] == 1
    assert found["relative"] == 0.5
    assert found["effective_rank"] == pytest.approx(16)
    assert found["parameters"] == 16 * 17


def test_alpha_of_rank_one_data_is_their_rayleigh_quotient():
    family = study_family("dit-4/2")
    geometry, law = measure_geometry(family, 64), named_law("pixel", 4)
    x = law.sample(500, torch.Generator().manual_seed(0))
    v = law.direction.flatten()
    expected = float(v @ geometry.matrix() @ v) / geometry.trace * 16
    assert predict(family, geometry, Images(x, "pixel", ()))["alpha"] == pytest.approx(expected, rel=1e-6)


def test_the_loss_before_training_of_a_network_of_little_output_is_that_of_zeros():
    x = torch.zeros(256, 1, 4, 4)
    assert initial_loss(study_family("mlp-4"), x) == pytest.approx(1, abs=0.1)  # E ε² = 1


def test_within_a_data_set_what_differs_between_them_does_not_count():
    x = np.array([[1.0, 2, 3, 4], [4, 3, 2, 1]])
    y = np.array([[101.0, 102, 103, 104], [4, 3, 2, 1]])
    assert within(x, y) == pytest.approx(1)
    assert pooled(x, y) < 0.6
    assert within(x, y * np.array([[1], [-1]])) == pytest.approx(0)


def test_a_data_set_without_an_order_is_left_out():
    x = np.array([[1.0, 2, 3], [1, 1, 1]])
    assert within(x, x) == pytest.approx(1)
    assert np.isnan(within(x[1:], x[1:]))


def test_exchanging_networks_keeps_what_data_sets_have_in_common():
    order = np.arange(4.0)
    x, y = np.tile(order, (6, 1)), np.tile(order, (6, 1)) + 0.1 * RNG.normal(size=(6, 4))
    exact = np.mean([within(x, y[:, list(p)]) >= within(x, y) - 1e-12 for p in itertools.permutations(range(4))])
    assert network_permutations(within, x, y) == exact == 1 / 24  # not 24⁻⁶, as if data sets were independent
    assert network_permutations(within, x, -y) == 1


def test_the_interval_covers_no_correlation_where_networks_differ_alike_in_all_data_sets():
    refused, cells, trials = 0, 0, 60
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        x = rng.normal(size=(1, 7)) + 0.1 * rng.normal(size=(6, 7))  # a property of the network, nearly
        y = rng.normal(size=(1, 7, 1)) + 0.1 * rng.normal(size=(6, 7, 2))  # and another, independent one
        low, high = crossed_interval(within, x, y, draws=500)
        refused += low > 0 or high < 0
        rho = [float(within(x[i : i + 1], y[i : i + 1].mean(-1))) for i in range(6)]
        cells += abs(np.mean(rho)) > 2.57 * np.std(rho, ddof=1) / np.sqrt(6)
    assert refused <= 6  # nominal 3 of 60; a count above 6 has p = 0.03
    assert cells > 20  # data sets taken for independent reject most of the time


def test_the_interval_finds_a_correlation():
    x = RNG.normal(size=(6, 7))
    low, high = crossed_interval(pooled, x, x[..., None] + 0.2 * RNG.normal(size=(6, 7, 3)))
    assert 0.5 < low < high < 1
    assert np.isnan(crossed_interval(within, x[:1], x[:1, :, None])).all()
