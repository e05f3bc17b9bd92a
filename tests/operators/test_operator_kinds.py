"""What is particular to one kind of operator: oracles, sizes a dense matrix could not have, and bad input."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.operators import (
    NULL_TOLERANCE,
    ChannelKronecker,
    DenseOperator,
    DiagonalOperator,
    FunctionOperator,
    IdentityOperator,
    LowRankOperator,
    Operator,
    TokenKronecker,
)
from tests.reference.dense_operators import random_orthonormal, random_psd, unpatchify_permutation

EYE = torch.eye(4, dtype=torch.float64)
ONES = torch.ones(4, dtype=torch.float64)


def test_p3_spectrum_of_the_convolution_geometry_is_channel_major() -> None:
    channels, a, b = 3, random_psd(4, 4, seed=1), random_psd(4, 4, seed=2)
    ones = torch.ones(channels, channels, dtype=torch.float64)
    geometry = ChannelKronecker.from_matrix((channels, 2, 2), a).to_dense() + torch.kron(ones, b)
    split = [torch.linalg.eigvalsh(a)] * (channels - 1) + [torch.linalg.eigvalsh(a + channels * b)]
    expected = torch.cat(split).sort().values
    torch.testing.assert_close(torch.linalg.eigvalsh(geometry), expected, rtol=1e-10, atol=0)
    pixel_major = torch.kron(a, torch.eye(channels, dtype=torch.float64)) + torch.kron(ones, b)
    assert (torch.linalg.eigvalsh(pixel_major) - expected).abs().max() > 0.1


def test_channels_do_not_mix() -> None:
    x = torch.zeros(3, 2, 2, dtype=torch.float64)
    x[1, 0, 1] = 1.0
    y = ChannelKronecker.from_matrix((3, 2, 2), random_psd(4, 4, seed=3)) @ x
    assert y[0].abs().max() == y[2].abs().max() == 0.0
    torch.testing.assert_close(y[1].flatten(), random_psd(4, 4, seed=3)[1])


def test_one_patch_spreads_to_the_same_place_of_the_others() -> None:
    permutation = unpatchify_permutation(2, 4, 4, patch=2)
    a = torch.tensor([[4.0, 3.0, 2.0, 1.0], [3.0, 4.0, 0.0, 0.0], [2.0, 0.0, 4.0, 0.0], [1.0, 0.0, 0.0, 4.0]])
    x = torch.zeros(2, 4, 4)
    x[1, 0, 1] = 1.0
    expected = torch.zeros(2, 4, 4)
    expected[1, 0, 1], expected[1, 0, 3], expected[1, 2, 1], expected[1, 2, 3] = 4.0, 3.0, 2.0, 1.0
    torch.testing.assert_close(TokenKronecker.from_matrix((2, 4, 4), a, permutation) @ x, expected)


def huge_operators() -> list[Operator]:
    a, size = random_psd(4, 4, seed=4), 100_000
    thin = random_orthonormal(size, 2, seed=5)
    two = torch.tensor([3.0, 2.0], dtype=torch.float64)
    return [
        ChannelKronecker.from_matrix((size // 4, 2, 2), a),
        TokenKronecker.from_matrix((1, size), a, torch.arange(size).flip(0)),
        DiagonalOperator((1, size), torch.linspace(1, 2, size)),
        LowRankOperator((1, size), two, thin, residual=0.5),
        IdentityOperator((1, size), 2.0),
    ]


@pytest.mark.parametrize("operator", huge_operators(), ids=lambda operator: type(operator).__name__)
def test_nothing_but_eigh_and_to_dense_needs_a_dense_matrix(operator: Operator) -> None:
    # A 100 000 × 100 000 matrix would take 80 GB.
    x = torch.randn(operator.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(operator.inverse() @ (operator @ x), x)
    root = operator.sqrt()
    torch.testing.assert_close((root @ x).square().sum(), operator.quadratic(x))
    assert operator.log_det() == pytest.approx(-operator.pinv().log_det())
    assert operator.rank() == operator.size


def test_the_null_rule_is_relative_and_strict() -> None:
    values = torch.tensor([1.0, 2 * NULL_TOLERANCE, NULL_TOLERANCE, 0.0], dtype=torch.float64)
    for scale in (1e-8, 1.0, 1e8):
        assert DiagonalOperator((1, 4), scale * values).rank() == 2


def test_small_values_of_an_exact_function_are_in_the_support() -> None:
    geometry = DiagonalOperator((1, 4), torch.tensor([1.0, 1e-4, 1e-6, 0.0], dtype=torch.float64))
    measured, exact = (FunctionOperator(geometry, torch.square, exact=exact) for exact in (False, True))
    assert (measured.rank(), exact.rank()) == (2, 3)
    assert exact.sqrt().pinv().eigenvalues[0].item() == pytest.approx(1e6)
    assert exact.log_det() == pytest.approx(-20 * math.log(10))


def test_rounding_stays_out_of_the_root() -> None:
    u = random_orthonormal(6, 2, seed=6)
    operator = DenseOperator.from_matrix((1, 6), u @ u.T + 1e-15 * torch.eye(6, dtype=torch.float64))
    assert operator.sqrt().rank() == operator.sqrt().sqrt().rank() == 2
    assert operator.sqrt().pinv().eigenvalues[0].item() == pytest.approx(1.0)


def test_the_zero_operator() -> None:
    operator = IdentityOperator((1, 2, 2), 0.0)
    assert (operator.rank(), operator.trace(), operator.log_det()) == (0, 0.0, 0.0)
    x = torch.ones(1, 2, 2)
    assert torch.equal(operator.pinv() @ x, torch.zeros_like(x))
    with pytest.raises(InvalidInputError, match="rank 0 of 4"):
        operator.inverse()


def test_small_negative_eigenvalues_are_clipped() -> None:
    u = random_orthonormal(4, 4, seed=7)
    values = torch.tensor([2.0, 1.0, 0.5, -1e-9], dtype=torch.float64)
    operator = DenseOperator.from_matrix((1, 4), (u * values) @ u.T)
    assert operator.eigenvalues[-1].item() == 0.0
    assert operator.rank() == 3


def test_float32_decompositions_are_accepted() -> None:
    matrix = random_psd(200, 200, seed=8).float()
    values, vectors = torch.linalg.eigh(matrix)
    operator = DenseOperator((2, 10, 10), values, vectors)
    torch.testing.assert_close(operator.to_dense(), matrix.double(), rtol=0, atol=1e-5)


def test_low_rank_without_directions_is_white() -> None:
    operator = LowRankOperator((1, 4), ONES[:0], EYE[:, :0], residual=2.0)
    torch.testing.assert_close(operator.to_dense(), 2.0 * EYE)
    torch.testing.assert_close(operator.eigenvalues, 2.0 * ONES)


def test_operators_keep_their_own_copy() -> None:
    values, basis = torch.ones(4, dtype=torch.float64), random_orthonormal(4, 4, seed=9)
    operator = DiagonalOperator((1, 4), values, basis)
    values.zero_()
    basis.zero_()
    torch.testing.assert_close(operator.to_dense(), EYE)


def test_a_basis_is_cast_once() -> None:
    operator = DiagonalOperator((1, 4), ONES, random_orthonormal(4, 4, seed=9))
    x = torch.ones(1, 4)
    assert operator._basis is not None
    assert operator._basis.like(x) is operator._basis.like(x)
    assert operator._basis.value.dtype == torch.float64


def test_a_cast_stays_behind_when_an_operator_is_copied_or_pickled() -> None:
    operator = DiagonalOperator((1, 4), ONES, random_orthonormal(4, 4, seed=9))
    operator @ torch.ones(1, 4)
    again = pickle.loads(pickle.dumps(operator))  # noqa: S301 (our own)
    assert again._basis is not None
    assert again._basis._cast.dtype == torch.float64
    assert torch.equal(again @ torch.ones(1, 4), operator @ torch.ones(1, 4))


def test_a_cpu_generator_serves_a_named_device() -> None:
    operator = IdentityOperator((1, 4))
    named = operator.sample(2, torch.Generator().manual_seed(0), device="cpu")
    assert torch.equal(named, operator.sample(2, torch.Generator().manual_seed(0)))


def not_symmetric() -> Tensor:
    return torch.triu(torch.ones(4, 4))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: IdentityOperator((4,)), r"shape must be \(C, \*space\) .* got \(4,\)"),
        (lambda: IdentityOperator((1, 1, 1, 1, 1)), "one to three space dimensions"),
        (lambda: IdentityOperator((1, 0)), "all at least 1"),
        (lambda: IdentityOperator((1, 2.0)), "shape must be"),
        (lambda: IdentityOperator((1, 4), -1.0), "scale must be finite and at least 0, got -1.0"),
        (lambda: IdentityOperator((1, 4), float("nan")), "scale must be finite"),
        (lambda: DenseOperator.from_matrix((1, 4), torch.ones(4, 3)), r"\(4, 4\), got shape \(4, 3\)"),
        (lambda: DenseOperator.from_matrix((1, 4), not_symmetric()), "must be symmetric, .* mirror by 1"),
        (lambda: DenseOperator.from_matrix((1, 4), EYE * float("nan")), "must be finite"),
        (lambda: DenseOperator.from_matrix((1, 4), -EYE), "positive semi-definite, got an eigenvalue of -1"),
        (lambda: DenseOperator.from_matrix((1, 5), EYE), r"must be of shape \(5, 5\), got shape \(4, 4\)"),
        (lambda: DenseOperator((1, 4), ONES, EYE[:3]), r"columns of a \(4, 4\) matrix, got \(3, 4\)"),
        (lambda: DenseOperator((1, 4), ONES, 1.001 * EYE), "orthonormal columns"),
        (lambda: DenseOperator((1, 4), ONES, not_symmetric()), "orthonormal columns"),
        (lambda: DiagonalOperator((1, 4), -ONES), "positive semi-definite"),
        (lambda: DiagonalOperator((1, 4), ONES / 0), "eigenvalues must be finite"),
        (lambda: DiagonalOperator((1, 4), EYE), r"shape \(4,\), got \(4, 4\)"),
        (lambda: DiagonalOperator((1, 4), ONES, EYE + 0.1), "orthonormal columns"),
        (
            lambda: ChannelKronecker.from_matrix((2, 4), torch.eye(8)),
            r"of shape \(4, 4\), got shape \(8, 8\)",
        ),
        (lambda: TokenKronecker.from_matrix((1, 6), EYE, torch.arange(6)), "must divide D = 6, got 4"),
        (lambda: TokenKronecker.from_matrix((1, 6), EYE[:2], torch.arange(6)), r"square, got shape \(2, 4\)"),
        (
            lambda: TokenKronecker.from_matrix((1, 6), EYE[:0, :0], torch.arange(6)),
            "must be square, got shape",
        ),
        (
            lambda: TokenKronecker.from_matrix((1, 6), ONES.sum(), torch.arange(6)),
            "must be square, got shape",
        ),
        (lambda: TokenKronecker((1, 6), ONES[:0], EYE[:0, :0], torch.arange(6)), "must divide D = 6, got 0"),
        (lambda: DenseOperator((1, 4), ONES[:3], EYE), r"shape \(4,\), got \(3,\)"),
        (lambda: TokenKronecker.from_matrix((1, 8), EYE, torch.arange(4)), r"int64 tensor of shape \(8,\)"),
        (lambda: TokenKronecker.from_matrix((1, 8), EYE, torch.arange(8.0)), "got torch.float32"),
        (lambda: TokenKronecker.from_matrix((1, 8), EYE, torch.zeros(8).long()), "each of 0 … 7 once"),
        (lambda: TokenKronecker((1, 8), ONES[0], EYE, torch.arange(8)), r"shape \(k,\), got \(\)"),
        (lambda: LowRankOperator((1, 4), ONES[:2], EYE), r"a \(4, 2\) matrix, got \(4, 4\)"),
        (lambda: LowRankOperator((1, 4), ONES, EYE, residual=-0.1), "residual must be finite and at least 0"),
        (lambda: FunctionOperator(IdentityOperator((1, 4)), lambda v: v - 2), "positive semi-definite"),
        (lambda: FunctionOperator(IdentityOperator((1, 4)), lambda v: v / 0), "must be finite"),
        (lambda: FunctionOperator(IdentityOperator((1, 4)), lambda v: v[:2]), r"shape \(4,\), got \(2,\)"),
    ],
)
def test_bad_input_is_explained_in_one_line(build: Callable[[], Operator], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as error:
        build()
    assert "\n" not in str(error.value)


def test_the_base_class_and_half_written_kinds_are_refused() -> None:
    with pytest.raises(TypeError, match="Operator is abstract"):
        Operator((1, 4))
    with pytest.raises(TypeError, match="Half must write _apply, or both _matmul and eigh"):
        type("Half", (Operator,), {"_matmul": lambda self, x: x})
