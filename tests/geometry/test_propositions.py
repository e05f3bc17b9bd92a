"""Propositions 1–3 against oracles P1–P4 and R1, and against draws of the actual layers; where conditions fail."""

import math

import pytest
import torch
from torch import nn

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.geometry.propositions import (
    RowLaw,
    cnn_geometry,
    cnn_moments,
    cnn_spectrum,
    mlp_geometry,
    mlp_moments,
    transformer_geometry,
)
from scoregrain.operators import ChannelKronecker

F64 = torch.float64
SIGMAS = 4


def normal(*size, name="w"):
    return torch.randn(*size, generator=stream(0, name), dtype=F64)


def deviations(draws, geometry):
    """Largest distance, in standard errors, of ``E (u·o)²`` over 30 random unit u between draws and uᵀ G u."""
    u = nn.functional.normalize(normal(30, draws[0].numel(), name="directions"), dim=1)
    squares = (draws.flatten(1) @ u.T).square()
    exact = torch.einsum("ki,ij,kj->k", u, geometry, u)
    return float(((squares.mean(0) - exact) / squares.std(0) * math.sqrt(len(draws))).abs().max())


def distinct(values, tolerance=1e-9):
    """How many clusters of equal eigenvalues."""
    values = values.sort().values
    return 1 + int((values.diff() > tolerance * values[-1]).sum())


# Proposition 1 --------------------------------------------------------------------------------------------------


def test_linear_mlp_oracle():
    """P1: α = 3.2, β = 0.25, top eigenvalue 4.7 for D = 6; and R1 without means."""
    h = torch.tensor([[1.0, 2.0, -1.0]])
    alpha, beta = mlp_moments(h, RowLaw(0.5, 0.2, 0.1, 0.3))
    assert (alpha, beta) == (pytest.approx(3.2, rel=1e-12), pytest.approx(0.25, rel=1e-12))
    geometry = mlp_geometry((1, 6), alpha, beta)
    assert geometry.eigenvalues.tolist() == pytest.approx([4.7] + [3.2] * 5, rel=1e-12)
    torch.testing.assert_close(geometry.to_dense(), 3.2 * torch.eye(6, dtype=F64) + 0.25, rtol=1e-12, atol=1e-12)
    assert mlp_moments(torch.tensor([[1.0, 2.0, 3.0]]), RowLaw(1 / 9, 1 / 9)) == (pytest.approx(15 / 9), 0)


def test_relu_mlp_oracle():
    """P2: the ReLU of N(0, 3)."""
    alpha, beta = mlp_moments(torch.ones(1, 3), RowLaw(1.0), "relu")
    assert alpha == pytest.approx(1.0225351707, rel=1e-9)
    assert beta == pytest.approx(0.4774648293, rel=1e-9)
    assert alpha == pytest.approx(3 * (1 / 2 - 1 / (2 * math.pi)), rel=1e-12)


def test_relu_without_variance_is_the_relu_of_the_mean():
    h = torch.tensor([[2.0], [-1.0]])
    assert mlp_moments(h, RowLaw(0.0, weight_mean=1.5), "relu") == (0, pytest.approx(4.5))


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_mlp_layers_that_are_drawn_have_the_geometry(activation):
    """40,000 layers with Gaussian rows of mean 0.4 and 0.5, each on one of five features."""
    h, law, n = normal(5, 3, name="h"), RowLaw(0.5, 0.2, 0.4, 0.5), 40_000
    w = 0.4 + math.sqrt(0.5) * normal(n, 6, 3)
    b = 0.5 + math.sqrt(0.2) * normal(n, 6, name="b")
    o = torch.einsum("nij,nj->ni", w, h[torch.arange(n) % 5]) + b
    o = o.relu() if activation == "relu" else o
    alpha, beta = mlp_moments(h, law, activation)
    assert deviations(o, mlp_geometry((1, 6), alpha, beta).to_dense()) < SIGMAS
    # β is the mean's: a centred covariance lacks it
    assert deviations(o, mlp_geometry((1, 6), alpha, 0.0).to_dense()) > 3 * SIGMAS


