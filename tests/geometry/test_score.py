"""The map from outputs to scores under the probes: oracles G1–G3 of MATH Part D, all noise levels enumerated."""

import pytest
import torch

from scoregrain._random import stream
from scoregrain.geometry import DataProbe, GaussianProbe, ZeroProbe, score_from_output
from scoregrain.schedules import linear_schedule

SCHEDULE = linear_schedule(1000)
ALL = torch.arange(1000)
F64 = torch.float64


def cubature(dimension: int) -> torch.Tensor:
    """Points ±√d e_i: their mean outer product is exactly the identity."""
    eye = dimension**0.5 * torch.eye(dimension, dtype=F64)
    return torch.cat([eye, -eye])


def geometry_over_all_levels(output, points):
    """Mean over points and levels of F Fᵀ, ε-prediction; ``points(t)`` and ``output(x)`` have shape (n, 2)."""
    total = torch.zeros(2, 2, dtype=F64)
    for t in ALL:
        x = points(t)
        score = score_from_output(output(x), x, t.expand(len(x)), SCHEDULE, "epsilon")
        total += score.T @ score / len(x)
    return total / len(ALL)


def test_constant_output_under_the_zero_probe():
    g = geometry_over_all_levels(
        lambda x: torch.tensor([[1.0, 2.0]], dtype=F64), lambda t: torch.zeros(1, 2, dtype=F64)
    )
    expected = 32.05434524985 * torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=F64)
    torch.testing.assert_close(g, expected, rtol=1e-9, atol=0)


def test_linear_output_under_the_gaussian_probe():
    a = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=F64)
    g = geometry_over_all_levels(lambda x: x @ a.T, lambda t: 0.5 * cubature(2))
    expected = torch.tensor([[40.06793156, 16.02717262], [16.02717262, 8.01358631]], dtype=F64)
    torch.testing.assert_close(g, expected, rtol=1e-8, atol=0)


def test_identity_output_under_the_data_probe():
    m = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=F64)
    points = cubature(4)
    x0, z = points[:, :2] @ torch.linalg.cholesky(m).T, points[:, 2:]
    g = geometry_over_all_levels(lambda x: x, lambda t: SCHEDULE.alpha_bar[t].sqrt() * x0 + SCHEDULE.sigma[t] * z)
    expected = torch.tensor([[63.10869050, 15.52717262], [15.52717262, 32.05434525]], dtype=F64)
    torch.testing.assert_close(g, expected, rtol=1e-8, atol=0)


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_exact_output_gives_the_exact_score(prediction):
    """For x0 ~ N(0, I) the score is -x whatever is predicted: E[ε|x] = σx, E[x0|x] = √ᾱ x."""
    t = torch.tensor([3, 400, 990])
    x = torch.randn(3, 1, 4, 4, generator=stream(0, "x"), dtype=F64)
    signal, sigma = SCHEDULE.alpha_bar[t].sqrt().reshape(3, 1, 1, 1), SCHEDULE.sigma[t].reshape(3, 1, 1, 1)
    # v = √ᾱ ε - σ x0 has conditional mean √ᾱ σ x - σ √ᾱ x = 0
    output = {"v_prediction": torch.zeros_like(x), "sample": signal * x}[prediction]
    score = score_from_output(output, x, t, SCHEDULE, prediction)
    torch.testing.assert_close(score, -x, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(score_from_output(sigma * x, x, t, SCHEDULE, "epsilon"), -x, rtol=1e-9, atol=0)


def test_probes_have_the_laws_they_name():
    """Second moments from 20,000 draws, five standard errors."""
    n, t = 20_000, torch.full((20_000,), 300)
    zero = ZeroProbe((1, 2)).sample(t[:5], SCHEDULE, stream(0, "p"))
    assert zero.shape == (5, 1, 2)
    assert not zero.any()
    x = GaussianProbe((1, 2), scale=0.5).sample(t, SCHEDULE, stream(0, "p")).flatten(1).double()
    torch.testing.assert_close(x.T @ x / n, 0.25 * torch.eye(2, dtype=F64), rtol=0, atol=5 * 0.25 * (2 / n) ** 0.5)
    images = torch.tensor([[[2.0, 0.0]], [[0.0, -1.0]]])
    x = DataProbe(images).sample(t, SCHEDULE, stream(0, "p")).flatten(1).double()
    signal, noise = SCHEDULE.alpha_bar[300], 1 - SCHEDULE.alpha_bar[300]
    expected = signal * torch.diag(torch.tensor([2.0, 0.5], dtype=F64)) + noise * torch.eye(2, dtype=F64)
    torch.testing.assert_close(x.T @ x / n, expected, rtol=0, atol=5 * 3 / n**0.5)
