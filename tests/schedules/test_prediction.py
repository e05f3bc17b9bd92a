"""The table of MATH A2 (oracles S3 and S4) and the coefficients against the exact score of a Gaussian."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.schedules import (
    PREDICTIONS,
    Schedule,
    concentration,
    cosine_schedule,
    linear_schedule,
    score_coefficients,
    score_weight,
)


@pytest.mark.parametrize(
    ("prediction", "mean", "kappa", "digits"),
    [
        ("epsilon", 32.05434524985, 134.8137570348659, 1e-9),
        # Decimal arithmetic gives 143.57055195892; the 143.5705719 of MATH A2 is wrong in the eighth figure.
        ("v_prediction", 31.05434524985, 143.57055195892, 1e-9),
        ("sample", 138486.52620603, 547.78997, 1e-8),
    ],
)
def test_s3_s4_weights_of_the_linear_schedule(prediction: str, mean: float, kappa: float, digits: float) -> None:
    weights = score_weight(linear_schedule(), prediction)
    assert weights.dtype == torch.float64
    assert weights.mean().item() == pytest.approx(mean, rel=1e-9)
    assert concentration(weights) == pytest.approx(kappa, rel=digits)


def test_s4_effective_number_of_steps() -> None:
    weights = score_weight(linear_schedule(), "epsilon")
    assert 1000 / concentration(weights) == pytest.approx(7.417640617651341, rel=1e-9)


def test_how_the_weight_gathers_at_the_start() -> None:
    weights = score_weight(linear_schedule(), "epsilon")
    shares = [weights[:count].sum().item() / weights.sum().item() for count in (1, 10, 100)]
    assert shares == pytest.approx([0.31197, 0.76665, 0.95328], abs=5e-6)


def test_weights_are_the_formulas_of_the_table() -> None:
    schedule = cosine_schedule(40)
    alpha_bar = schedule.alpha_bar
    expected = {
        "epsilon": 1 / (1 - alpha_bar),
        "v_prediction": alpha_bar / (1 - alpha_bar),
        "sample": alpha_bar / (1 - alpha_bar) ** 2,
    }
    for prediction, weights in expected.items():
        torch.testing.assert_close(score_weight(schedule, prediction), weights)


def gaussian_output(schedule: Schedule, prediction: str, variance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, the perfect network's output at x, and the exact score, for data N(0, ``variance``)."""
    signal, noise = schedule.alpha_bar.sqrt(), (1 - schedule.alpha_bar).sqrt()
    if prediction == "flow":
        noise = torch.arange(1, schedule.num_steps + 1).double() / schedule.num_steps
        signal = 1 - noise
    if prediction == "edm":
        signal, noise = torch.ones_like(noise), noise / signal
    x = torch.linspace(-2, 3, schedule.num_steps).double()
    marginal = signal**2 * variance + noise**2
    x0, eps = signal * variance * x / marginal, noise * x / marginal
    outputs = {
        "epsilon": eps,
        "v_prediction": signal * eps - noise * x0,
        "sample": x0,
        "flow": eps - x0,
        "edm": x0,
    }
    return x, outputs[prediction], -x / marginal


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("variance", [0.25, 4.0])
def test_a_perfect_network_gives_the_exact_score(prediction: str, variance: float) -> None:
    schedule = linear_schedule(100)
    x, output, score = gaussian_output(schedule, prediction, variance)
    a, b = score_coefficients(schedule, prediction)
    assert a.dtype == b.dtype == torch.float64
    assert a.shape == b.shape == (100,)
    torch.testing.assert_close(a * x + b * output, score, rtol=1e-9, atol=1e-11)


def test_flow_uses_only_the_number_of_steps() -> None:
    linear, cosine = score_weight(linear_schedule(30), "flow"), score_weight(cosine_schedule(30), "flow")
    assert torch.equal(linear, cosine)
    assert linear[0].item() == pytest.approx(29.0**2)
    assert linear[-1].item() == 0.0


def test_flow_and_edm_levels_are_those_of_diffusers() -> None:
    from diffusers import EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler

    schedule = linear_schedule(1000)
    flow = FlowMatchEulerDiscreteScheduler(1000).sigmas.double().flip(0)
    edm = EulerDiscreteScheduler(1000, beta_start=1e-4, beta_end=0.02).sigmas[:-1].double().flip(0)
    torch.testing.assert_close(-1 / score_coefficients(schedule, "flow")[0], flow, rtol=1e-6, atol=0)
    ours = score_coefficients(schedule, "edm")[1].rsqrt()
    # They sum float32 betas; only the small steps feel it.
    torch.testing.assert_close(ours, edm, rtol=1e-4, atol=0)


@pytest.mark.parametrize("function", [score_coefficients, score_weight])
def test_unknown_predictions_name_the_nearest(function: Callable[[Schedule, str], object]) -> None:
    with pytest.raises(InvalidInputError, match=r"'epsilom' \(did you mean 'epsilon'\?\); known: epsilon, "):
        function(linear_schedule(), "epsilom")


def test_concentration_by_hand() -> None:
    assert concentration(torch.ones(7)) == 1.0
    assert concentration(torch.tensor([1.0, 3.0])) == pytest.approx(5 / 4)
    assert concentration(torch.tensor([0, 0, 0, 5])) == pytest.approx(4.0)


@pytest.mark.parametrize("bad", [[], [0.0, 0.0], [1.0, -1.0], [1.0, float("nan")], [[1.0]]])
def test_bad_weights_are_refused(bad: list[float]) -> None:
    with pytest.raises(InvalidInputError, match="non-negative, not all zero"):
        concentration(torch.tensor(bad))
