"""Any weight on any grid: gains, strings, and the noise against its dense matrix (MATH B1, oracle N13)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scoregrain.noise.bands import BandPass, TwoBand
from scoregrain.noise.equal_snr import EqualSNR
from scoregrain.noise.forward import ForwardNoise
from scoregrain.noise.parsing import describe_weight, parse_noise, parse_weight
from scoregrain.noise.weights import Blue, Brown, Custom, Exponential, Pink, PowerLaw, Product, White
from scoregrain.operators import RADIUS_UNITS, FrequencyGrid

SIZES = st.one_of(
    st.tuples(st.integers(1, 9)),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3)),
)
UNITS = st.sampled_from(RADIUS_UNITS)
DC = st.sampled_from(["floor", "zero"])
NAMED = st.one_of(
    st.just(White()),
    st.builds(PowerLaw, st.floats(-1, 1), st.floats(0, 1), UNITS, DC),
    st.builds(Exponential, st.floats(0, 2), UNITS, st.sampled_from(["formula", "floor", "zero"])),
    st.builds(BandPass, st.floats(0, 0.3), st.floats(0.4, 1.5), UNITS, st.sampled_from(["formula", "zero"])),
    st.builds(TwoBand, st.floats(0.01, 1), convention=st.sampled_from(["sagd", "workshop"])),
    st.builds(TwoBand, st.floats(0.1, 3), st.floats(0.1, 3), st.just(0), st.floats(0.1, 0.4), st.floats(0.4, 0.6)),
    st.sampled_from([Blue(), Pink(), Brown(dc="zero"), Brown(0.2)]),
)
WEIGHTS = st.lists(NAMED, min_size=1, max_size=2).map(lambda weights: Product(tuple(weights)))
QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def even_plane(size, seed):
    plane = torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return plane + FrequencyGrid(size).mirror(plane)


def dense(gains, channels):
    """Σ by complex Fourier transforms of the whole plane, in numpy."""
    n = gains.numel()
    delta = np.eye(n).reshape(n, *gains.shape)
    axes = tuple(range(1, delta.ndim))
    filtered = np.fft.ifftn(np.fft.fftn(delta, axes=axes) * gains.square().numpy(), axes=axes)
    assert np.abs(filtered.imag).max() <= 1e-10 * max(1.0, float(gains.square().max()))
    return torch.from_numpy(np.kron(np.eye(channels), filtered.real.reshape(n, n).T))


@QUICK
@given(SIZES, WEIGHTS)
def test_gains_are_even_finite_and_non_negative(size, weight):
    grid = FrequencyGrid(size)
    gains = weight(grid)
    assert gains.dtype == torch.float64
    assert bool((gains.isfinite() & (gains >= 0)).all())
    grid.check_even(gains)


@QUICK
@given(WEIGHTS, st.sampled_from(["unit", "none"]))
def test_strings_say_everything(weight, normalize):
    assert describe_weight(parse_weight(describe_weight(weight))) == describe_weight(weight)
    noise = ForwardNoise(weight, normalize)
    again = parse_noise(str(noise))
    assert again == noise
    assert again.weight(FrequencyGrid((4, 3))).equal(weight(FrequencyGrid((4, 3))))


@QUICK
@given(
    SIZES,
    st.integers(1, 2),
    st.one_of(WEIGHTS, st.sampled_from([Custom, EqualSNR])),
    st.sampled_from(["unit", "none"]),
    st.integers(0, 99),
)
def test_a_noise_is_its_dense_matrix(size, channels, weight, normalize, seed):
    """Colour, whiten, project, log det and Mahalanobis; unit noise has mean variance 1."""
    if isinstance(weight, type):
        weight = weight(even_plane(size, seed) + 0.01)
    gains = weight(FrequencyGrid(size))
    assume(gains.max() > 1e-3)
    noise, shape = ForwardNoise(weight, normalize), (channels, *size)
    if normalize == "unit":
        gains = gains / gains.square().mean().sqrt()
    matrix, d = dense(gains, channels), channels * gains.numel()
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, *shape, dtype=torch.float64, generator=generator)

    basis = torch.eye(d, dtype=torch.float64).reshape(d, *shape)
    root = noise.colour(basis).reshape(d, d)
    torch.testing.assert_close(root @ root.T, matrix, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(noise.operator(shape).to_dense(), matrix, rtol=1e-9, atol=1e-10)

    support = noise.project(x)
    torch.testing.assert_close(noise.whiten(noise.colour(x)), support, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(noise.colour(noise.whiten(x)), support, rtol=1e-7, atol=1e-9)
    rank = channels * int((gains > 0).sum())
    assert noise.rank(shape) == rank
    assert noise.omits(shape) == (rank < d)

    values, vectors = torch.linalg.eigh(matrix)
    values, vectors = values[d - rank :], vectors[:, d - rank :]
    flat = x.reshape(3, d)
    torch.testing.assert_close(support.reshape(3, d), flat @ vectors @ vectors.T, rtol=1e-6, atol=1e-7)
    solved = ((flat @ vectors).square() / values).sum(1)
    torch.testing.assert_close(noise.mahalanobis(x), solved, rtol=1e-6, atol=1e-9)
    assert noise.log_det(shape) == pytest.approx(values.log().sum().item(), rel=1e-7, abs=1e-7)
    if normalize == "unit":
        assert matrix.diagonal().mean().item() == pytest.approx(1, rel=1e-12)


@QUICK
@given(SIZES, st.floats(-2, 2).filter(bool), st.floats(1e-5, 1), st.integers(0, 99))
def test_equal_snr_stays_within_its_condition_number(size, gamma, eps, seed):
    power = even_plane(size, seed) ** 8
    gains = EqualSNR(power, gamma, eps)(FrequencyGrid(size))
    assert (gains.max() / gains.min()).item() ** 2 <= 1 / eps * (1 + 1e-9)
    above = power / power.max() >= eps ** (1 / abs(gamma))
    ratio = power[above].abs().pow(gamma) / gains[above] ** 2  # the equalised law wherever the floor does not reach
    assert ratio.max().item() == pytest.approx(ratio.min().item(), rel=1e-9)
    assert math.isfinite(ratio.max().item())
