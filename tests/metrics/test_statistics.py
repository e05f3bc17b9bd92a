"""Few paired runs and few cells: published values, scipy, coverage (MATH C6, A10)."""

import itertools

import numpy as np
import pytest
from scipy import stats

from scoregrain._errors import InvalidInputError
from scoregrain.metrics.ranks import spearman
from scoregrain.metrics.statistics import paired_comparison, reliability, student_quantile, two_level_bootstrap

PUBLISHED_SW2 = (2.523301, 2.690507, 6.424866, 3.282824, 4.516651)  # MATH A10: rounded to six decimals
PUBLISHED_MSW2 = (19.183560, 13.691540, 24.375159, 16.527111, 20.758023)


def test_the_published_differences_give_the_published_intervals():
    """Oracle Q1 up to the rounding of the published differences; linear percentiles, all 5^5 resamples."""
    found = paired_comparison(PUBLISHED_SW2)
    assert found.mean == pytest.approx(3.8876298654, abs=5e-7)
    assert found.bootstrap_interval == pytest.approx((2.7420881250, 5.2799370389), abs=5e-7)
    assert found.t_interval == pytest.approx((1.877, 5.899), abs=6e-4)
    assert found.bootstrap_exact
    found = paired_comparison(PUBLISHED_MSW2)
    assert found.bootstrap_interval == pytest.approx((15.828264, 22.082122), abs=1e-6)
    assert found.t_interval == pytest.approx((13.85, 23.96), abs=6e-3)


def test_five_pairs_cannot_have_a_two_sided_p_below_a_sixteenth():
    """Oracle Q2."""
    found = paired_comparison(PUBLISHED_SW2)
    assert (found.p_greater, found.p_two_sided, found.signs_exact) == (1 / 32, 1 / 16, True)
    assert paired_comparison([-d for d in PUBLISHED_SW2]).p_greater == 1


def test_sign_flips_equal_scipys_exact_permutation_test():
    d = np.random.default_rng(0).normal(0.4, 1, size=9)
    for side, ours in (("greater", "p_greater"), ("two-sided", "p_two_sided")):
        theirs = stats.permutation_test(
            (d,), np.mean, permutation_type="samples", alternative=side, n_resamples=np.inf
        ).pvalue
        assert getattr(paired_comparison(d), ours) == pytest.approx(theirs, abs=1e-12)


def test_equal_differences_tie_whatever_their_rounding():
    """All of (0.1, 0.2, 0.3) positive: only the observed signs reach the observed mean."""
    assert paired_comparison([0.1, 0.2, 0.3]).p_greater == 1 / 8
    assert paired_comparison([0.1, 0.2, -0.3]).p_greater == 5 / 8  # mean 0: two ties and three above, of eight


def test_random_resamples_agree_with_the_exact_ones():
    """Seven pairs: 7^7 resamples by brute force, 2^17 sign flips by scipy's normal law."""
    d = np.random.default_rng(1).normal(0.5, 1, size=7)
    every = d[np.array(list(itertools.product(range(7), repeat=7)))].mean(1)
    found = paired_comparison(d, draws=20_000)
    assert not found.bootstrap_exact
    assert found.bootstrap_interval == pytest.approx(np.quantile(every, [0.025, 0.975]), abs=0.03)
    d = np.random.default_rng(2).normal(0.3, 1, size=40)
    found = paired_comparison(d, draws=20_000)
    assert not found.signs_exact
    normal = stats.norm.sf(d.mean() / np.sqrt(np.square(d).sum()) * 40)
    assert found.p_greater == pytest.approx(normal, abs=0.01)
    assert found == paired_comparison(d, draws=20_000)
    assert found != paired_comparison(d, draws=20_000, seed=1)


def test_the_t_interval_covers_and_the_bootstrap_of_five_pairs_is_too_short():
    rng = np.random.default_rng(3)
    t = short = 0
    for _ in range(600):
        found = paired_comparison(rng.normal(1, 1, size=4))
        t += found.t_interval[0] <= 1 <= found.t_interval[1]
        short += found.bootstrap_interval[0] <= 1 <= found.bootstrap_interval[1]
    assert 0.923 < t / 600 < 0.977  # 0.95 ± 3 standard errors
    assert short / 600 < 0.85


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 30, 101, 5000])
def test_student_quantiles_equal_scipys(degrees):
    for p in (0.6, 0.975, 0.9995, 0.025):
        assert student_quantile(p, degrees) == pytest.approx(stats.t.ppf(p, degrees), rel=1e-9)


