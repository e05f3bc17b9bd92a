"""Likelihoods of the probability flow (D7): Gaussians, mixtures, whitening, probes, omitted bands."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.diffusion.divergences import noise_nll
from scoregrain.diffusion.exact import GaussianScore
from scoregrain.diffusion.likelihood import log_likelihood
from scoregrain.diffusion.mixture import GaussianMixtureScore
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.noise import ForwardNoise, PowerLaw, White
from scoregrain.schedules import PREDICTIONS, linear_schedule
from tests.diffusion.laws import BAND, NOISES, SHAPE, SIZE, close, data_law, dense, process_of, random_arrays
from tests.reference.dense_operators import random_psd

every_prediction = pytest.mark.parametrize("prediction", PREDICTIONS)


def gaussian(prediction="epsilon", weight=NOISES["smooth"], T=200, omission=None):
    process, (mean, covariance) = process_of(prediction, weight, T, omission), data_law()
    return GaussianScore(mean.view(SHAPE), covariance, process)


def draws(model, n=3, seed=5, dtype=torch.float64):
    return model.sample(n, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def density_of_the_flow(model, x):
    """log p of the exact flow, to which N(0, start_sigma² Σ) is drawn back (Σ and S of full rank).

    With Σ = B Bᵀ and S = B diag(μ) Bᵀ every coordinate of B⁻¹(x - c m) is stretched like √(c²μ + s²).
    """
    process, sigma = model.process, dense(model.process.noise)
    root = torch.linalg.cholesky(sigma)
    half = torch.linalg.solve(root, model.covariance())
    mu, turn = torch.linalg.eigh(torch.linalg.solve(root, half.T))
    basis = root @ turn
    (c, s), (c_T, s_T) = process.level(0), process.level(process.num_steps - 1)
    stretch = ((c_T**2 * mu + s_T**2) / (c**2 * mu + s**2)).sqrt()
    mean = model.mean().flatten()
    end = c_T * mean + (torch.linalg.solve(basis, c * (x.flatten(1) - mean).T).T * stretch) @ basis.T
    start = MultivariateNormal(torch.zeros(SIZE).double(), process.start_sigma**2 * sigma)
    return start.log_prob(end) + stretch.log().sum() + SIZE * math.log(c)


def law_at_the_first_level(model):
    """The law of x0 + (s_0/c_0) ε."""
    c, s = model.process.level(0)
    return MultivariateNormal(model.mean().flatten(), model.covariance() + (s / c) ** 2 * dense(model.process.noise))


@pytest.mark.parametrize("name", NOISES)
@every_prediction
def test_the_number_is_the_density_of_the_exact_flow(name, prediction):
    model = gaussian(prediction, NOISES[name])
    x = draws(model)
    result = model.process.log_likelihood(model, x)
    close(result.nats, density_of_the_flow(model, x), rtol=0, atol=5e-3)
    assert torch.equal(result.error, torch.zeros(3).double())


@pytest.mark.parametrize("weight", [NOISES["smooth"], White()])
def test_d7_it_is_the_true_density_within_a_tenth_of_a_nat(weight):
    model = gaussian(weight=weight, T=1000)
    x = draws(model)
    nats = log_likelihood(model.process, model, x).nats
    true = law_at_the_first_level(model).log_prob(x.flatten(1))
    assert (nats - true).abs().max() < 0.1
    clean = MultivariateNormal(model.mean().flatten(), model.covariance()).log_prob(x.flatten(1))
    assert (nats - clean).abs().max() < 0.1


def test_d7_a_white_prior_at_the_end_of_a_coloured_flow_is_nats_off():
    """What is lost without log det Σ and xᵀΣ⁻¹x: the same flow, read by N(0, I)."""
    model, white = gaussian(T=400), ForwardNoise(White())
    x = draws(model, n=200)
    end = model.sample(200, 399, torch.Generator().manual_seed(6), dtype=torch.float64)
    mistake = noise_nll(white, end) - noise_nll(model.process.noise, end)
    assert mistake.abs().mean() > 1
    assert mistake.abs().max() > 4
    nats = log_likelihood(model.process, model, x, steps=100).nats
    entropy = law_at_the_first_level(model).entropy()
    assert nats.mean().item() == pytest.approx(-entropy.item(), abs=4 * math.sqrt(SIZE / 2 / 200))


@pytest.mark.parametrize("prediction", ["epsilon", "flow", "edm"])
def test_the_error_falls_with_the_square_of_the_step(prediction):
    model = gaussian(prediction, T=4096)
    x = draws(model)
    true = density_of_the_flow(model, x)
    errors = [log_likelihood(model.process, model, x, steps).nats - true for steps in (129, 257, 513)]
    orders = [(errors[k].norm() / errors[k + 1].norm()).log2().item() for k in range(2)]
    assert orders == pytest.approx([2, 2], abs=0.2)


def mixture(prediction, T):
    means = torch.stack([data_law()[0].view(SHAPE), -random_arrays(1, seed=9)[0]])
    covariances = [0.3 * random_psd(SIZE, SIZE, seed) for seed in range(2)]
    return GaussianMixtureScore([1.0, 2.0], means, covariances, process_of(prediction, T=T))


@every_prediction
def test_every_prediction_gives_the_number_of_a_nonlinear_law(prediction):
    model = mixture(prediction, 200)
    x = draws(model, n=4)
    c, _ = model.process.level(0)
    true = model.log_prob(c * x, 0) + SIZE * math.log(c)
    close(log_likelihood(model.process, model, x).nats, true, rtol=0, atol=0.1)


@every_prediction
def test_a_coloured_flow_is_the_white_flow_of_whitened_arrays(prediction):
    """log p(x) = log p_white(T⁻¹x) - ½ log det Σ, for any network, to rounding."""
    process, plain = process_of(prediction), process_of(prediction, White())
    colour, whiten = process.noise.colour, process.noise.whiten

    def network(x, t):
        return torch.tanh(x.roll(1, -1) + 0.3 * x + t.view(-1, 1, 1, 1) / 200)

    x = random_arrays(2)
    coloured = log_likelihood(process, network, x, steps=40).nats
    white = log_likelihood(plain, lambda y, t: whiten(network(colour(y), t)), whiten(x), steps=40).nats
    close(coloured, white - process.noise.log_det(SHAPE) / 2, rtol=1e-9)
    assert abs(process.noise.log_det(SHAPE)) > 1


# The divergence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probes", [2, 5])
def test_probes_are_unbiased_and_their_error_is_what_they_scatter(probes):
    model = mixture("epsilon", 200)
    x = draws(model, n=2).repeat_interleave(150, 0)
    generator = torch.Generator().manual_seed(11)
    result = log_likelihood(model.process, model, x, steps=40, probes=probes, generator=generator)
    exact = log_likelihood(model.process, model, x, steps=40).nats
    assert result.error.min() > 0.01
    scores = (result.nats - exact) / result.error
    assert abs(scores.mean().item()) < 4 / math.sqrt(300)
    assert scores.square().mean().item() == pytest.approx(1, abs=5 * math.sqrt(2 / 300))


def test_more_probes_have_less_error_and_a_generator_repeats_them():
    model = gaussian()
    x = draws(model, n=20)

    def run(probes):
        return log_likelihood(model.process, model, x, 30, probes, torch.Generator().manual_seed(3))

    few, many, again = run(2), run(8), run(8)
    assert (few.error.mean() / many.error.mean()).item() == pytest.approx(2, rel=0.2)
    assert torch.equal(many.nats, again.nats)


def test_up_to_64_dimensions_the_divergence_is_exact_unless_asked():
    sizes = {}
    for shape in ((1, 8, 8), (1, 5, 13)):
        process = process_of()
        batch = []
        result = log_likelihood(process, lambda x, t: batch.append(len(x)) or x / 2, torch.ones(1, *shape), steps=5)  # noqa: B023
        sizes[shape] = (max(batch), result.error.item() > 0)
    # A multiple of the identity has no error whatever the probe.
    assert sizes == {(1, 8, 8): (64, False), (1, 5, 13): (2, False)}
    model = gaussian()
    x = draws(model)
    exact = log_likelihood(model.process, model, x, 30)
    assert torch.equal(exact.nats, log_likelihood(model.process, model, x, 30, probes=SIZE).nats)
    assert torch.equal(exact.nats, log_likelihood(model.process, model, x, 30, probes=99).nats)
    assert log_likelihood(model.process, model, x, 30, probes=SIZE - 1).error.min() > 0


def test_the_network_is_asked_upwards_in_its_own_dtype_and_left_without_gradients():
    process, asked = process_of(), []
    layer = torch.nn.Linear(2, 2)

    def network(x, t):
        asked.append((t[0].item(), x.dtype))
        return layer(x)

    x = random_arrays(2, dtype=torch.float32)
    result = log_likelihood(process, network, x, steps=3)
    log_snr = (process.signal / process.sigma).log()
    middle = int((log_snr - (log_snr[0] + log_snr[-1]) / 2).abs().argmin())
    assert [t for t, _ in asked] == [0, middle, middle, 199, 199]
    assert {dtype for _, dtype in asked} == {torch.float32}
    assert result.nats.dtype == torch.float64
    assert layer.weight.grad is None
    assert not result.nats.requires_grad


def test_float32_and_inference_mode_give_the_same_number():
    model = gaussian()
    x = draws(model)
    expected = log_likelihood(model.process, model, x, steps=50).nats
    close(log_likelihood(model.process, model, x.float(), steps=50).nats, expected, rtol=0, atol=5e-3)
    with torch.inference_mode():
        close(log_likelihood(model.process, model, x.clone(), steps=50).nats, expected)
    with torch.no_grad():
        close(log_likelihood(model.process, model, x, steps=50).nats, expected)


@pytest.mark.parametrize("prediction", ["epsilon", "flow"])
def test_few_steps_go_where_the_density_is_decided(prediction):
    """Smooth images of 64 pixels: 40 even steps in t are 8 and more nats off where these are within one."""
    noise = ForwardNoise(PowerLaw(-0.3))
    process = DiffusionProcess(linear_schedule(1000), noise, prediction)
    smooth = ForwardNoise(PowerLaw(-3)).operator((1, 8, 8)).to_dense()
    model = GaussianScore(torch.zeros(1, 8, 8), smooth, process)
    x = draws(model, n=4)
    c = process.level(0)[0]
    true = model.log_prob(c * x, 0) + 64 * math.log(c)
    off = {steps: (process.log_likelihood(model, x, steps=steps).nats - true).abs().max() for steps in (20, 40)}
    assert off[40] < 1
    assert 3 < off[20] / off[40] < 5  # order two


# Units and omitted bands ----------------------------------------------------------------------------------------------


def test_bits_count_the_dimensions_that_have_a_density():
    model = gaussian()
    result = log_likelihood(model.process, model, draws(model), steps=20)
    assert result.dimensions == SIZE
    close(result.bits_per_dim, -result.nats / SIZE / math.log(2))
    process = process_of(weight=BAND, omission="marginal")
    partial = GaussianScore(torch.zeros(SHAPE), data_law()[1], process)
    assert log_likelihood(process, partial, draws(model), steps=5).dimensions == process.noise.rank(SHAPE) < SIZE


@pytest.mark.parametrize("mode", ["conditional", "marginal"])
@pytest.mark.parametrize("prediction", ["epsilon", "flow", "edm"])
def test_with_a_band_omitted_it_is_the_density_of_the_rest(prediction, mode):
    """Given the band, or marginal: by conditioning the blocks of the data's covariance."""
    mean, covariance = data_law()
    process = process_of(prediction, BAND, 150, mode)
    model = GaussianScore(mean.view(SHAPE), covariance, process)
    x = mean.view(SHAPE) + random_arrays(3)
    sigma = dense(process.noise)
    values, vectors = torch.linalg.eigh(sigma)
    band, rest = vectors[:, values < 1e-9], vectors[:, values > 1e-9]
    flat, (c, s) = x.flatten(1), process.level(0)
    gain = rest.T @ covariance @ band @ torch.linalg.inv(band.T @ covariance @ band)
    gain = gain if mode == "conditional" else torch.zeros_like(gain)
    centre = rest.T @ mean + (flat - mean) @ band @ gain.T
    law = rest.T @ covariance @ rest - gain @ band.T @ covariance @ rest + (s / c) ** 2 * rest.T @ sigma @ rest
    expected = MultivariateNormal(centre, law).log_prob(flat @ rest)
    close(log_likelihood(process, model, x).nats, expected, rtol=0, atol=0.15)
    exact, probed = (
        log_likelihood(process, model, x, 20, probes, torch.Generator().manual_seed(2)) for probes in (None, 4)
    )
    assert ((probed.nats - exact.nats).abs() < 4 * probed.error).all()


