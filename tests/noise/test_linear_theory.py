"""Training of the linear model under shaped noise, against gradient descent and drawn gradients (T5, T6, MATH C5)."""

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.noise.forward import ForwardNoise
from scoregrain.noise.linear_theory import decay_rates, gradient_noise
from scoregrain.operators import DenseOperator, DiagonalOperator

LAMBDA = torch.tensor([4.0, 1.0], dtype=torch.float64)
S = torch.tensor([0.5, 1.5], dtype=torch.float64)


def orthonormal(size, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator)).Q


def test_gradient_noise_of_two_directions():
    """T5."""
    score, epsilon = gradient_noise(LAMBDA, S, 1.0), gradient_noise(LAMBDA, S, 1.0, target="epsilon")
    torch.testing.assert_close(score, torch.tensor([64, 3.2], dtype=torch.float64), rtol=1e-14, atol=0)
    torch.testing.assert_close(epsilon, torch.tensor([16, 7.2], dtype=torch.float64), rtol=1e-14, atol=0)


def test_gradient_noise_of_white_noise():
    """T3: 4λ(1+Dσ²)/(σ²(1+σ²)) for D = 5, σ = 1."""
    white = gradient_noise(torch.tensor([8.0, 5, 3, 2, 1]), torch.ones(5), 1.0)
    torch.testing.assert_close(white, torch.tensor([96, 60, 36, 24, 12], dtype=torch.float64))


@pytest.mark.parametrize("target", ["score", "epsilon"])
@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("sigma", [1.0, 0.6])
def test_gradients_drawn_from_the_model_have_that_noise(target, direction, sigma):
    """T5 by automatic differentiation of 2e5 single losses at the optimum, in a basis of its own, within 4 errors."""
    n, u = 200_000, orthonormal(2, 3)
    sigma_matrix = u @ S.diag() @ u.T
    phi = u @ LAMBDA.sqrt().diag() @ orthonormal(2, 4)  # ΦΦᵀ has the eigenvectors of Σ
    v = u[:, direction]
    generator = torch.Generator().manual_seed(direction)
    eps = torch.randn(n, 2, generator=generator, dtype=torch.float64) @ (u * S.sqrt()).T
    q = torch.randn(n, 1, generator=generator, dtype=torch.float64) * v + sigma * eps
    wanted = -eps @ sigma_matrix.inverse() / sigma if target == "score" else eps
    cross = -torch.eye(2, dtype=torch.float64) if target == "score" else sigma * sigma_matrix  # E[target qᵀ]
    moments = torch.outer(v, v) + sigma**2 * sigma_matrix
    theta = phi.inverse() @ cross @ moments.inverse()

    def loss(theta, q, wanted):
        return (phi @ theta @ q - wanted).square().sum()

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(theta, q, wanted)
    squares = gradients.flatten(1).square().sum(1)  # the mean gradient is zero at the optimum
    trace, error = squares.mean().item(), squares.std().item() / n**0.5
    assert gradients.flatten(1).mean(0).abs().max() < 5 * (trace / n) ** 0.5
    assert error < 0.01 * trace
    assert trace == pytest.approx(gradient_noise(LAMBDA, S, sigma, target)[direction].item(), abs=4 * error)


@pytest.mark.parametrize("direction", [0, 2])
def test_gradient_descent_forgets_at_these_rates(direction):
    """The expected gradient, iterated from zero in a basis of its own: every step multiplies by 1 - 2ηρ."""
    values, s = torch.tensor([3.0, 2.0, 0.5], dtype=torch.float64), torch.tensor([0.4, 0.6, 2.0], dtype=torch.float64)
    u, sigma, eta, steps = orthonormal(3, 5), 0.7, 0.05, 7
    a, noise = u @ values.diag() @ u.T, u @ s.diag() @ u.T
    moments = torch.outer(u[:, direction], u[:, direction]) + sigma**2 * noise
    omega = torch.zeros(3, 3, dtype=torch.float64)
    for _ in range(steps):
        omega = omega - 2 * eta * a @ (omega @ moments + torch.eye(3, dtype=torch.float64))
    optimum = -moments.inverse()
    left = (u.T @ (omega - optimum) @ u).diagonal() / (u.T @ -optimum @ u).diagonal()
    rates = decay_rates(values, s, sigma, direction)
    torch.testing.assert_close(left, (1 - 2 * eta * rates) ** steps, rtol=1e-10, atol=0)


def test_inverse_noise_equalises_the_rates():
    """T6: s ∝ 1/λ of mean 1 is (.4, 1.6), and all rates off the data are 1.6; white noise leaves (4, 1)."""
    basis = orthonormal(2, 0)
    noise = ForwardNoise.in_basis(DenseOperator((1, 2), LAMBDA, basis), gamma=1.0)
    variances = (basis.T @ noise.operator((1, 2)).to_dense() @ basis).diagonal()
    torch.testing.assert_close(variances, torch.tensor([0.4, 1.6], dtype=torch.float64), rtol=1e-12, atol=0)
    off_data = torch.stack([decay_rates(LAMBDA, variances, 1.0, 1)[0], decay_rates(LAMBDA, variances, 1.0, 0)[1]])
    torch.testing.assert_close(off_data, torch.tensor([1.6, 1.6], dtype=torch.float64), rtol=1e-12, atol=0)
    assert decay_rates(LAMBDA, torch.ones(2), 1.0, 1).tolist() == [4.0, 2.0]


def test_inverse_noise_has_the_ratio_of_harmonic_to_arithmetic_mean():
    """C5: κ_Σ = tr(GΣ)/tr G, and nearly equal gradient noise of the ε target as σ → 0."""
    values = torch.tensor([5.0, 2.0, 1.0], dtype=torch.float64)
    s = ForwardNoise.in_basis(DiagonalOperator((1, 3), values), gamma=1.0).operator((1, 3)).to_dense().diagonal()
    harmonic = 3 / (1 / values).sum()
    torch.testing.assert_close((values * s).sum() / values.sum(), harmonic / values.mean(), rtol=1e-12, atol=0)
    noises = gradient_noise(values, s, 1e-4, target="epsilon")
    torch.testing.assert_close(noises, noises.mean().expand(3), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decay_rates(LAMBDA, S, 1.0, 2), "direction must lie in 0 … 1, got 2"),
        (lambda: decay_rates(LAMBDA, S[:1], 1.0, 0), "one variance s for each of 2 eigenvalues, got 1"),
        (lambda: decay_rates(-LAMBDA, S, 1.0, 0), "eigenvalues must be finite non-negative"),
        (lambda: decay_rates(LAMBDA, S * torch.nan, 1.0, 0), "s must be finite non-negative"),
        (lambda: gradient_noise(LAMBDA, S, 0.0), "sigma must be positive"),
        (lambda: gradient_noise(LAMBDA, S, 1.0, target="epsilom"), "did you mean 'epsilon'"),
        (lambda: gradient_noise(LAMBDA, torch.tensor([1.0, 0.0]), 1.0), "directions without noise"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()
