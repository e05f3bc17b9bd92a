"""The exact model of a mixture against its density, quadrature and the softmax over data."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from scoregrain._errors import InvalidInputError
from scoregrain.diffusion.exact import GaussianScore
from scoregrain.diffusion.mixture import GaussianMixtureScore
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.noise import ForwardNoise
from scoregrain.operators import DiagonalOperator
from scoregrain.schedules import PREDICTIONS, linear_schedule
from tests.diffusion.laws import BAND, NOISES, SHAPE, SIZE, close, data_law, process_of, random_arrays
from tests.reference.dense_operators import random_psd

every_prediction = pytest.mark.parametrize("prediction", PREDICTIONS)
LEVELS = (0, 60, 199)


def draws(model, t=-1, n=5):
    return model.sample(n, t, torch.Generator().manual_seed(7), dtype=torch.float64)


def mixture(prediction="epsilon", weight=NOISES["smooth"], omission=None):
    process = process_of(prediction, weight, omission=omission)
    means = torch.stack([data_law()[0].view(SHAPE), random_arrays(1, seed=9)[0], torch.zeros(SHAPE).double()])
    covariances = torch.stack([0.2 * random_psd(SIZE, SIZE, seed) for seed in range(3)])
    return GaussianMixtureScore([1.0, 2.0, 5.0], means, covariances, process)


@every_prediction
def test_one_component_is_the_gaussian(prediction):
    process, (mean, covariance) = process_of(prediction), data_law()
    model = GaussianScore(mean.view(SHAPE), covariance, process)
    single = GaussianMixtureScore([3.0], [mean.view(SHAPE)], [covariance], process)
    x = random_arrays(3)
    close(single(x, 60), model(x, 60))
    close(single.score(x, 60), model.score(x, 60))
    close(single.log_prob(x, 60), model.log_prob(x, 60))
    close(single.covariance(60), model.covariance(60))
    close(single.mean(60), model.mean(60))


@pytest.mark.parametrize("t", [-1, 0, 60, 199])
def test_the_score_of_a_mixture_is_the_gradient_of_its_density(t):
    model = mixture()
    x = draws(model, t).requires_grad_()
    densities = torch.stack(
        [MultivariateNormal(k.mean(t).flatten(), k.covariance(t)).log_prob(x.flatten(1)) for k in model.components], 1
    )
    expected = (densities + (torch.tensor([1.0, 2.0, 5.0]).double() / 8).log()).logsumexp(1)
    close(model.log_prob(x, t), expected, rtol=1e-9, atol=1e-8)
    (gradient,) = torch.autograd.grad(expected.sum(), x)
    close(model.score(x, t), gradient, rtol=1e-8, atol=1e-7)


@every_prediction
def test_the_process_reads_the_same_score_from_the_answer_of_a_mixture(prediction):
    model = mixture(prediction)
    for t in LEVELS:
        x = draws(model, t)
        score = model.score(x, t)
        close(model.process.score(model, x, t), score, rtol=1e-6, atol=1e-8 * score.abs().max().item())


@every_prediction
def test_a_mixture_in_one_dimension_is_what_quadrature_gives(prediction):
    """E[o | x_t] by integrating over x0 on a grid; nothing of the library's algebra is used."""
    noise = ForwardNoise(DiagonalOperator((1, 1), torch.tensor([0.7], dtype=torch.float64)), normalize="none")
    process = DiffusionProcess(linear_schedule(200), noise, prediction)
    means, deviations, weights = *torch.tensor([[-1.0, 0.5], [0.2, 0.5]], dtype=torch.float64), [0.3, 0.7]
    model = GaussianMixtureScore(weights, means.view(2, 1, 1), deviations.square().view(2, 1, 1), process)
    x0 = torch.linspace(-5, 5, 20_001, dtype=torch.float64)
    prior = sum(
        w * torch.exp(-0.5 * ((x0 - m) / d) ** 2) / d for w, m, d in zip(weights, means, deviations, strict=True)
    )
    for t in (20, 120):
        c, s = process.level(t)
        for x_t in (-1.0, 0.0, 0.4):
            eps = (x_t - c * x0) / s
            posterior = prior * torch.exp(-0.5 * eps**2 / 0.7)
            o = {"epsilon": eps, "v_prediction": c * eps - s * x0, "flow": eps - x0}.get(prediction, x0)
            expected = (posterior * o).sum() / posterior.sum()
            assert model(torch.full((1, 1, 1), x_t, dtype=torch.float64), t).item() == pytest.approx(
                expected.item(), rel=1e-9
            )


def test_a_mixture_of_points_is_the_softmax_over_the_data():
    """The empirical law: what a network that has learned its images by heart would say."""
    process, images = process_of("sample"), random_arrays(6, seed=2)
    model = GaussianMixtureScore([1.0] * 6, images, torch.zeros(6, SIZE, SIZE), process)
    x_t, (c, s) = random_arrays(4), process.level(120)
    offsets = (x_t[:, None] - c * images).flatten(0, 1)
    energy = process.noise.mahalanobis(offsets).view(4, 6) / (2 * s**2)
    close(model(x_t, 120), torch.einsum("nk,kchw->nchw", (-energy).softmax(1), images), rtol=1e-8, atol=1e-8)
    with pytest.raises(InvalidInputError, match="clean mixture has no density: use t ≥ 0"):
        model.log_prob(images)
    assert bool((model.sample(50)[:, None] - images.float()).flatten(2).norm(dim=2).min(1).values.max() < 1e-6)


