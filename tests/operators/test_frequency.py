"""Frequencies: layout, radii, bands, evenness (MATH B1, B3; oracles N3, N6, N7, N9)."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.operators import FourierOperator, FrequencyGrid

SIZES = [(1,), (2,), (7,), (8,), (4, 4), (5, 3), (8, 7), (1, 6), (2, 3, 4), (3, 5, 1)]


@pytest.mark.parametrize("size", SIZES)
def test_wavenumbers_and_radius_are_numpys(size):
    """N3, N9: the constant comes first, r[0,0] = 0, for odd sizes too."""
    grid = FrequencyGrid(size)
    axes = np.meshgrid(*(np.fft.fftfreq(side) for side in size), indexing="ij")
    for k, side, f in zip(grid.wavenumbers, size, axes, strict=True):
        assert np.array_equal(np.broadcast_to(k.numpy(), size), np.round(f * side))
    radius = np.sqrt(sum(f**2 for f in axes))
    np.testing.assert_allclose(grid.radius("raw").numpy(), radius, atol=1e-15)
    np.testing.assert_allclose(grid.radius("corner").numpy(), radius / (math.sqrt(len(size)) / 2), atol=1e-15)
    np.testing.assert_allclose(grid.radius("nyquist").numpy(), radius / 0.5, atol=1e-15)
    assert grid.radius("raw").flatten()[0] == 0


def test_the_largest_corner_radius_of_an_odd_size():
    assert FrequencyGrid((15, 15)).radius("corner").max().item() == pytest.approx(14 / 15, abs=1e-15)


@pytest.mark.parametrize(("side", "raw", "corner"), [(28, 609, 301), (32, 793, 401)])
def test_bins_below_one_half(side, raw, corner):
    """N6, with its four ties at corner radius ½, which the half-open band leaves to the next one."""
    grid = FrequencyGrid((side, side))
    assert int(grid.band(0, 0.5, "raw").sum()) == raw
    assert int(grid.band(0, 0.5, "corner").sum()) == corner
    assert int((grid.radius("corner") - 0.5).abs().lt(1e-12).sum()) == 4


@pytest.mark.parametrize(
    ("side", "counts"), [(28, [21, 48, 108, 124, 188, 174, 96, 25]), (32, [21, 76, 124, 180, 220, 242, 120, 41])]
)
def test_eight_equal_bands(side, counts):
    """N7: they tile the plane; the last one is closed."""
    grid = FrequencyGrid((side, side))
    bands = [grid.band(i / 8, (i + 1) / 8, "corner") for i in range(8)]
    assert [int(band.sum()) for band in bands] == counts
    assert torch.equal(sum(band.int() for band in bands), torch.ones(side, side, dtype=torch.int32))


@pytest.mark.parametrize("low", [2.0, 1e12, 1e200])
def test_a_band_beyond_the_corner_is_empty(low):
    assert not FrequencyGrid((32, 32)).band(low, 2 * low).any()


@pytest.mark.parametrize("size", [(20, 20), (18, 18), (40, 40), (9, 12), (10, 10, 10), (30,)])
@pytest.mark.parametrize("unit", ["raw", "corner", "nyquist"])
@pytest.mark.parametrize("edge", [0.1, 0.2, 0.3, 1 / 3, 0.25, 0.4])
def test_bands_are_exact_where_floats_are_not(size, unit, edge):
    """Every bin against rational arithmetic, edges meant as decimals or simple fractions."""
    squared_unit = {"raw": Fraction(1), "corner": Fraction(len(size), 4), "nyquist": Fraction(1, 4)}[unit]
    low = Fraction(edge).limit_denominator(1000) ** 2 * squared_unit
    band = FrequencyGrid(size).band(0, edge, unit)
    for place in np.ndindex(*size):
        squared = sum(Fraction(min(k, side - k), side) ** 2 for k, side in zip(place, size, strict=True))
        assert bool(band[place]) == (squared < low), place


@pytest.mark.parametrize("size", SIZES)
def test_functions_of_the_radius_are_even_and_others_are_not(size):
    """B1: Nyquist rows map to themselves; a ramp over the indices does not."""
    grid = FrequencyGrid(size)
    grid.check_even(torch.exp(-grid.radius("raw")))
    plane = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(grid.mirror(grid.mirror(plane)), plane)
    for place in np.ndindex(*size):
        assert grid.mirror(plane)[place] == plane[tuple(-k % side for k, side in zip(place, size, strict=True))]
    if max(size) > 2:
        with pytest.raises(InvalidInputError, match="gains must be even"):
            grid.check_even(plane)


@pytest.mark.parametrize("size", SIZES)
def test_the_half_plane_is_rffts(size):
    grid = FrequencyGrid(size)
    x = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert grid.half(grid.radius()).shape == torch.fft.rfftn(x).shape
    torch.testing.assert_close(grid.half(torch.fft.fftn(x)), torch.fft.rfftn(x))


def test_the_dense_form_shows_a_wrong_layout():
    """N5: w² not radial, so that transposed or shifted planes give other rows."""
    w = torch.tensor([[1, 2, 3, 2], [2, 1, 1, 1], [3, 1, 5, 1], [2, 1, 1, 1]], dtype=torch.float64)
    rows = [
        [1.75, -0.125, 0.5, -0.125],
        [-0.125, 0, -0.375, 0],
        [0.5, -0.375, 0.25, -0.375],
        [-0.125, 0, -0.375, 0],
    ]
    delta = torch.zeros(1, 4, 4, dtype=torch.float64)
    delta[0, 0, 0] = 1
    answer = FourierOperator((1, 4, 4), w) @ delta
    torch.testing.assert_close(answer[0], torch.tensor(rows, dtype=torch.float64), atol=1e-12, rtol=0)


def test_the_half_plane_path_is_the_full_one():
    """N10: odd widths keep their last column."""
    power = torch.exp(-FrequencyGrid((8, 7)).radius())
    x = torch.randn(2, 3, 8, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.fft.ifft2(power * torch.fft.fft2(x)).real
    torch.testing.assert_close(FourierOperator((3, 8, 7), power) @ x, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FrequencyGrid(()), "one to three sizes"),
        (lambda: FrequencyGrid((4, 0)), "all at least 1"),
        (lambda: FrequencyGrid((2, 2, 2, 2)), "one to three sizes"),
        (lambda: FrequencyGrid((4, 4)).radius("cornr"), "did you mean 'corner'"),
        (lambda: FrequencyGrid((4, 4)).band(0.5, 0.5), "0 <= low < high"),
        (lambda: FrequencyGrid((4, 4)).band(-0.1, 0.5), "0 <= low < high"),
        (lambda: FrequencyGrid((4, 4)).band(0.1, float("nan")), "0 <= low < high"),
        (lambda: FrequencyGrid((4, 4)).check_even(torch.ones(4, 3)), r"shape \(4, 4\)"),
        (lambda: FourierOperator((1, 4), torch.tensor([1.0, -1.0, 1.0, -1.0])), "positive semi-definite"),
        (lambda: FourierOperator((1, 4), torch.tensor([1.0, 2.0, 1.0, 1.0])), "must be even"),
        (lambda: FourierOperator((1, 4), torch.tensor([1.0, float("nan"), 1.0, float("nan")])), "must be finite"),
        (lambda: FourierOperator((1, 4), torch.tensor([float("inf"), 1.0, 1.0, 1.0])), "must be finite"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()
