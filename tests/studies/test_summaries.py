import numpy as np
import pytest

from scoregrain.studies import Claim, Row, Rows
from scoregrain.studies.summaries import (
    above_zero,
    directions_p,
    gated,
    mean_and_error,
    seed_correlations,
    shuffled,
    swapped,
    trend_note,
    with_error,
    worse_than_zeros,
    written,
)

CLAIM = Claim("k", "t", "s", "x")
CONTROL = Claim("k", "t", "s", "x", control=True)


def test_the_interval_is_students():
    found = above_zero(CLAIM, [2.523301, 2.690507, 6.424866, 3.282824, 4.516651])  # MATH C6: t interval of the paper's
    assert found.value == pytest.approx(3.88763)
    assert found.interval == pytest.approx((1.877, 5.899), abs=1e-3)
    assert (found.word, found.n) == ("holds", 5)
    assert "0.062" in found.note


def test_the_other_side_refutes_and_a_control_fails():
    values = np.array([1.0, 1.2, 0.9, 1.1])
    assert above_zero(CLAIM, -values).word == "refuted"
    assert above_zero(CONTROL, -values).word == "fails, as it must"
    assert above_zero(CONTROL, values).word == "does not fail"
    assert above_zero(CLAIM, values - 1).word == "undecided"


def test_seeds_that_are_all_alike_are_no_certainty():
    few, many = above_zero(CLAIM, [0.5] * 3), above_zero(CLAIM, [0.5] * 6)
    assert (few.word, few.interval) == ("undecided", None)
    assert (many.word, many.interval) == ("holds", None)
    assert above_zero(CLAIM, [-0.5] * 6).word == "refuted"
    assert above_zero(CLAIM, [0.0] * 6).word == "undecided"


def test_a_seed_without_a_number_decides_nothing_and_is_told():
    found = above_zero(CLAIM, [1.0, 1.1, np.nan, 0.9, 1.0, 1.0])
    assert found.word == "undecided"
    assert "1 of 6 seeds" in found.note


def test_correlations_of_every_seed_take_what_is_missing_for_the_worst():
    table = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0, 2.0, np.nan]])
    assert seed_correlations([10, 20, 30], table) == pytest.approx([1, -1, 1])
    assert seed_correlations(np.array([[1, 2, 3], [3, 2, 1], [3, 2, 1]]), table) == pytest.approx([1, 1, -1])


def test_shuffling_keeps_the_entries_of_a_seed_and_is_seeded():
    table = np.arange(40.0).reshape(4, 10)
    mixed = shuffled(table)
    assert (np.sort(mixed, axis=1) == table).all()
    assert (mixed != table).any(axis=1).all()
    assert (mixed == shuffled(table)).all()


def test_pages_test_in_words():
    rising = np.tile(np.arange(9.0), (5, 1))  # MATH Q3: L = 1425 of mean 1125, variance 2250: z = 6.32
    assert "z = 6.32" in trend_note(rising)
    assert "z = -6.32" in trend_note(rising[:, ::-1])
    assert trend_note(rising[:, :2]) == ""


def test_numbers_are_written_with_their_error():
    assert written(0.52034, 0.0312) == "0.520 ± 0.031"
    assert written(123.4, 12.0) == "123 ± 12"
    assert written(1.0, float("nan")) == "1"
    assert written(float("nan"), 0.1) == "–"
    assert with_error([1.0, 2.0, 3.0]) == "2.00 ± 0.58"
    assert with_error([1.0, np.nan, 3.0]) == "2.0 ± 1.0 (1 of 3 missing)"
    assert mean_and_error([4.0])[0] == 4.0
    assert written(0.05, 3e-18) == "0.05"


def test_cells_that_are_worse_than_zeros_or_have_no_samples_are_counted():
    outcomes = [0.5, 1.5, None, 1.0]
    rows = Rows([Row({"seed": seed}, {"sw2": sw2, "sw2_zeros": 1.0}) for seed, sw2 in enumerate(outcomes)])
    assert worse_than_zeros(rows) == "2 of 4 cells are worse than zeros"


def test_a_finding_of_distances_tells_how_many_cells_are_worse_than_zeros():
    found = above_zero(CLAIM, [1.0, 1.1, 0.9, 1.0])
    told = gated(found, 1.0, [0.5, 0.5, 0.5, 2.0], [0.1, 3.0, np.nan, 0.2])
    assert told.word == "holds"
    assert told.note.endswith("; 3 of 8 cells are worse than zeros")


def test_a_reference_that_is_worse_than_zeros_decides_nothing():
    found = above_zero(CLAIM, [1.0, 1.1, 0.9, 1.0])
    told = gated(found, [1.0, 1.0, 3.0, 3.0], [2.0, np.nan, 2.0, 2.0], np.full(4, 0.1))
    assert (told.word, told.value, told.interval) == ("undecided", found.value, found.interval)
    assert "undecided since 2 of the reference's 4 are" in told.note
    assert gated(above_zero(CONTROL, [1.0, 1.1, 0.9]), 1.0, [2.0, 2.0, 2.0]).word == "does not fail"


def test_pairs_exchanged_in_every_other_seed_have_the_other_sign():
    assert swapped(np.array([1.0, 2.0, 3.0])).tolist() == [1, -2, 3]
    assert swapped(np.ones((2, 3))).tolist() == [[1, 1, 1], [-1, -1, -1]]


def test_the_p_over_directions_is_that_of_all_their_orders():
    """Seeds that agree do not make it small: of 3! orders of three directions one is as extreme on either side."""
    x, table = np.tile([1.0, 2, 3], (50, 1)), np.tile([5.0, 6, 7], (50, 1))
    assert directions_p(x, table) == pytest.approx(2 / 6)
    assert directions_p(x, -table) == pytest.approx(2 / 6)
    five = np.tile(np.arange(5.0), (4, 1))
    assert directions_p(five, np.exp(five)) == pytest.approx(2 / 120)
    nine = np.tile(np.arange(9.0), (2, 1))
    assert 1 / 10_002 < directions_p(nine, nine) < 5 / 10_001  # drawn: the observed order is one of them
    assert np.isnan(directions_p(x, np.ones_like(table)))


def test_the_p_over_directions_is_uniform_where_eigenvalues_mean_nothing():
    random = np.random.default_rng(0)
    x = np.tile(np.arange(6.0), (6, 1))
    difficulty = [random.standard_normal(6) + 0.1 * random.standard_normal((6, 6)) for _ in range(400)]
    below = np.mean([directions_p(x, np.exp(each)) <= 0.05 for each in difficulty])
    assert 0.02 < below < 0.08
