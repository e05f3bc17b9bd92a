"""Rotations of low rank: optimal for data of that rank, bounded otherwise, the identity elsewhere (MATH A5, A7)."""

from __future__ import annotations

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.align import Rotation, find_rotation, measure_alignment
from scoregrain.geometry import Geometry
from scoregrain.geometry.structure import ChannelStructure, DenseStructure
from tests.align.cases import diag, exact, in_another_basis, orthonormal, pair, random_psd
from tests.reference import dense_alignment as reference

MODES = ("minimize", "maximize")
every_mode = pytest.mark.parametrize("mode", MODES)


def attained(geometry: Geometry, data: Geometry, rotation: Rotation) -> float:
    """α by the definition, W column by column from what the rotation does to arrays."""
    w = rotation(torch.eye(geometry.size, dtype=torch.float64).reshape(-1, *geometry.shape)).flatten(1).T
    return float((geometry.matrix() * (w @ data.matrix() @ w.T)).sum())


@every_mode
@pytest.mark.parametrize("rank", [1, 3, 5, 7])
def test_a7_data_of_low_rank_reach_the_full_optimum(rank: int, mode: str) -> None:
    """Rank 7 of 10: the columns of data and network are dependent then."""
    geometry, data = pair(random_psd(10, 0), random_psd(10, 1, rank=rank))
    alignment = measure_alignment(geometry, data)
    expected = alignment.minimum if mode == "minimize" else alignment.maximum
    for given in (rank, min(rank + 2, 10)):
        rotation = find_rotation(geometry, data, mode, rank=given)
        assert attained(geometry, data, rotation) == pytest.approx(expected, rel=1e-10)


@every_mode
@pytest.mark.parametrize("rank", [1, 3, 6, 10])
def test_a7_identity_off_the_span_and_orthogonal(rank: int, mode: str) -> None:
    geometry, data = pair(random_psd(10, 0), random_psd(10, 1))
    rotation = find_rotation(geometry, data, mode, rank=rank)
    assert rotation.basis is not None
    assert rotation.basis.shape[1] == min(2 * rank, 10)
    w = rotation.matrix
    assert float((w @ w.T - torch.eye(10)).norm()) < 1e-12
    ordered = geometry.eigenvectors.flip(1) if mode == "minimize" else geometry.eigenvectors
    span = torch.cat([data.eigenvectors[:, :rank], ordered[:, :rank]], dim=1)
    x = torch.randn(10, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    off = (x - span @ torch.linalg.lstsq(span, x, driver="gelsd").solution).T.reshape(5, 1, 10)
    torch.testing.assert_close(rotation(off), off, rtol=0, atol=1e-10)
    moved = (w @ data.eigenvectors[:, :rank]) * ordered[:, :rank]
    torch.testing.assert_close(moved.sum(0).abs(), torch.ones(rank, dtype=torch.float64), rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(20))
def test_excess_over_the_minimum_is_bounded_by_what_is_left_of_the_data(seed: int) -> None:
    geometry, data = pair(random_psd(8, seed), random_psd(8, seed + 100))
    minimum = measure_alignment(geometry, data).minimum
    for rank in range(1, 9):
        excess = attained(geometry, data, find_rotation(geometry, data, rank=rank)) - minimum
        assert -1e-12 <= excess <= float(geometry.eigenvalues[0] * data.eigenvalues[rank:].sum()) + 1e-12


@every_mode
def test_full_rank_is_the_dense_rotation(mode: str) -> None:
    geometry, data = pair(random_psd(7, 3), random_psd(7, 4))
    dense = find_rotation(geometry, data, mode)
    assert (dense.rank, dense.basis) == (None, None)
    torch.testing.assert_close(find_rotation(geometry, data, mode, rank=7).matrix, dense.matrix, rtol=0, atol=1e-10)


@every_mode
def test_what_the_data_give_way_to_moves_as_little_as_can_be(mode: str) -> None:
    """Of all orthogonal maps of the span with the same images of the data's directions none has a larger trace."""
    geometry, data = pair(random_psd(9, 5), random_psd(9, 6))
    rotation = find_rotation(geometry, data, mode, rank=3)
    w, v = rotation.matrix, data.eigenvectors[:, :3]
    assert rotation.basis is not None
    others = torch.linalg.qr(torch.cat([v, rotation.basis], dim=1)).Q[:, 3:6]  # of the span, orthogonal to the data
    for turn in reference.haar(500, 3, torch.Generator().manual_seed(7)):
        other = w + w @ others @ (turn - torch.eye(3)) @ others.T
        assert float((other @ other.T - torch.eye(9)).norm()) < 1e-10
        assert float(other.trace()) <= float(w.trace()) + 1e-10


# spectra of the networks and of the data with clusters, some of them cut by rank 3
CLUSTERS = {
    "simple": ([1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]),
    "network": ([2, 2, 2], [1, 1, 1, 1, 1, 1]),
    "null": ([2, 4], [1, 1, 1, 1, 1, 1]),
    "data": ([1, 1, 1, 1, 1, 1], [2, 1, 3]),
    "cut data": ([1, 1, 1, 1, 1, 1], [1, 4, 1]),
    "nested": ([2, 4], [2, 1, 3]),
    "across": ([4, 2], [1, 4, 1]),
}


@every_mode
@pytest.mark.parametrize("sizes", CLUSTERS.values(), ids=CLUSTERS.keys())
def test_rotation_does_not_depend_on_the_eigenbasis(sizes: tuple[list[int], list[int]], mode: str) -> None:
    generator = torch.Generator().manual_seed(8)
    laws = []
    for of_one in sizes:
        values = torch.arange(len(of_one), 0, -1).repeat_interleave(torch.tensor(of_one)).double()
        basis = orthonormal(6, generator)
        laws.append((basis * values) @ basis.T)
    geometry, data = pair(*laws)
    expected = find_rotation(geometry, data, mode, rank=3).matrix
    for _ in range(5):
        turned = (in_another_basis(one, of_one, generator) for one, of_one in zip((geometry, data), sizes, strict=True))
        torch.testing.assert_close(find_rotation(*turned, mode, rank=3).matrix, expected, rtol=0, atol=1e-7)


def test_a_cluster_cut_by_the_rank_gives_the_closest_directions() -> None:
    """A null space of five dimensions holds the data's two directions already: they need not move."""
    geometry, data = pair(diag(4, 3, 0, 0, 0, 0, 0), diag(0, 0, 2, 5, 0, 0, 0))
    torch.testing.assert_close(
        find_rotation(geometry, data, rank=2).matrix, torch.eye(7, dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_orthogonal_directions_are_exchanged() -> None:
    """Data and network directions at right angles: no completion is closest, the way back is taken."""
    w = find_rotation(*pair(diag(4, 3, 2, 1), diag(5, 0, 0, 0)), rank=1).matrix
    torch.testing.assert_close(w, torch.eye(4, dtype=torch.float64)[[3, 1, 2, 0]], rtol=0, atol=1e-12)


def test_structured_networks_are_their_dense_matrix() -> None:
    shape = (3, 2, 3)
    structured = exact("network", random_psd(6, 0), ChannelStructure(shape))
    dense = exact("network", structured.matrix(), DenseStructure(shape))
    data = exact("data", random_psd(18, 1), DenseStructure(shape))
    for mode in MODES:
        ours, theirs = (find_rotation(one, data, mode, rank=4).matrix for one in (structured, dense))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,)])
