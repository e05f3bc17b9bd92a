"""Probing bases (MATH A7, oracles B1-B4)."""

import math

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import PROBING_BASES, frequencies, probing_basis, probing_vector

IMAGE = (1, 16, 16)


def gram_error(basis):
    return (basis.T @ basis - torch.eye(basis.shape[1], dtype=torch.float64)).abs().max().item()


@pytest.mark.parametrize("name", PROBING_BASES)
@pytest.mark.parametrize("shape", [IMAGE, (3, 8, 8), (1, 32), (2, 4), (1, 1, 1), (1, 2, 2, 2)])
def test_columns_are_orthonormal_and_equal_in_every_channel(name, shape):
    basis, count = probing_basis(name, shape), math.prod(shape[1:])
    assert basis.dtype == torch.float64
    assert basis.shape == (math.prod(shape), count)
    assert gram_error(basis) < 1e-12
    channels = basis.reshape(shape[0], count, count)
    assert torch.equal(channels, channels[:1].expand_as(channels))


@pytest.mark.parametrize("name", ["canonical", "dct-ii", "dst-ii"])
def test_these_take_any_size(name):
    assert gram_error(probing_basis(name, (2, 5, 7))) < 1e-12


@pytest.mark.parametrize("name", PROBING_BASES)
def test_a_vector_is_a_column(name):
    basis = probing_basis(name, (3, 4, 4))
    for index in range(16):
        vector = probing_vector(name, (3, 4, 4), index)
        assert vector.shape == (3, 4, 4)
        assert torch.equal(vector.flatten(), basis[:, index])


def test_index_and_frequencies_are_row_major():
    places = frequencies((3, 4, 6))
    assert places.shape == (24, 2)
    assert [f_y * 6 + f_x for f_y, f_x in places.tolist()] == list(range(24))
    assert frequencies((2, 5)).tolist() == [[k] for k in range(5)]


def test_canonical_vectors_are_single_pixels():
    assert torch.equal(probing_basis("canonical", (1, 3, 5)), torch.eye(15, dtype=torch.float64))
    vector = probing_vector("canonical", (4, 3, 5), 7)
    assert vector.nonzero().tolist() == [[c, 1, 2] for c in range(4)]
    assert vector[:, 1, 2].tolist() == [0.5] * 4


def test_b1_dct():
    vector = probing_vector("dct-ii", IMAGE, 1 * 16 + 0)[0]
    assert vector[0, 0].item() == pytest.approx(0.0879627336, rel=1e-8)
    torch.testing.assert_close(vector, vector[:, :1].expand(16, 16))  # f_y = 1: it changes along y alone
    x = np.random.default_rng(0).normal(size=(5, 6))
    got = torch.from_numpy(x).flatten() @ probing_basis("dct-ii", (1, 5, 6))
    np.testing.assert_allclose(got.reshape(5, 6), scipy.fft.dctn(x, type=2, norm="ortho"), rtol=0, atol=1e-12)


def test_b2_dst_is_the_reversed_dct_of_the_alternated_array():
    x = torch.from_numpy(np.random.default_rng(1).normal(size=16))
    alternated = (-1.0) ** torch.arange(16) * x
    sine, cosine = x @ probing_basis("dst-ii", (1, 16)), alternated @ probing_basis("dct-ii", (1, 16))
    torch.testing.assert_close(sine, cosine.flip(0), rtol=0, atol=1e-12)
    image = np.random.default_rng(2).normal(size=(4, 7))
    got = torch.from_numpy(image).flatten() @ probing_basis("dst-ii", (1, 4, 7))
    np.testing.assert_allclose(got.reshape(4, 7), scipy.fft.dstn(image, type=2, norm="ortho"), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [2, 4, 16, 64])
