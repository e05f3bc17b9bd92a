"""The process: its law (D1), scores (D2), losses and their minimum, dtypes and what it refuses."""

import math

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.diffusion.exact import GaussianScore
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.models import SigmaNetwork, TimeNetwork
from scoregrain.noise import ForwardNoise, PowerLaw, White
from scoregrain.schedules import PREDICTIONS, linear_schedule
from tests.diffusion.laws import (
    BAND,
    NOISES,
    SHAPE,
    SIZE,
    close,
    data_law,
    dense,
    exact_points,
    moments,
    process_of,
    random_arrays,
)

every_prediction = pytest.mark.parametrize("prediction", PREDICTIONS)
every_noise = pytest.mark.parametrize("name", NOISES)


def network(x, t):
    """A nonlinear network that depends on the step."""
    return torch.tanh(x.roll(1, -1) + 0.3 * x) * (1 + t.to(x).view(-1, 1, 1, 1) / 100)


# The forward law ------------------------------------------------------------------------------------------------------


def test_levels_are_on_the_cpu_whatever_the_default_device_is():
    """A default on an accelerator would make every step of a sampler wait for it."""
    with torch.device("meta"):
        aside = DiffusionProcess(linear_schedule(50), prediction="flow")
        assert aside.level(7) == DiffusionProcess(linear_schedule(50), prediction="flow").level(7)


@every_noise
@every_prediction
def test_d1_every_level_has_the_mean_and_the_covariance_of_the_formula(name, prediction):
    process, (mean, covariance) = process_of(prediction, NOISES[name]), data_law()
    x0, xi = exact_points(mean, covariance)
    for t in (0, 77, 199):
        c, s = process.level(t)
        got_mean, got_covariance = moments(process.noised(x0, t, xi)[0])
        close(got_mean, c * mean)
        close(got_covariance, c**2 * covariance + s**2 * dense(process.noise))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_d1_the_levels_are_where_a_chain_of_coloured_steps_arrives(prediction):
    process, (_, chain) = process_of(prediction), data_law()
    model = GaussianScore(torch.zeros(SHAPE), chain, process)
    sigma = dense(process.noise)
    for t, beta in enumerate(process.schedule.betas.tolist()):
        chain = (1 - beta) * chain + beta * sigma
        close(model.covariance(t), chain, rtol=1e-12, atol=1e-12)


def test_d1_white_steps_would_arrive_elsewhere():
    process, (_, chain) = process_of(), data_law()
    expected = GaussianScore(torch.zeros(SHAPE), chain, process).covariance(199)
    for beta in process.schedule.betas.tolist():
        chain = (1 - beta) * chain + beta * torch.eye(SIZE)
    assert (chain - expected).norm() > 0.3 * expected.norm()


def test_the_noise_returned_is_the_one_inside():
    process, x0, xi = process_of(), random_arrays(4), random_arrays(4, seed=1)
    t = torch.tensor([0, 3, 90, 199])
    x_t, eps = process.noised(x0, t, xi)
    close(eps, process.noise.colour(xi))
    for n, step in enumerate(t.tolist()):
        c, s = process.level(step)
        close(x_t[n], c * x0[n] + s * eps[n])


def test_a_generator_gives_what_its_white_numbers_give():
    process, x0 = process_of(), random_arrays(3)
    drawn = process.noised(x0, 5, generator=torch.Generator().manual_seed(4))[0]
    xi = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    assert torch.equal(drawn, process.noised(x0, 5, xi)[0])


def test_without_a_noise_it_is_ordinary_diffusion():
    process, x0, xi = DiffusionProcess(linear_schedule(100)), random_arrays(2), random_arrays(2, seed=1)
    assert process.noise == ForwardNoise(White())
    x_t, _ = process.noised(x0, 30, xi)
    alpha_bar = process.schedule.alpha_bar[30]
    close(x_t, alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * xi)
    close(process.score(network, x_t, 30), -network(x_t, torch.tensor([30, 30])) / process.sigma[30])


@pytest.mark.parametrize(("prediction", "start"), [("epsilon", 1.0), ("flow", 1.0), ("edm", 157.410 - 0.003)])
def test_levels_and_the_start(prediction, start):
    process = DiffusionProcess(linear_schedule(1000), prediction=prediction)
    assert process.level(-1) == (1.0, 0.0)
    assert process.level(999) == (process.signal[999].item(), process.sigma[999].item())
    assert process.start_sigma == pytest.approx(start, rel=1e-5)
    assert process.num_steps == 1000


