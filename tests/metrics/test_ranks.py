"""Rank correlation against scipy, exact enumerations and null simulations (MATH C6)."""

import itertools

import numpy as np
import pytest
from scipy import stats

from scoregrain._errors import InvalidInputError
from scoregrain.metrics.ranks import kendall, pages_l, permutation_test, ranks, spearman, spearman_interval


def tied(n=15, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(6, size=n)
    return x, x + rng.integers(5, size=n)


def test_spearman_and_kendall_equal_scipys_with_ties():
    for seed in range(5):
        x, y = tied(seed=seed)
        assert spearman(x, y).value == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-14)
        assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-14)


def test_only_the_order_matters():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30))
    assert spearman(np.exp(x), y**3).value == spearman(x, y).value
    assert kendall(np.exp(x), y**3) == kendall(x, y)
    assert spearman(x, -y).value == pytest.approx(-spearman(x, y).value, abs=1e-15)


def test_the_interval_is_bonett_and_wrights_and_not_pearsons():
    """Oracle Q4; Fisher's 1/(n-3) alone gives [0.5391, 0.9569]."""
    assert spearman_interval(0.85, 12) == pytest.approx((0.457309, 0.965305), abs=1e-5)


def test_the_interval_covers_what_it_says():
    """MATH C6: 95.9 % at n = 20; a correlation of 0.6 of Gaussian pairs has Spearman's ρ = 6/π asin(0.3)."""
    rng = np.random.default_rng(1)
    truth, covered = 6 / np.pi * np.arcsin(0.3), 0
    for _ in range(2000):
        x, e = rng.normal(size=(2, 20))
        low, high = spearman(x, 0.6 * x + 0.8 * e).interval
        covered += low <= truth <= high
    assert 0.945 < covered / 2000 < 0.972  # ±3 standard errors around 0.959


def test_a_perfect_order_claims_no_certainty():
    assert spearman(range(8), range(8)).value == 1
    assert spearman(range(8), range(8)).interval is None


def test_the_permutation_test_enumerates_all_orders():
    """Of 5! = 120 orders two are as extreme as the perfect one: one each way."""
    test = permutation_test(range(5), range(5))
    assert (test.value, test.exact, test.permutations) == (1, True, 120)
    assert (test.p_greater, test.p_two_sided) == (1 / 120, 2 / 120)


def test_no_p_value_of_random_permutations_is_zero():
    """The order observed is one of those that were possible."""
    found = permutation_test(range(15), range(15), draws=200)
    assert (found.exact, found.permutations) == (False, 200)
    assert (found.p_greater, found.p_two_sided) == (1 / 201, 1 / 201)


def test_the_permutation_test_equals_a_brute_force_with_ties():
    x, y = tied(6)
    every = [stats.spearmanr(x, y[list(order)]).statistic for order in itertools.permutations(range(6))]
    observed, test = stats.spearmanr(x, y).statistic, permutation_test(x, y)
    assert test.value == pytest.approx(observed, abs=1e-14)
    assert test.p_greater == np.mean(np.array(every) >= observed - 1e-12)
    assert test.p_two_sided == np.mean(np.abs(every) >= abs(observed) - 1e-12)


def test_random_permutations_agree_with_all_of_them():
    x, y = tied(7, seed=3)
    exact, drawn = permutation_test(x, y), permutation_test(x, y, draws=4000)
    assert exact.exact
    assert not drawn.exact
    assert drawn.p_two_sided == pytest.approx(exact.p_two_sided, abs=3 * 0.5 / np.sqrt(4000))
    assert drawn == permutation_test(x, y, draws=4000)
    assert drawn != permutation_test(x, y, draws=4000, seed=1)


