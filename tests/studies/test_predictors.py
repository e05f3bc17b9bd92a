from types import SimpleNamespace

import pytest
import torch

from scoregrain.datasets import Images, probing_basis
from scoregrain.diffusion import DiffusionProcess
from scoregrain.geometry import measure_geometry
from scoregrain.schedules import linear_schedule
from scoregrain.studies.directions import haar
from scoregrain.studies.families import study_family
from scoregrain.studies.predictors import (
    INITIAL_NETWORKS,
    KNOWN,
    initial_loss,
    named_law,
    predict,
)

LAWS = ("smooth", "rough", "low", "high", "pixel", "mixture", "rough-mixture")


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
    found = predict(family, measure_geometry(family, 64), [Images(x, "low", ())], haar(16, 0))[0]
    assert list(found) == list(KNOWN)
    assert found["alpha"] == found["centred"] == found["alpha_first"] == found["alpha_second"] == 1
    assert found["alpha_turned"] == 1
    assert found["relative"] == 0.5
    assert found["effective_rank"] == pytest.approx(16)
    assert found["parameters"] == 16 * 17


def test_alpha_of_rank_one_data_is_their_rayleigh_quotient():
    family = study_family("dit-4/2")
    geometry, law = measure_geometry(family, 64), named_law("pixel", 4)
    x = law.sample(500, torch.Generator().manual_seed(0))
    v = law.direction.flatten()
    expected = float(v @ geometry.matrix() @ v) / geometry.trace * 16
    turn = haar(16, 3)
    found = predict(family, geometry, [Images(x, "pixel", ())], turn)[0]
    assert found["alpha"] == pytest.approx(expected, rel=1e-6)
    turned = turn @ geometry.matrix() @ turn.T
    assert found["alpha_turned"] == pytest.approx(float(v @ turned @ v) / geometry.trace * 16, rel=1e-6)


def test_what_depends_on_the_family_alone_is_measured_once():
    family, built = study_family("dit-4/2"), []
    counting = SimpleNamespace(prediction="epsilon", construct=lambda *at: built.append(at) or family.construct(*at))
    data = [Images(named_law(name, 4).sample(300, torch.Generator().manual_seed(0)), name, ()) for name in LAWS[:3]]
    found = predict(counting, measure_geometry(family, 64), data, haar(16, 0))
    assert len(built) == INITIAL_NETWORKS
    assert len({each["trace"] for each in found}) == len({each["parameters"] for each in found}) == 1
    assert len({each["alpha"] for each in found}) == 3


def test_the_loss_before_training_of_a_network_of_little_output_is_that_of_zeros():
    process = DiffusionProcess(linear_schedule(1000))
    networks = [study_family("mlp-4").construct(0, index) for index in range(4)]
    x = Images(torch.zeros(256, 1, 4, 4), "zeros", ())
    assert initial_loss(networks, process, x) == pytest.approx(1, abs=0.1)  # E ε² = 1