# Scores ---------------------------------------------------------------------------------------------------------------


@every_noise
@every_prediction
def test_d2_the_score_of_the_perfect_network_is_the_gradient_of_the_log_density(name, prediction):
    process, (mean, covariance) = process_of(prediction, NOISES[name]), data_law()
    model, sigma = GaussianScore(mean.view(SHAPE), covariance, process), dense(process.noise)
    for t in (0, 20, 199):
        c, s = process.level(t)
        x_t = model.sample(5, t, torch.Generator().manual_seed(t), dtype=torch.float64)
        law = c**2 * covariance + s**2 * sigma
        score = process.score(model, x_t, t)
        expected = -torch.linalg.solve(law, (x_t.flatten(1) - c * mean).T).T.view(x_t.shape)
        close(score, expected, rtol=1e-8, atol=1e-10 * expected.abs().max().item())
        tweedie = (x_t.flatten(1) + s**2 * score.flatten(1) @ sigma) / max(c, 1e-300)
        if c > 0:
            close(process.predict(model, x_t, t).x0.flatten(1), tweedie, atol=1e-9 / c)


def test_d2_without_the_inverse_covariance_the_score_is_another():
    process, (mean, covariance) = process_of(), data_law()
    model = GaussianScore(mean.view(SHAPE), covariance, process)
    x_t = random_arrays(5)
    score, naive = process.score(model, x_t, 50), -process.predict(model, x_t, 50).eps / process.sigma[50]
    assert (score - naive).norm() > 0.3 * score.norm()


def test_one_step_for_each_array_is_each_array_by_itself():
    process, x_t = process_of("v_prediction"), random_arrays(3)
    together = process.score(network, x_t, torch.tensor([3, 150, 40]))
    for n, t in enumerate((3, 150, 40)):
        close(together[n : n + 1], process.score(network, x_t[n : n + 1], t))


# Losses ---------------------------------------------------------------------------------------------------------------


def conditional_variance(process, covariance, t, weight):
    """tr(weight · Cov(o | x_t)) / D of the target o = a x0 + b ε, by conditioning the joint Gaussian."""
    c, s = process.level(t)
    a, b = {"epsilon": (0, 1), "v_prediction": (-s, c), "sample": (1, 0), "flow": (-1, 1), "edm": (1, 0)}[
        process.prediction
    ]
    sigma = dense(process.noise)
    cross = a * c * covariance + b * s * sigma
    law = c**2 * covariance + s**2 * sigma
    left = a**2 * covariance + b**2 * sigma - cross @ torch.linalg.solve(law, cross.T)
    return (torch.trace(weight @ left) / SIZE).item()


@pytest.mark.parametrize("weighting", ["l2", "whitened"])
@every_prediction
def test_the_loss_of_the_perfect_network_is_the_variance_that_is_left(prediction, weighting):
    process, (mean, covariance) = process_of(prediction), data_law()
    model = GaussianScore(mean.view(SHAPE), covariance, process)
    x0, xi = exact_points(mean, covariance)
    weight = torch.eye(SIZE).double() if weighting == "l2" else torch.linalg.inv(dense(process.noise))
    for t in (1, 60, 199):
        loss = process.loss(model, x0, t, xi, weighting=weighting)
        assert loss.item() == pytest.approx(conditional_variance(process, covariance, t, weight), rel=1e-8)


@pytest.mark.parametrize("weighting", ["l2", "whitened"])
@every_prediction
def test_no_linear_network_does_better(prediction, weighting):
    """The gradient vanishes at the perfect network, and nowhere else: the loss is quadratic around it."""
    process, (mean, covariance) = process_of(prediction), data_law()
    model = GaussianScore(mean.view(SHAPE), covariance, process)
    x0, xi = exact_points(mean, covariance)
    change = torch.zeros(SIZE, SIZE, dtype=torch.float64, requires_grad=True)
    offset = torch.zeros(SHAPE, dtype=torch.float64, requires_grad=True)

    def changed(x, t):
        return model(x, t) + (x.flatten(1) @ change).view(x.shape) + offset

    for t in (1, 120):
        for gradient in torch.autograd.grad(process.loss(changed, x0, t, xi, weighting=weighting), (change, offset)):
            close(gradient, torch.zeros_like(gradient), atol=1e-9)
    moved = process.loss(lambda x, t: model(x, t) + 0.1, x0, 120, xi)
    assert moved.item() == pytest.approx(process.loss(model, x0, 120, xi).item() + 0.01, rel=1e-9)


