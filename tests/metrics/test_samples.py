"""One clear message for every set of samples that cannot be judged."""

import numpy as np
import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.metrics._samples import as_rows, check_pair


def test_arrays_become_rows_in_row_major_order():
    x = torch.arange(24.0, dtype=torch.float64).reshape(2, 3, 2, 2)
    rows = as_rows(x, "x")
    assert rows.dtype == torch.float64
    assert torch.equal(rows, torch.arange(24.0, dtype=torch.float64).reshape(2, 12))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_and_the_wider_of_two_wins(dtype):
    x = torch.tensor([[0.1, 2.0], [3.0, -1.0]], dtype=dtype)
    assert as_rows(x, "x").dtype == torch.float32
    assert torch.equal(as_rows(x, "x"), x.float())
    assert [each.dtype for each in check_pair(x, x.double())] == [torch.float64] * 2


def test_no_gradient_is_kept():
    assert not as_rows(torch.zeros(2, 3, requires_grad=True), "x").requires_grad


def test_large_finite_numbers_are_finite():
    as_rows(torch.full((4, 4), 3e38), "x")  # whose float32 sum is not
    as_rows(torch.full((4, 4), 1e308, dtype=torch.float64), "x")  # whose float64 sum is not


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 2)), "samples must be of type Tensor, got ndarray .torch.from_numpy makes a tensor of it"),
        (
            torch.zeros(4, 2, dtype=torch.int64),
            r"floating-point samples \(N, C, \*space\), got int64 of shape \(4, 2\)",
        ),
        (torch.zeros(4, 2, dtype=torch.complex64), "got complex64"),
        (torch.zeros(4), r"got float32 of shape \(4,\)"),
        (torch.zeros(4, 0), r"got float32 of shape \(4, 0\)"),
        (torch.zeros(1, 2), "samples holds too few samples: 1, at least 2 are needed"),
        (torch.zeros(0, 2), "too few samples: 0"),
        (torch.tensor([[0.0, 1.0], [0.0, torch.nan], [torch.inf, 1.0]]), "2 of 3 samples .* the first is number 1;"),
        (torch.tensor([[torch.inf, -torch.inf], [0.0, 0.0]]), "1 of 2 samples .* the first is number 0;"),
    ],
)
def test_samples_that_cannot_be_judged_are_refused_in_one_line(x, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        as_rows(x, "samples")
    assert "\n" not in str(caught.value)


def test_as_many_as_are_asked_for_will_do():
    as_rows(torch.zeros(5, 2), "x", least=5)
    with pytest.raises(InvalidInputError, match="x holds too few samples: 5, at least 6"):
        as_rows(torch.zeros(5, 2), "x", least=6)


def test_two_sets_have_one_shape_or_one_of_them_is_flat():
    images = torch.randn(3, 1, 2, 4)
    rows, same = check_pair(images, images.flatten(1))
    assert torch.equal(rows, same)
    with pytest.raises(InvalidInputError, match=r"generated and data .* got \(1, 2, 4\) and \(1, 4, 2\)"):
        check_pair(images, torch.randn(3, 1, 4, 2), names=("generated", "data"))
    with pytest.raises(InvalidInputError, match=r"x and y must be samples of one shape, got \(1, 2, 4\) and \(7,\)"):
        check_pair(images, torch.randn(3, 7))


def test_two_sets_are_on_one_device():
    with pytest.raises(InvalidInputError, match="x and y must be on one device, got cpu and meta"):
        _on_one_device()


def _on_one_device():
    class Elsewhere(torch.Tensor):
        device = torch.device("meta")

    check_pair(torch.zeros(2, 3), torch.zeros(2, 3).as_subclass(Elsewhere))
