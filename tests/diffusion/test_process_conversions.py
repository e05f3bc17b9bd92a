"""A process's marginals, conversions between parameterisations, and what it is made of."""

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.align import Rotation
from scoregrain.diffusion.parameterization import recover
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.models import SigmaNetwork
from scoregrain.noise import ForwardNoise, PowerLaw
from scoregrain.schedules import PREDICTIONS, linear_schedule
from tests.diffusion.laws import close, process_of, random_arrays

every_prediction = pytest.mark.parametrize("prediction", PREDICTIONS)


@every_prediction
def test_the_marginal_is_what_noised_draws_from(prediction):
    process, x0, xi = process_of(prediction), random_arrays(2), random_arrays(2, seed=1)
    for t in (0, 120, 199):
        mean, variance = process.marginal(x0, t)
        close(process.noised(x0, t, xi)[0], mean + variance**0.5 * process.noise.colour(xi))
    mean, variance = process.marginal(x0, -1)
    assert torch.equal(mean, x0)
    assert variance == 0


@pytest.mark.parametrize("there", PREDICTIONS)
@every_prediction
def test_an_output_says_the_same_in_every_parameterisation(prediction, there):
    """Converted, and read by a process of that kind at the same level, it predicts the same x0 and ε."""
    process, x_t, output = process_of(prediction), random_arrays(3), random_arrays(3, seed=1)
    t = torch.tensor([0, 60, 199])
    converted = process.convert(output, x_t, t, there)
    c, s = process.coefficients(process.steps(t, x_t), x_t)
    said, again = recover(prediction, x_t, output, c, s), recover(there, x_t, converted, c, s)
    trusted = c.flatten() > 0 if there == "epsilon" else torch.ones(3, dtype=torch.bool)  # no ε-network sees c = 0
    close(again.x0[trusted], said.x0[trusted], rtol=1e-8, atol=1e-8)
    close(again.eps[trusted], said.eps[trusted], rtol=1e-8, atol=1e-8)


def test_conversions_that_cannot_be():
    process, x = process_of(), random_arrays(2)
    with pytest.raises(InvalidInputError, match="did you mean 'v_prediction'"):
        process.convert(x, x, 3, "v_predict")
    with pytest.raises(InvalidInputError, match="the output must be like x_t"):
        process.convert(x[:1], x, 3, "sample")


@pytest.mark.parametrize(
    ("schedule", "noise", "message"),
    [
        (1000, None, "expected a schedule such as linear_schedule.* got int"),
        (linear_schedule(100), "power-lw:alpha=-0.06", "did you mean 'power-law'"),
        (linear_schedule(100), 3, "made from a Weight or an Operator .* got int"),
    ],
)
def test_what_a_process_is_not_made_of(schedule, noise, message):
    with pytest.raises(InvalidInputError, match=message):
        DiffusionProcess(schedule, noise)


def test_a_process_takes_what_makes_a_noise():
    expected = DiffusionProcess(linear_schedule(100), ForwardNoise(PowerLaw(-0.3))).noise
    assert DiffusionProcess(linear_schedule(100), "power-law:alpha=-0.3").noise == expected
    assert DiffusionProcess(linear_schedule(100), PowerLaw(-0.3)).noise == expected


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_network_with_the_levels_of_another_schedule_is_refused(wrapped):
    """Its table is for 1000 steps; told 0 … 199 it would take every level for a smaller one."""
    network = SigmaNetwork(torch.nn.Identity(), linear_schedule(1000).sigmas)
    network.network.forward = lambda x, sigma: x / (1 + sigma.view(-1, 1, 1) ** 2)
    if wrapped:
        network = Rotation(torch.eye(8, dtype=torch.float64), (1, 8), "minimize").wrap(network)
    x = torch.ones(2, 1, 8)
    process = DiffusionProcess(linear_schedule(200), prediction="edm")
    for ask in (process.loss, lambda model, x: process.predict(model, x, 3)):
        with pytest.raises(InvalidInputError, match="schedule of 1000 steps, this process has 200"):
            ask(network, x)
    assert DiffusionProcess(linear_schedule(1000), prediction="edm").loss(network, x).isfinite()
