from types import SimpleNamespace

import pytest
import torch

from scoregrain.datasets import Images, Split
from scoregrain.operators import FrequencyGrid
from scoregrain.studies.image_outcomes import Target
from scoregrain.studies.omission_generators import TRAINED, TRIVIAL, band_power, omitting, trained, trivial

BAND = (0.3, 0.6)


@pytest.fixture(scope="module")
def noise():
    return omitting((8, 8), *BAND)


@pytest.fixture(scope="module")
def mask():
    return FrequencyGrid((8, 8)).band(*BAND)


def arrays(count, seed):
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) + 0.5


def test_the_noise_is_white_outside_the_band_and_nothing_in_it(noise, mask):
    values = noise.operator((1, 8, 8)).eigenvalues
    assert noise.rank((1, 8, 8)) == 64 - int(mask.sum())
    assert torch.allclose(values[: noise.rank((1, 8, 8))], torch.ones(()).double())
    drawn = torch.fft.fft2(noise.sample((4, 1, 8, 8), torch.Generator().manual_seed(0)))
    assert float(drawn[..., mask].abs().max()) < 1e-4


def test_the_power_in_the_band_is_that_of_its_frequencies(noise, mask):
    x = arrays(5, 0)
    expected = torch.fft.fft2(x.double(), norm="ortho")[..., mask].abs().square().sum(-1).mean()
    assert band_power(x, noise) == pytest.approx(float(expected), rel=1e-6)


def test_corrupted_data_have_the_corruption_in_the_band_and_nothing_else_changed(noise, mask):
    target = Target(arrays(2000, 1), arrays(2000, 2), arrays(2000, 3))
    made = trivial(target, noise, *BAND, seed=0, strength=2.0)
    assert list(made) == list(TRIVIAL)
    added = band_power(made["corrupted"], noise) - band_power(target.resample, noise)
    assert added == pytest.approx(4 * int(mask.sum()), rel=0.03)
    assert band_power(made["corrupted_emptied"], noise) < 1e-10
    for name in ("corrupted", "corrupted_emptied"):
        assert torch.allclose(noise.project(made[name]), noise.project(target.resample), atol=1e-5)


def fake_trainings(leak=0.0):
    """``fit`` and ``draw`` that train nothing; samples are ones, what is put into the band and a leak."""
    asked = []

    def fit(split, seed, noise=None, omission=None):
        asked.append((omission, split.train.pixels))
        return SimpleNamespace(noise=noise, loss=float(len(asked)))

    def draw(fitted, seed, content=None):
        x = 1 + arrays(4, 9)
        return x if content is None else fitted.noise.project(x) + content + leak

    return fit, draw, asked


def split():
    return Split(Images(arrays(20, 4), "train"), Images(arrays(6, 5), "held out"))


def test_every_generator_has_its_band(noise):
    fit, draw, asked = fake_trainings()
    data = split()
    found, values = trained(fit, draw, data, noise, 4, 0)
    assert set(found) == set(TRAINED)
    assert [mode for mode, _ in asked] == [None, None, "conditional", "marginal"]
    assert torch.allclose(asked[1][1], noise.project(data.train.pixels))
    assert all(torch.equal(asked[i][1], data.train.pixels) for i in (0, 2, 3))
    mean = data.train.pixels.mean(0)
    mean = mean - noise.project(mean[None])[0]
    for name, x in found.items():
        inside = x - noise.project(x)
        expected = mean.expand_as(x) if name.endswith("_mean") else torch.zeros_like(x)
        if name not in ("plain", "conditional_drawn"):
            assert torch.allclose(inside, expected, atol=1e-5), name
    assert torch.allclose(noise.project(found["plain"]), noise.project(found["plain_emptied"]), atol=1e-5)
    drawn = found["conditional_drawn"] - noise.project(found["conditional_drawn"])
    theirs = data.train.pixels - noise.project(data.train.pixels)
    assert all(float((theirs - one).abs().amax((1, 2, 3)).min()) < 1e-5 for one in drawn)
    assert values["deviation"] < 1e-5
    assert values["loss_marginal"] == 4.0


def test_what_leaks_into_the_band_is_told_in_units_of_the_data():
    low = omitting((8, 8), 0.0, 0.3)  # its band holds the constant
    fit, draw, _ = fake_trainings(leak=0.25)
    data = split()
    _, values = trained(fit, draw, data, low, 4, 0)
    assert values["deviation"] == pytest.approx(0.25 / float(data.train.pixels.square().mean().sqrt()), rel=1e-4)


def test_samples_that_are_not_finite_are_none(noise):
    fit, _, _ = fake_trainings()
    found, values = trained(fit, lambda *_: None, split(), noise, 4, 0)
    assert set(found.values()) == {None}
    assert values["deviation"] is None  # not 0, which would say that the band is exact
