"""The mergeable state of a measurement: sums over leaves of 32 networks, in a fixed binary tree (MATH C4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError

LEAF = 32
# groups kept for error bars: between MAX_GROUPS / 2 and MAX_GROUPS, half as many where they would fill the memory
MAX_GROUPS, GROUP_BYTES = 64, 2**28


@dataclass(frozen=True)
class Group:
    """Sum of reduced second moments over the draws ``start … stop - 1``."""

    start: int
    stop: int
    total: Tensor

    @property
    def count(self) -> int:
        """Number of draws."""
        return self.stop - self.start

    @property
    def level(self) -> int | None:
        """L when the group is a complete node of the tree, ``2^l`` leaves at a multiple of their number."""
        leaves = self.count // LEAF
        complete = self.count == leaves * LEAF and leaves & (leaves - 1) == 0 and leaves > 0
        return leaves.bit_length() - 1 if complete and self.start % self.count == 0 else None


class Moments:
    """Disjoint groups of draws, in order; neighbours are summed only as siblings of the fixed tree.

    The tree is fixed by the indices of the draws, so leaf-aligned parts merge to the same bits whichever way they
    were split. Groups stay apart as long as there are at most 64 (32 for large matrices): they carry the error bars.
    """

    def __init__(self, groups: Iterable[Group] = ()) -> None:
        self.groups: list[Group] = []
        for group in groups:
            self._insert(group)
        self._collapse()

    def add(self, group: Group) -> None:
        """Add the draws of one leaf.

        Raises:
            InvalidInputError: some of them are there already.
        """
        self._insert(group)
        self._collapse()

    def _insert(self, group: Group) -> None:
        """Keep the groups sorted and disjoint."""
        for other in self.groups:
            if group.start < other.stop and other.start < group.stop:
                start, stop = max(group.start, other.start), min(group.stop, other.stop)
                raise InvalidInputError(f"networks {start} to {stop - 1} are counted twice: merge disjoint ranges only")
        self.groups = sorted([*self.groups, group], key=lambda g: g.start)

    def _collapse(self) -> None:
        """Sum siblings to one common level, the lowest at which the draws touch few enough nodes of the tree.

        Groups would not do for nodes: a part with a ragged start can have more of them than the whole.
        """
        level = max((group.level or 0 for group in self.groups), default=0)
        for below in range(level):
            self.groups = _sum_siblings(self.groups, below)
        while len({group.start // (LEAF << level) for group in self.groups}) > self.capacity:
            self.groups = _sum_siblings(self.groups, level)
            level += 1

    @property
    def capacity(self) -> int:
        """How many groups are kept apart."""
        large = bool(self.groups) and MAX_GROUPS * 8 * self.groups[0].total.numel() > GROUP_BYTES
        return MAX_GROUPS // 2 if large else MAX_GROUPS

    @property
    def count(self) -> int:
        """Number of draws."""
        return sum(group.count for group in self.groups)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """Index ranges ``[start, stop)`` that are covered, adjacent ones joined."""
        ranges: list[tuple[int, int]] = []
        for group in self.groups:
            if ranges and ranges[-1][1] == group.start:
                ranges[-1] = (ranges[-1][0], group.stop)
            else:
                ranges.append((group.start, group.stop))
        return ranges

    def total(self) -> Tensor:
        """Sum over all draws, in the order of the tree."""
        groups, level = self.groups, 0
        while any(g.level is not None and g.level >= level for g in groups):
            groups, level = _sum_siblings(groups, level), level + 1
        return torch.stack([group.total for group in groups]).sum(0) if len(groups) > 1 else groups[0].total

    def mean(self) -> Tensor:
        """Count-weighted mean second moment, reduced ``(r, r)``."""
        return self.total() / self.count


def _sum_siblings(groups: list[Group], level: int) -> list[Group]:
    """Replace each complete pair of siblings of one level by their parent."""
    result: list[Group] = []
    for group in groups:
        left = result[-1] if result else None
        siblings = (
            left is not None
            and left.level == group.level == level
            and left.stop == group.start
            and left.start % (2 * left.count) == 0
        )
        if left is not None and siblings:
            result[-1] = Group(left.start, group.stop, left.total + group.total)
        else:
            result.append(group)
    return result