def test_uniform_rows_are_no_gaussian_ones_behind_a_relu():
    """The condition of the ReLU case: ``E relu(z)²`` needs two moments, ``E relu(z)`` the whole law."""
    n, bound = 40_000, math.sqrt(3.0)
    o = (bound * (2 * torch.rand(n, 6, generator=stream(0, "u"), dtype=F64) - 1)).relu()
    alpha, beta = mlp_moments(torch.ones(1, 1), RowLaw(1.0), "relu")
    assert deviations(o, mlp_geometry((1, 6), alpha, beta).to_dense()) > 3 * SIGMAS


# Proposition 2 --------------------------------------------------------------------------------------------------


def random_psd(n, name):
    root = normal(n, n, name=name)
    return root @ root.T


def test_cnn_spectrum_oracle():
    """P3: eig(A) C-1 times and eig(A + C B), of the channel-major matrix."""
    a, b = random_psd(4, "a"), random_psd(4, "b")
    dense = cnn_geometry((3, 2, 2), a, b).to_dense()
    torch.testing.assert_close(dense, torch.kron(torch.eye(3, dtype=F64), a) + torch.kron(torch.ones(3, 3), b))
    expected = torch.cat([torch.linalg.eigvalsh(a)] * 2 + [torch.linalg.eigvalsh(a + 3 * b)])
    torch.testing.assert_close(cnn_spectrum(3, a, b), expected.sort(descending=True).values, rtol=1e-10, atol=0)
    torch.testing.assert_close(cnn_spectrum(3, a, b), torch.linalg.eigvalsh(dense).flip(0), rtol=1e-10, atol=1e-10)


def conv_draws(n, mean, activation=lambda o: o):
    """Outputs of n convolutions (3 channels out of 2, 3 × 3) on one of two features, and the patches of both."""
    h = normal(2, 2, 4, 4, name="h")
    w, b = mean + 0.4 * normal(n, 3, 2, 3, 3), mean + 0.5 * normal(n, 3, name="b")
    patches = nn.functional.unfold(h, 3, padding=1)
    o = torch.einsum("nck,nkp->ncp", w.flatten(2), patches[torch.arange(n) % 2]) + b[..., None]
    assert torch.allclose(o[1], nn.functional.conv2d(h[1:2], w[1], b[1], padding=1).flatten(2)[0])
    return activation(o), patches


@pytest.mark.parametrize("mean", [0.0, 0.3])
def test_convolutions_that_are_drawn_have_the_geometry(mean):
    """20,000 layers; the order pixel ⊗ channel instead of channel ⊗ pixel fails."""
    o, patches = conv_draws(20_000, mean)
    a, b = cnn_moments(patches, RowLaw(0.16, 0.25, mean, mean))
    geometry = cnn_geometry((3, 4, 4), a, b)
    assert isinstance(geometry, ChannelKronecker) == (mean == 0)
    assert deviations(o, geometry.to_dense()) < SIGMAS
    swapped = torch.kron(a, torch.eye(3, dtype=F64)) + torch.kron(b, torch.ones(3, 3, dtype=F64))
    assert deviations(o, swapped) > 3 * SIGMAS
    if mean:
        assert deviations(o, cnn_geometry((3, 4, 4), a).to_dense()) > 3 * SIGMAS


def test_the_form_holds_behind_an_activation():
    """I_C ⊗ A + 11ᵀ ⊗ B with the moments of tanh(o_1), from draws of one half, on the other half."""
    o, _ = conv_draws(20_000, 0.3, torch.tanh)
    first, second = o[:10_000], o[10_000:]
    b = sum(torch.einsum("np,nq->pq", first[:, c], first[:, (c + 1) % 3]) for c in range(3)) / len(first) / 3
    b = (b + b.T) / 2
    a = torch.einsum("ncp,ncq->pq", first, first) / len(first) / 3 - b
    u = nn.functional.normalize(normal(30, 48, name="directions"), dim=1)
    geometry = torch.kron(torch.eye(3, dtype=F64), a) + torch.kron(torch.ones(3, 3, dtype=F64), b)
    squares = (second.flatten(1) @ u.T).square()
    exact = torch.einsum("ki,ij,kj->k", u, geometry, u)
    error = squares.std(0) * math.sqrt(2 / len(second))  # both halves are noisy
    assert float(((squares.mean(0) - exact) / error).abs().max()) < SIGMAS