def test_the_whitened_loss_counts_the_white_noise():
    process, x0, xi = process_of(), random_arrays(6), random_arrays(6, seed=1)
    x_t, _ = process.noised(x0, 9, xi)
    xi_hat = process.noise.whiten(network(x_t, torch.full((6,), 9)))
    loss = process.loss(network, x0, 9, xi, weighting="whitened")
    assert loss.item() == pytest.approx((xi - xi_hat).square().mean().item(), rel=1e-12)
    assert process.loss(network, x0, 9, xi).item() != pytest.approx(loss.item(), rel=0.01)


@every_prediction
def test_d5_training_on_coloured_noise_is_white_training_on_whitened_data(prediction):
    process, plain = process_of(prediction), process_of(prediction, White())
    T, x0, xi = process.noise.colour, random_arrays(6), random_arrays(6, seed=1)
    y0 = process.noise.whiten(x0)

    def whitened(y, t):
        return process.noise.whiten(network(T(y), t))

    for t in (2, 150):
        coloured = process.loss(network, x0, t, xi, weighting="whitened")
        assert coloured.item() == pytest.approx(plain.loss(whitened, y0, t, xi).item(), rel=1e-10)
        y_t = plain.noised(y0, t, xi)[0]
        close(T(y_t), process.noised(x0, t, xi)[0])
        score = plain.score(whitened, y_t, t)
        close(T(process.score(network, T(y_t), t)), score, atol=1e-9 * score.abs().max().item())


def test_a_loss_draws_its_steps_then_its_noise_from_the_generator():
    process, x0 = process_of(), random_arrays(5)
    drawn = process.loss(network, x0, generator=torch.Generator().manual_seed(8))
    generator = torch.Generator().manual_seed(8)
    t = torch.randint(200, (5,), generator=generator)
    xi = torch.randn(5, *SHAPE, generator=generator, dtype=torch.float64)
    assert drawn == process.loss(network, x0, t, xi)
    assert len(set(t.tolist())) > 1


# Dtypes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_once(dtype):
    """The levels stay exact: an √ᾱ of 0.0123 in bfloat16 would move the whole array."""
    process, x0, xi = process_of(), random_arrays(4).to(dtype), random_arrays(4, seed=1).to(dtype)
    for t in (0, 100, 199):
        x_t, eps = process.noised(x0, t, xi)
        assert x_t.dtype == eps.dtype == dtype
        c, s = process.level(t)
        assert torch.equal(x_t, (c * x0.float() + s * eps.float()).to(dtype))
        said, score = process.predict(network, x_t, t), process.score(network, x_t, t)
        assert said.x0.dtype == said.eps.dtype == score.dtype == dtype
        wide = process.predict(lambda x, t: network(x.to(dtype), t).float(), x_t.float(), t)
        torch.testing.assert_close(said.x0, wide.x0.to(dtype), rtol=0, atol=0)
    assert process.loss(network, x0, 3, xi).dtype == torch.float32


def test_autocast_touches_the_network_alone():
    process, x0, xi = process_of(), random_arrays(4, dtype=torch.float32), random_arrays(4, seed=1, dtype=torch.float32)
    layer = torch.nn.Linear(2, 2).requires_grad_(False)
    plain = process.loss(lambda x, t: layer(x), x0, 20, xi, weighting="whitened")
    expected = process.noised(x0, 20, xi)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(process.noised(x0, 20, xi)[0], expected)
        loss = process.loss(lambda x, t: layer(x), x0, 20, xi, weighting="whitened")
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(plain.item(), rel=2e-2)
    assert loss.item() != plain.item()


