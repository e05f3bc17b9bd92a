"""The Fréchet distance against Gaussian closed forms; its name says what it is."""

import sys

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import nn

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.metrics._random_features import RandomFeatures
from scoregrain.metrics.frechet import frechet_distance

SHAPE = (2, 3, 2)


def draws(n, seed=0, shape=SHAPE):
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(12, 12, generator=torch.Generator().manual_seed(seed + 100))
    x = torch.randn(n, *shape, generator=g)
    return (x.flatten(1) @ mix).view(n, *shape) + seed if shape == SHAPE else x


def bures(x, y):
    """By scipy's matrix root of numpy's covariances."""
    a, b = (np.cov(each, rowvar=False) for each in (x, y))
    root = linalg.sqrtm(a @ b).real
    return np.square(x.mean(0) - y.mean(0)).sum() + np.trace(a + b - 2 * root)


def features_of(x):
    return torch.stack((x.flatten(1).mean(1), x.flatten(1).std(1), x[:, 0, 0, 0]), 1)


@pytest.mark.parametrize("features", ["pixels", features_of])
def test_it_is_the_distance_of_the_fitted_gaussians(features):
    x, y = draws(300), draws(200, 1)
    found = frechet_distance(x, y, features)
    extract = features_of if callable(features) else (lambda x: x.flatten(1))
    assert found.value == pytest.approx(bures(extract(x).double().numpy(), extract(y).double().numpy()), rel=1e-6)


def test_distances_of_one_set_and_of_a_shifted_one():
    x = draws(200).double()
    assert frechet_distance(x, x).value == pytest.approx(0, abs=1e-6)
    shifted = frechet_distance(x, x + 2)
    assert shifted.value == pytest.approx(4 * 12, rel=1e-9)
    scaled = frechet_distance(x, 3 * x)
    moment = x.flatten(1).mean(0).square().sum() + x.flatten(1).var(0).sum()
    assert scaled.value == pytest.approx(4 * moment.item(), rel=1e-9)  # (3 - 1)² of mean and spread


def test_it_is_symmetric_and_rotations_do_not_change_it():
    x, y = draws(200).double(), draws(200, 1).double()
    q = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(5))).Q
    value = frechet_distance(x, y).value
    turned = [(each.flatten(1) @ q).view(each.shape) for each in (x, y)]
    assert frechet_distance(y, x).value == pytest.approx(value, rel=1e-9)
    assert frechet_distance(*turned).value == pytest.approx(value, rel=1e-9)
    assert frechet_distance(x, y, batch_size=7).value == pytest.approx(value, rel=1e-12)


def repeated(scale):
    """Values, biases and errors of 60 pairs of sets, (3, 60)."""
    g = torch.Generator().manual_seed(0)
    pairs = (
        (torch.randn(400, 1, 3, 3, generator=g), scale * torch.randn(400, 1, 3, 3, generator=g)) for _ in range(60)
    )
    return np.array(
        [(run.value, run.bias, run.standard_error) for run in (frechet_distance(*pair) for pair in pairs)]
    ).T


def test_the_jackknife_finds_bias_and_error():
    """White against twice white: 9 (2 - 1)² is the truth, what is above it the bias, the spread the error."""
    values, biases, errors = repeated(2)
    off = values - biases - 9
    assert abs(off.mean()) < 4 * off.std() / np.sqrt(60)
    assert values.mean() - 9 > 4 * values.std() / np.sqrt(60)
    assert 0.75 < values.std(ddof=1) / np.sqrt(np.square(errors).mean()) < 1.3


def test_between_sets_of_one_law_the_distance_is_bias_and_the_error_conservative():
    values, biases, errors = repeated(1)
    assert biases.mean() == pytest.approx(values.mean(), rel=0.1)
    assert 0.5 < values.std(ddof=1) / np.sqrt(np.square(errors).mean()) < 0.85


class Pooled(nn.Module):
    def forward(self, x):
        return x.flatten(2).mean(2)


def test_the_name_says_the_features_and_the_counts():
    x, y = draws(1200), draws(40, 1)
    assert frechet_distance(x, y).name == "FD-pixels (1,200 vs 40)"
    assert frechet_distance(x, y, "random").name == "FD-random-conv (1,200 vs 40)"
    assert frechet_distance(x, y, Pooled().eval()).name == "FD-Pooled (1,200 vs 40)"
    assert frechet_distance(x, y, features_of).name == "FD-features_of (1,200 vs 40)"
    assert frechet_distance(x, y, Pooled().eval(), name="mine").name == "FD-mine (1,200 vs 40)"


