"""Sliced distances: closed forms, POT on the same projections, and an error that is the spread of repetitions."""

import math

import numpy as np
import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.metrics.sliced import sliced_wasserstein

F64 = torch.float64


def normal(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, generator=stream(seed, "sliced"), dtype=dtype)


def directions(count, size, seed=1):
    return torch.nn.functional.normalize(normal(count, size, seed=seed), dim=1)


def rank_one(n, size, axis, seed):
    x = torch.zeros(n, size, dtype=F64)
    x[:, axis] = math.sqrt(size) * normal(n, seed=seed)
    return x


# what it is ----------------------------------------------------------------------------------------------------------


def test_it_is_the_root_of_the_grand_mean_oracle_m1():
    theta = torch.tensor([[1, 0], [0, 1], [0.6, 0.8]], dtype=F64)
    found = sliced_wasserstein(torch.zeros(5, 2, dtype=F64), torch.tensor([[3.0, 4.0]], dtype=F64).expand(5, 2), theta)
    assert found.sw2 == pytest.approx(4.08248290, rel=1e-8)  # 4.0 would be the mean of roots
    assert found.msw2 == pytest.approx(5, rel=1e-12)
    assert found.squares.tolist() == pytest.approx([9, 16, 25])
    assert (found.projections, found.counts, found.error, found.projection_error) == (3, (5, 5), 0, 0)


def test_projections_are_sorted_oracle_m2():
    x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [1.0]])
    assert sliced_wasserstein(x, y, torch.ones(1, 1)).sw2 == 1


def test_three_times_the_samples_oracle_m3():
    x, theta = normal(50, 4), directions(30, 4)
    expected = 2 * math.sqrt((x @ theta.T).square().mean())
    assert sliced_wasserstein(x, 3 * x, theta).sw2 == pytest.approx(expected, rel=1e-10)


def test_a_shift_counts_once_over_all_dimensions():
    shift = normal(16, seed=5)
    found = sliced_wasserstein(normal(50, 16), normal(50, 16) + shift, projections=4096)
    assert found.sw2 == pytest.approx(float(shift.norm()) / 4, abs=4 * found.projection_error)
    assert found.sample_error > 0  # another draw has another mean
    assert found.msw2 <= float(shift.norm())


def test_zeros_white_noise_and_a_resample_of_rank_one_data_oracle_m4():
    n, size = 10_000, 256
    x = rank_one(n, size, 3, seed=1).float()
    cases = [
        (torch.zeros_like(x), 1.0),
        (normal(n, size, seed=2, dtype=torch.float32), math.sqrt(2 - 2 * math.sqrt(2 / math.pi))),
        (rank_one(n, size, 9, seed=3).float(), 0.8525024664),
    ]
    for y, expected in cases:
        assert sliced_wasserstein(x, y, projections=1024).sw2 == pytest.approx(expected, rel=0.05)
    assert sliced_wasserstein(x, rank_one(n, size, 3, seed=4).float(), projections=1024).sw2 < 0.05


def test_rotating_samples_and_projections_changes_nothing_oracle_m5():
    x, y, theta = normal(40, 6), 2 * normal(30, 6, seed=2), directions(20, 6)
    w = torch.linalg.qr(normal(6, 6, seed=3)).Q
    found, turned = sliced_wasserstein(x, y, theta), sliced_wasserstein(x @ w.T, y @ w.T, theta @ w.T)
    for name in ("sw2", "msw2", "error"):
        assert getattr(turned, name) == pytest.approx(getattr(found, name), rel=1e-10)


def test_the_distance_is_symmetric_and_zero_for_one_set_in_any_order():
    x, y = normal(40, 3), normal(25, 3, seed=2)
    assert sliced_wasserstein(x, y).sw2 == pytest.approx(sliced_wasserstein(y, x).sw2, rel=1e-12)
    same = sliced_wasserstein(x, x.flip(0))
    assert (same.sw2, same.msw2, same.error) == (0, 0, 0)


