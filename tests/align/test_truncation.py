"""Alignment of geometries of which only the leading directions are known (MATH A5, C4)."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.align import Rotation, find_rotation, mean_image_share, measure_alignment
from scoregrain.geometry import Geometry, data_geometry
from scoregrain.geometry.structure import TokenStructure
from tests.align.cases import diag, exact, gaussian, orthonormal, sampled, truncated

D = 64
SIZES = [20] * 16


def law(seed: int, rank: int = D) -> Tensor:
    """Eigenvalues 1/k in a random basis, or the ``rank`` largest of them."""
    u = orthonormal(D, torch.Generator().manual_seed(seed))[:, :rank]
    return (u / torch.arange(1, rank + 1)) @ u.T


def draws(seed: int) -> Tensor:
    return gaussian(law(seed), 320, torch.Generator().manual_seed(seed + 50))


def known(kind: str, seed: int, rank: int | None) -> Geometry:
    """Measured on 320 draws: whole, or its leading directions."""
    return sampled(kind, draws(seed), SIZES) if rank is None else truncated(kind, draws(seed), SIZES, rank)


def modelled(geometry: Geometry) -> Geometry:
    """Its leading directions and a flat rest, as a dense matrix."""
    leading = geometry.leading()
    u, rest = leading.vectors, leading.residual
    return exact(geometry.kind, (u * (leading.values - rest)) @ u.T + rest * torch.eye(D, dtype=torch.float64))


def exactly(kind: str, matrix: Tensor, rank: int) -> Geometry:
    """The leading directions of a matrix of rank 4 · ``rank`` at most, which a sketch finds exactly."""
    values, vectors = torch.linalg.eigh(matrix)
    return truncated(kind, (vectors * (D * values.clamp_min(0)).sqrt()).T, [D], rank)


def turns() -> dict[str, Rotation | None]:
    generator = torch.Generator().manual_seed(9)
    low_rank = Rotation(orthonormal(4, generator), (1, D), "minimize", orthonormal(D, generator)[:, :4], rank=2)
    return {"none": None, "dense": Rotation(orthonormal(D, generator), (1, D), "minimize"), "low rank": low_rank}


RANKS = pytest.mark.parametrize("ranks", [(4, 4), (3, None), (None, 2)], ids=["both", "networks", "data"])
TURNS = pytest.mark.parametrize("rotation", turns().values(), ids=turns().keys())


@RANKS
@TURNS
def test_every_number_is_that_of_the_model(ranks: tuple[int | None, int | None], rotation: Rotation | None) -> None:
    geometry, data = known("network", 0, ranks[0]), known("data", 1, ranks[1])
    assert (geometry.complete, data.complete) == (ranks[0] is None, ranks[1] is None)
    ours = measure_alignment(geometry, data, rotation)
    dense = measure_alignment(modelled(geometry), modelled(data), rotation)
    for name in ("natural", "minimum", "maximum", "haar_mean", "haar_std", "of_chance", "relative"):
        assert getattr(ours, name) == pytest.approx(getattr(dense, name), rel=1e-9), name
    assert dense.truncation is None
    assert ours.truncation is not None
    assert ours.truncation[0] <= ours.natural <= ours.truncation[1]


@RANKS
@TURNS
def test_errors_are_delete_one_group_jackknives(
    ranks: tuple[int | None, int | None], rotation: Rotation | None
) -> None:
    geometry, data = known("network", 0, ranks[0]), known("data", 1, ranks[1])
    alignment = measure_alignment(geometry, data, rotation)
    parts = {
        "networks": [measure_alignment(geometry.without(j), data, rotation).of_chance for j in range(16)],
        "images": [measure_alignment(geometry, data.without(j), rotation).of_chance for j in range(16)],
    }
    for name, without in parts.items():
        spread = sum((value - sum(without) / 16) ** 2 for value in without)
        assert getattr(alignment, f"error_{name}") == pytest.approx(math.sqrt(15 / 16 * spread), rel=1e-6), name
    assert alignment.of_chance_error == pytest.approx(math.hypot(alignment.error_networks, alignment.error_images))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
@TURNS
def test_the_truth_lies_in_the_bracket(seed: int, rotation: Rotation | None) -> None:
    g, m = law(seed, 16), law(seed + 20, 16)
    whole = {"network": exact("network", g), "data": exact("data", m)}
    part = {"network": exactly("network", g, 4), "data": exactly("data", m, 4)}
    truth = measure_alignment(whole["network"], whole["data"], rotation).natural
    widths = []
    for geometry, data in [
        (part["network"], part["data"]),
        (part["network"], whole["data"]),
        (whole["network"], part["data"]),
    ]:
        bracket = measure_alignment(geometry, data, rotation).truncation
        assert bracket is not None
        assert bracket[0] - 1e-9 <= truth <= bracket[1] + 1e-9
        widths.append(bracket[1] - bracket[0])
    assert widths[0] > max(widths[1:]) > 0


@TURNS
def test_bracket_of_networks_known_by_k_directions(rotation: Rotation | None) -> None:
    """[Σ λ_k e_k, Σ λ_k e_k + λ_k (tr M - Σ e_k)] with e_k = u_kᵀ W M Wᵀ u_k, and the like for data."""
    g, m = law(3, 16), law(4, 12)
    moved = m if rotation is None else rotation.matrix @ m @ rotation.matrix.T
    values, u = torch.linalg.eigh(g)
    values, u = values.flip(0)[:4], u.flip(1)[:, :4]
    energies = ((u.T @ moved) * u.T).sum(1)
    low = float(values @ energies)
    expected = low, low + float(values[-1] * (m.trace() - energies.sum()))
    alignment = measure_alignment(exactly("network", g, 4), exact("data", m), rotation)
    assert alignment.truncation == pytest.approx(expected, rel=1e-6)
    assert alignment.of_chance_truncation == pytest.approx([x / alignment.haar_mean for x in expected], rel=1e-6)
    swapped = Rotation(rotation.matrix.T, (1, D), "minimize") if rotation else None
    assert measure_alignment(exact("network", m), exactly("data", g, 4), swapped).truncation == pytest.approx(
        expected, rel=1e-6
    )


def placed(kind: str, values: dict[int, float]) -> tuple[Geometry, Geometry]:
    """A diagonal geometry, whole and by its four leading directions."""
    entries = torch.zeros(D, dtype=torch.float64)
    entries[list(values)] = torch.tensor(list(values.values()), dtype=torch.float64)
    return exact(kind, entries.diag()), exactly(kind, entries.diag(), 4)


@pytest.mark.parametrize(
    ("g", "m", "beyond"),
    [
        # both rests in one direction that neither side knows: only tr(R_G R_M) is left, and attained
        ({0: 6, 1: 5, 2: 4, 3: 3, 8: 0.5}, {0: 9, 1: 8, 2: 7, 3: 6, 8: 0.25}, 0.0),
        # each rest in the other's leading direction: both crossed terms are attained, the third cannot be then
        ({0: 6, 1: 5, 2: 4, 3: 3, 4: 0.5}, {4: 9, 5: 8, 6: 7, 7: 6, 0: 0.25}, 0.5 * 0.25),
    ],
    ids=["same", "crossed"],
)
def test_every_term_of_the_bracket_is_attained(g: dict[int, float], m: dict[int, float], beyond: float) -> None:
    (geometry, known_geometry), (data, known_data) = placed("network", g), placed("data", m)
    truth = measure_alignment(geometry, data).natural
    bracket = measure_alignment(known_geometry, known_data).truncation
    assert bracket is not None
    assert bracket[1] == pytest.approx(truth + beyond, rel=1e-9)


def test_a_bracket_of_nothing_has_no_width() -> None:
    """All of the trace lies in the known directions."""
    g, m = law(5, 4), law(6, 4)
    bracket = measure_alignment(exactly("network", g, 4), exactly("data", m, 4)).truncation
    assert bracket == pytest.approx((float((g * m).sum()),) * 2, rel=1e-6)


def test_minimum_and_maximum_do_not_leave_the_possible_range() -> None:
    """A flat rest can only narrow the range: rearrangement."""
    g, m = law(7, 16), law(8, 16)
    whole = measure_alignment(exact("network", g), exact("data", m))
    part = measure_alignment(exactly("network", g, 4), exactly("data", m, 4))
    assert whole.minimum <= part.minimum * (1 + 1e-9)
    assert whole.maximum >= part.maximum * (1 - 1e-9)
    assert part.haar_mean == pytest.approx(whole.haar_mean, rel=1e-12)


# rotations ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 3, 4])
def test_minimizing_sends_the_data_where_nothing_is_known(rank: int) -> None:
    """To the polar factor of (I - U Uᵀ) V_r; then α ≤ λ_(k+1) tr M for data of that rank (MATH A5)."""
    g, m = law(10, 16), law(11, rank)
    geometry, data = exactly("network", g, 4), exact("data", m)
    rotation = find_rotation(geometry, data, rank=rank)
    w, v, u = rotation.matrix, data.eigenvectors[:, :rank], geometry.eigenvectors
    p, _, qh = torch.linalg.svd(v - u @ (u.T @ v), full_matrices=False)
    torch.testing.assert_close(w @ v, p @ qh, rtol=0, atol=1e-7)
    assert float((w @ w.T - torch.eye(D)).norm()) < 1e-12
    assert float((u.T @ w @ v).norm()) < 1e-12
    truth = measure_alignment(exact("network", g), exact("data", m), rotation)
    assert truth.natural <= float(torch.linalg.eigvalsh(g)[-5] * m.trace()) + 1e-12
    bracket = measure_alignment(geometry, data, rotation).truncation
    assert bracket is not None
    assert bracket[0] < 1e-12
    assert truth.natural <= bracket[1]


def test_data_inside_the_known_directions_still_get_out() -> None:
    """Their projection is zero: any direction outside serves, and one is found."""
    g = law(12, 16)
    geometry = exactly("network", g, 4)
    u = geometry.eigenvectors
    data = exact("data", (u[:, :2] * torch.tensor([2.0, 1.0])) @ u[:, :2].T)
    rotation = find_rotation(geometry, data, rank=2)
    assert float((u.T @ rotation.matrix @ u[:, :2]).norm()) < 1e-10
    w = rotation.matrix
    assert float((w @ w.T - torch.eye(D)).norm()) < 1e-12
    # not by rounding
    data = exact("data", data.matrix() + 1e-13 * law(13))
    torch.testing.assert_close(find_rotation(geometry, data, rank=2).matrix, w, rtol=0, atol=1e-3)


def test_maximizing_takes_the_data_to_the_leading_directions() -> None:
    g, m = law(13, 16), law(14, 3)
    geometry, data = exactly("network", g, 4), exactly("data", m, 3)
    rotation = find_rotation(geometry, data, "maximize")
    assert rotation.rank == 3
    truth = measure_alignment(exact("network", g), exact("data", m), rotation)
    assert truth.natural == pytest.approx(truth.maximum, rel=1e-6)


def test_the_default_rank_is_what_is_known_of_both() -> None:
    network, data = known("network", 0, 3), known("data", 1, 4)
    assert find_rotation(network, data).rank == 3
    assert find_rotation(known("network", 0, None), data).rank == 4
    assert find_rotation(network, known("data", 1, None)).rank == 3
    with pytest.raises(InvalidInputError, match="rank is 5, expected 1 to 4, the number of known directions"):
        find_rotation(network, data, rank=5)
    assert find_rotation(network, data, rank=4).rank == 4


# beyond D = 4096 ------------------------------------------------------------------------------------------------------


def test_large_networks_whose_structure_gives_all_directions() -> None:
    """Four tokens of 1056 pixels: G is known whole, the data by 16 directions, no D × D matrix is formed."""
    shape = (1, 66, 64)
    generator = torch.Generator().manual_seed(16)
    geometry = exact("network", diag(4, 1, 0.5, 0), TokenStructure(shape, 4, torch.randperm(4224, generator=generator)))
    images = torch.randn(24, *shape, generator=generator, dtype=torch.float64)
    images = images * torch.linspace(2, 0.1, 24, dtype=torch.float64)[:, None, None, None] ** 3
    data = data_geometry(images, rank=16)
    assert not geometry.complete
    rotation = find_rotation(geometry, data)
    assert rotation.rank == 16
    alphas = []
    for w in (None, rotation):
        moved = images if w is None else w(images)
        truth = float((moved * (geometry.operator @ moved)).sum()) / 24
        alignment = measure_alignment(geometry, data, w)
        assert alignment.truncation is not None
        low, high = alignment.truncation
        assert low - 1e-9 <= truth <= high + 1e-9
        assert high - low < 0.3 * alignment.haar_mean
        assert alignment.error_networks == 0
        assert alignment.error_images is not None
        alphas.append(truth / alignment.haar_mean)
    assert alphas[0] == pytest.approx(1, abs=0.1)
    assert alphas[1] < 0.05  # the null space of G is among the directions that its structure gives
    mean = images.mean(0)
    assert mean_image_share(geometry, mean) == pytest.approx(float((mean * (geometry.operator @ mean)).sum()), rel=1e-9)


def test_mean_image_share_uses_the_leading_directions() -> None:
    geometry = known("network", 0, 4)
    mean = torch.randn(1, D, generator=torch.Generator().manual_seed(17), dtype=torch.float64)
    expected = mean_image_share(modelled(geometry), mean)
    assert mean_image_share(geometry, mean) == pytest.approx(expected, rel=1e-9)


# words --------------------------------------------------------------------------------------------------------------


def test_the_headline_says_what_was_not_measured() -> None:
    alignment = measure_alignment(known("network", 0, 4), known("data", 1, 4))
    low, high = alignment.of_chance_truncation or (math.nan, math.nan)
    change = max(alignment.of_chance - low, high - alignment.of_chance)
    found = re.search(r"; unmeasured directions could change it by up to ([\d.]+)\)", alignment.headline())
    assert found is not None
    assert change <= float(found[1]) < 1.1 * change  # rounded, never below the bound
    no_error = replace(alignment, of_chance_error=0.0, error_networks=0.0, error_images=0.0)
    assert "(no sampling error; possible range" in no_error.headline()


@pytest.mark.parametrize(
    ("of_chance", "bracket", "verdict"),
    [
        (0.5, (0.4, 0.7), "with"),
        (0.5, (0.4, 0.89), "with"),
        (0.5, (0.4, 0.95), "undecided"),
        (1.5, (1.2, 1.7), "against"),
        (1.5, (1.05, 1.7), "undecided"),
        (1.0, (0.5, 1.7), "undecided"),
        (1.0, (0.999, 1.001), "undecided"),
    ],
)
def test_a_verdict_must_not_depend_on_what_was_not_measured(
    of_chance: float, bracket: tuple[float, float], verdict: str
) -> None:
    alignment = measure_alignment(known("network", 0, 4), known("data", 1, 4))
    alignment = replace(alignment, of_chance=of_chance, of_chance_error=0.05, haar_mean=2.0)
    alignment = replace(alignment, truncation=(2 * bracket[0], 2 * bracket[1]))
    assert alignment.verdict == verdict
