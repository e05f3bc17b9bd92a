"""The walk through the data: every array once an epoch, the same for any number of processes."""

import pytest
import torch

from scoregrain.training.batches import Batches


def batches(size=8, count=20, seed=0, num_steps=50, **options):
    return Batches(torch.arange(float(count)).reshape(count, 1, 1), size, num_steps, seed, **options)


@pytest.mark.parametrize(("count", "size"), [(20, 5), (20, 8), (20, 20), (7, 5), (9, 2)])
def test_every_array_comes_once_in_every_epoch_whether_or_not_the_size_divides(count, size):
    walk = batches(size, count)
    seen = torch.cat([walk.indices(k) for k in range(count)])  # `size` epochs
    for epoch in seen.reshape(size, count):
        assert epoch.sort().values.tolist() == list(range(count))


def test_a_batch_larger_than_the_data_spans_several_epochs():
    counts = torch.bincount(batches(size=50, count=20).indices(0))
    assert counts.min() >= 2
    assert counts.max() <= 3


def test_the_order_is_a_function_of_the_seed_and_the_epoch():
    first, second = (torch.cat([batches(5).indices(k) for k in range(4 * e, 4 * e + 4)]) for e in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, torch.cat([batches(5).indices(k) for k in range(4)]))
    assert not torch.equal(first, torch.cat([batches(5, seed=1).indices(k) for k in range(4)]))


def test_a_batch_is_a_function_of_its_number_alone():
    """So that a training can go on anywhere, and nothing of its randomness need be stored."""
    walked = batches()
    last = [walked[k] for k in range(6)][-1]
    again = batches()[5]
    for name in ("x0", "t", "xi"):
        assert torch.equal(getattr(last, name), getattr(again, name))
    assert not torch.equal(batches()[4].xi, again.xi)
    assert not torch.equal(batches()[4].t, again.t)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_slices_of_all_ranks_are_the_global_batch(world):
    whole = batches()
    ranks = [batches(rank=rank, world=world) for rank in range(world)]
    for k in (0, 2, 7):
        for name in ("x0", "t", "xi"):
            joined = torch.cat([getattr(rank[k], name) for rank in ranks])
            assert torch.equal(joined, getattr(whole[k], name))


def test_the_parts_of_a_batch_are_the_batch_in_order():
    batch = batches()[0]
    parts = list(batch.parts(4))
    assert [len(part.t) for part in parts] == [2] * 4
    for name in ("x0", "t", "xi"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))


def test_the_steps_are_uniform_and_the_noise_is_white():
    """200,000 draws: χ² of the steps within five of its deviations; mean, variance and kurtosis of ξ within five."""
    n, steps = 2000, 10
    walk = Batches(torch.zeros(2000, 1, 10), n, steps, seed=0)
    drawn = [walk[k] for k in range(100)]
    counts = torch.bincount(torch.cat([batch.t for batch in drawn]), minlength=steps).double()
    expected = 100 * n / steps
    chi = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi - (steps - 1)) < 5 * (2 * (steps - 1)) ** 0.5
    xi = torch.cat([batch.xi.flatten() for batch in drawn]).double()
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (4, 3, 96)):
        assert abs((xi**power).mean() - mean) < 5 * (variance / len(xi)) ** 0.5
    together = torch.cat([batch.xi.flatten(1) for batch in drawn]).double()
    covariance = together.T @ together / len(together) - torch.eye(10)
    assert covariance.abs().max() < 5 * (2 / len(together)) ** 0.5


def test_steps_and_noise_do_not_hang_together():
    """Two names never share a seed: a shared one would make the noise a function of the step."""
    walk = batches(size=2000, count=2000)
    pairs = torch.stack([walk[0].t.double(), walk[0].xi.flatten().double(), walk[0].x0.flatten().double()])
    correlation = torch.corrcoef(pairs) - torch.eye(3)
    assert correlation.abs().max() < 5 / 2000**0.5
