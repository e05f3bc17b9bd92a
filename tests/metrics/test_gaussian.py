"""The Bures distance against closed forms and a dense reference; its error against repetitions."""

import math

import numpy as np
import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.metrics.gaussian import bures_distance, covariance_factors, gaussian_w2

F64 = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=stream(seed, "gaussian"), dtype=F64)


def covariance(size, seed, rank=None):
    root = normal(size, rank or size, seed=seed)
    return root @ root.T


def rotation(size, seed=9):
    return torch.linalg.qr(normal(size, size, seed=seed)).Q


def power(matrix, exponent):
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp_min(0) ** exponent @ vectors.T


def dense(mean1, s1, mean2, s2):
    """The formula as it stands."""
    half = power(s1, 0.5)
    square = (mean1 - mean2).square().sum() + torch.trace(s1 + s2 - 2 * power(half @ s2 @ half, 0.5))
    return math.sqrt(square)


# the law -------------------------------------------------------------------------------------------------------------


def test_in_one_dimension_it_is_a_difference_of_means_and_deviations():
    found = bures_distance(torch.tensor([1.0]), torch.tensor([[9.0]]), torch.tensor([4.0]), torch.tensor([[25.0]]))
    assert found == pytest.approx(math.hypot(3, 2), rel=1e-12)


@pytest.mark.parametrize("turn", [False, True])
def test_covariances_that_commute_differ_by_their_roots(turn):
    a, b = torch.tensor([4.0, 1.0, 0.25, 0.0], dtype=F64), torch.tensor([1.0, 9.0, 0.0, 0.0], dtype=F64)
    u = rotation(4) if turn else torch.eye(4, dtype=F64)
    zero = torch.zeros(4, dtype=F64)
    found = bures_distance(zero, u * a @ u.T, zero, u * b @ u.T)
    assert found == pytest.approx(float((a.sqrt() - b.sqrt()).norm()), rel=1e-12)


def test_it_is_the_formula_for_full_covariances_and_turns_with_both():
    arguments = normal(7, seed=1), covariance(7, 2), normal(7, seed=3), covariance(7, 4)
    assert bures_distance(*arguments) == pytest.approx(dense(*arguments), rel=1e-10)
    w = rotation(7)
    turned = w @ arguments[0], w @ arguments[1] @ w.T, w @ arguments[2], w @ arguments[3] @ w.T
    assert bures_distance(*turned) == pytest.approx(dense(*arguments), rel=1e-10)


@pytest.mark.parametrize("ranks", [(2, 3), (1, 1), (3, 6)])
def test_singular_covariances_lose_no_digits(ranks):
    """Two planes: with S = R Rᵀ of k columns the nuclear norm of R₁ᵀR₂ is that of a k × l matrix."""
    first, second = normal(6, ranks[0], seed=1), normal(6, ranks[1], seed=2)
    square = first.square().sum() + second.square().sum() - 2 * torch.linalg.svdvals(first.T @ second).sum()
    zero = torch.zeros(6, dtype=F64)
    found = bures_distance(zero, first @ first.T, zero, second @ second.T)
    assert found == pytest.approx(float(square.sqrt()), rel=1e-10)


def test_orthogonal_lines_are_as_far_as_their_lengths():
    zero, e = torch.zeros(3, dtype=F64), torch.eye(3, dtype=F64)
    found = bures_distance(zero, 9 * e[:1].T @ e[:1], zero, 16 * e[1:2].T @ e[1:2])
    assert found == pytest.approx(5, rel=1e-12)


def test_equal_laws_are_at_distance_zero_to_all_digits():
    s, m = covariance(12, 1, rank=5), normal(12)
    assert bures_distance(m, s, m, s) < 1e-12 * float(torch.trace(s)) ** 0.5  # the formula itself leaves 1e-8


# samples -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(50, 40), (5, 40), (50, 4), (6, 4), (2, 2)])
def test_samples_have_the_distance_of_their_moments(n, m):
    x, y = normal(n, 8), 0.5 + 2 * normal(m, 8, seed=1) @ rotation(8)
    found = gaussian_w2(x, y)
    assert found.w2 == pytest.approx(dense(x.mean(0), x.T.cov(), y.mean(0), y.T.cov()), rel=1e-6)
    assert found.mean == pytest.approx(float((x.mean(0) - y.mean(0)).norm()), rel=1e-12)
    assert math.hypot(found.mean, found.covariance) == pytest.approx(found.w2, rel=1e-12)
    assert found.counts == (n, m)
    assert gaussian_w2(y, x).w2 == pytest.approx(found.w2, rel=1e-10)
    assert gaussian_w2(y, x).error == pytest.approx(found.error, rel=1e-6)


