"""Transport of numbers on a line: pairings by brute force, potentials against laws whose map is known."""

import math

import numpy as np
import pytest
import torch

from scoregrain._random import stream
from scoregrain.metrics._transport import Coupling, order_of, sort_rows

F64 = torch.float64
CPU = torch.device("cpu")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=stream(seed, "transport"), dtype=F64)


def test_rows_are_sorted_each_for_itself():
    rows = normal(4, 30)
    expected = np.sort(rows.numpy(), axis=1)
    order = order_of(rows)
    np.testing.assert_array_equal(rows.gather(1, order), expected)
    np.testing.assert_array_equal(sort_rows(rows.clone()), expected)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (4, 6), (3, 7), (1, 4), (12, 4)])
def test_the_distance_is_the_integral_over_quantiles(n, m):
    """On a grid that both counts divide, each quantile function is a list of repeated numbers."""
    a, b = normal(2, n).sort().values, normal(2, m, seed=1).sort().values
    whole = math.lcm(n, m)
    pairs = a.repeat_interleave(whole // n, 1) - b.repeat_interleave(whole // m, 1)
    found = Coupling((n, m), CPU).squared_distances(a, b)
    torch.testing.assert_close(found, pairs.square().mean(1), rtol=1e-12, atol=1e-14)


def test_no_pairing_is_shorter():
    """Every permutation of five numbers."""
    a, b = normal(1, 5), normal(1, 5, seed=1)
    indices = torch.cartesian_prod(*[torch.arange(5)] * 5)
    orders = indices[(indices.sort().values == torch.arange(5)).all(1)]
    least = (a - b[0][orders]).square().mean(1).min()
    found = Coupling((5, 5), CPU).squared_distances(a.sort().values, b.sort().values)
    assert float(found) == pytest.approx(float(least), rel=1e-12)


@pytest.mark.parametrize("m", [40, 60])
def test_a_shift_has_a_linear_potential(m):
    """φ' = 2 c everywhere: exact when both sets are one shifted, and where a set is the other with repetitions."""
    b = normal(1, 20, seed=1).sort().values
    a = b.repeat_interleave(2, 1) + 3
    phi, psi = Coupling((40, m), CPU).potentials(a, b.repeat_interleave(m // 20, 1))
    torch.testing.assert_close(phi, 6 * (a - a[:, :1]))
    torch.testing.assert_close(psi, -6 * (b - b[:, :1]).repeat_interleave(m // 20, 1))


@pytest.mark.parametrize(("n", "m"), [(400, 400), (400, 300)])
def test_a_scale_has_a_quadratic_potential(n, m):
    """Between N(0, 1) and N(0, s²) the map is s a, so φ = (1 - s) a² and ψ = (1 - 1/s) b²."""
    scale = 2.0
    quantiles = torch.special.ndtri((torch.arange(n, dtype=F64) + 0.5) / n)[None]
    others = scale * torch.special.ndtri((torch.arange(m, dtype=F64) + 0.5) / m)[None]
    phi, psi = Coupling((n, m), CPU).potentials(quantiles, others)
    for found, expected in ((phi, (1 - scale) * quantiles**2), (psi, (1 - 1 / scale) * others**2)):
        assert float(found.var()) == pytest.approx(float(expected.var()), rel=0.05)
        assert float(torch.corrcoef(torch.cat([found, expected]))[0, 1]) > 0.999
