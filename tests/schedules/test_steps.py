"""Oracle S7 and the properties of sub-sampled steps."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoregrain._errors import InvalidInputError
from scoregrain.schedules import subsampled_steps


def test_s7_exact() -> None:
    assert subsampled_steps(1000, 100)[:4] == [999, 988, 978, 968]
    assert subsampled_steps(1000, 7) == [999, 832, 666, 499, 333, 166, 0]


@given(st.integers(2, 2000).flatmap(lambda steps: st.tuples(st.just(steps), st.integers(2, steps))))
def test_steps_fall_from_the_last_to_the_first(sizes: tuple[int, int]) -> None:
    num_steps, count = sizes
    steps = subsampled_steps(num_steps, count)
    assert len(steps) == count
    assert (steps[0], steps[-1]) == (num_steps - 1, 0)
    assert all(later < earlier for earlier, later in pairwise(steps))
    exact = [Fraction((num_steps - 1) * (count - 1 - i), count - 1) for i in range(count)]
    assert steps == [math.floor(value) for value in exact]


def test_all_steps_and_a_single_one() -> None:
    assert subsampled_steps(5, 5) == [4, 3, 2, 1, 0]
    assert subsampled_steps(1000, 1) == [999]
    assert subsampled_steps(1, 1) == [0]


@pytest.mark.parametrize("count", [0, -1, 11])
def test_impossible_counts_are_refused(count: int) -> None:
    with pytest.raises(InvalidInputError, match=f"between 1 and 10, got {count}"):
        subsampled_steps(10, count)