def test_too_few_samples_for_the_covariance_are_noticed():
    assert frechet_distance(draws(300), draws(300, 1)).singular is False
    found = frechet_distance(draws(40), draws(300), "random")
    assert (found.singular, found.dimension) == (True, 160)


@pytest.mark.parametrize("shape", [(1, 16), (3, 9, 8), (1, 4, 4, 4)])
def test_random_features_are_fixed_and_see_texture(shape):
    """White against smooth samples of one variance, beside another white set; the same numbers for every batch."""
    g = torch.Generator().manual_seed(0)
    white, again, third = (torch.randn(300, *shape, generator=g) for _ in range(3))
    assert RandomFeatures()(white).shape == (300, 160)
    torch.testing.assert_close(RandomFeatures()(white)[:5], RandomFeatures()(white[:5]), rtol=1e-5, atol=1e-6)
    smooth = frechet_distance(white, (third + third.roll(1, -1)) / 2**0.5, "random")
    assert smooth.value - frechet_distance(white, again, "random").value > 5 * smooth.standard_error


def test_random_features_scale_with_the_samples():
    """Without biases a ReLU network is homogeneous."""
    x = draws(3, shape=(1, 6, 6))
    torch.testing.assert_close(RandomFeatures()(4 * x), 4 * RandomFeatures()(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((draws(15), draws(20)), "x holds too few samples: 15, at least 16"),
        ((draws(20), draws(20, shape=(2, 3, 3))), "must be samples of one shape"),
        ((draws(20).byte(), draws(20)), "x must be floating-point samples"),
        ((draws(20), draws(20), "pixel"), "unknown features 'pixel' .did you mean 'pixels'"),
        ((draws(20), draws(20), 64), "unknown features 64"),
        ((draws(20), draws(20), Pooled()), r"training mode: call its eval\(\) first"),
        ((draws(20), draws(20), lambda x: x), r"must be a floating-point tensor \(20, F\), got \(20, 2, 3, 2\)"),
        ((draws(20), draws(20), lambda x: x.flatten(1) * torch.inf), "the features '<lambda>' must be finite"),
        ((draws(20).flatten(1), draws(20).flatten(1), "random"), "of 1 to 3 axes, got"),
    ],
)
def test_what_has_no_features_is_named(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        frechet_distance(*arguments)


def test_equal_sets_of_few_samples_are_at_no_negative_distance():
    """Roots of eigenvalues that are 0 but for their rounding: -1e-6 without care."""
    x = draws(20, shape=(1, 10, 10))
    assert 0 <= frechet_distance(x, x).value < 1e-4


def test_samples_of_any_finite_size_have_a_finite_distance():
    x, y = draws(30), draws(30, seed=1)
    found, expected = frechet_distance(1e20 * x, 1e20 * y), frechet_distance(x, y)
    for name in ("value", "standard_error", "bias"):
        assert getattr(found, name) == pytest.approx(1e40 * getattr(expected, name), rel=1e-4)


def test_eigenvalues_that_do_not_converge_are_done_without(monkeypatch):
    """LAPACK gives up on some products of singular covariances: 150 arrays along one direction of 36, now and then."""
    x, y = draws(40), draws(30, seed=1)
    expected = frechet_distance(x, y)

    def gives_up(matrix):
        raise torch.linalg.LinAlgError("failed to converge")

    monkeypatch.setattr(torch.linalg, "eigvals", gives_up)
    found = frechet_distance(x, y)
    for name in ("value", "standard_error", "bias"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-6)


@pytest.mark.parametrize("features", ["pixels", "random"])
def test_the_default_device_changes_nothing(features):
    x, y = draws(20), draws(20, seed=1)
    with torch.device("meta"):
        aside = frechet_distance(x, y, features)
    assert aside == frechet_distance(x, y, features)


def test_without_torchmetrics_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    with pytest.raises(ScoregrainError, match=r"pip install 'scoregrain\[eval\]'"):
        frechet_distance(draws(20), draws(20))