def test_constant_samples_are_fine():
    found = sliced_wasserstein(torch.ones(7, 4), torch.ones(9, 4))
    assert (found.sw2, found.error) == (0, 0)


# against POT ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ot():
    return pytest.importorskip("ot")


@pytest.mark.parametrize(("n", "m"), [(200, 200), (120, 75), (60, 90), (7, 64)])
def test_pot_finds_the_same_on_the_same_projections(ot, n, m):
    x, y, theta = normal(n, 12), 0.5 + 1.5 * normal(m, 12, seed=2), directions(50, 12)
    found = sliced_wasserstein(x, y, theta)
    arrays = x.numpy(), y.numpy()
    pot = ot.sliced_wasserstein_distance(*arrays, projections=theta.numpy().T)
    assert found.sw2 == pytest.approx(pot, rel=1e-10)
    pot = ot.max_sliced_wasserstein_distance(*arrays, projections=theta.numpy().T)
    assert found.msw2 == pytest.approx(pot, rel=1e-10)
    each = [ot.emd2_1d(x.numpy() @ row, y.numpy() @ row) for row in theta.numpy()]
    np.testing.assert_allclose(found.squares, each, rtol=1e-10)


def test_a_set_held_twice_is_the_same_distribution():
    x, y = normal(30, 5), normal(40, 5, seed=2)
    once, twice = sliced_wasserstein(x, y), sliced_wasserstein(x.repeat(2, 1), y)
    np.testing.assert_allclose(once.squares, twice.squares, rtol=1e-12)
    equal = sliced_wasserstein(x, y[:30])
    np.testing.assert_allclose(equal.squares, sliced_wasserstein(x, y[:30].repeat(2, 1)).squares, rtol=1e-12)


def test_single_precision_agrees_with_double():
    x, y = normal(500, 32), 0.1 + normal(400, 32, seed=2)
    found, exact = sliced_wasserstein(x.float(), y.float()), sliced_wasserstein(x, y)
    assert found.sw2 == pytest.approx(exact.sw2, rel=1e-5)
    assert found.error == pytest.approx(exact.error, rel=1e-4)
    half = sliced_wasserstein(x.half(), y.half())
    assert half.sw2 == sliced_wasserstein(x.half().float(), y.half().float()).sw2


@pytest.mark.parametrize("m", [40, 30])
def test_samples_of_any_finite_size_have_a_finite_distance(m):
    """A sampler that diverged gives numbers whose squares single precision cannot hold."""
    x, y = normal(40, 6).float(), 3 * normal(m, 6, seed=2).float()
    expected = sliced_wasserstein(x, y, 64)
    for scale in (1e20, 1e-25):
        found = sliced_wasserstein(scale * x, scale * y, 64)
        for name in ("sw2", "msw2", "error"):
            assert getattr(found, name) == pytest.approx(scale * getattr(expected, name), rel=1e-5)


# projections ---------------------------------------------------------------------------------------------------------


def test_drawn_projections_are_uniform_unit_vectors():
    """For x = 0 and y = √D e_1 the squares are D θ_1², of mean 1 and variance 2 (D - 1)/(D + 2)."""
    size, count = 8, 20_000
    y = torch.zeros(2, size, dtype=F64)
    y[:, 0] = math.sqrt(size)
    squares = sliced_wasserstein(torch.zeros_like(y), y, projections=count).squares
    variance = 2 * (size - 1) / (size + 2)
    assert abs(float(squares.mean()) - 1) < 4 * math.sqrt(variance / count)
    assert float(squares.var()) == pytest.approx(variance, rel=0.1)
    assert len(squares.unique()) == count  # no block is drawn twice


def test_there_are_64_for_each_dimension_and_at_most_16384():
    x = torch.zeros(2, 3)
    assert sliced_wasserstein(x, x).projections == 192
    x = torch.zeros(2, 1, 20, 20)
    assert sliced_wasserstein(x, x).projections == 16_384