def test_the_two_level_bootstrap_of_single_runs_resamples_cells_alone():
    """One run a cell: the interval is that of the plain bootstrap of pairs."""
    rng = np.random.default_rng(4)
    x, e = rng.normal(size=(2, 12))
    y = x + e
    plain = [stats.spearmanr(x[i], y[i]).statistic for i in rng.integers(12, size=(3000, 12))]
    found = two_level_bootstrap(x, y[:, None], draws=8000)
    assert found == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.04)


def test_noisy_runs_widen_the_two_level_interval():
    """The same cell means: runs that scatter leave the order of the cells less certain."""
    rng = np.random.default_rng(5)
    x = np.arange(10.0)
    scatter = rng.normal(size=(10, 1)) * np.array([0, 1, -1])
    means = (x + 2 * rng.normal(size=10))[:, None]
    tight, wide = (two_level_bootstrap(x, means + s * scatter, draws=4000) for s in (0.01, 6))
    assert wide[1] - wide[0] > 1.2 * (tight[1] - tight[0])
    assert tight[0] < spearman(x, means[:, 0]).value < tight[1]


def test_cells_may_hold_different_numbers_of_runs():
    """A run given twice in a cell changes no mean, and its resamples are the same."""
    x = [1.0, 2.0, 3.0, 4.0, 5.0]
    single = [[2.0], [1.0], [4.0], [3.0], [5.0]]
    several = [[2.0, 2.0], [1.0], [4.0, 4.0, 4.0], [3.0], [5.0]]
    assert two_level_bootstrap(x, single, draws=4000) == pytest.approx(
        two_level_bootstrap(x, several, draws=4000), abs=0.06
    )


def test_reliability_is_that_of_the_whole_and_predicts_the_attenuation():
    """A predictor of noise variance v/2 in the whole, v in each half, has reliability 1/(1 + v/2)."""
    rng = np.random.default_rng(6)
    truth = rng.normal(size=20_000)
    halves = truth + rng.normal(size=(2, 20_000))
    found = reliability(*halves)
    assert found == pytest.approx(1 / 1.5, abs=0.01)
    outcome = 0.8 * truth + 0.6 * rng.normal(size=20_000)
    observed = np.corrcoef(halves.mean(0), outcome)[0, 1]
    assert observed == pytest.approx(0.8 * np.sqrt(found), abs=0.015)
    assert reliability([1, 2, 3], [3, 2, 1]) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_comparison([1.0]), "differences must be at least 2 numbers"),
        (lambda: paired_comparison([1.0, np.nan]), "differences must be finite"),
        (lambda: paired_comparison([1.0, 2.0], level=0), "between 0 and 1"),
        (lambda: paired_comparison(np.arange(9.0), draws=3), "draws must be at least 100, got 3"),
        (lambda: two_level_bootstrap([1, 2, 3, 4], [[1], [2], [3]]), "has 4 cells, the outcomes 3"),
        (lambda: two_level_bootstrap([1, 2, 3, 4], [[1], [2], [3], []]), "cell 3 must be at least 1 number"),
        (lambda: two_level_bootstrap([1, 1, 1, 1], [[1], [2], [3], [4]]), "all alike"),
        (lambda: reliability([1, 2, 3], [1, 2]), "at least 3 numbers"),
        (lambda: reliability([1, 2, 3], [1, 2, 3, 4]), "same cells, got 3 and 4"),
        (lambda: reliability([1, 1, 1], [1, 2, 3]), "the same for every cell"),
        (lambda: reliability([0.1, 0.1, 0.1], [1, 2, 4]), "the same for every cell"),
        (lambda: student_quantile(1.0, 4), "between 0 and 1, got 1.0"),
    ],
)
def test_what_cannot_be_compared_is_named(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()
