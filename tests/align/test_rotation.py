"""Optimal rotations: extremal, orthogonal, closest to the identity, the same for every eigenbasis (D: A3, A5, A7)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.align import Rotation, find_rotation, measure_alignment
from scoregrain.align.dense import polar
from scoregrain.datasets import load_images
from scoregrain.geometry import Geometry, data_geometry, measure_geometry
from scoregrain.geometry.structure import ChannelStructure, DenseStructure
from scoregrain.models import NetworkFamily
from tests.align.cases import diag, exact, in_another_basis, orthonormal, pair, random_psd
from tests.reference.dense_alignment import haar

MODES = ("minimize", "maximize")


def with_spectrum(values: list[float], generator: torch.Generator) -> Tensor:
    u = orthonormal(len(values), generator)
    return (u * torch.tensor(values, dtype=torch.float64)) @ u.T


def clusters_of(values: list[float]) -> list[int]:
    return [values.count(value) for value in sorted(set(values), reverse=True)]


# (λ, ν): which clusters there are, and how those of one side lie across those of the other
SPECTRA = {
    "simple": ([6, 5, 4, 3, 2, 1], [9, 7, 5, 3, 2, 1]),
    "lambda": ([3, 3, 3, 1, 1, 1], [5, 4, 3, 2, 1, 0.5]),
    "nu": ([5, 4, 3, 2, 1, 0.5], [3, 1, 1, 1, 0, 0]),
    "equal": ([3, 3, 3, 1, 1, 1], [2, 2, 2, 1, 1, 1]),
    "nested": ([3, 3, 3, 1, 1, 1], [4, 4, 3, 2, 2, 2]),
    "across": ([3, 3, 3, 1, 1, 1], [4, 4, 2, 2, 1, 1]),
    "null": ([4, 4, 4, 2, 2, 2], [5, 3, 0, 0, 0, 0]),
}
every_spectrum = pytest.mark.parametrize("spectra", SPECTRA.values(), ids=SPECTRA.keys())
every_mode = pytest.mark.parametrize("mode", MODES)


def geometries(spectra: tuple[list[float], list[float]], seed: int = 0) -> tuple[Geometry, Geometry]:
    generator = torch.Generator().manual_seed(seed)
    return pair(with_spectrum(spectra[0], generator), with_spectrum(spectra[1], generator))


def free_turns(geometry: Geometry, values: list[float], count: int, seed: int) -> Tensor:
    """Random rotations ``(count, D, D)`` that leave the geometry as it is."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.zeros(count, len(values), len(values), dtype=torch.float64)
    start = 0
    for size in clusters_of(values):
        stop = start + size
        blocks[:, start:stop, start:stop] = haar(count, size, generator)
        start = stop
    return geometry.eigenvectors @ blocks @ geometry.eigenvectors.T


def diagonal_blocks(matrix: Tensor, sizes: list[int]) -> list[Tensor]:
    rows = [part.split(sizes, dim=1) for part in matrix.split(sizes)]
    return [row[k] for k, row in enumerate(rows)]


@every_mode
def test_a3_degenerate_extrema(mode: str) -> None:
    geometry, data = pair(diag(3, 3, 3, 1, 1, 1), diag(5, 4, 3, 2, 1, 0.5))
    expected = {"minimize": 22.5, "maximize": 39.5}[mode]
    rotation = find_rotation(geometry, data, mode)
    assert measure_alignment(geometry, data, rotation).natural == pytest.approx(expected, abs=1e-10)
    for turn in free_turns(geometry, [3, 3, 3, 1, 1, 1], count=5, seed=0):
        turned = Rotation(turn @ rotation.matrix, (1, 6), mode)
        assert measure_alignment(geometry, data, turned).natural == pytest.approx(expected, abs=1e-10)


@every_mode
@every_spectrum
def test_extremum_is_attained_with_its_certificate(spectra: tuple[list[float], list[float]], mode: str) -> None:
    geometry, data = geometries(spectra)
    alignment = measure_alignment(geometry, data, find_rotation(geometry, data, mode))
    assert alignment.natural == pytest.approx(alignment.minimum if mode == "minimize" else alignment.maximum, rel=1e-10)
    assert alignment.relative == pytest.approx(float(mode == "maximize"), abs=1e-10)
    w, g, m = find_rotation(geometry, data, mode).matrix, geometry.matrix(), data.matrix()
    moved = w @ m @ w.T
    assert float((g @ moved - moved @ g).norm()) < 1e-10


