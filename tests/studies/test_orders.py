"""Orders over cells: known correlations, verdicts that need both an interval and a permutation test."""

import math

import numpy as np
import pytest

from scoregrain.studies.orders import correlation, log_worst, ordered_cells, ordered_inside
from scoregrain.studies.study import Claim

CLAIM = Claim("grows", "It grows.", "here", "ρ")
CONTROL = Claim("reversed", "It falls.", "here", "ρ", control=True)
RISING = np.arange(1.0, 13.0)


def table(values, seeds=2, spread=0.0):
    noise = 1 + spread * np.random.default_rng(0).standard_normal((len(values), seeds))
    return np.asarray(values)[:, None] * noise


def test_a_clear_order_holds_and_its_reverse_is_refuted():
    found = ordered_cells(CLAIM, RISING, table(RISING**2, spread=0.05))
    assert (found.word, found.value, found.n) == ("holds", 1.0, 12)
    assert ordered_cells(CLAIM, -RISING, table(RISING**2)).word == "refuted"
    assert ordered_cells(CONTROL, -RISING, table(RISING**2)).word == "fails, as it must"
    assert ordered_cells(CONTROL, RISING, table(RISING**2)).word == "does not fail"


def test_a_perfect_order_of_four_cells_proves_nothing():
    """Every resample of it is ordered; but one of 24 orders is this one."""
    found = ordered_cells(CLAIM, RISING[:4], table(RISING[:4]))
    assert found.interval == (1.0, 1.0)
    assert found.word == "undecided"
    assert found.note == "permutation p = 0.083"
    assert ordered_cells(CLAIM, RISING[:4], table(RISING[:4]), note="few").note == "few; permutation p = 0.083"


def test_noise_is_undecided_about_as_often_as_it_should():
    rng = np.random.default_rng(1)
    words = [ordered_cells(CLAIM, RISING, np.exp(rng.standard_normal((12, 2)))).word for _ in range(20)]
    assert words.count("undecided") >= 16  # 19 expected at 5 %, standard deviation 1


def test_inside_blocks_only_the_order_there_counts():
    """Two bases, in each the outcome falls; over both together it rises."""
    predictor = np.concatenate([RISING[:6], RISING[:6] + 100])
    values = np.concatenate([2 - 0.1 * RISING[:6], 20 - 0.1 * RISING[:6]])
    blocks = ["a"] * 6 + ["b"] * 6
    assert ordered_cells(CLAIM, predictor, table(values)).value > 0.4
    found = ordered_inside(CLAIM, predictor, table(values), blocks)
    assert (found.word, found.value) == ("refuted", pytest.approx(-1))
    assert ordered_inside(CONTROL, -predictor, table(values), blocks).word == "does not fail"


def test_runs_without_a_number_are_the_worst_and_counted():
    values = table(RISING)
    values[0, 1] = math.nan
    assert np.exp(log_worst(values)[0, 1]) == pytest.approx(120)
    found = ordered_cells(CLAIM, RISING, values)
    assert found.note.endswith("; 1 of 24 runs gave no number and count as worst")
    assert found.value == pytest.approx(np.corrcoef(RISING, [10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12])[0, 1])


def test_a_correlation_is_that_of_geometric_means():
    """Arithmetic means would put the second cell last."""
    outcomes = np.array([[1.0, 1.0], [0.01, 50.0], [2.0, 2.0]])
    assert correlation(np.array([2.0, 1.0, 3.0]), outcomes) == pytest.approx(1)


@pytest.mark.parametrize("values", [np.full((6, 2), math.nan), np.ones((6, 2)), np.ones((3, 1))])
def test_where_there_is_no_order_nothing_is_decided(values):
    predictor = np.arange(float(len(values)))
    for claim in (CLAIM, CONTROL):
        found = ordered_cells(claim, predictor, values)
        assert (found.word, found.value, found.interval) == ("undecided", None, None)
        assert ordered_inside(claim, predictor, values, ["a"] * len(values)).word == "undecided"
