"""Every identity on every operator, against dense float64 references."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.operators import Operator
from tests.operators.cases import CASES, Case

TOLERANCE = 1e-10
"""The numbers are of order one; the null rule drops what is below 1e-10 of the largest eigenvalue."""

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
regular = pytest.mark.parametrize(
    "case", [case for case in CASES if case.rank == case.operator.size], ids=lambda case: case.name
)
singular = pytest.mark.parametrize(
    "case", [case for case in CASES if case.rank < case.operator.size], ids=lambda case: case.name
)


def draw(operator: Operator, *batch: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, *operator.shape, generator=generator, dtype=torch.float64).to(dtype)


def dense_product(dense: Tensor, x: Tensor, operator: Operator) -> Tensor:
    flat = x.reshape(-1, operator.size)
    return torch.stack([dense @ row for row in flat]).reshape(x.shape)


def support(dense: Tensor, rank: int) -> Tensor:
    """Return the eigenvectors of the ``rank`` largest eigenvalues; torch orders them upwards."""
    return torch.linalg.eigh(dense).eigenvectors[:, len(dense) - rank :]


def dense_function(dense: Tensor, f: str, rank: int) -> Tensor:
    """Return U f(λ) Uᵀ over the ``rank`` largest eigenvalues."""
    u = support(dense, rank)
    values = torch.linalg.eigvalsh(dense)[len(dense) - rank :]
    return (u * getattr(values, f)()) @ u.T


def close(actual: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@every_case
@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,)])
def test_matmul_is_the_dense_product(case: Case, batch: tuple[int, ...]) -> None:
    x = draw(case.operator, *batch)
    expected = dense_product(case.dense, x, case.operator) if x.numel() else x
    close(case.operator @ x, expected)


@every_case
def test_to_dense(case: Case) -> None:
    dense = case.operator.to_dense()
    assert dense.dtype == torch.float64
    close(dense, case.dense)


@every_case
def test_linear_and_symmetric(case: Case) -> None:
    op = case.operator
    x, y = draw(op, seed=1), draw(op, seed=2)
    close(op @ (2.0 * x - 3.0 * y), 2.0 * (op @ x) - 3.0 * (op @ y))
    close((y * (op @ x)).sum(), (x * (op @ y)).sum())


@every_case
def test_matmul_reads_any_memory_layout(case: Case) -> None:
    x = draw(case.operator, 3)
    strided = x.flip(0).transpose(0, 1).contiguous().transpose(0, 1).flip(0)
    close(case.operator @ strided, case.operator @ x)


@every_case
def test_root_of_the_operator(case: Case) -> None:
    root = case.operator.sqrt()
    x = draw(case.operator, 2)
    close(root @ (root @ x), case.operator @ x, 1e-9)
    close(root.to_dense(), dense_function(case.dense, "sqrt", case.rank), 1e-9)
    assert root.rank() == case.rank


@every_case
def test_pseudo_inverse(case: Case) -> None:
    op, pinv = case.operator, case.operator.pinv()
    x = draw(op, 2)
    close(op @ (pinv @ (op @ x)), op @ x)
    close(pinv @ (op @ (pinv @ x)), pinv @ x)
    close(pinv.to_dense(), dense_function(case.dense, "reciprocal", case.rank))
    close(pinv.pinv() @ x, op @ x)
    assert pinv.rank() == case.rank


@every_case
def test_projector_on_the_support(case: Case) -> None:
    u = support(case.dense, case.rank)
    close(case.operator.projector().to_dense(), u @ u.T)


@every_case
def test_a_multiple_has_the_support(case: Case) -> None:
    multiple = case.operator.scaled(1e-3)
    close(multiple.to_dense(), 1e-3 * case.dense)
    assert multiple.rank() == case.rank


@every_case
def test_root_and_pseudo_inverse_commute(case: Case) -> None:
    x = draw(case.operator, 2)
    close(case.operator.sqrt().pinv() @ x, case.operator.pinv().sqrt() @ x)


@regular
def test_inverse_undoes_the_operator(case: Case) -> None:
    x = draw(case.operator, 2)
    inverse = case.operator.inverse()
    close(inverse @ (case.operator @ x), x)
    close(inverse.to_dense(), torch.linalg.inv(case.dense))


@singular
def test_singular_operators_have_no_inverse(case: Case) -> None:
    with pytest.raises(InvalidInputError, match=rf"singular \(rank {case.rank} of {case.operator.size}\)"):
        case.operator.inverse()


@every_case
def test_log_det_on_the_support(case: Case) -> None:
    u = support(case.dense, case.rank)
    sign, expected = torch.linalg.slogdet(u.T @ case.dense @ u)
    assert sign == 1
    assert case.operator.log_det() == pytest.approx(expected.item(), rel=TOLERANCE, abs=TOLERANCE)
    assert case.operator.pinv().log_det() == pytest.approx(-expected.item(), rel=TOLERANCE, abs=TOLERANCE)
    assert case.operator.sqrt().log_det() == pytest.approx(expected.item() / 2, rel=TOLERANCE, abs=TOLERANCE)


@every_case
def test_rank_and_trace(case: Case) -> None:
    assert case.operator.rank() == case.rank
    assert case.operator.trace() == pytest.approx(case.dense.diagonal().sum().item(), rel=TOLERANCE)


@every_case
def test_quadratic_form(case: Case) -> None:
    x = draw(case.operator, 2, 3)
    flat = x.reshape(6, -1)
    expected = torch.stack([row @ case.dense @ row for row in flat]).reshape(2, 3)
    close(case.operator.quadratic(x), expected)
    assert case.operator.quadratic(x[0, 0]).shape == ()
    assert case.operator.quadratic(x[:0]).shape == (0, 3)


@every_case
def test_eigh(case: Case) -> None:
    values, vectors = case.operator.eigh()
    assert values.dtype == vectors.dtype == torch.float64
    assert bool((values[:-1] >= values[1:]).all())
    close(vectors.T @ vectors, torch.eye(case.operator.size, dtype=torch.float64))
    close((vectors * values) @ vectors.T, case.dense)
    close(values, torch.linalg.eigvalsh(case.dense).flip(0))
    close(case.operator.eigenvalues, values)


@every_case
def test_eigh_of_a_decreasing_function_is_sorted_again(case: Case) -> None:
    pinv = case.operator.pinv()
    values, vectors = pinv.eigh()
    assert bool((values[:-1] >= values[1:]).all())
    close(pinv.eigenvalues, values)
    close((vectors * values) @ vectors.T, dense_function(case.dense, "reciprocal", case.rank))


@every_case
def test_apply_takes_any_spectral_function(case: Case) -> None:
    x = draw(case.operator, 2)
    expected = dense_product(torch.linalg.matrix_exp(-case.dense), x, case.operator)
    close(case.operator.apply(lambda values: torch.exp(-values), x), expected)


@every_case
def test_samples_have_the_operator_as_covariance(case: Case) -> None:
    count, rank = 20_000, case.rank
    generator = torch.Generator().manual_seed(11)
    flat = case.operator.sample(count, generator, dtype=torch.float64).reshape(count, -1)
    white = flat @ dense_function(case.dense, "rsqrt", rank) @ support(case.dense, rank)
    error = white.T @ white / count - torch.eye(rank, dtype=torch.float64)
    # For Gaussian samples N/2 ‖error‖_F² is χ² with r(r+1)/2 degrees of freedom; its cube root is nearly
    # normal (Wilson and Hilferty): 3.5 standard deviations on either side are exceeded once in 2000.
    degrees = rank * (rank + 1) / 2
    root = (count / 2 * error.square().sum().item() / degrees) ** (1 / 3)
    spread = 2 / (9 * degrees)
    assert abs(root - (1 - spread)) < 3.5 * spread**0.5
    # Nothing outside the support.
    close(flat @ support(case.dense, rank) @ support(case.dense, rank).T, flat, 1e-7)


@every_case
def test_samples_follow_generator_dtype_and_shape(case: Case) -> None:
    op = case.operator
    first, second = (op.sample(3, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (3, *op.shape)
    assert first.dtype == torch.get_default_dtype()
    assert op.sample(0, dtype=torch.float16).dtype == torch.float16


@every_case
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-10), (torch.float32, 1e-5), (torch.bfloat16, 0.05), (torch.float16, 5e-3)],
    ids=str,
)
def test_dtype_is_kept(case: Case, dtype: torch.dtype, tolerance: float) -> None:
    op, x = case.operator, draw(case.operator, 2, dtype=dtype)
    results = op @ x, op.sqrt() @ x, op.pinv() @ x, op.apply(torch.square, x), op.quadratic(x)
    assert {result.dtype for result in results} == {dtype}
    close(results[0].double(), dense_product(case.dense, x.double(), op), tolerance)


@every_case
def test_autocast_does_not_lower_the_precision(case: Case) -> None:
    x = draw(case.operator, 2, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = case.operator @ x
    assert torch.equal(result, case.operator @ x)


@every_case
def test_gradient_flows_to_the_array(case: Case) -> None:
    x, direction = draw(case.operator, 2).requires_grad_(), draw(case.operator, 2, seed=1)
    (case.operator @ x * direction).sum().backward()
    assert x.grad is not None
    close(x.grad, dense_product(case.dense, direction, case.operator))
    x.grad = None
    case.operator.quadratic(x).sum().backward()
    close(x.grad, 2 * dense_product(case.dense, x.detach(), case.operator))


@every_case
def test_first_use_in_inference_mode_leaves_training_possible(case: Case) -> None:
    with torch.inference_mode():
        case.operator @ draw(case.operator, dtype=torch.float32)
    x = draw(case.operator, dtype=torch.float32).requires_grad_()
    (case.operator @ x).square().sum().backward()


@every_case
@pytest.mark.parametrize("method", ["__matmul__", "quadratic"])
def test_wrong_arrays_are_refused(case: Case, method: str) -> None:
    op = case.operator
    act = getattr(op, method)
    with pytest.raises(InvalidInputError, match=r"expected an array of shape \(\.\.\., "):
        act(torch.zeros(*op.shape[:-1], op.shape[-1] + 1))
    with pytest.raises(InvalidInputError, match="expected an array of shape"):
        act(torch.zeros(op.shape[1:]))
    with pytest.raises(InvalidInputError, match=r"floating-point tensors, got torch\.int64"):
        act(torch.zeros(op.shape, dtype=torch.int64))
    with pytest.raises(InvalidInputError, match="floating-point tensors, got list"):
        act([0.0])


@every_case
def test_a_negative_number_of_samples_is_refused(case: Case) -> None:
    with pytest.raises(InvalidInputError, match="at least 0, got -1"):
        case.operator.sample(-1)


@every_case
def test_repr_names_kind_and_shape(case: Case) -> None:
    assert repr(case.operator) == f"{type(case.operator).__name__}(shape={case.operator.shape})"
