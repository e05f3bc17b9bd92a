"""Posteriors (D3, D9) and the terms of the variational bound (D8) against brute-force Gaussian algebra."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from scoregrain._errors import InvalidInputError
from scoregrain.diffusion.divergences import noise_nll, posterior_coefficients
from scoregrain.diffusion.exact import GaussianScore
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.noise import ForwardNoise
from scoregrain.schedules import PREDICTIONS, Schedule
from tests.diffusion.laws import (
    BAND,
    NOISES,
    SHAPE,
    SIZE,
    close,
    data_law,
    dense,
    exact_points,
    process_of,
    random_arrays,
)

every_prediction = pytest.mark.parametrize("prediction", PREDICTIONS)
every_noise = pytest.mark.parametrize("name", NOISES)


def support(sigma):
    values, vectors = torch.linalg.eigh(sigma)
    return vectors[:, values > 1e-9 * values[-1]]


# Posteriors -----------------------------------------------------------------------------------------------------------


@every_noise
@every_prediction
@pytest.mark.parametrize(("t", "s"), [(1, 0), (199, 198), (120, 30), (199, 0)])
def test_d3_the_posterior_is_what_conditioning_the_pair_gives(name, prediction, t, s):
    """x_s = c_s x0 + s_s e and x_t = (c_t/c_s) x_s + fresh noise: the joint law of both, conditioned on x_t."""
    process, x0, x_t = process_of(prediction, NOISES[name]), random_arrays(3), random_arrays(3, seed=1)
    sigma, (c_t, s_t), (c_s, s_s) = dense(process.noise), process.level(t), process.level(s)
    cross, law = c_t / c_s * s_s**2 * sigma, s_t**2 * sigma
    gain = torch.linalg.solve(law, cross).T
    expected = c_s * x0.flatten(1) + (x_t - c_t * x0).flatten(1) @ gain.T
    mean, variance = process.posterior(x0, x_t, t, s)
    close(mean.flatten(1), expected)
    close(variance * sigma, s_s**2 * sigma - gain @ cross, atol=1e-11 * s_t**2)


def test_d3_neighbouring_steps_have_the_coefficients_of_ddpm():
    process, x0, x_t = process_of(T=100), random_arrays(2), random_arrays(2, seed=1)
    beta, bar = process.schedule.betas, process.schedule.alpha_bar
    for t in (1, 50, 99):
        mean, variance = process.posterior(x0, x_t, t, t - 1)
        close(
            mean,
            bar[t - 1].sqrt() * beta[t] / (1 - bar[t]) * x0
            + (1 - beta[t]).sqrt() * (1 - bar[t - 1]) / (1 - bar[t]) * x_t,
        )
        assert variance == pytest.approx(((1 - bar[t - 1]) * beta[t] / (1 - bar[t])).item(), rel=1e-10)


def test_the_clean_end_is_x0_itself():
    process, x0 = process_of(), random_arrays(2)
    mean, variance = process.posterior(x0, random_arrays(2, seed=1), 70, -1)
    close(mean, x0)
    assert variance == 0


def test_a_posterior_goes_backwards_in_time():
    process, x = process_of(), random_arrays(2)
    for t, s in ((5, 5), (5, 6), (200, 3), (3, -2)):
        with pytest.raises(InvalidInputError, match=f"needs steps -1 ≤ s < t < 200, got s={s}, t={t}"):
            process.posterior(x, x, t, s)


def test_d9_a_colour_for_every_step():
    """One frequency whose noise has variance s_t at step t: v_t = α_t v_{t-1} + β_t s_t."""
    v1 = 0.1 * 0.5
    v2 = 0.7 * v1 + 0.3 * 2
    of_x0, of_x2, variance = posterior_coefficients(math.sqrt(0.63), v2, math.sqrt(0.9), v1)
    assert of_x0 * 1.3 + of_x2 * -0.4 == pytest.approx(1.13896027, rel=1e-7)
    assert variance == pytest.approx(0.04724409, rel=1e-7)


def test_d9_all_frequencies_of_a_chain_whose_colours_change():
    """Against the joint Gaussian of the whole chain given x0, conditioned on its last state."""
    alpha = torch.tensor([0.9, 0.8, 0.7], dtype=torch.float64)
    power = torch.rand(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.2
    x0, x_t = random_arrays(2, (4,))
    v = [torch.zeros(4, dtype=torch.float64)]
    for a, p in zip(alpha, power, strict=True):
        v.append(a * v[-1] + (1 - a) * p)
    c = torch.cat((torch.ones(1), alpha.cumprod(0).sqrt()))
    for s in (1, 2):
        of_x0, of_x_t, variance = posterior_coefficients(c[3].expand(4), v[3], c[s].expand(4), v[s])
        for k in range(4):
            covariance = torch.tensor([[v[s][k], c[3] / c[s] * v[s][k]], [c[3] / c[s] * v[s][k], v[3][k]]])
            gain = covariance[0, 1] / covariance[1, 1]
            expected = c[s] * x0[k] + gain * (x_t[k] - c[3] * x0[k])
            assert (of_x0 * x0 + of_x_t * x_t)[k].item() == pytest.approx(expected.item(), rel=1e-10)
            left = covariance[0, 0] - gain * covariance[0, 1]
            assert variance[k].item() == pytest.approx(left.item(), rel=1e-10)


# The terms of the bound -----------------------------------------------------------------------------------------------


@every_noise
@every_prediction
def test_d8_the_prior_term_is_a_gaussian_divergence(name, prediction):
    process, x0 = process_of(prediction, NOISES[name]), random_arrays(4)
    sigma, (c, s) = dense(process.noise), process.level(199)
    start = MultivariateNormal(torch.zeros(SIZE).double(), process.start_sigma**2 * sigma)
    expected = kl_divergence(MultivariateNormal(c * x0.flatten(1), s**2 * sigma), start)
    close(process.prior_kl(x0), expected, rtol=1e-9, atol=1e-12)


@every_noise
@every_prediction
@pytest.mark.parametrize(("t", "s"), [(1, None), (199, None), (150, 20)])
def test_d8_the_term_of_a_step_is_a_gaussian_divergence(name, prediction, t, s):
    process, x0, x0_hat = process_of(prediction, NOISES[name]), random_arrays(4), random_arrays(4, seed=1)
    sigma, x_t = dense(process.noise), random_arrays(4, seed=2)
    (true, variance), (model, _) = (process.posterior(x, x_t, t, t - 1 if s is None else s) for x in (x0, x0_hat))
    law = variance * sigma
    expected = kl_divergence(MultivariateNormal(true.flatten(1), law), MultivariateNormal(model.flatten(1), law))
    close(process.step_kl(x0, x0_hat, t, s), expected, rtol=1e-9)


def test_d8_in_terms_of_the_noise_it_is_the_formula_of_ddpm():
    process, x0, xi = process_of(), random_arrays(4), random_arrays(4, seed=1)
    beta, bar = process.schedule.betas, process.schedule.alpha_bar
    for t in (1, 40, 199):
        x_t, eps = process.noised(x0, t, xi)
        eps_hat = random_arrays(4, seed=2)
        said = process.predict(lambda x, t: eps_hat, x_t, t)  # noqa: B023
        posterior = (1 - bar[t - 1]) * beta[t] / (1 - bar[t])
        factor = beta[t] ** 2 / (2 * posterior * (1 - beta[t]) * (1 - bar[t]))
        expected = factor * process.noise.mahalanobis(eps - eps_hat)
        close(process.step_kl(x0, said.x0, t), expected, rtol=1e-9)
        white = factor * (eps - eps_hat).square().flatten(1).sum(1)
        assert (white - expected).abs().min() > 0.05 * expected.min()


@every_noise
def test_d8_the_decoder_is_a_gaussian_density(name):
    process, x0, x0_hat = process_of(weight=NOISES[name]), random_arrays(4), random_arrays(4, seed=1)
    c, s = process.level(0)
    law = MultivariateNormal(x0_hat.flatten(1), (s / c) ** 2 * dense(process.noise))
    close(process.decoder_nll(x0, x0_hat), -law.log_prob(x0.flatten(1)), rtol=1e-9)


def test_d8_an_omitted_band_counts_by_rank():
    """Every term lives on the range of Σ: the same numbers in a basis of it."""
    process, x0, x0_hat = process_of(weight=BAND, omission="conditional"), random_arrays(4), random_arrays(4, seed=1)
    sigma = dense(process.noise)
    basis = support(sigma)
    small = basis.T @ sigma @ basis
    assert basis.shape[1] == process.noise.rank(SHAPE) < SIZE
    y0, y0_hat = x0.flatten(1) @ basis, x0_hat.flatten(1) @ basis
    (c, s), (c_0, s_0), (c_1, s_1) = (process.level(t) for t in (199, 0, 1))
    start = MultivariateNormal(torch.zeros(basis.shape[1]).double(), small)
    close(process.prior_kl(x0), kl_divergence(MultivariateNormal(c * y0, s**2 * small), start), rtol=1e-9)
    energy = ((y0 - y0_hat) @ torch.linalg.inv(small) * (y0 - y0_hat)).sum(1)
    close(process.step_kl(x0, x0_hat, 1), 0.5 * ((c_0 / s_0) ** 2 - (c_1 / s_1) ** 2) * energy, rtol=1e-9)
    law = MultivariateNormal(y0_hat, (s_0 / c_0) ** 2 * small)
    close(process.decoder_nll(x0, x0_hat), -law.log_prob(y0), rtol=1e-9)


def expected_bound(process, model, mean, covariance):
    """E[-log p] by the bound, in nats: every term is of second degree in (x0, ξ), so exact points give it exactly."""
    x0, xi = exact_points(mean, covariance)

    def predicted(t):
        return process.predict(model, process.noised(x0, t, xi)[0], t).x0

    steps = sum(process.step_kl(x0, predicted(t), t) for t in range(1, process.num_steps))
    return (process.prior_kl(x0) + steps + process.decoder_nll(x0, predicted(0))).mean().item()


def log_linear_schedule(T):
    """log-SNR falls evenly from 9 to -9."""
    alpha_bar = torch.linspace(9, -9, T, dtype=torch.float64).sigmoid()
    return Schedule("log-linear", 1 - alpha_bar / torch.cat((torch.ones(1), alpha_bar[:-1])))


@pytest.mark.parametrize("prediction", ["epsilon", "edm"])
def test_the_bound_of_the_perfect_network_tends_to_the_entropy(prediction):
    """From above, and with the number of steps: no term and no log determinant is missing."""
    mean, covariance = data_law()
    entropy = MultivariateNormal(mean, covariance).entropy().item()
    gaps = []
    for T in (200, 400, 800):
        process = DiffusionProcess(log_linear_schedule(T), ForwardNoise(NOISES["smooth"]), prediction)
        model = GaussianScore(mean.view(SHAPE), covariance, process)
        gaps.append(expected_bound(process, model, mean, covariance) - entropy)
    assert gaps[0] > gaps[1] > gaps[2] > 0
    limit = 2 * gaps[2] - gaps[1]
    assert limit == pytest.approx(0, abs=0.02)
    assert process.noise.log_det(SHAPE) < -1


def test_steps_without_a_divergence_are_refused():
    process, x = process_of(), random_arrays(2)
    with pytest.raises(InvalidInputError, match=r"0 ≤ s < t < 200, got s=-1, t=0 \(the last term .* decoder_nll\)"):
        process.step_kl(x, x, 0)
    for t, s in ((5, 5), (200, 3)):
        with pytest.raises(InvalidInputError, match=f"got s={s}, t={t}"):
            process.step_kl(x, x, t, s)
    with pytest.raises(InvalidInputError, match="choose omission="):
        process_of(weight=BAND).prior_kl(x)


def test_the_density_of_a_noise_is_that_of_its_draws():
    process = process_of()
    x = random_arrays(3)
    law = MultivariateNormal(torch.zeros(SIZE).double(), 4 * dense(process.noise))
    close(noise_nll(process.noise, x, scale=2.0), -law.log_prob(x.flatten(1)), rtol=1e-10)
