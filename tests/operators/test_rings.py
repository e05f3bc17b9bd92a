"""Rings of equal radius: which frequencies they hold and what is averaged over them."""

import itertools
import math

import numpy as np
import pytest
import torch

from scoregrain._random import stream
from scoregrain.operators import FrequencyGrid, Rings

SIZES = [(32, 32), (28, 20), (7, 5), (1, 1), (64,), (15,), (6, 5, 4), (200, 3), (512, 2)]


@pytest.mark.parametrize("size", SIZES)
def test_rings_are_the_constant_and_then_annuli_around_it(size):
    rings = Rings.of(FrequencyGrid(size))
    members = {}
    for place in itertools.product(*map(range, size)):
        k = [(i + n // 2) % n - n // 2 for i, n in zip(place, size, strict=True)]
        r = math.sqrt(sum((j / n) ** 2 for j, n in zip(k, size, strict=True)))
        ring = int(rings.index[place])
        members.setdefault(ring, []).append(r)
        assert (ring == 0) == (r == 0)
        assert abs(r - float(rings.radius[ring])) < 1 / min(max(size), 64)
    assert sorted(members) == list(range(len(rings.count)))
    assert [len(members[ring]) for ring in sorted(members)] == rings.count.tolist()
    np.testing.assert_allclose([np.mean(members[ring]) for ring in sorted(members)], rings.radius, atol=1e-12)
    assert len(rings.count) < 64 * math.sqrt(len(size)) / 2 + 2


def test_the_mean_over_rings_is_that_of_their_members():
    grid = FrequencyGrid((9, 12))
    rings = Rings.of(grid)
    plane = torch.randn(2, 3, 9, 12, dtype=torch.float64, generator=stream(0, "rings"))
    expected = [plane[:, :, rings.index == ring].mean(-1) for ring in range(len(rings.count))]
    torch.testing.assert_close(rings.mean(plane), torch.stack(expected, -1), rtol=1e-12, atol=1e-12)
