"""Mode coverage: exact counts, dropped modes, shares by the binomial and χ² laws."""

import math

import pytest
import torch
from scipy import stats

from scoregrain._errors import InvalidInputError
from scoregrain.metrics.modes import label_coverage, mode_coverage
from scoregrain.operators import DenseOperator, LowRankOperator

SHAPE, MODES = (1, 2, 4), 8
MEANS = 5 * torch.eye(MODES).view(MODES, *SHAPE)


def around(modes, seed=0):
    """Samples near the means, one for each entry of ``modes``."""
    noise = torch.randn(len(modes), *SHAPE, generator=torch.Generator().manual_seed(seed))
    return MEANS[modes] + 0.3 * noise


def shared_out(*counts):
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def test_two_modes_of_eight_dropped_are_named():
    found = mode_coverage(around(shared_out(20, 0, 20, 20, 1, 20, 20, 20)), MEANS)
    assert found.counts.tolist() == [20, 0, 20, 20, 1, 20, 20, 20]
    assert found.covered.tolist() == [True, False, True, True, False, True, True, True]  # 1/121 < 1/80
    assert found.outliers is None
    assert found.p_value < 1e-5


def test_the_summaries_of_known_shares():
    found = mode_coverage(around(shared_out(0, 0, 20, 20, 20, 20, 20, 20)), MEANS)
    torch.testing.assert_close(found.shares, torch.tensor([0.0, 0, *[1 / 6] * 6], dtype=torch.float64))
    assert found.total_variation == pytest.approx(0.25)
    assert found.entropy == pytest.approx(math.log(6))
    theirs = stats.chisquare(found.counts.numpy(), 15)
    assert found.chi_squared == pytest.approx(theirs.statistic)
    assert found.p_value == pytest.approx(theirs.pvalue)


def test_skewed_weights_are_expected_shares():
    weights = [8, 1, 1, 1, 1, 1, 1, 2]
    found = mode_coverage(around(shared_out(*[10 * w for w in weights])), MEANS, weights)
    assert (found.total_variation, found.chi_squared, found.p_value) == (0, 0, 1)
    assert mode_coverage(around(shared_out(*[10 * w for w in weights])), MEANS).p_value < 1e-6
    torch.testing.assert_close(found.standard_error[0], torch.tensor(0.5 / math.sqrt(160), dtype=torch.float64))


def test_fresh_draws_have_the_total_variation_and_the_p_values_of_chance():
    g = torch.Generator().manual_seed(1)
    runs = [mode_coverage(around(torch.randint(MODES, (400,), generator=g), seed), MEANS) for seed in range(100)]
    total = sum(run.total_variation for run in runs) / 100
    assert total == pytest.approx(runs[0].total_variation_by_chance, rel=0.07)
    assert stats.kstest([run.p_value for run in runs], "uniform").pvalue > 0.01


def test_covariances_decide_by_the_posterior():
    """Between a wide and a narrow component the nearer mean is not the likelier one: log odds by hand."""
    means = torch.tensor([[[0.0, 0.0]], [[4.0, 0.0]]])
    wide, narrow = (DenseOperator.from_matrix((1, 2), v * torch.eye(2, dtype=torch.float64)) for v in (9.0, 0.25))
    x = torch.tensor([[[2.5, 0.0]], [[3.5, 0.0]], [[9.0, 0.0]]])
    found = mode_coverage(x, means, [1, 3], [wide, narrow])
    odds = [math.log(3 * 9 / 0.25) - (a - 4) ** 2 / 0.5 + a**2 / 18 for a in (2.5, 3.5, 9.0)]
    assert [value > 0 for value in odds] == [True, True, False]
    assert found.counts.tolist() == [1, 2]
    assert mode_coverage(x, means).counts.tolist() == [0, 3]


def test_outliers_are_farther_than_the_data_ever_are():
    """In Mahalanobis' distance, so that a narrow mode has its own; of fresh draws 0.1 % are expected."""
    g = torch.Generator().manual_seed(2)
    scale = torch.tensor([3.0, 0.1])
    means = torch.tensor([[[0.0, 0.0]], [[20.0, 0.0]]])

    def fresh(n):
        mode = torch.randint(2, (n,), generator=g)
        return means[mode] + scale[mode][:, None, None] * torch.randn(n, 1, 2, generator=g), mode

    covariances = [DenseOperator.from_matrix((1, 2), s**2 * torch.eye(2)) for s in scale.tolist()]
    reference, (x, mode) = fresh(20_000)[0], fresh(4000)
    assert mode_coverage(x, means, None, covariances, reference).outliers == pytest.approx(0.001, abs=0.0016)
    x[mode == 1] += 1  # ten standard deviations of the narrow one, not far in pixels
    assert mode_coverage(x, means, None, covariances, reference).outliers == pytest.approx(0.5, abs=0.03)
    assert mode_coverage(x, means, reference=reference).outliers < 0.002


def test_classes_are_counted_by_the_nearest_labelled_image():
    labels = shared_out(*[25] * MODES)
    reference = around(labels)
    samples = around(shared_out(0, 30, 10, 10, 10, 10, 10, 10), seed=1)
    found = label_coverage(samples, reference, 10 * labels + 3)
    assert found.labels == (3, 13, 23, 33, 43, 53, 63, 73)
    assert found.counts.tolist() == [0, 30, 10, 10, 10, 10, 10, 10]
    torch.testing.assert_close(found.expected, torch.full((MODES,), 1 / MODES, dtype=torch.float64))
    assert found.covered.tolist() == [False] + [True] * 7


def test_images_unlike_any_other_are_outliers():
    labels = shared_out(*[25] * MODES)
    samples = torch.cat((around(shared_out(10, 10), seed=1), torch.full((5, *SHAPE), -9.0)))
    assert label_coverage(samples, around(labels), labels).outliers == pytest.approx(0.2)


def test_the_default_device_changes_nothing():
    labels = shared_out(*[25] * MODES)
    samples, reference = around(labels, seed=1), around(labels)
    expected = label_coverage(samples, reference, labels), mode_coverage(samples, MEANS)
    with torch.device("meta"):
        found = label_coverage(samples, reference, labels), mode_coverage(samples, MEANS)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.counts, other.counts)
        assert (one.p_value, one.outliers) == (other.p_value, other.outliers)


SINGULAR = LowRankOperator(SHAPE, torch.ones(1), torch.eye(MODES)[:, :1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: mode_coverage(x, MEANS, [1, 2]), "8 positive numbers, one for each mean"),
        (lambda x: mode_coverage(x, MEANS, [0, *[1] * 7]), "8 positive numbers"),
        (lambda x: mode_coverage(x, MEANS, None, [SINGULAR]), "8 means and 1 covariances"),
        (lambda x: mode_coverage(x, MEANS, None, [SINGULAR] * 8), "rank 1 of 8: leave covariances out"),
        (lambda x: mode_coverage(x, MEANS[:, :, :, :3]), "the samples and the means must be samples of one shape"),
        (lambda x: mode_coverage(x * torch.nan, MEANS), "the samples must be finite"),
        (lambda x: label_coverage(x, x, torch.zeros(3, dtype=torch.int64)), "each of the 8 images, got torch.int64"),
        (lambda x: label_coverage(x, x, torch.zeros(8)), "got torch.float32"),
        (lambda x: label_coverage(x, x, torch.zeros(8, dtype=torch.int64)), "one label: there are no modes"),
        (lambda x: label_coverage(x, x, [0] * 8), "labels must be of type Tensor, got list"),
    ],
)
def test_what_has_no_modes_is_named(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call(around(torch.arange(8)))