def test_a_loss_compiles_into_one_graph():
    process, x0, t = process_of(), random_arrays(4), torch.tensor([0, 3, 90, 199])

    def loss(x0, t, xi):
        return process.loss(network, x0, t, xi, weighting="whitened")

    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    for steps in (t, t.flip(0)):
        xi = random_arrays(4, seed=int(steps[0]))
        close(compiled(x0, steps, xi), loss(x0, steps, xi))
    drawn = torch.compile(lambda x0: process.loss(network, x0), fullgraph=True, backend="eager")
    assert drawn(x0) != drawn(x0)


def test_gradients_reach_the_parameters():
    process, layer = process_of("v_prediction"), torch.nn.Linear(2, 2).double()
    process.loss(lambda x, t: layer(x), random_arrays(4), 20).backward()
    assert layer.weight.grad.abs().min() > 0


# An omitted band ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["conditional", "marginal"])
@every_prediction
def test_the_band_of_a_prediction_is_the_content_and_never_noise(prediction, mode):
    process = process_of(prediction, BAND, omission=mode)
    x0, content = random_arrays(3), random_arrays(3, seed=5)
    x_t, eps = process.noised(x0, 40)
    assert (eps - process.noise.project(eps)).abs().max() < 1e-14

    def band(x):
        return x - process.noise.project(x)

    said = process.predict(network, x_t, 40)
    close(band(said.x0), band(x0))
    close(band(said.eps), torch.zeros_like(eps))
    close(band(process.predict(network, x_t, 40, content).x0), band(content))
    close(band(process.score(network, x_t, 40)), torch.zeros_like(eps))


def test_a_marginal_model_does_not_see_the_band_and_a_conditional_one_does():
    seen = {}
    x0 = random_arrays(3)
    for mode in ("conditional", "marginal"):
        process = process_of("sample", BAND, omission=mode)
        x_t = process.noised(x0, 40, random_arrays(3, seed=1))[0]
        process.predict(lambda x, t: seen.update({mode: x}) or x, x_t, 40)  # noqa: B023
    assert torch.equal(seen["conditional"], x_t)
    close(seen["marginal"], process.noise.project(x_t))
    assert (seen["marginal"] - seen["conditional"]).abs().max() > 0.1
    process.loss(lambda x, t: seen.update(loss=x) or x, x0, 40, random_arrays(3, seed=1))
    assert torch.equal(seen["loss"], seen["marginal"])


@pytest.mark.parametrize("weighting", ["l2", "whitened"])
@every_prediction
def test_what_a_network_says_about_the_band_costs_nothing(prediction, weighting):
    process = process_of(prediction, BAND, omission="conditional")
    x0, xi = random_arrays(3), random_arrays(3, seed=1)

    def leaking(x, t):
        return network(x, t) + (x - process.noise.project(x)) + 5

    clean, leaky = (process.loss(model, x0, 40, xi, weighting=weighting) for model in (network, leaking))
    assert clean.item() == pytest.approx(leaky.item(), rel=1e-12)


# What it refuses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("t", "message"),
    [
        (200, r"step 200 is outside the schedule 0 … 199"),
        (-1, r"step -1 is outside"),
        (torch.tensor([0, 5, 200]), r"step 200 is outside"),
        (torch.tensor([0, -1, 3]), r"step -1 is outside"),
        (torch.tensor([0, 5]), r"one for each of the 3 arrays, got torch.int64 of shape \(2,\)"),
        (torch.zeros(3, 1, dtype=torch.int64), r"of shape \(3, 1\)"),
        (0.5, r"steps are integers, .* got torch.float32"),
        (torch.ones(3), r"steps are integers"),
        (True, r"got torch.bool"),
    ],
)
def test_a_wrong_step_is_named(t, message):
    process, x = process_of(), random_arrays(3)
    for ask in (process.noised, lambda x, t: process.predict(network, x, t)):
        with pytest.raises(InvalidInputError, match=message):
            ask(x, t)
    with pytest.raises(InvalidInputError, match=message):
        process.loss(network, x, t)


@pytest.mark.parametrize("t", [3, torch.tensor(3), torch.tensor([3]), torch.tensor([3] * 2, dtype=torch.int32)])
def test_steps_come_as_one_or_many_integers(t):
    process, x = process_of(), random_arrays(2)
    seen = []
    process.predict(lambda x, t: seen.append(t) or x, x, t)
    assert seen[0].dtype == torch.int64
    assert seen[0].tolist() == [3, 3]


