"""Energy along directions against the second moment, and its errors against repetitions."""

import math

import numpy as np
import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.metrics.energy import energy_along

F64 = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=stream(seed, "energy"), dtype=F64)


def basis(size):
    return torch.linalg.qr(normal(size, size, seed=7)).Q


def test_it_is_the_diagonal_of_the_second_moment_in_that_basis():
    x, u = 0.5 + normal(60, 2, 3, 2), basis(12)
    found = energy_along(x, u)
    moment = x.flatten(1).T @ x.flatten(1) / 60
    torch.testing.assert_close(found.value, (u.T @ moment @ u).diagonal())
    assert float(found.relative.mean()) == pytest.approx(1, rel=1e-12)
    torch.testing.assert_close(found.relative, found.value / moment.trace() * 12)
    some = energy_along(x, u[:, 3:5])
    torch.testing.assert_close(some.relative, found.relative[3:5])
    assert found.samples == 60


def test_blocks_and_the_dtype_of_the_samples_change_nothing(monkeypatch):
    x, u = normal(30, 5).float(), basis(5)
    expected = energy_along(x.double(), u)
    monkeypatch.setattr("scoregrain.metrics.energy._BLOCK", 7)
    found = energy_along(x, u)
    for name in ("value", "error", "relative", "relative_error"):
        assert getattr(found, name).dtype == F64
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-12, atol=1e-14)


def test_the_declared_errors_are_the_spread_of_repetitions():
    scale = torch.tensor([3.0, 1.0, 0.5, 0.2], dtype=F64)

    def found(seed):
        one, other = normal(100, 4, seed=2 * seed) * scale, 0.3 + normal(80, 4, seed=2 * seed + 1)
        one, other = energy_along(one, torch.eye(4)), energy_along(other, torch.eye(4))
        return one, one.ratio(other)

    many = [found(k) for k in range(400)]
    pairs = [
        ([e.value for e, _ in many], [e.error for e, _ in many]),
        ([e.relative for e, _ in many], [e.relative_error for e, _ in many]),
        ([r.value for _, r in many], [r.error for _, r in many]),
    ]
    for values, errors in pairs:
        np.testing.assert_allclose(torch.stack(errors).mean(0), torch.stack(values).std(0), rtol=0.15)


def test_the_whole_energy_has_no_relative_error():
    """All of it lies along one direction: the ratio is D, exactly, however the samples vary."""
    x = torch.zeros(20, 8, dtype=F64)
    x[:, 2] = normal(20)
    found = energy_along(x, torch.eye(8))
    assert found.relative.tolist() == [0, 0, 8, 0, 0, 0, 0, 0]
    assert float(found.relative_error.max()) < 1e-12
    assert float(found.error[2]) > 0


def test_one_direction_is_a_column():
    x, u = normal(20, 8), torch.nn.functional.normalize(normal(8, seed=2), dim=0)
    one, column = energy_along(x, u), energy_along(x, u[:, None])
    assert torch.equal(one.value, column.value)
    assert one.value.tolist() == pytest.approx([float((x @ u).square().mean())], rel=1e-12)


def test_zeros_have_no_energy_and_a_ratio_to_them_is_infinite():
    zeros, some = energy_along(torch.zeros(4, 2), torch.eye(2)), energy_along(torch.ones(4, 2), torch.eye(2))
    assert (zeros.value.tolist(), zeros.relative.tolist()) == ([0, 0], [0, 0])
    assert some.ratio(zeros).value.tolist() == [math.inf, math.inf]
    assert zeros.ratio(some).value.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        (2 * torch.eye(3), "unit vectors, their lengths lie between 2 and 2: divide each column by its norm"),
        (torch.zeros(3, 0), r"the columns of a \(3, K\) tensor, got shape \(3, 0\)"),
        (torch.eye(4), r"the columns of a \(3, K\) tensor, got shape \(4, 4\)"),
        (torch.eye(3).reshape(3, 1, 3), r"the columns of a \(3, K\) tensor, got shape \(3, 1, 3\)"),
        (np.eye(3), "directions must be of type Tensor, got ndarray"),
        (torch.full((3, 1), math.nan), "their lengths lie between nan and nan"),
    ],
)
def test_what_is_no_set_of_directions_is_refused_in_one_line(directions, message):
    with pytest.raises(InvalidInputError, match=message):
        energy_along(torch.zeros(4, 3), directions)


def test_only_energies_along_as_many_directions_are_compared():
    one = energy_along(torch.ones(4, 3), torch.eye(3))
    with pytest.raises(InvalidInputError, match="along the same directions are compared, got 3 and 2 of them"):
        one.ratio(energy_along(torch.ones(4, 3), torch.eye(3)[:, :2]))
    with pytest.raises(InvalidInputError, match="the other energy must be of type DirectionalEnergy, got Tensor"):
        one.ratio(torch.ones(3))
