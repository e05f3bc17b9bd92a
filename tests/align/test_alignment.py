"""Alignment and its range against loops, permutations and Haar-random rotations (MATH A5, D: A1-A4, A6)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.align import Rotation, find_rotation, mean_image_share, measure_alignment
from scoregrain.geometry import Geometry
from scoregrain.geometry.moments import Group, Moments
from scoregrain.geometry.structure import ChannelStructure, DenseStructure, TokenStructure
from tests.align.cases import diag, exact, gaussian, pair, random_psd, sampled
from tests.reference import dense_alignment as reference


def test_a1_extrema_and_haar_moments() -> None:
    alignment = measure_alignment(*pair(diag(5, 2, 1), diag(4, 3, 1)))
    assert alignment.maximum == pytest.approx(27, rel=1e-9)
    assert alignment.minimum == pytest.approx(15, rel=1e-9)
    assert alignment.haar_mean == pytest.approx(64 / 3, rel=1e-9)
    assert alignment.haar_std**2 == pytest.approx(8.0888888889, rel=1e-9)
    assert alignment.of_chance_minimum == pytest.approx(15 / (64 / 3), rel=1e-9)
    assert alignment.of_chance_maximum == pytest.approx(27 / (64 / 3), rel=1e-9)


@pytest.mark.parametrize("degrees", [0, 30, 77, 180])
def test_a2_plane_rotation(degrees: float) -> None:
    geometry, data = pair(diag(4, 1), diag(3, 2))
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rotation = Rotation(torch.tensor([[c, -s], [s, c]], dtype=torch.float64), (1, 2), "minimize")
    alignment = measure_alignment(geometry, data, rotation)
    assert alignment.natural == pytest.approx(14 * c * c + 11 * s * s, abs=1e-12)
    assert alignment.relative == pytest.approx((alignment.natural - 11) / 3, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_natural_is_the_loop(seed: int) -> None:
    g, m = random_psd(5, seed), random_psd(5, seed + 10)
    w = reference.haar(1, 5, torch.Generator().manual_seed(seed))[0]
    geometry, data = pair(g, m)
    plain = measure_alignment(geometry, data)
    rotated = measure_alignment(geometry, data, Rotation(w, (1, 5), "minimize"))
    assert plain.natural == pytest.approx(reference.alignment(g, torch.eye(5), m), rel=1e-12)
    assert rotated.natural == pytest.approx(reference.alignment(g, w, m), rel=1e-12)
    low, high = reference.extrema(g, m)
    assert (plain.minimum, plain.maximum) == pytest.approx((low, high), rel=1e-12)
    assert (rotated.minimum, rotated.maximum) == (plain.minimum, plain.maximum)
    assert plain.of_chance == pytest.approx(5 * plain.natural / float(g.trace() * m.trace()), rel=1e-12)


def test_a4_extrema_are_attained_by_the_right_product_only() -> None:
    g, m = random_psd(12, 1), random_psd(12, 2)
    geometry, data = pair(g, m)
    u, v = geometry.eigenvectors, data.eigenvectors

    def of(w: Tensor) -> float:
        return measure_alignment(geometry, data, Rotation(w, (1, 12), "minimize")).natural

    for mode, attained in (("minimize", "minimum"), ("maximize", "maximum")):
        w = find_rotation(geometry, data, mode).matrix
        value = getattr(measure_alignment(geometry, data), attained)
        assert of(w) == pytest.approx(value, rel=1e-10)
        moved = w @ m @ w.T
        assert float((g @ moved - moved @ g).norm()) < 1e-10 * float(g.norm() * m.norm())
    low = measure_alignment(geometry, data).minimum
    for wrong in (v.flip(1) @ u.T, u.T @ v.flip(1)):
        assert of(wrong) > 1.05 * low


def test_extrema_bound_haar_rotations_which_have_the_stated_mean_and_deviation() -> None:
    g, m = random_psd(6, 3), random_psd(6, 4)
    alignment = measure_alignment(*pair(g, m))
    w = reference.haar(40_000, 6, torch.Generator().manual_seed(0))
    values = torch.einsum("ij,njk,kl,nil->n", g, w, m, w)
    assert float(values.min()) >= alignment.minimum
    assert float(values.max()) <= alignment.maximum
    assert float(values.mean()) == pytest.approx(alignment.haar_mean, abs=4 * alignment.haar_std / 200)
    assert float(values.std()) == pytest.approx(alignment.haar_std, rel=0.03)


def test_a6_winners_curse_and_its_remedy() -> None:
    """Plug-in α of the minimum is biased low; cross-fitted, it is the true α of the rotation that was found."""
    law, generator = torch.linspace(10, 1, 20, dtype=torch.float64).diag(), torch.Generator().manual_seed(0)
    data = exact("data", torch.linspace(5, 0.1, 20, dtype=torch.float64).diag())
    assert measure_alignment(exact("network", law), data).minimum == pytest.approx(199.26, abs=0.01)
    values = torch.zeros(200, 4, dtype=torch.float64)
    for row in values:
        first, second = sampled("network", gaussian(law, 400, generator), [10] * 40).halves()
        rotation = find_rotation(first, data)
        plug_in = measure_alignment(first, data, rotation)
        row[0], row[1] = plug_in.natural, plug_in.minimum
        row[2] = measure_alignment(second, data, rotation).natural
        row[3] = measure_alignment(exact("network", law), data, rotation).natural
    plug, minimum, cross, true = values.mean(0).tolist()
    assert plug == pytest.approx(minimum, rel=1e-9)
    assert plug == pytest.approx(185, rel=0.03)
    assert plug < 0.95 * 199.26
    assert cross == pytest.approx(true, rel=0.01)
    assert true == pytest.approx(210, rel=0.03)


@pytest.mark.parametrize("rotated", [False, True])
def test_structured_geometries_align_as_their_dense_matrix(rotated: bool) -> None:
    """The structured groups must give the same numbers and the same errors as the expanded ones."""
    generator = torch.Generator().manual_seed(5)
    data = sampled("data", gaussian(random_psd(12, 6), 200, generator), [10] * 20, DenseStructure((3, 2, 2)))
    structures = [ChannelStructure((3, 2, 2)), TokenStructure((3, 2, 2), 4, torch.randperm(12, generator=generator))]
    for structure in structures:
        draws = gaussian(random_psd(4, 7), 320, generator)
        geometry = sampled("network", draws, [20] * 16, structure)
        groups = (Group(one.start, one.stop, structure.matrix(one.total)) for one in geometry.groups)
        dense = Geometry("network", DenseStructure((3, 2, 2)), Moments(groups))
        rotation = find_rotation(dense, data) if rotated else None
        ours, theirs = (measure_alignment(one, data, rotation) for one in (geometry, dense))
        assert ours.truncation is theirs.truncation is None
        for name, value in vars(replace(theirs, truncation=0.0)).items():
            assert getattr(replace(ours, truncation=0.0), name) == pytest.approx(value, rel=1e-9, abs=1e-12), name


def test_isotropic_geometry_is_chance_whatever_the_data() -> None:
    alignment = measure_alignment(*pair(3 * torch.eye(5, dtype=torch.float64), random_psd(5, 8)))
    assert alignment.of_chance == pytest.approx(1, rel=1e-12)
    assert alignment.haar_std == pytest.approx(0, abs=1e-12)
    assert alignment.relative is None
    assert alignment.verdict == "neither"


def test_one_dimension() -> None:
    alignment = measure_alignment(*pair(diag(2), diag(3)))
    assert (alignment.natural, alignment.minimum, alignment.maximum, alignment.haar_mean) == (6, 6, 6, 6)
    assert alignment.haar_std == 0


def test_low_rank_data_have_no_negative_minimum() -> None:
    alignment = measure_alignment(*pair(random_psd(10, 1, rank=4), random_psd(10, 2, rank=3)))
    assert 0 <= alignment.minimum < 1e-12
    assert alignment.relative is not None
    assert 0 <= alignment.relative <= 1


def test_mean_image_share_is_a_part_of_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    images = 2 + torch.randn(50, 1, 2, 3, generator=generator, dtype=torch.float64)
    geometry = exact("network", random_psd(6, 0), DenseStructure((1, 2, 3)))
    mean = images.mean(0)
    centred = (images - mean).flatten(1)
    rest = exact("data", centred.T @ centred / 50, DenseStructure((1, 2, 3)))
    flat = images.flatten(1)
    whole = exact("data", flat.T @ flat / 50, DenseStructure((1, 2, 3)))
    share = mean_image_share(geometry, mean)
    total = measure_alignment(geometry, whole).natural
    assert share + measure_alignment(geometry, rest).natural == pytest.approx(total, rel=1e-12)
    with pytest.raises(InvalidInputError, match=r"\(6,\), expected \(1, 2, 3\)"):
        mean_image_share(geometry, mean.flatten())


def _of_shape(kind: str, *shape: int) -> Geometry:
    return exact(kind, torch.eye(math.prod(shape), dtype=torch.float64), DenseStructure(shape))


@pytest.mark.parametrize(
    ("swapped", "saying"),
    [
        (False, "the second argument is a Tensor, expected a geometry: give data_geometry(images)"),
        (True, "the first argument is a Tensor, expected a geometry: give measure_geometry(family)"),
    ],
)
def test_images_are_no_geometry(swapped: bool, saying: str) -> None:
    geometry, images = exact("network", diag(5, 2, 1)), torch.ones(4, 1, 3)
    with pytest.raises(InvalidInputError) as caught:
        measure_alignment(*((images, geometry) if swapped else (geometry, images)))  # type: ignore[arg-type]
    assert str(caught.value) == saying


def test_arguments_that_have_no_alignment() -> None:
    geometry, data = _of_shape("network", 1, 4, 4), _of_shape("data", 1, 2, 8)
    for function in (measure_alignment, find_rotation):
        with pytest.raises(InvalidInputError, match=r"\(1, 4, 4\).*\(1, 2, 8\)"):
            function(geometry, data)
        with pytest.raises(InvalidInputError, match="got 'data' and 'network'"):
            function(_of_shape("data", 1, 4), _of_shape("network", 1, 4))
    rotation = find_rotation(_of_shape("network", 1, 2, 8), data)
    with pytest.raises(InvalidInputError, match=r"\(1, 2, 8\).*\(1, 4, 4\)"):
        measure_alignment(geometry, _of_shape("data", 1, 4, 4), rotation)
    with pytest.raises(InvalidInputError, match="the data geometry is zero"):
        measure_alignment(_of_shape("network", 1, 2), exact("data", torch.zeros(2, 2, dtype=torch.float64)))
