"""The exact model of a Gaussian against dense algebra, conditioning and automatic differentiation."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from scoregrain._errors import IllConditionedNoiseWarning, InvalidInputError
from scoregrain.diffusion.exact import GaussianScore
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.noise import Custom, ForwardNoise
from scoregrain.operators import DenseOperator, DiagonalOperator
from scoregrain.schedules import PREDICTIONS, linear_schedule
from tests.diffusion.laws import BAND, NOISES, SHAPE, SIZE, close, data_law, dense, process_of, random_arrays

every_prediction = pytest.mark.parametrize("prediction", PREDICTIONS)
LEVELS = (0, 60, 199)
RANKS = (12, 5, 1, 0)


def gaussian(prediction="epsilon", weight=NOISES["smooth"], rank=SIZE, omission=None):
    process, (mean, covariance) = process_of(prediction, weight, omission=omission), data_law(rank)
    return GaussianScore(mean.view(SHAPE), covariance, process), mean, covariance


def pinv(matrix):
    return torch.linalg.pinv(matrix, rtol=1e-9, hermitian=True)


def draws(model, t=-1, n=5):
    return model.sample(n, t, torch.Generator().manual_seed(7), dtype=torch.float64)


@pytest.mark.parametrize("rank", RANKS)
@every_prediction
def test_the_answer_is_the_regression_of_the_target_on_x_t(prediction, rank):
    """E[x0|x_t] and E[ε|x_t] by the dense formulas, for data of any rank down to a point."""
    model, mean, covariance = gaussian(prediction, rank=rank)
    process, sigma = model.process, dense(model.process.noise)
    for t in LEVELS:
        c, s = process.level(t)
        x_t = draws(model, t)
        off = torch.linalg.solve(c**2 * covariance + s**2 * sigma, (x_t.flatten(1) - c * mean).T).T
        x0, eps = mean + c * off @ covariance, s * off @ sigma
        expected = {"epsilon": eps, "v_prediction": c * eps - s * x0, "flow": eps - x0}.get(prediction, x0)
        close(model(x_t, t).flatten(1), expected, rtol=1e-8, atol=1e-8)
        said = process.predict(model, x_t, t)
        close(said.x0.flatten(1), x0, rtol=1e-7, atol=1e-7)
        close(said.eps.flatten(1), eps, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("rank", [12, 9, 3, 0])
@every_prediction
def test_with_a_band_omitted_it_is_the_law_given_the_band(prediction, rank):
    """Conditional: Π x given N x, by conditioning the blocks (MATH B12)."""
    model, mean, covariance = gaussian(prediction, BAND, rank, "conditional")
    process, sigma = model.process, dense(model.process.noise)
    values, basis = torch.linalg.eigh(sigma)
    band, rest = basis[:, values < 1e-9], basis[:, values > 1e-9]
    gain = rest.T @ covariance @ band @ pinv(band.T @ covariance @ band)
    left = rest.T @ covariance @ rest - gain @ band.T @ covariance @ rest
    for t in (0, 60):
        c, s = process.level(t)
        x_t = draws(model, t)
        flat = x_t.flatten(1)
        prior = rest.T @ mean + (flat / c - mean) @ band @ gain.T
        off = torch.linalg.solve(c**2 * left + s**2 * rest.T @ sigma @ rest, (flat @ rest - c * prior).T).T
        said = process.predict(model, x_t, t)
        close(said.x0.flatten(1) @ rest, prior + c * off @ left, rtol=1e-7, atol=1e-7)
        close(said.eps.flatten(1) @ rest, s * off @ (rest.T @ sigma @ rest), rtol=1e-7, atol=1e-7)


@every_prediction
def test_marginal_it_is_the_law_of_what_is_noised_alone(prediction):
    model, mean, covariance = gaussian(prediction, BAND, omission="marginal")
    process, sigma = model.process, dense(model.process.noise)
    projector = sigma @ pinv(sigma)
    inside, centre = projector @ covariance @ projector, projector @ mean
    close(model.covariance(), inside)
    close(model.mean().flatten(), centre)
    for t in LEVELS:
        c, s = process.level(t)
        x_t = random_arrays(4, seed=t)
        off = (x_t.flatten(1) @ projector - c * centre) @ pinv(c**2 * inside + s**2 * sigma)
        said = process.predict(model, x_t, t, torch.zeros(SHAPE))
        close(said.x0.flatten(1), centre + c * off @ inside, rtol=1e-7, atol=1e-7)
        close(said.eps.flatten(1), s * off @ sigma, rtol=1e-7, atol=1e-7)
        close(model(x_t, t), model(process.noise.project(x_t), t))


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("prediction", ["epsilon", "flow", "edm"])
def test_mean_and_covariance_at_every_level(prediction, rank):
    model, mean, covariance = gaussian(prediction, rank=rank)
    sigma = dense(model.process.noise)
    for t in (-1, *LEVELS):
        c, s = model.process.level(t)
        close(model.mean(t), c * mean.view(SHAPE))
        close(model.covariance(t), c**2 * covariance + s**2 * sigma, rtol=1e-10, atol=1e-11 * (1 + s**2))


@pytest.mark.parametrize("t", [-1, 0, 60, 199])
@pytest.mark.parametrize("prediction", ["epsilon", "flow", "edm"])
def test_the_density_is_the_textbook_one_and_the_score_its_gradient(prediction, t):
    model, mean, covariance = gaussian(prediction)
    c, s = model.process.level(t)
    law = MultivariateNormal(c * mean, c**2 * covariance + s**2 * dense(model.process.noise))
    x = draws(model, t).requires_grad_()
    density = model.log_prob(x, t)
    close(density, law.log_prob(x.flatten(1)), rtol=1e-9, atol=1e-8)
    (gradient,) = torch.autograd.grad(density.sum(), x)
    close(model.score(x, t), gradient, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize(
    ("t", "omission", "rank"),
    [(-1, None, 4), (-1, "conditional", 4), (199, "conditional", 12), (60, "conditional", 2), (-1, "marginal", 12)],
)
def test_a_singular_law_has_the_density_of_its_support(t, omission, rank):
    """In a basis of the support it is the textbook's. At the last level of a flow, c = 0, only the noise is left."""
    model, _, _ = gaussian("flow", BAND if omission else NOISES["smooth"], rank, omission)
    values, basis = torch.linalg.eigh(model.covariance(t))
    basis = basis[:, values > 1e-9 * values[-1]]
    assert basis.shape[1] < SIZE
    mean = model.mean(t).flatten()
    law = MultivariateNormal(basis.T @ mean, basis.T @ model.covariance(t) @ basis)
    x = draws(model, t)
    close(model.log_prob(x, t), law.log_prob(x.flatten(1) @ basis), rtol=1e-8, atol=1e-7)


