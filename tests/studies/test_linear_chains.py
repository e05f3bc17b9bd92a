"""Simulated linear score matching against oracles T1 to T6, and where the theorem's conditions fail."""

import math

import pytest
import torch

from scoregrain.studies.linear_chains import (
    LinearProblem,
    gradient_traces,
    measured_rates,
    stationary_closed_form,
    stationary_errors,
    times_to,
)

F64 = torch.float64
ORACLE = torch.tensor([8.0, 5.0, 3.0, 2.0, 1.0], dtype=F64)


def problem(sigma=1.0, values=ORACLE, s=None, seed=3):
    return LinearProblem.draw(values, sigma, seed, s)


def rates(drawn, start=None):
    return measured_rates(drawn, drawn.start() if start is None else start, 20).amin((1, 2))


def test_features_and_moments_have_the_spectra_they_are_drawn_for():
    s = torch.tensor([0.5, 1.5], dtype=F64)
    drawn = problem(0.7, torch.tensor([4.0, 1.0], dtype=F64), s)
    a, u = drawn.features @ drawn.features.T, drawn.basis
    torch.testing.assert_close(u.T @ a @ u, torch.diag(drawn.eigenvalues), atol=1e-12, rtol=0)
    torch.testing.assert_close(u.T @ drawn.moments[1] @ u, torch.diag(0.49 * s + torch.tensor([0.0, 1.0])))
    assert not torch.allclose(drawn.features, drawn.features.T)


def test_gradient_descent_gives_oracle_t2():
    """T2, v = u_5, with its own learning rate of 0.01 and a basis of its own."""
    drawn = problem()
    theta, steps = drawn.start(), 10
    for _ in range(steps):
        gradient = 2 * drawn.features.T @ (drawn.features @ theta @ drawn.moments + torch.eye(5, dtype=F64))
        theta = theta - 0.01 * gradient
    learnt = drawn.basis.T @ drawn.features @ theta[4] @ drawn.basis
    expected = torch.tensor([-0.82509877, -0.65132156, -0.46138489, -0.33516736, -0.16758368], dtype=F64)
    torch.testing.assert_close(learnt, expected.diag(), atol=1e-8, rtol=0)


def test_descent_steps_down_the_gradient_of_the_loss():
    """L = ‖Ωv‖² + ‖σΩ + I/σ‖²: one step is Θ - η∇L by automatic differentiation."""
    drawn = problem(0.6)
    theta = drawn.start(1.0, seed=1).clone().requires_grad_()
    omega = drawn.features @ theta
    data = torch.stack([omega[i] @ drawn.basis[:, i] for i in range(5)])
    loss = data.square().sum() + (0.6 * omega + torch.eye(5, dtype=F64) / 0.6).square().sum()
    (gradient,) = torch.autograd.grad(loss, theta)
    expected = theta.detach() - drawn.learning_rate * gradient
    torch.testing.assert_close(drawn.descended(theta.detach(), 1), expected, rtol=1e-12, atol=1e-12)


def test_measured_rates_give_oracle_t1():
    torch.testing.assert_close(rates(problem()), torch.tensor([1.0, 1, 1, 1, 2], dtype=F64), rtol=1e-9, atol=0)


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_the_smallest_direction_is_learnt_at_the_rate_of_the_theorem(sigma):
    """min{(1+σ²)λ_D, σ²λ_{D-1}}: the first where σ is large, the second where it is small."""
    expected = torch.full((5,), sigma**2, dtype=F64)
    expected[-1] = min((1 + sigma**2) * 1, sigma**2 * 2)
    torch.testing.assert_close(rates(problem(sigma)), expected, rtol=1e-9, atol=0)


