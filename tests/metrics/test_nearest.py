"""Nearest neighbours by blocks against all distances at once."""

import pytest
import torch

from scoregrain.metrics import _nearest
from scoregrain.metrics._nearest import nearest


def random_rows(n, m, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(size, 5, generator=g, dtype=torch.float64).to(dtype) + 3 for size in (n, m))


@pytest.mark.parametrize("block", [1, 70, 1 << 24])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_give_what_all_distances_give(monkeypatch, block, dtype):
    monkeypatch.setattr(_nearest, "_BLOCK", block)
    x, y = random_rows(23, 31, dtype)
    distance, index = nearest(x, y)
    every = torch.cdist(x.double(), y.double())
    assert torch.equal(index, every.argmin(1))
    torch.testing.assert_close(distance, every.min(1).values, rtol=1e-12, atol=0)


def test_copies_are_at_exactly_zero_far_from_the_origin():
    """In float32 ‖x‖² + ‖y‖² - 2x·y of copies is rounding, here of the size of the nearest other distance."""
    g = torch.Generator().manual_seed(0)
    y = 1000 + torch.randn(50, 20, generator=g)
    distance, index = nearest(y[10:20], y)
    assert torch.equal(index, torch.arange(10, 20))
    assert torch.equal(distance, torch.zeros(10, dtype=torch.float64))


@pytest.mark.parametrize("block", [1, 70, 1 << 24])
def test_no_row_is_its_own_neighbour(monkeypatch, block):
    monkeypatch.setattr(_nearest, "_BLOCK", block)
    (x, _) = random_rows(29, 1)
    own = torch.tensor([3, 0, 28, *range(4, 20)])
    every = torch.cdist(x, x).fill_diagonal_(torch.inf)[own]
    distance, index = nearest(x[own], x, own)
    assert torch.equal(index, every.argmin(1))
    torch.testing.assert_close(distance, every.min(1).values, rtol=1e-12, atol=0)