def test_far_from_all_components_the_nearest_answers():
    model = mixture()
    far = 1e4 * torch.ones(1, *SHAPE).double()
    shares = model.responsibilities(far, 60)
    assert shares.max() == 1
    close(model(far, 60), model.components[int(shares.argmax())](far, 60))
    close(model.responsibilities(draws(model, 60), 60).sum(1), torch.ones(5))


def test_no_arrays_give_no_answers():
    model, nothing = mixture(), torch.zeros(0, *SHAPE)
    assert model(nothing, 60).shape == model.score(nothing, 60).shape == nothing.shape


@pytest.mark.parametrize("t", [-1, 60])
def test_draws_of_a_mixture_have_its_moments(t):
    model = mixture()
    x = model.sample(20_000, t, torch.Generator().manual_seed(3), dtype=torch.float64)
    deviation = model.covariance(t).diagonal().sqrt()
    assert ((x - model.mean(t)).flatten(1).mean(0).abs() / deviation).max() < 4.5 / math.sqrt(20_000)
    error = (torch.cov(x.flatten(1).T) - model.covariance(t)) / torch.outer(deviation, deviation)
    assert error.abs().max() < 4.5 * math.sqrt(2 / 20_000)
    close(model.weights, torch.tensor([1.0, 2.0, 5.0]) / 8)


@pytest.mark.parametrize("mode", ["conditional", "marginal"])
def test_a_mixture_with_a_band_omitted_weighs_components_by_what_it_sees(mode):
    model = mixture("sample", BAND, mode)
    process = model.process
    x = process.noised(random_arrays(3), 60, random_arrays(3, seed=1))[0]
    seen = x if mode == "conditional" else process.noise.project(x)
    parts = [process.noise.project(component(seen, 60)) for component in model.components]
    shares = model.responsibilities(seen, 60)
    expected = torch.einsum("nk,knchw->nchw", shares, torch.stack(parts))
    close(process.noise.project(process.predict(model, x, 60).x0), expected)
    band = random_arrays(1, seed=4) - process.noise.project(random_arrays(1, seed=4))
    moved = model.responsibilities(seen + band, 60)
    assert (moved - shares).abs().max() < 1e-9 if mode == "marginal" else (moved - shares).abs().max() > 0.01


def test_components_that_no_noise_brings_together_are_refused():
    process = process_of(weight=BAND, omission="conditional")
    flat, full = torch.zeros(SIZE, SIZE), torch.eye(SIZE)
    with pytest.raises(InvalidInputError, match="different supports even when noised"):
        GaussianMixtureScore([1, 1], torch.zeros(2, *SHAPE), [flat, full], process)
    with pytest.raises(InvalidInputError, match="different supports even when noised"):
        GaussianMixtureScore([1, 1], [torch.zeros(SHAPE), torch.ones(SHAPE)], [flat, flat], process)
    same = GaussianMixtureScore([1, 1], torch.zeros(2, *SHAPE), [flat, flat], process)
    close(same.weights, torch.tensor([0.5, 0.5]))
    marginal = process_of(weight=BAND, omission="marginal")
    assert len(GaussianMixtureScore([1, 1], torch.zeros(2, *SHAPE), [flat, full], marginal).components) == 2


@pytest.mark.parametrize(
    ("weights", "count", "message"),
    [
        ([1.0, -1.0], 2, "must be positive and finite, they lie between -1 and 1"),
        ([1.0, math.nan], 2, "must be positive"),
        (1.0, 1, "takes its weights first, K numbers in a list or a tensor, got float"),
        (torch.randn(2, *SHAPE), 2, r"its weights first, .* got \(2, 2, 3, 2\) of them"),
        ([torch.zeros(SHAPE)] * 2, 2, "its weights first, .* got list"),
        ([1.0], 2, "one weight, mean and covariance for each component, got 1, 2 and 2"),
        ([], 0, "got 0, 0 and 0"),
    ],
)
def test_weights_that_are_none_are_explained(weights, count, message):
    with pytest.raises(InvalidInputError, match=message):
        GaussianMixtureScore(weights, torch.zeros(count, *SHAPE), torch.eye(SIZE).expand(count, -1, -1), process_of())


def test_numpy_weights_will_do():
    weights, means, covariances = np.array([1.0, 3.0]), torch.zeros(2, *SHAPE), torch.eye(SIZE).expand(2, -1, -1)
    close(GaussianMixtureScore(weights, means, covariances, process_of()).weights, torch.tensor([0.25, 0.75]))


def test_its_name_says_what_it_is():
    assert repr(mixture()).startswith("GaussianMixtureScore(3 components, shape=(2, 3, 2), DiffusionProcess(")


def test_a_number_of_samples_that_is_none():
    process = DiffusionProcess(linear_schedule(1000))
    mixture = GaussianMixtureScore([0.5, 0.5], torch.zeros(2, 1, 3), torch.eye(3).expand(2, 3, 3), process)
    with pytest.raises(InvalidInputError, match="at least 1, got 0"):
        mixture.sample(0)
    with pytest.raises(InvalidInputError, match="at least 0, got -1"):
        mixture.components[0].sample(-1)
