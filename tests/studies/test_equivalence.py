"""Verdicts about numbers that a formula predicts."""

import math

import pytest

from scoregrain.studies.equivalence import exact, within
from scoregrain.studies.study import Claim

CLAIM = Claim("size", "It is one.", "here", "the mean")
CONTROL = Claim("size", "It is one.", "here", "the mean", control=True)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([1.0, 1.01, 0.99, 1.0], "holds"),
        ([2.0, 2.01, 1.99, 2.0], "refuted"),
        ([0.5, 1.5, 0.7, 1.3], "undecided"),
        ([1.1, 1.09, 1.11, 1.1], "undecided"),
        ([1.0, math.nan, 1.0, 1.0], "undecided"),
        ([1.0], "undecided"),
    ],
)
def test_an_interval_must_lie_inside_the_margin(values, word):
    """The fourth lies across the margin's end."""
    assert within(CLAIM, values, 0.9, 1.1).word == word


def test_the_interval_is_students():
    found = within(CLAIM, [1.0, 2.0, 3.0], 0, 1)
    assert found.value == 2
    assert found.interval == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), rel=1e-6)


def test_equal_seeds_have_an_interval_of_no_width():
    assert within(CLAIM, [1.0, 1.0, 1.0], 0.9, 1.1).word == "holds"


def test_a_control_fails_unless_the_interval_is_inside():
    assert within(CONTROL, [1.0, 1.01, 0.99], 0.9, 1.1).word == "does not fail"
    assert within(CONTROL, [1.3, 1.31, 1.29], 0.9, 1.1).word == "fails, as it must"


@pytest.mark.parametrize(("value", "word"), [(0.5, "holds"), (1.5, "refuted"), (math.nan, "undecided")])
def test_exact_numbers_hold_or_not(value, word):
    found = exact(CLAIM, value, 0, 1, 7)
    assert (found.word, found.n, found.interval) == (word, 7, None)