def test_level_outside_the_schedule():
    for t in (-2, 200):
        with pytest.raises(InvalidInputError, match=f"step {t} is outside the schedule -1 … 199"):
            process_of().level(t)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: torch.cat((x, x), 1), r"returned \(3, 4, 3, 2\) for arrays \(3, 2, 3, 2\): .* learned variances"),
        (lambda x: (), "returned tuple for arrays"),
        (lambda x: [x], "returned list for arrays"),
    ],
)
def test_a_model_that_returns_something_else_is_explained(output, message):
    with pytest.raises(InvalidInputError, match=message):
        process_of().predict(lambda x, t: output(x), random_arrays(3), 4)


def test_an_output_object_of_diffusers_will_do_or_a_tuple():
    class Output:
        def __init__(self, sample):
            self.sample = sample

    process, x = process_of(), random_arrays(3)
    for wrap in (Output, lambda y: (y, "more")):
        wrapped = process.predict(lambda x, t: wrap(network(x, t)), x, 4)  # noqa: B023
        assert torch.equal(wrapped.x0, process.predict(network, x, 4).x0)


@pytest.mark.parametrize(
    ("wrapper", "table", "prediction"),
    [
        (SigmaNetwork, linear_schedule(1000).sigmas, "edm"),
        (TimeNetwork, torch.arange(1, 1001).double() / 1000, "flow"),
    ],
)
def test_a_network_that_is_told_a_level_is_told_the_one_its_array_has(wrapper, table, prediction):
    class Told(torch.nn.Module):
        def forward(self, x, level):
            told.append(level)
            return x

    told, process = [], process_of(prediction, T=1000)
    for t in (0, 400, 999):
        process.predict(wrapper(Told(), table), random_arrays(1), t)
        close(told[-1], [process.level(t)[1]], rtol=1e-12)


def test_words_it_does_not_know_come_with_their_neighbour():
    with pytest.raises(InvalidInputError, match=r"unknown omission 'marginl' \(did you mean 'marginal'\?\)"):
        DiffusionProcess(linear_schedule(50), omission="marginl")
    with pytest.raises(InvalidInputError, match=r"unknown prediction 'v-prediction' \(did you mean 'v_prediction'\?\)"):
        DiffusionProcess(linear_schedule(50), prediction="v-prediction")
    with pytest.raises(InvalidInputError, match="unknown prediction 'None'; known: epsilon"):
        DiffusionProcess(linear_schedule(50), prediction=None)
    with pytest.raises(
        InvalidInputError, match=r"unknown weighting 'white' \(did you mean 'whitened'\?\); known: l2, w"
    ):
        process_of().loss(network, random_arrays(2), 3, weighting="white")


def test_arrays_and_noise_that_do_not_fit_are_refused():
    process = process_of()
    with pytest.raises(InvalidInputError, match=r"floating-point, got torch.uint8: scale images to \[-1, 1\] first"):
        process.noised(torch.zeros(2, *SHAPE, dtype=torch.uint8), 3)
    with pytest.raises(InvalidInputError, match=r"xi must be like x0, \(2, 2, 3, 2\), got \(1, 2, 3, 2\)"):
        process.noised(random_arrays(2), 3, random_arrays(1))
    with pytest.raises(InvalidInputError, match=r"arrays \(N, C, \*space\), got 2 dimensions"):
        process.noised(torch.zeros(2, 3), 3)
    for x0 in (torch.zeros(2, 3), torch.zeros(())):
        with pytest.raises(InvalidInputError, match=r"arrays \(N, C, \*space\), got"):
            process.loss(network, x0)


def test_a_band_without_noise_must_be_meant():
    with pytest.raises(InvalidInputError, match=r"leaves \d+ of 12 dimensions without noise: choose omission="):
        process_of(weight=BAND).noised(random_arrays(2), 3)
    with pytest.raises(InvalidInputError, match="omission='marginal' needs a noise that leaves a band out"):
        process_of(omission="marginal").noised(random_arrays(2), 3)


def test_its_name_says_everything():
    process = process_of("flow", PowerLaw(alpha=-0.5), 50)
    assert repr(process) == f"DiffusionProcess(linear of 50 steps, {process.noise}, prediction='flow')"
    assert "omission='marginal'" in repr(process_of(weight=BAND, omission="marginal"))
    assert math.isclose(process.start_sigma, 1.0)
