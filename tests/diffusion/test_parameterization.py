"""What an output means: the two linear equations of every prediction (MATH A2, B10)."""

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.diffusion.parameterization import recover, target, target_coefficients
from scoregrain.schedules import PREDICTIONS, linear_schedule, noising_coefficients, score_coefficients
from tests.diffusion.laws import close, random_arrays

every_prediction = pytest.mark.parametrize("prediction", PREDICTIONS)


@every_prediction
def test_x0_and_noise_come_back_from_the_target(prediction):
    x0, eps = random_arrays(50, seed=1), random_arrays(50, seed=2)
    levels = noising_coefficients(linear_schedule(50), prediction)
    c, s = (level.view(-1, 1, 1, 1) for level in levels)
    back = recover(prediction, c * x0 + s * eps, target(prediction, x0, eps, c, s), c, s)
    close(back.x0, x0)
    close(back.eps, eps)


@every_prediction
def test_any_output_is_consistent_with_what_the_network_saw(prediction):
    x_t, output = random_arrays(50, seed=1), random_arrays(50, seed=2)
    c, s = (level.view(-1, 1, 1, 1) for level in noising_coefficients(linear_schedule(50), prediction))
    said = recover(prediction, x_t, output, c, s)
    close(c * said.x0 + s * said.eps, x_t)
    close(target(prediction, said.x0, said.eps, c, s), output)


def test_the_formulas_are_those_of_the_literature():
    x, o = random_arrays(3, seed=1), random_arrays(3, seed=2)
    c, s, one, sigma, tau = torch.tensor([0.8, 0.6, 1.0, 3.0, 0.3], dtype=torch.float64)
    expected = {
        "epsilon": (c, s, (x - s * o) / c, o),
        "v_prediction": (c, s, c * x - s * o, s * x + c * o),
        "sample": (c, s, o, (x - c * o) / s),
        "flow": (1 - tau, tau, x - tau * o, x + (1 - tau) * o),
        "edm": (one, sigma, o, (x - o) / sigma),
    }
    assert set(expected) == set(PREDICTIONS)
    for prediction, (c, s, x0, eps) in expected.items():
        said = recover(prediction, x, o, c, s)
        close(said.x0, x0)
        close(said.eps, eps)


@every_prediction
def test_the_noise_is_minus_sigma_times_the_white_score(prediction):
    """The map from output to score of the other half of the library is the same convention."""
    schedule = linear_schedule(50)
    x, o = random_arrays(50, seed=1), random_arrays(50, seed=2)
    c, s, a, b = (
        level.view(-1, 1, 1, 1)
        for level in (*noising_coefficients(schedule, prediction), *score_coefficients(schedule, prediction))
    )
    close(-recover(prediction, x, o, c, s).eps / s, a * x + b * o, rtol=1e-9)


def test_an_unknown_prediction_is_named_with_its_neighbour():
    with pytest.raises(InvalidInputError, match=r"unknown prediction 'eps' \(did you mean 'epsilon'\?\)"):
        target_coefficients("eps", torch.ones(()), torch.ones(()))
    with pytest.raises(InvalidInputError, match=r"unknown prediction 'epsilom' \(did you mean 'epsilon'\?\); known: "):
        recover("epsilom", *[torch.ones(())] * 4)