def test_arrays_are_turned_as_by_the_matrix(dtype: torch.dtype, batch: tuple[int, ...]) -> None:
    geometry, data = (
        exact(kind, random_psd(12, i), DenseStructure((3, 2, 2))) for i, kind in enumerate(("network", "data"))
    )
    rotation = find_rotation(geometry, data, rank=2)
    x = torch.randn(*batch, 3, 2, 2, generator=torch.Generator().manual_seed(1)).to(dtype)
    z = rotation(x)
    assert (z.dtype, z.shape) == (dtype, x.shape)
    expected = (x.double().reshape(-1, 12) @ rotation.matrix.T).reshape(x.shape)
    tolerance = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(z.double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(rotation.inverse(z).double(), x.double(), rtol=2 * tolerance, atol=2 * tolerance)


def test_large_arrays_are_turned_without_a_square_matrix() -> None:
    basis = torch.linalg.qr(torch.randn(12_288, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    rotation = Rotation(orthonormal(4, torch.Generator().manual_seed(1)), (3, 64, 64), "minimize", basis, rank=2)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(rotation.inverse(rotation(x)), x, rtol=0, atol=1e-12)
    assert float((rotation(x) - x).norm()) > 0.1
    with pytest.raises(InvalidInputError, match="12288 × 12288: apply it to arrays"):
        _ = rotation.matrix


def test_wrong_ranks_and_sizes() -> None:
    geometry, data = pair(random_psd(6, 0), random_psd(6, 1))
    for rank in (0, -1, 7):
        with pytest.raises(InvalidInputError, match=rf"rank is {rank}, expected 1 to 6"):
            find_rotation(geometry, data, rank=rank)
    eye = torch.eye(6, dtype=torch.float64)
    with pytest.raises(InvalidInputError, match=r"needs a basis \(6, 2\), got \(5, 2\)"):
        Rotation(eye[:2, :2], (1, 6), "minimize", eye[:5, :2])
    with pytest.raises(InvalidInputError, match=r"needs a matrix \(2, 2\), got \(2, 1\)"):
        Rotation(eye[:2, :1], (1, 6), "minimize", eye[:, :2])