def test_blocks_hide_what_differs_between_data_sets():
    """Two data sets far apart: pooled they correlate perfectly up to the blocks, inside them there is nothing."""
    x = [1, 2, 3, 101, 102, 103]
    y = [2, 3, 1, 102, 103, 101]
    assert permutation_test(x, y).value > 0.6
    inside = permutation_test(x, y, blocks=list("aaabbb"))
    assert inside.value == pytest.approx(-0.5)
    assert inside.permutations == 36


def test_blocked_permutations_hold_their_level():
    rng = np.random.default_rng(2)
    blocks = np.repeat(["a", "b", "c"], 4)
    shift = np.repeat([0, 5, 9], 4)
    rejected = sum(
        permutation_test(shift + rng.normal(size=12), shift + rng.normal(size=12), blocks, 199, seed).p_two_sided
        <= 0.05
        for seed in range(400)
    )
    assert 0.02 < rejected / 400 < 0.085  # 0.05 ± 3 standard errors


def test_cell_means_hold_the_level_and_pooled_seeds_do_not():
    """Oracle Q5: 8 cells x 5 seeds without an effect; the seeds of a cell are not independent."""
    rng = np.random.default_rng(3)
    x, pooled, on_means = np.arange(8.0), 0, 0
    for seed in range(400):
        runs = rng.normal(size=(8, 1)) + 0.5 * rng.normal(size=(8, 5))
        low, high = spearman(np.repeat(x, 5), runs.ravel()).interval
        pooled += not low <= 0 <= high
        on_means += permutation_test(x, runs.mean(1), draws=399, seed=seed).p_two_sided <= 0.05
    assert pooled / 400 > 0.3
    assert 0.02 < on_means / 400 < 0.1


def test_pages_statistic_has_the_moments_of_the_oracle():
    """Oracle Q3: n = 5, k = 9."""
    best = pages_l(np.tile(np.arange(9), (5, 1)))
    assert (best.value, best.mean, best.variance) == (1425, 1125, 2250)
    assert best.z == pytest.approx(300 / np.sqrt(2250))


def test_pages_test_equals_scipys():
    table = np.random.default_rng(4).normal(size=(6, 5)) + 0.3 * np.arange(5)
    ours, theirs = pages_l(table), stats.page_trend_test(table, method="asymptotic")
    assert ours.value == theirs.statistic
    assert ours.p_greater == pytest.approx(theirs.pvalue, rel=1e-9)


def test_ranks_are_those_of_scipy_along_the_last_axis():
    table = np.random.default_rng(5).integers(4, size=(3, 2, 7))
    np.testing.assert_array_equal(ranks(table), stats.rankdata(table, axis=-1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spearman([1, 2, 3], [1, 2, 3]), "x must be at least 4 numbers"),
        (lambda: spearman([1, 2, 3, 4], [1, 2, 3]), "y must be at least 4 numbers"),
        (lambda: kendall([1, 2, 3, 4], [1, 2, 3]), "of one length, got 4 and 3"),
        (lambda: spearman([1, 2, 3, np.nan], [1, 2, 3, 4]), "x must be finite"),
        (lambda: spearman([1, 1, 1, 1], [1, 2, 3, 4]), "all of x are equal"),
        (lambda: spearman([1, 2, 3, 4], [1, 2, 4, 3], level=95), "between 0 and 1, such as 0.95, got 95"),
        (lambda: kendall(["a", "b"], [1, 2]), "x must hold numbers"),
        (lambda: permutation_test([1, 2], [2, 1], blocks=["a"]), "one label for each of the 2 cells, got 1"),
        (lambda: permutation_test([1, 2], [2, 1], blocks=["a", "b"]), "no block holds different values"),
        (lambda: pages_l([[1, 2], [2, 1]]), r"at least 2 rows \(seeds\) and 3 columns"),
        (lambda: pages_l([[1, 2, 3], [2, 1]]), "in rows of one length"),
        (lambda: pages_l([[1, 2, np.inf], [2, 1, 3]]), "finite numbers"),
    ],
)
def test_what_cannot_be_ranked_is_named(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()
