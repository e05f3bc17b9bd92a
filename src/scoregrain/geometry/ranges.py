"""Which networks a measurement, a leaf or a shard covers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scoregrain._errors import InvalidInputError
from scoregrain.geometry.moments import LEAF, Group


def leaf_ranges(start: int, stop: int) -> list[range]:
    """The networks ``start … stop - 1``, cut at multiples of 32."""
    cuts = [start, *range((start // LEAF + 1) * LEAF, stop, LEAF), stop]
    return [range(a, b) for a, b in itertools.pairwise(cuts) if a < b]


def shard_range(networks: int, shard: int, of: int, *, first: int = 0) -> range:
    """Indices of the networks of one shard: whole leaves of 32, as even as they can be (MATH C4).

    Args:
        networks: how many all shards measure together.
        shard: which one, from 1 on.
        of: how many shards there are.
        first: index of the first network of all.

    Raises:
        InvalidInputError: no such shard, or more shards than leaves.
    """
    if not 1 <= shard <= of:
        raise InvalidInputError(f"shard {shard}/{of} does not exist, expected i/n with 1 <= i <= n such as 1/4")
    leaves = leaf_ranges(first, first + networks)
    if of > len(leaves):
        raise InvalidInputError(
            f"{networks} networks are {len(leaves)} leaves of {LEAF}, too few for {of} shards: "
            f"use at most {len(leaves)}"
        )
    mine = share(leaves, shard - 1, of)
    return range(mine[0].start, mine[-1].stop)


def share(leaves: Sequence[range], part: int, parts: int) -> Sequence[range]:
    """One of so many contiguous parts, from 0 on."""
    return leaves[part * len(leaves) // parts : (part + 1) * len(leaves) // parts]


def gaps(asked: range, covered: Iterable[tuple[int, int]]) -> list[range]:
    """What of a range sorted, disjoint others do not cover."""
    missing, start = [], asked.start
    for a, b in covered:
        if start < min(a, asked.stop):
            missing.append(range(start, min(a, asked.stop)))
        start = max(start, b)
    return [*missing, range(start, asked.stop)] if start < asked.stop else missing


def largest(groups: Iterable[Group]) -> list[Group]:
    """Without the groups that lie inside others; sorted."""
    kept: list[Group] = []
    for group in sorted(groups, key=lambda group: (group.start, -group.stop)):
        if not kept or group.stop > kept[-1].stop:
            kept.append(group)
    return kept


def split_missing(groups: Sequence[Group], leaves: Iterable[range]) -> tuple[list[Group], list[range]]:
    """The groups to keep and the leaves to measure: a leaf that is there in part is measured whole again."""
    missing = [leaf for leaf in leaves if not any(g.start <= leaf.start and leaf.stop <= g.stop for g in groups)]
    kept = [g for g in groups if not any(leaf.start <= g.start and g.stop <= leaf.stop for leaf in missing)]
    return kept, missing


def words(networks: range) -> str:
    """How messages name a range."""
    last = networks.stop - 1
    return f"network {last}" if len(networks) == 1 else f"networks {networks.start} to {last}"


def shard_words(shard: Mapping[str, Any] | None) -> str:
    """How messages name ``info["shard"]``."""
    if shard is None:
        return "no shard"
    which = ", ".join(str(i) for i in shard["indices"])
    return f"shard {which}/{shard['of']} of {shard['networks']} networks"
