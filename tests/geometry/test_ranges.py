"""Leaves, shards and what is missing: ranges of network indices."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scoregrain._errors import InvalidInputError
from scoregrain.geometry.moments import LEAF, Group
from scoregrain.geometry.ranges import gaps, largest, leaf_ranges, shard_range, split_missing

NOTHING = torch.empty(0)


def group(start, stop):
    return Group(start, stop, NOTHING)


@given(st.integers(0, 500), st.integers(1, 500))
def test_leaves_cover_a_range_and_are_cut_at_multiples_of_32(start, count):
    leaves = leaf_ranges(start, start + count)
    assert list(itertools.chain(*leaves)) == list(range(start, start + count))
    assert all(leaf.start % LEAF == 0 for leaf in leaves[1:])
    assert all(leaf.stop % LEAF == 0 for leaf in leaves[:-1])
    assert max(map(len, leaves)) <= LEAF


@given(st.integers(1, 3000), st.integers(1, 20), st.integers(0, 100))
def test_shards_are_whole_leaves_as_even_as_can_be(networks, of, first):
    leaves = len(leaf_ranges(first, first + networks))
    if of > leaves:
        with pytest.raises(InvalidInputError, match=f"are {leaves} leaves of 32, too few for {of} shards"):
            shard_range(networks, 1, of, first=first)
        return
    shards = [shard_range(networks, i, of, first=first) for i in range(1, of + 1)]
    assert list(itertools.chain(*shards)) == list(range(first, first + networks))
    assert all(shard.start % LEAF == 0 for shard in shards[1:])
    sizes = [len(leaf_ranges(shard.start, shard.stop)) for shard in shards]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("i", "n"), [(0, 4), (5, 4), (1, 0), (-1, 4)])
def test_a_shard_that_does_not_exist_is_refused(i, n):
    with pytest.raises(InvalidInputError, match=f"shard {i}/{n} does not exist"):
        shard_range(4000, i, n)


def test_gaps():
    assert gaps(range(10, 20), []) == [range(10, 20)]
    assert gaps(range(10, 20), [(0, 12), (14, 15), (19, 40)]) == [range(12, 14), range(15, 19)]
    assert gaps(range(10, 20), [(0, 5), (10, 20)]) == []
    assert gaps(range(10, 20), [(30, 50)]) == [range(10, 20)]


def test_groups_inside_others_do_not_count():
    groups = [group(0, 32), group(0, 64), group(32, 64), group(96, 128), group(96, 100)]
    assert largest(groups) == [group(0, 64), group(96, 128)]


def test_a_leaf_that_is_there_in_part_is_measured_whole_again():
    groups = [group(0, 64), group(96, 104)]
    kept, missing = split_missing(groups, leaf_ranges(0, 200))
    assert kept == [group(0, 64)]
    assert missing == [range(64, 96), range(96, 128), range(128, 160), range(160, 192), range(192, 200)]
    assert split_missing(groups, leaf_ranges(10, 50)) == (groups, [])