def test_chunks_change_no_number():
    x, y = normal(40, 6), normal(30, 6, seed=2)
    expected = sliced_wasserstein(x, y, projections=150)
    for chunk in (1, 7, 64, 1000):
        found = sliced_wasserstein(x, y, projections=150, chunk=chunk)
        torch.testing.assert_close(found.squares, expected.squares, rtol=1e-12, atol=0)
        assert found.error == pytest.approx(expected.error, rel=1e-10)


def test_more_projections_go_on_with_the_same_ones_and_a_seed_decides_them():
    x, y = normal(40, 6), normal(30, 6, seed=2)
    few, many = sliced_wasserstein(x, y, 70), sliced_wasserstein(x, y, 200)
    assert torch.equal(few.squares, many.squares[:70])
    assert torch.equal(few.squares, sliced_wasserstein(x, y, 70, seed=0).squares)
    assert not torch.equal(few.squares, sliced_wasserstein(x, y, 70, seed=1).squares)


def test_the_default_device_changes_nothing():
    x, y = normal(20, 3), normal(30, 3, seed=2)
    with torch.device("meta"):
        aside = sliced_wasserstein(x, y)
    assert torch.equal(aside.squares, sliced_wasserstein(x, y).squares)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_finds_the_same():
    x, y = normal(200, 12), normal(150, 12, seed=2)
    found, expected = sliced_wasserstein(x.cuda(), y.cuda()), sliced_wasserstein(x, y)
    torch.testing.assert_close(found.squares, expected.squares, rtol=1e-10, atol=0)
    assert found.error == pytest.approx(expected.error, rel=1e-8)


def test_progress_is_told_of_every_projection():
    told = []
    sliced_wasserstein(torch.zeros(2, 3), torch.zeros(2, 3), 150, progress=lambda done, all_: told.append((done, all_)))
    assert told == [(64, 150), (128, 150), (150, 150)]


# extra directions ----------------------------------------------------------------------------------------------------


def test_extra_directions_stand_apart():
    x = rank_one(5000, 256, 3, seed=1).reshape(-1, 1, 16, 16)
    zeros = torch.zeros_like(x)
    v = torch.zeros(1, 16, 16)
    v[0, 0, 3] = 2.0  # of any length
    found = sliced_wasserstein(x, zeros, 256, extra_directions={"v": v, "other": v.roll(1, -1)})
    assert found.extra["v"] == pytest.approx(float(x.square().sum().div(5000).sqrt()), rel=1e-12)  # about 16
    assert found.extra["other"] == 0
    assert found.msw2 < 5  # MATH A8: random projections miss the maximum by far
    plain = sliced_wasserstein(x, zeros, 256)
    assert (found.sw2, found.msw2, plain.extra) == (plain.sw2, plain.msw2, {})


def test_a_tensor_of_extra_directions_is_named_by_index():
    x, y, many = normal(10, 4), normal(12, 4, seed=2), directions(100, 4)
    found = sliced_wasserstein(x, y, many, extra_directions=3 * many)
    assert list(found.extra) == [str(k) for k in range(100)]
    np.testing.assert_allclose(list(found.extra.values()), found.squares.sqrt(), rtol=1e-12)


# the error -----------------------------------------------------------------------------------------------------------

LAWS = {
    "another scale": (
        lambda seed: normal(300, 16, seed=2 * seed),
        lambda seed: 0.7 * normal(200, 16, seed=2 * seed + 1),
    ),
    "a shift": (lambda seed: normal(300, 16, seed=2 * seed), lambda seed: 0.5 + normal(200, 16, seed=2 * seed + 1)),
    "rank one": (lambda seed: rank_one(300, 16, 3, seed=2 * seed), lambda seed: normal(300, 16, seed=2 * seed + 1)),
}


def repeated(x, y, projections, repeats, fixed=False):
    """Mean declared error and the distances' own spread, over fresh samples and (unless fixed) projections."""
    found = [sliced_wasserstein(x(k), y(k), projections, seed=0 if fixed else k) for k in range(repeats)]
    declared = math.sqrt(np.mean([each.error**2 for each in found]))
    return declared, float(np.std([each.sw2 for each in found], ddof=1))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("projections", [32, 192])
