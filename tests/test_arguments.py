"""Checks of arguments: what passes, and one short line for what does not."""

import numpy as np
import pytest
import torch

from scoregrain._arguments import check_kind, shown, whole
from scoregrain._errors import InvalidInputError


def test_what_is_of_the_kind_passes():
    check_kind(torch.zeros(1), torch.Tensor, "x")
    check_kind(1, int | str, "x")


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (1, str, "^x must be of type str, got int$"),
        (None, int | str, "^x must be of type int or str, got NoneType$"),
        (
            np.ones(2),
            torch.Tensor,
            r"^x must be of type Tensor, got ndarray \(torch.from_numpy makes a tensor of it\)$",
        ),
    ],
)
def test_what_is_of_another_kind_is_named(value, kind, message):
    with pytest.raises(InvalidInputError, match=message):
        check_kind(value, kind, "x")


@pytest.mark.parametrize("value", [3, np.int64(3), torch.tensor(3)])
def test_whole_numbers_of_any_type_are_ints(value):
    assert type(whole(value, "x")) is int
    assert whole(value, "x", least=3) == 3


@pytest.mark.parametrize(
    ("value", "least", "message"),
    [(2.0, None, "^x must be an integer, got 2.0$"), ("2", 0, "got '2'"), (2, 3, "^x must be at least 3, got 2$")],
)
def test_other_numbers_are_named(value, least, message):
    with pytest.raises(InvalidInputError, match=message):
        whole(value, "x", least)


def test_only_the_beginning_of_a_long_value_is_shown():
    assert shown("abc") == "'abc'"
    assert shown(torch.ones(9, 9)) == "tensor([[1., 1., 1., 1., 1., 1., 1., 1.,…"