# Proposition 3 --------------------------------------------------------------------------------------------------

T, L = 5, 4


def token_draws(n, mean, shared_bias=True):
    """Outputs of n linear layers on five tokens (two random sets), permuted; the tokens; the permutation."""
    h, place = normal(2, T, 3, name="h"), torch.randperm(T * L, generator=stream(0, "p"))
    w = mean + 0.5 * normal(n, L, 3)
    b = 0.6 * normal(n, 1 if shared_bias else T, L, name="b")
    o = (torch.einsum("nld,ntd->ntl", w, h[torch.arange(n) % 2]) + b).flatten(1)
    landed = torch.empty_like(o)
    landed[:, place] = o
    return landed, h, place


@pytest.mark.parametrize("shared_bias", [True, False])
def test_token_layers_that_are_drawn_have_the_geometry(shared_bias):
    """P4: 20,000 layers, five distinct eigenvalues of multiplicity four; the other bias fails."""
    o, h, place = token_draws(20_000, 0.0, shared_bias)
    law = RowLaw(0.25, 0.36)
    geometry = transformer_geometry((1, 20), h, place, law, shared_bias=shared_bias)
    assert deviations(o, geometry.to_dense()) < SIGMAS
    assert distinct(geometry.eigenvalues) <= T
    other = transformer_geometry((1, 20), h, place, law, shared_bias=not shared_bias)
    assert deviations(o, other.to_dense()) > 3 * SIGMAS
    unplaced = transformer_geometry((1, 20), h, torch.arange(20), law, shared_bias=shared_bias)
    assert deviations(o, unplaced.to_dense()) > 3 * SIGMAS


def test_a_mean_of_the_weights_breaks_the_kronecker_form():
    """P4: with mean 0.8, m² (Σh)(Σh)ᵀ ⊗ 1 1ᵀ is added, the draws show it, and more than five eigenvalues differ."""
    o, h, place = token_draws(20_000, 0.8)
    centred = transformer_geometry((1, 20), h, place, RowLaw(0.25, 0.36)).to_dense()
    assert deviations(o, centred) > 3 * SIGMAS
    sums = 0.8 * h.sum(2)
    added = torch.kron(sums.T @ sums / 2, torch.ones(L, L, dtype=F64))
    full = centred.clone()
    full[place[:, None], place] += added
    assert deviations(o, full) < SIGMAS
    assert distinct(torch.linalg.eigvalsh(centred)) <= T < distinct(torch.linalg.eigvalsh(full))
    with pytest.raises(InvalidInputError, match="needs weights and biases with mean zero"):
        transformer_geometry((1, 20), h, place, RowLaw(0.25, 0.36, weight_mean=0.8))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mlp_moments(torch.ones(3), RowLaw(1.0)), r"shape \(m, d\), got \(3,\)"),
        (lambda: mlp_moments(torch.ones(0, 3), RowLaw(1.0)), r"got \(0, 3\)"),
        (lambda: mlp_moments(torch.ones(1, 3), RowLaw(1.0), "tanh"), "unknown activation 'tanh'; known: linear, relu"),
        (lambda: cnn_moments(torch.ones(9, 16), RowLaw(1.0)), r"shape \(m, C_in·k², n\)"),
        (lambda: RowLaw(-1.0), "variances of at least 0"),
        (lambda: RowLaw(1.0, weight_mean=math.nan), "finite means"),
        (
            lambda: transformer_geometry((1, 7), torch.ones(1, 5, 3), torch.arange(7), RowLaw(1.0)),
            "the number of tokens must divide D = 7",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()