def test_the_declared_error_is_the_spread_of_repetitions(law, projections):
    """120 repetitions know their own spread to 7 %; few projections make one part the larger, many the other.

    Of 800 repetitions at 256 projections the worst ratio is 1.06.
    """
    declared, spread = repeated(*LAWS[law], projections, 120)
    assert declared == pytest.approx(spread, rel=0.2)


def test_what_other_samples_change_along_one_projection_is_counted_once():
    """In many dimensions nothing is shared between projections: both parts would hold the same variance."""
    laws = (lambda seed: normal(60, 64, seed=2 * seed), lambda seed: 0.7 * normal(50, 64, seed=2 * seed + 1))
    declared, spread = repeated(*laws, 16, 300)
    assert declared == pytest.approx(spread, rel=0.15)  # twice: 1.4


def test_given_projections_are_taken_as_they_are():
    """Three directions of sixteen: only other samples change the result."""
    theta = directions(3, 16)
    declared, spread = repeated(*LAWS["another scale"], theta, 200)
    assert declared == pytest.approx(spread, rel=0.15)


def test_a_single_direction_has_the_error_of_two_means():
    """W₂ of two shifted sets along e_1 is the difference of their means, to first order."""
    x, y = normal(400, 2), 3 + normal(300, 2, seed=1)
    found = sliced_wasserstein(x, y, torch.tensor([[1.0, 0.0]], dtype=F64))
    expected = math.sqrt(float(x[:, 0].var() / 400 + y[:, 0].var() / 300))
    assert found.error == pytest.approx(expected, rel=0.05)


def test_between_equal_laws_the_error_is_too_large_by_at_most_half():
    """There the linear term vanishes and the quadratic one counts double: √2, as the docstring says."""
    same = (lambda seed: normal(200, 16, seed=2 * seed), lambda seed: normal(200, 16, seed=2 * seed + 1))
    declared, spread = repeated(*same, 128, 150)
    assert 1.1 < declared / spread < 1.7


# bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": torch.full((4, 3), math.nan)}, "y must be finite: 4 of 4 samples"),
        ({"y": torch.zeros(4, 2)}, r"x and y must be samples of one shape, got \(3,\) and \(2,\)"),
        ({"y": torch.zeros(1, 3)}, "y holds too few samples: 1"),
        ({"projections": 1}, "projections must be at least 2, got 1"),
        ({"projections": 2.5}, "projections must be an integer, got 2.5"),
        ({"projections": torch.ones(5, 3)}, "projections must be unit vectors; divide each by its norm"),
        ({"projections": torch.eye(4)}, "projections must have the samples' 3 dimensions, got 4"),
        ({"projections": torch.zeros(0, 3)}, "projections must be unit vectors, got none"),
        ({"projections": [[1, 0, 0]]}, r"projections must be an integer, got \[\[1, 0, 0\]\]"),
        ({"seed": "a"}, "seed must be an integer, got 'a'"),
        ({"chunk": 0}, "chunk must be at least 1, got 0"),
        ({"extra_directions": torch.zeros(2, 3)}, "the direction '0' is zero; a direction needs a length"),
        ({"extra_directions": {"v": torch.ones(4)}}, "the direction 'v' must have the samples' 3 dimensions, got 4"),
        ({"extra_directions": {"v": np.ones(3)}}, "the direction 'v' must be of type Tensor, got ndarray"),
        ({"extra_directions": {"v": torch.full((3,), math.inf)}}, "the direction 'v' must be finite"),
        ({"extra_directions": [1]}, "extra_directions must be of type Mapping, got list"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(arguments, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        sliced_wasserstein(**({"x": torch.zeros(4, 3), "y": torch.zeros(4, 3)} | arguments))
    assert "\n" not in str(caught.value)