@every_mode
@every_spectrum
def test_a5_rotation_is_orthogonal_and_undone(spectra: tuple[list[float], list[float]], mode: str) -> None:
    rotation = find_rotation(*geometries(spectra), mode)
    w = rotation.matrix
    assert w.dtype == torch.float64
    assert float((w @ w.T - torch.eye(6)).norm()) < 1e-12 * 6
    x = torch.randn(3, 1, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(rotation.inverse(rotation(x)), x, rtol=0, atol=1e-10)


@every_mode
@every_spectrum
def test_a5_rotation_does_not_depend_on_the_eigenbasis(spectra: tuple[list[float], list[float]], mode: str) -> None:
    """Signs of columns, and rotations inside clusters of both sides."""
    geometry, data = geometries(spectra)
    expected = find_rotation(geometry, data, mode).matrix
    generator = torch.Generator().manual_seed(2)
    for _ in range(5):
        other = (
            in_another_basis(one, clusters_of(values), generator)
            for one, values in zip((geometry, data), spectra, strict=True)
        )
        torch.testing.assert_close(find_rotation(*other, mode).matrix, expected, rtol=0, atol=1e-10)


@every_mode
@every_spectrum
def test_rotation_is_the_closest_to_the_identity(spectra: tuple[list[float], list[float]], mode: str) -> None:
    """No other optimal rotation has a larger trace."""
    geometry, data = geometries(spectra, seed=3)
    w = find_rotation(geometry, data, mode).matrix
    lam, nu = spectra
    others = free_turns(geometry, lam, 5000, seed=4) @ w @ free_turns(data, nu, 5000, seed=5)
    assert float(others.diagonal(dim1=1, dim2=2).sum(1).max()) <= float(w.trace()) + 1e-10


@every_mode
@every_spectrum
def test_no_small_turn_of_a_cluster_comes_closer(spectra: tuple[list[float], list[float]], mode: str) -> None:
    """tr(R B) is largest at R = I when the block B that R acts on is symmetric and PSD."""
    geometry, data = geometries(spectra, seed=6)
    w = find_rotation(geometry, data, mode).matrix
    for one, values in zip((geometry, data), spectra, strict=True):
        whole = one.eigenvectors.T @ w @ one.eigenvectors
        for block in diagonal_blocks(whole, clusters_of(values)):
            torch.testing.assert_close(block, block.T, rtol=0, atol=1e-5)
            assert float(torch.linalg.eigvalsh(block + block.T).min()) > -1e-5


def test_a5_mirror_symmetric_clusters_do_not_depend_on_their_basis() -> None:
    """Entries of mirror images average to the same index, which a tie-break by index would not tell apart."""
    half = orthonormal(3, torch.Generator().manual_seed(7)) * 0.5**0.5
    v = torch.cat([torch.cat([half, half]), torch.cat([half, -half])], dim=1)
    v[3:] = v[3:].flip(0)
    v = v[:, [3, 4, 0, 1, 2, 5]]  # the cluster that lies across both of the network's is even
    values = [4.0, 4.0, 2.0, 2.0, 1.0, 1.0]
    geometry, _ = geometries(SPECTRA["across"])
    data = exact("data", (v * torch.tensor(values)) @ v.T)
    expected = find_rotation(geometry, data).matrix
    generator = torch.Generator().manual_seed(8)
    for _ in range(5):
        other = in_another_basis(data, clusters_of(values), generator)
        torch.testing.assert_close(find_rotation(geometry, other).matrix, expected, rtol=0, atol=1e-10)


def test_maximizing_data_that_are_aligned_already_changes_nothing() -> None:
    g = with_spectrum([4, 4, 4, 2, 2, 2], torch.Generator().manual_seed(5))
    w = find_rotation(*pair(g, 3 * g + torch.eye(6)), "maximize").matrix
    torch.testing.assert_close(w, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-10)


def test_columns_orthogonal_to_their_partners_keep_the_geometry_s_signs() -> None:
    """Even vectors meet odd ones: their products are rounding of either sign, which must not decide."""
    u = orthonormal(20, torch.Generator().manual_seed(9)) * 0.5**0.5
    even, odd = torch.cat([u, u.flip(0)]), torch.cat([u.flip(1), -u.flip(0, 1)])
    values = torch.linspace(40, 1, 40, dtype=torch.float64)
    vectors = torch.cat([even, odd], dim=1)
    geometry, data = pair((vectors * values) @ vectors.T, (vectors * values) @ vectors.T)
    w = find_rotation(geometry, data).matrix
    torch.testing.assert_close(w @ data.eigenvectors.flip(1), geometry.eigenvectors, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rank", [1, 4])
def test_a7_low_rank_data_reach_the_full_minimum(rank: int) -> None:
    geometry, data = pair(random_psd(9, 0), random_psd(9, 1, rank=rank))
    alignment = measure_alignment(geometry, data, find_rotation(geometry, data))
    assert alignment.natural == pytest.approx(alignment.minimum, rel=1e-10, abs=1e-14)


def test_polar_factors_survive_a_decomposition_that_does_not_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    a = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(10), dtype=torch.float64)
    expected, svd = polar(a), torch.linalg.svd
    torch.testing.assert_close(expected.mT @ expected, torch.eye(4, dtype=torch.float64).expand(3, 4, 4))
    torch.testing.assert_close(expected.mT @ a, (expected.mT @ a).mT, rtol=0, atol=1e-12)

    def fragile(matrix: Tensor, full_matrices: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        if matrix.shape[-2] > matrix.shape[-1]:
            raise torch.linalg.LinAlgError("failed to converge")
        return svd(matrix, full_matrices=full_matrices)

    monkeypatch.setattr(torch.linalg, "svd", fragile)
    torch.testing.assert_close(polar(a), expected, rtol=0, atol=1e-12)


def test_null_spaces_of_both_sides_are_turned_towards_each_other() -> None:
    """LAPACK's divide and conquer did not converge on this overlap of 194 dimensions."""
    geometry = measure_geometry(NetworkFamily.from_preset("dit-16/8"))
    data = data_geometry(load_images("digits", shape=(1, 16, 16)))
    alignment = measure_alignment(geometry, data, find_rotation(geometry, data, "maximize"))
    assert alignment.natural == pytest.approx(alignment.maximum, rel=1e-10)


def test_channel_clusters_are_turned_together() -> None:
    """A channel geometry has triples of equal eigenvalues; its dense matrix must give the same rotation."""
    shape = (3, 2, 3)
    structured = exact("network", random_psd(6, 0), ChannelStructure(shape))
    dense = exact("network", structured.matrix(), DenseStructure(shape))
    data = exact("data", random_psd(18, 1, rank=13), DenseStructure(shape))
    for mode in MODES:
        expected = find_rotation(dense, data, mode).matrix
        torch.testing.assert_close(find_rotation(structured, data, mode).matrix, expected, rtol=0, atol=1e-9)


def test_geometries_are_left_as_they_were() -> None:
    geometry, data = geometries(SPECTRA["across"])
    before = geometry.eigenvectors.clone(), data.eigenvectors.clone()
    find_rotation(geometry, data)
    torch.testing.assert_close((geometry.eigenvectors, data.eigenvectors), before, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,)])