# What it refuses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 1}, "between 2 and 200 steps, got 1"),
        ({"steps": 201}, "between 2 and 200 steps, got 201"),
        ({"probes": 1}, "at least 2 probes, one has no error, got 1"),
        ({"probes": 0}, "at least 2 probes"),
        ({"steps": 10.5}, "the number of steps must be an integer, got 10.5"),
        ({"probes": "2"}, "the number of probes must be an integer, got '2'"),
    ],
)
def test_too_few_steps_or_probes_and_what_is_no_number_are_refused(settings, message):
    model = gaussian()
    with pytest.raises(InvalidInputError, match=message):
        log_likelihood(model.process, model, draws(model), **settings)


def test_a_network_without_derivatives_is_refused():
    model = gaussian()
    with pytest.raises(ScoregrainError, match=r"derivative of the model's output .* torch.no_grad"):
        log_likelihood(model.process, torch.no_grad()(model), draws(model))


def test_a_network_that_overflows_is_named():
    with pytest.raises(ScoregrainError, match="not finite: the model's output overflows"):
        log_likelihood(process_of(), lambda x, t: x * 1e200, random_arrays(1))


def test_arrays_it_cannot_take_are_refused():
    with pytest.raises(InvalidInputError, match=r"floating-point, got torch\.int64"):
        log_likelihood(process_of(), lambda x, t: x, torch.zeros(1, *SHAPE, dtype=torch.int64))