def test_a_shift_is_its_length_whatever_the_samples():
    x = normal(30, 1, 4, 5)
    found = gaussian_w2(x, x + 0.25)
    assert found.w2 == pytest.approx(0.25 * math.sqrt(20), rel=1e-10)
    assert found.covariance < 1e-12
    assert gaussian_w2(x, x).w2 < 1e-12


def test_the_factors_give_back_the_samples():
    for n in (40, 5):
        x = normal(n, 8)
        mean, coordinates, root = covariance_factors(x.float())
        torch.testing.assert_close(mean + coordinates @ root.T, x.float().double())
        torch.testing.assert_close(root @ root.T, x.float().double().T.cov())
        torch.testing.assert_close(coordinates.T @ coordinates / (n - 1), torch.eye(min(n, 8), dtype=F64))


CASES = {
    "scale": (lambda k: normal(200, 6, seed=2 * k), lambda k: 1.5 * normal(150, 6, seed=2 * k + 1)),
    "shift": (lambda k: normal(200, 6, seed=2 * k), lambda k: 1 + normal(150, 6, seed=2 * k + 1)),
    "another shape": (
        lambda k: normal(200, 6, seed=2 * k) @ covariance(6, 1),
        lambda k: 0.2 + normal(150, 6, seed=2 * k + 1) @ covariance(6, 2),
    ),
    "zeros": (lambda k: normal(200, 6, seed=2 * k), lambda k: torch.zeros(2, 6, dtype=F64)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_declared_error_is_the_spread_of_repetitions(case):
    """300 repetitions know their own spread to 4 %."""
    x, y = CASES[case]
    found = [gaussian_w2(x(k), y(k)) for k in range(300)]
    declared = math.sqrt(np.mean([each.error**2 for each in found]))
    assert declared == pytest.approx(np.std([each.w2 for each in found], ddof=1), rel=0.12)


def test_few_samples_make_equal_laws_seem_apart():
    """As the docstring warns: the part of the means alone is √(tr S (1/N + 1/M))."""
    squares = [gaussian_w2(normal(40, 10, seed=2 * k), normal(60, 10, seed=2 * k + 1)).mean ** 2 for k in range(300)]
    assert np.mean(squares) == pytest.approx(10 * (1 / 40 + 1 / 60), rel=0.1)


# bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2), torch.eye(2), torch.zeros(3), torch.eye(3)), r"a covariance must be \(2, 2\) like its mean"),
        ((torch.zeros(2), torch.eye(2), torch.zeros(3), torch.eye(2)), "means must have one dimension, got 2 and 3"),
        ((torch.zeros(2), -torch.eye(2), torch.zeros(2), torch.eye(2)), "symmetric and positive semi-definite"),
        (
            (torch.zeros(2), torch.tensor([[1.0, 0.5], [0.0, 1.0]]), torch.zeros(2), torch.eye(2)),
            "symmetric and positive semi-definite",
        ),
        ((torch.zeros(2), torch.eye(2) * math.nan, torch.zeros(2), torch.eye(2)), "a covariance must be finite"),
        ((torch.tensor([0, math.inf]), torch.eye(2), torch.zeros(2), torch.eye(2)), "a mean must be finite"),
        (([0.0, 0.0], torch.eye(2), torch.zeros(2), torch.eye(2)), "a mean must be of type Tensor, got list"),
        ((torch.zeros(2), np.eye(2), torch.zeros(2), torch.eye(2)), "a covariance must be of type Tensor, got ndarray"),
    ],
)
def test_what_is_no_law_is_refused_in_one_line(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        bures_distance(*arguments)


def test_samples_that_are_not_comparable_are_refused():
    with pytest.raises(InvalidInputError, match="samples of one shape"):
        gaussian_w2(torch.zeros(3, 2), torch.zeros(3, 3))