def test_the_theorem_breaks_without_its_conditions():
    """Two equal smallest eigenvalues, or a start whose mean is not zero, leave all directions one rate."""
    ones = torch.ones(5, dtype=F64)
    tied = problem(values=torch.tensor([8.0, 5.0, 3.0, 1.0, 1.0], dtype=F64))
    torch.testing.assert_close(rates(tied), ones, rtol=1e-9, atol=0)
    drawn = problem()
    torch.testing.assert_close(rates(drawn, drawn.start(1.0)), ones, rtol=1e-9, atol=0)


def test_times_are_those_of_the_closed_form():
    """Whole: Σ b_j^-2 (1-2ηλ_jb_j)^2k falls to a tenth; along the data: (1-2ηλ_ib_i)^k does."""
    drawn = problem()
    whole, along = times_to(drawn, 0.1, stride=1)
    eta = drawn.learning_rate
    for i in range(5):
        b = torch.ones(5, dtype=F64)
        b[i] = 2
        k = math.log(0.1) / math.log(1 - 2 * eta * float(ORACLE[i] * b[i]))
        assert float(along[i]) == pytest.approx(2 * eta * k, rel=1e-9)
        left = [float(((1 - 2 * eta * ORACLE * b) ** (2 * k) / b**2).sum()) for k in range(200)]
        first = next(k for k in range(200) if left[k] <= 0.01 * left[0])
        assert 2 * eta * (first - 1) < float(whole[i]) <= 2 * eta * first


def test_times_that_are_not_reached_are_infinite():
    whole, _ = times_to(problem(), 0.1, stride=10, most=10)
    assert whole.isinf().all()


def test_sampled_gradients_give_oracle_t3():
    theta, function = gradient_traces(problem(), 40_000, 0)
    expected = torch.tensor([96.0, 60, 36, 24, 12], dtype=F64)
    torch.testing.assert_close(theta, expected, rtol=0.05, atol=0)
    torch.testing.assert_close(function / theta, ORACLE, rtol=1e-9, atol=0)  # the residual lies along u_i exactly


@pytest.mark.parametrize(("target", "expected"), [("score", [64.0, 3.2]), ("epsilon", [16.0, 7.2])])
def test_sampled_gradients_under_shaped_noise_give_oracle_t5(target, expected):
    drawn = problem(values=torch.tensor([4.0, 1.0], dtype=F64), s=torch.tensor([0.5, 1.5], dtype=F64))
    theta, _ = gradient_traces(drawn, 100_000, 1, target)
    torch.testing.assert_close(theta, torch.tensor(expected, dtype=F64), rtol=0.04, atol=0)


def test_noise_of_the_inverse_spectrum_gives_oracle_t6():
    values, s = torch.tensor([4.0, 1.0], dtype=F64), torch.tensor([0.4, 1.6], dtype=F64)
    found = measured_rates(problem(values=values, s=s), torch.zeros(2, 2, 2, dtype=F64), 2)
    assert float(found[0, 1, 1]) == pytest.approx(1.6, rel=1e-9)
    assert float(found[1, 0, 0]) == pytest.approx(1.6, rel=1e-9)


def test_the_stationary_error_is_that_of_oracle_t4_to_leading_order():
    drawn = problem()
    assert float(stationary_closed_form(drawn, [0], 2e-4)[0]) == pytest.approx(0.004, rel=0.02)
    tiny = stationary_closed_form(drawn, [0, 1, 2, 3, 4], 1e-9)
    torch.testing.assert_close(tiny, 1e-9 * ORACLE * 5 / 2, rtol=1e-6, atol=0)


def test_simulated_chains_end_with_the_stationary_error():
    """At a learning rate so large that the leading order is a fifth too small."""
    drawn, rate = problem(0.8), 0.01
    found = stationary_errors(drawn, [0, 2], rate, 64, 0, (4, 30))
    expected = stationary_closed_form(drawn, [0, 2], rate)
    leading = rate * ORACLE[[0, 2]] * 5 / (0.64 * 1.64)
    assert float(expected[0] / leading[0]) > 1.2
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0)