def test_rotation_acts_on_flattened_arrays(dtype: torch.dtype, batch: tuple[int, ...]) -> None:
    shape = (2, 1, 3)
    w = orthonormal(6, torch.Generator().manual_seed(0))
    x = torch.randn(*batch, *shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    z = Rotation(w, shape, "minimize")(x)
    assert (z.dtype, z.shape) == (dtype, x.shape)
    rows = x.double().reshape(-1, 6)
    expected = torch.stack([w @ row for row in rows]).reshape(x.shape) if len(rows) else x.double()
    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(z.double(), expected, rtol=tolerance, atol=tolerance)


def test_rotation_lets_gradients_through_and_ignores_autocast() -> None:
    rotation = Rotation(orthonormal(6, torch.Generator().manual_seed(0)), (1, 6), "minimize")
    x = torch.ones(2, 1, 6, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = rotation(x)
    torch.testing.assert_close(rotation.inverse(z), x)
    (gradient,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(gradient, rotation.inverse(torch.ones(2, 1, 6)))


def test_wrong_arguments() -> None:
    geometry, data = geometries(SPECTRA["simple"])
    with pytest.raises(InvalidInputError, match=r"minimise.*did you mean 'minimize'"):
        find_rotation(geometry, data, "minimise")
    rotation = find_rotation(geometry, data)
    with pytest.raises(InvalidInputError, match=r"\(\.\.\., 1, 6\), got torch.float32 \(6, 1\)"):
        rotation(torch.zeros(6, 1))
    with pytest.raises(InvalidInputError, match="floating-point"):
        rotation.inverse(torch.zeros(1, 6, dtype=torch.long))
    with pytest.raises(InvalidInputError, match=r"needs a matrix \(6, 6\), got \(5, 5\)"):
        Rotation(torch.eye(5), (1, 6), "minimize")


def test_a_null_space_of_many_directions_leaves_the_rotation_orthogonal() -> None:
    """LAPACK's singular vectors of a matrix with many zero singular values are off by 1e-7."""
    a = torch.zeros(64, 64, dtype=torch.float64)
    a[:5, :5] = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    for matrix in (a, q @ a @ q.T, (q @ a)[None].expand(4, -1, -1)):
        p = polar(matrix)
        eye = torch.eye(64, dtype=torch.float64).expand_as(p)
        torch.testing.assert_close(p.mT @ p, eye, rtol=0, atol=1e-12)
