import pytest
import torch

from scoregrain.datasets import RankOne
from scoregrain.noise import ForwardNoise
from scoregrain.studies.families import study_family
from scoregrain.studies.sphere import SphereStudy
from scoregrain.training import TrainConfig
from scoregrain.training.fit import fit

FAMILY = study_family("mlp-8")
LAW = RankOne(torch.eye(64)[3].reshape(FAMILY.shape))
NOISE = ForwardNoise.parse("power-law:alpha=-0.1")


def parameters(fitted):
    return torch.cat([p.flatten() for p in fitted.model.parameters()])


def study(**given):
    usual = {"batch_size": 5, "lr_schedule": "cosine", "warmup": 2, "arrays": 40}
    return SphereStudy.at("tiny", **(usual | given))


def test_trained_is_fit_with_the_settings_of_the_study():
    found = study().trained(FAMILY, LAW, 7, 6, 1e-2, noise=NOISE)
    config = TrainConfig(
        model=FAMILY,
        data=LAW,
        noise=NOISE,
        limit=40,
        steps=6,
        batch_size=5,
        learning_rate=1e-2,
        lr_schedule="cosine",
        warmup=2,
        ema=0.0,
        seed=7,
    )
    assert torch.equal(parameters(found), parameters(fit(config)))


@pytest.mark.parametrize("changed", [{"batch_size": 6}, {"lr_schedule": "constant"}, {"warmup": 1}, {"arrays": 20}])
def test_every_setting_of_the_training_changes_it(changed):
    usual, other = (each.trained(FAMILY, LAW, 7, 6, 1e-2) for each in (study(), study(**changed)))
    assert not torch.equal(parameters(usual), parameters(other))


def test_the_sampling_is_that_of_the_settings():
    found = study(samples=9, sampler="heun", sampler_steps=3).sampling
    assert (found.count, found.sampler, found.steps, found.projections) == (9, "heun", 3, None)
