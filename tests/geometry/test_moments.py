"""The mergeable state: a fixed tree, bits that do not depend on the split, counts as weights."""

import itertools
import random

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.geometry.moments import LEAF, MAX_GROUPS, Group, Moments


def leaf(i: int, size: int = 3) -> Group:
    x = torch.randn(LEAF, size, generator=stream(0, "leaf", i), dtype=torch.float64)
    return Group(i * LEAF, (i + 1) * LEAF, x.T @ x)


def test_counts_weigh_the_mean():
    """G5: shards of sizes 1 and 3 with X = 4 and X = 0 have mean 1."""
    four, zero = torch.full((1, 1), 4.0, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    merged = Moments([Group(0, 1, four), Group(1, 4, 3 * zero)])
    assert float(merged.mean()) == 1.0
    assert merged.ranges == [(0, 4)]


@pytest.mark.parametrize("leaves", [7, 64, 65, 200, 300])
def test_any_leaf_aligned_split_gives_the_same_bits(leaves):
    """K4 in one process: single leaves in any order and shards in any order sum alike."""
    plain = Moments()
    for i in range(leaves):
        plain.add(leaf(i))
    rng = random.Random(leaves)
    order = list(range(leaves))
    rng.shuffle(order)
    assert torch.equal(Moments([leaf(i) for i in order]).total(), plain.total())
    cuts = sorted({0, leaves, *rng.sample(range(leaves), 3)})
    shards = [Moments([leaf(i) for i in range(a, b)]) for a, b in itertools.pairwise(cuts)]
    rng.shuffle(shards)
    merged = Moments([group for shard in shards for group in shard.groups])
    assert torch.equal(merged.total(), plain.total())
    assert [(g.start, g.stop) for g in merged.groups] == [(g.start, g.stop) for g in plain.groups]


@pytest.mark.parametrize("leaves", [16, 64, 65, 129, 1000])
def test_enough_groups_of_equal_size_stay_apart(leaves):
    moments = Moments([leaf(i, 1) for i in range(leaves)])
    assert min(leaves, MAX_GROUPS // 2) <= len(moments.groups) <= MAX_GROUPS
    assert moments.count == leaves * LEAF
    sizes = [group.count for group in moments.groups]
    # what does not fill a node of the tree stays apart in smaller nodes, at most one of each size
    assert sizes.count(max(sizes)) >= len(sizes) - 6


def test_a_partial_leaf_is_kept_and_counted():
    half = Group(2 * LEAF, 2 * LEAF + 10, torch.ones(3, 3, dtype=torch.float64))
    moments = Moments([leaf(0), leaf(1), half])
    assert moments.count == 2 * LEAF + 10
    assert moments.ranges == [(0, 2 * LEAF + 10)]
    torch.testing.assert_close(moments.total(), leaf(0).total + leaf(1).total + 1)


def test_a_range_is_not_counted_twice():
    with pytest.raises(InvalidInputError, match="networks 32 to 63 are counted twice"):
        Moments([leaf(0), leaf(1), leaf(1)])