@pytest.mark.parametrize("t", [-1, 60])
def test_draws_have_the_law(t):
    model, _, _ = gaussian()
    x = model.sample(20_000, t, torch.Generator().manual_seed(1), dtype=torch.float64)
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(model.covariance(t)), (x - model.mean(t)).flatten(1).T, upper=False
    )
    assert white.mean(1).abs().max() < 4.5 / math.sqrt(20_000)
    assert (torch.cov(white) - torch.eye(SIZE)).abs().max() < 4.5 * math.sqrt(2 / 20_000)
    assert torch.equal(x[:0], model.sample(0, t, dtype=torch.float64))


def test_draws_follow_the_generator_and_the_dtype():
    model, _, _ = gaussian()
    first, again = (model.sample(3, 5, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.dtype == torch.float32
    assert first.shape == (3, *SHAPE)
    assert torch.equal(first, model.sample(3, 5, torch.Generator().manual_seed(2), torch.float64).float())


def test_each_array_has_its_own_step():
    model, _, _ = gaussian("flow")
    x, steps = random_arrays(4), (0, 199, 3, 60)
    for ask in (model, model.score, model.log_prob):
        together = ask(x, torch.tensor(steps))
        for n, t in enumerate(steps):
            close(together[n], ask(x[n : n + 1], t)[0])
    close(model.log_prob(x, torch.tensor([-1, 199, -1, 0]))[2], model.log_prob(x[2:3])[0])


def test_the_answer_keeps_the_dtype_and_is_computed_in_float64():
    model, _, _ = gaussian()
    x = random_arrays(4)
    for dtype in (torch.float32, torch.bfloat16):
        rounded = x.to(dtype)
        assert torch.equal(model(rounded, 3), model(rounded.double(), 3).to(dtype))
        assert torch.equal(model.score(rounded, 3), model.score(rounded.double(), 3).to(dtype))
        assert model.log_prob(rounded, 3).dtype == torch.float64


def test_what_it_was_made_of_may_change_afterwards():
    mean, covariance = data_law()
    model = GaussianScore(mean.view(SHAPE), covariance, process_of())
    before = model.mean(), model.covariance()
    mean += 1
    covariance *= 2
    assert all(torch.equal(*pair) for pair in zip((model.mean(), model.covariance()), before, strict=True))


def test_a_model_made_in_inference_mode_has_derivatives():
    mean, covariance = data_law()
    with torch.inference_mode():
        model = GaussianScore(mean.view(SHAPE), covariance, process_of())
    x = random_arrays(2).requires_grad_()
    (gradient,) = torch.autograd.grad(model.log_prob(x, 20).sum(), x)
    close(gradient, model.score(x, 20))


def test_covariances_come_as_matrices_or_operators_and_means_flat_or_not():
    process, (mean, covariance) = process_of(), data_law()
    x = random_arrays(2)
    expected = GaussianScore(mean.view(SHAPE), covariance, process)(x, 9)
    operator = DenseOperator.from_matrix(SHAPE, covariance)
    close(GaussianScore(mean, operator, process)(x, 9), expected)
    close(GaussianScore(mean.view(SHAPE), operator, process)(x, 9), expected)
    flat = GaussianScore(mean, covariance, process)
    assert flat.shape == (1, SIZE)
    assert expected.shape == x.shape


def test_a_condition_number_of_a_million_costs_six_digits_not_ten():
    """Σ and S that are small in different places: whitening their sum keeps both."""
    values = torch.logspace(0, -6, SIZE, dtype=torch.float64)
    noise = ForwardNoise(DiagonalOperator(SHAPE, values))
    process, scale = DiffusionProcess(linear_schedule(200), noise), SIZE / values.sum()
    model = GaussianScore(torch.zeros(SHAPE), torch.diag(values.flip(0)), process)
    for t in (0, 60):
        c, s = process.level(t)
        share = s * scale * values / (c**2 * values.flip(0) + s**2 * scale * values)
        close(model(torch.ones(1, *SHAPE).double(), t).flatten(), share, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_data_in_any_unit_are_as_exact(unit):
    process, (mean, covariance) = process_of(), data_law()
    model = GaussianScore(unit * mean.view(SHAPE), unit**2 * covariance, process)
    x = unit * random_arrays(3)
    expected = -torch.linalg.solve(covariance, (x.flatten(1) / unit - mean).T).T / unit
    close(model.score(x, -1).flatten(1), expected, rtol=1e-8, atol=0)
    (c, s), sigma = process.level(60), dense(process.noise)
    law = c**2 * unit**2 * covariance + s**2 * sigma
    eps = s * torch.linalg.solve(law, (x.flatten(1) - c * unit * mean).T).T @ sigma
    close(model(x, 60).flatten(1), eps, rtol=1e-7, atol=1e-9 * eps.abs().max().item())


def test_noise_of_condition_1e11_keeps_its_support():
    """Data without spread leave the smallest noise alone on its axis: it is small, not absent."""
    power = torch.tensor([1.0, 1e-6, 1e-11, 1e-6], dtype=torch.float64)
    process = DiffusionProcess(linear_schedule(200), ForwardNoise(Custom(power.sqrt()), normalize="none"))
    with pytest.warns(IllConditionedNoiseWarning):
        model = GaussianScore(torch.zeros(1, 4), torch.zeros(4, 4), process)
    wave = torch.tensor([[[1.0, -1.0, 1.0, -1.0]]], dtype=torch.float64)
    close(model.score(wave, 60), -wave / (1e-11 * process.sigma[60] ** 2), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        (torch.zeros(SHAPE), torch.eye(11), r"matrix must be of shape \(12, 12\), got shape \(11, 11\)"),
        (torch.zeros(SHAPE), -torch.eye(12), "positive semi-definite, got an eigenvalue of -1"),
        (torch.zeros(SHAPE), torch.eye(12).roll(1, 0), "must be symmetric"),
        (torch.full(SHAPE, math.nan), torch.eye(12), "mean must be finite"),
        (
            torch.zeros(3, 2, 2),
            DenseOperator.from_matrix(SHAPE, torch.eye(12)),
            r"acts on arrays \(2, 3, 2\), the mean",
        ),
        (torch.zeros(()), torch.eye(1), "shape must be"),
    ],
)
def test_laws_that_are_none_are_explained(mean, covariance, message):
    with pytest.raises(InvalidInputError, match=message):
        GaussianScore(mean, covariance, process_of())


def test_arrays_and_steps_that_do_not_fit_are_refused():
    model, _, _ = gaussian()
    with pytest.raises(InvalidInputError, match=r"knows arrays \(N, 2, 3, 2\), got \(1, 2, 2, 3\)"):
        model(torch.zeros(1, 2, 2, 3), 3)
    with pytest.raises(InvalidInputError, match="step -1 is outside the schedule 0"):
        model(random_arrays(1), -1)
    with pytest.raises(InvalidInputError, match="step 200 is outside the schedule -1 … 199"):
        model.log_prob(random_arrays(1), 200)
    with pytest.raises(InvalidInputError, match="step -2 is outside"):
        model.sample(1, -2)
    with pytest.raises(InvalidInputError, match="choose omission="):
        gaussian(weight=BAND)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: GaussianScore(np.zeros(SHAPE), torch.eye(12), process_of()),
            "mean must be of type Tensor, got ndarray",
        ),
        (
            lambda: GaussianScore(torch.zeros(SHAPE), np.eye(12), process_of()),
            "covariance must be of type Tensor or Op",
        ),
        (lambda: GaussianScore(process_of(), torch.zeros(SHAPE), torch.eye(12)), "process must be of type Diffusion"),
        (lambda: gaussian()[0](np.zeros((1, *SHAPE)), 3), "x_t must be of type Tensor, got ndarray"),
        (lambda: gaussian()[0].sample(2.5), "number of samples must be an integer, got 2.5"),
    ],
)
def test_what_is_of_another_kind_is_refused(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()


def test_its_name_says_what_it_is():
    assert repr(gaussian()[0]).startswith("GaussianScore(shape=(2, 3, 2), DiffusionProcess(linear of 200 steps")