def test_b3_hadamard_rows_are_in_sequency_order(size):
    rows = probing_basis("hadamard", (1, size)).T
    changes = (rows[:, 1:] * rows[:, :-1] < 0).sum(1)
    assert changes.tolist() == list(range(size))
    assert torch.equal(rows, rows.T)
    assert torch.equal(rows.abs(), torch.full_like(rows, 1 / math.sqrt(size)))


def test_b3_hadamard_order_of_the_natural_rows():
    order = [0, 8, 12, 4, 6, 14, 10, 2, 3, 11, 15, 7, 5, 13, 9, 1]
    natural = scipy.linalg.hadamard(16)
    np.testing.assert_array_equal(probing_basis("hadamard", (1, 16)).T * 4, natural[order])


def test_b4_haar_values_are_amplitudes_of_their_scale():
    basis = probing_basis("haar", IMAGE)
    assert basis.shape == (256, 256)
    scales = {}
    for column in basis.T[1:]:
        amplitudes = column[column != 0].abs()
        side = math.isqrt(len(amplitudes))
        assert (amplitudes - 1 / side).abs().max() < 1e-12
        assert column.sum().abs() < 1e-12
        scales[side] = scales.get(side, 0) + 1
    # side 2^(s+1), s = 0 finest: (16/side)² blocks of three details
    assert scales == {2: 192, 4: 48, 8: 12, 16: 3}
    assert torch.equal(basis[:, 0], torch.full((256,), 1 / 16, dtype=torch.float64))


def test_b4_haar_details_of_a_block():
    """The three of the block of side 4 in row 1, column 2 of 16×16: j = 2, f modulo 4 = (1, 2)."""
    signs = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    ones = torch.ones(4, dtype=torch.float64)
    for f_y, f_x, block in [
        (4 + 1, 2, torch.outer(signs, ones)),  # top minus bottom
        (1, 4 + 2, torch.outer(ones, signs)),  # left minus right
        (4 + 1, 4 + 2, torch.outer(signs, signs)),  # main diagonal minus the other
    ]:
        vector = probing_vector("haar", IMAGE, f_y * 16 + f_x)[0]
        expected = torch.zeros(16, 16, dtype=torch.float64)
        expected[4:8, 8:12] = block / 4
        torch.testing.assert_close(vector, expected, rtol=0, atol=1e-15)


def test_haar_of_a_signal():
    rows = probing_basis("haar", (1, 4)).T
    half = math.sqrt(0.5)
    expected = [[0.5] * 4, [0.5, 0.5, -0.5, -0.5], [half, -half, 0, 0], [0, 0, half, -half]]
    torch.testing.assert_close(rows, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-15)


def test_f_y_comes_first():
    for name in ("dct-ii", "dst-ii", "hadamard", "haar"):
        down = probing_vector(name, (1, 8, 8), 3 * 8 + 1)[0]
        right = probing_vector(name, (1, 8, 8), 1 * 8 + 3)[0]
        torch.testing.assert_close(down, right.T, rtol=0, atol=1e-15)
        assert not torch.allclose(down, right)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("dct", IMAGE, "unknown basis 'dct'.*did you mean 'dct-ii'.*known: canonical, dct-ii"),
        (None, IMAGE, "unknown basis 'None'"),
        ("hadamard", (1, 28, 28), "hadamard basis needs sizes that are powers of two, got 28"),
        ("haar", (1, 12, 12), "haar basis needs sizes that are powers of two, got 12"),
        ("haar", (1, 8, 16), r"haar basis needs equal sizes, got \(8, 16\)"),
        ("dct-ii", (16,), r"\(C, \*space\)"),
    ],
)
def test_what_is_no_basis_is_refused(name, shape, words):
    with pytest.raises(InvalidInputError, match=words):
        probing_basis(name, shape)


@pytest.mark.parametrize("index", [-1, 16, 2.0, "1"])
def test_an_index_that_is_not_there_is_refused(index):
    with pytest.raises(InvalidInputError, match=r"index must (lie in 0\.\.15|be an integer)"):
        probing_vector("dct-ii", (3, 4, 4), index)
