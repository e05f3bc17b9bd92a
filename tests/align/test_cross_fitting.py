"""Cross-fitting: unbiased for the rotation found, with the error it states (MATH A5, D: A6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.align import CrossFit, cross_fit, find_rotation, measure_alignment
from scoregrain.geometry import Geometry, data_geometry
from tests.align.cases import UNEQUAL, exact, gaussian, orthonormal, random_psd, sampled, truncated


def spread(values: list[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).std())


def mean(values: list[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).mean())


def test_a6_winners_curse_is_undone() -> None:
    """200 networks for each choice, as the oracle has it; 20 groups of 20 networks."""
    law, generator = torch.linspace(10, 1, 20, dtype=torch.float64).diag(), torch.Generator().manual_seed(0)
    data = exact("data", torch.linspace(5, 0.1, 20, dtype=torch.float64).diag())
    truth = exact("network", law)
    fits, true = [], []
    for _ in range(200):
        geometry = sampled("network", gaussian(law, 400, generator), [20] * 20)
        fits.append(cross_fit(geometry, data))
        rotations = [find_rotation(half, data) for half in geometry.halves()]
        true.append(mean([measure_alignment(truth, data, w).natural for w in rotations]))
    values = [fit.value for fit in fits]
    # unbiased: the mean over repeats within three of its standard errors, taken pair by pair
    differences = [a - b for a, b in zip(values, true, strict=True)]
    assert abs(mean(differences)) < 3 * spread(differences) / 200**0.5
    assert mean(values) == pytest.approx(210, rel=0.03)
    # the plug-in is too low, by more than either of its neighbours varies
    assert mean([fit.plug_in for fit in fits]) < 199.26 - 1
    assert mean([fit.bias for fit in fits]) < -10
    assert all(fit.plug_in == pytest.approx(fit.value + fit.bias, rel=1e-12) for fit in fits)
    plug_in_200 = [
        measure_alignment(sampled("network", gaussian(law, 200, generator), [10] * 20), data) for _ in range(200)
    ]
    assert mean([a.minimum for a in plug_in_200]) == pytest.approx(185, rel=0.03)


@pytest.mark.parametrize(("sizes", "mode"), [((20,) * 20, "minimize"), (UNEQUAL, "maximize")], ids=["equal", "unequal"])
def test_its_error_is_the_spread_around_what_the_rotations_really_do(sizes: tuple[int, ...], mode: str) -> None:
    """Networks and images both vary; so does the truth, α_G of the rotations that were found."""
    generator = torch.Generator().manual_seed(1)
    u, v = orthonormal(6, generator), orthonormal(6, generator)
    g = (u * torch.linspace(6, 1, 6, dtype=torch.float64)) @ u.T
    m = (v * torch.linspace(3, 0.2, 6, dtype=torch.float64)) @ v.T
    fits, misses = [], []
    for _ in range(250):
        geometry = sampled("network", gaussian(g, sum(sizes), generator), sizes)
        data = data_geometry(gaussian(m, 640, generator).reshape(-1, 1, 6))
        fits.append(cross_fit(geometry, data, mode))
        truth = exact("network", g), exact("data", m)
        true = [measure_alignment(*truth, find_rotation(half, data, mode)).natural for half in geometry.halves()]
        weights = [half.count / sum(sizes) for half in geometry.halves()]
        misses.append(fits[-1].value - sum(w * a for w, a in zip(weights, reversed(true), strict=True)))
    errors = [fit.error for fit in fits if fit.error is not None]
    assert len(errors) == 250
    assert torch.tensor(errors).square().mean().sqrt() == pytest.approx(spread(misses), rel=0.15)


@pytest.mark.parametrize("rank", [None, 2], ids=["whole", "leading directions"])
def test_its_error_is_the_delete_one_group_jackknife_with_fixed_rotations(rank: int | None) -> None:
    generator = torch.Generator().manual_seed(9)
    laws = [random_psd(64, seed) + 0.01 * torch.eye(64) for seed in (0, 1)]
    networks, images = (gaussian(law, 320, generator) for law in laws)
    geometry = (
        sampled("network", networks, [20] * 16) if rank is None else truncated("network", networks, [20] * 16, rank)
    )
    data = sampled("data", images, [20] * 16)
    first, second = geometry.halves()
    for_second, for_first = (find_rotation(half, data) for half in (first, second))

    def value(one: Geometry, other: Geometry, m: Geometry) -> tuple[float, float]:
        alphas = measure_alignment(one, m, for_first).natural, measure_alignment(other, m, for_second).natural
        counts, traces = (one.count, other.count), (one.trace, other.trace)
        alpha, trace = ((a * counts[0] + b * counts[1]) / sum(counts) for a, b in (alphas, traces))
        return alpha, alpha * 64 / (trace * m.trace)

    lost = {
        "networks": [value(first.without(j), second, data) for j in range(8)]
        + [value(first, second.without(j), data) for j in range(8)],
        "images": [value(first, second, data.without(j)) for j in range(16)],
    }
    fit = cross_fit(geometry, data)
    for i, error in enumerate((fit.error, fit.of_chance_error)):
        squares = [
            15 * float(torch.tensor([v[i] for v in values], dtype=torch.float64).var(correction=0))
            for values in lost.values()
        ]
        assert error == pytest.approx(sum(squares) ** 0.5, rel=1e-4)


def test_of_chance_has_the_error_of_a_ratio() -> None:
    """Networks that differ in scale alone: the ratio does not vary at all, the value does."""
    generator = torch.Generator().manual_seed(2)
    scales = 1 + torch.rand(640, 1, generator=generator, dtype=torch.float64)
    geometry = sampled("network", scales * torch.tensor([[3.0, 1.0, 0.5]]), [40] * 16)
    fit = cross_fit(geometry, exact("data", random_psd(3, 0)), "maximize")
    assert fit.error is not None
    assert fit.error > 0.01 * fit.value
    assert fit.of_chance_error is not None
    assert fit.of_chance_error < 1e-10 * fit.of_chance
    assert fit.of_chance == pytest.approx(fit.value / fit.haar_mean, rel=1e-12)
    assert fit.plug_in_of_chance - fit.bias_of_chance == pytest.approx(fit.of_chance, rel=1e-12)


def test_an_exact_geometry_has_no_bias() -> None:
    geometry, data = exact("network", random_psd(6, 0)), exact("data", random_psd(6, 1))
    for mode in ("minimize", "maximize"):
        fit = cross_fit(geometry, data, mode)
        assert fit.value == fit.plug_in
        assert (fit.bias, fit.error, fit.of_chance_error) == (0, 0, 0)
        assert "(exact)" in fit.headline()
        assert "cross-fitted" not in fit.headline()
    images = sampled("data", gaussian(random_psd(6, 1), 320, torch.Generator().manual_seed(3)), [20] * 16)
    fit, alignment = cross_fit(geometry, images), measure_alignment(geometry, images, find_rotation(geometry, images))
    assert fit.bias == 0
    assert fit.error == pytest.approx(alignment.error, rel=1e-9)
    assert fit.of_chance_error == pytest.approx(alignment.of_chance_error, rel=1e-9)


def test_the_rotation_is_that_of_all_networks() -> None:
    geometry = sampled("network", gaussian(random_psd(6, 0), 320, torch.Generator().manual_seed(4)), [20] * 16)
    data = exact("data", random_psd(6, 1))
    for rank in (None, 2):
        fit = cross_fit(geometry, data, "maximize", rank=rank)
        assert torch.equal(fit.rotation.matrix, find_rotation(geometry, data, "maximize", rank=rank).matrix)
        assert fit.plug_in == pytest.approx(measure_alignment(geometry, data, fit.rotation).natural, rel=1e-12)
        assert fit.bias > 0


def by_hand(geometry: Geometry, data: Geometry, find: Callable[[Geometry], object]) -> float:
    first, second = geometry.halves()
    return 0.5 * (
        measure_alignment(second, data, find(first)).natural + measure_alignment(first, data, find(second)).natural  # type: ignore[arg-type]
    )


def test_what_is_known_by_its_leading_directions_is_cross_fitted_too() -> None:
    generator = torch.Generator().manual_seed(5)
    geometry = truncated(
        "network", gaussian(random_psd(64, 0, rank=6) + 0.01 * torch.eye(64), 320, generator), [20] * 16, rank=3
    )
    data = sampled("data", gaussian(random_psd(64, 1) + 0.01 * torch.eye(64), 320, generator), [20] * 16)
    fit: CrossFit = cross_fit(geometry, data, "maximize")
    assert fit.rotation.rank == 3
    expected = by_hand(geometry, data, lambda half: find_rotation(half, data, "maximize"))
    assert fit.value == pytest.approx(expected, rel=1e-12)
    assert fit.bias > 0
    assert fit.error is not None
    assert 0 < fit.error < fit.value


def test_few_groups() -> None:
    law, data = random_psd(6, 0), exact("data", random_psd(6, 1))
    generator = torch.Generator().manual_seed(6)
    with pytest.raises(InvalidInputError, match="one group cannot be halved: measure more than 32"):
        cross_fit(sampled("network", gaussian(law, 32, generator), [32]), data)
    fit = cross_fit(sampled("network", gaussian(law, 64, generator), [32] * 2), data)
    assert fit.value > fit.plug_in
    assert (fit.error, fit.of_chance_error) == (None, None)
    assert "(error unknown)" in fit.headline()


def test_headline() -> None:
    geometry = sampled("network", gaussian(random_psd(6, 0), 320, torch.Generator().manual_seed(7)), [20] * 16)
    fit = cross_fit(geometry, exact("data", random_psd(6, 1)))
    said = fit.headline()
    assert said.startswith("rotated to minimize alignment: 0.")
    assert "±" in said
    assert "times chance, cross-fitted (0." in said


def test_headline_of_data_in_the_null_space() -> None:
    geometry = exact("network", random_psd(6, 0, rank=3))
    images = sampled("data", gaussian(random_psd(6, 1), 320, torch.Generator().manual_seed(8)), [20] * 16)
    fit = cross_fit(geometry, images, rank=6)
    assert "times chance" in fit.headline()
    assert "to rounding" not in fit.headline()
    low_rank = exact("data", random_psd(6, 1, rank=2))
    assert cross_fit(geometry, low_rank).headline() == "rotated to minimize alignment: 0 times chance (to rounding)"


def test_zero_and_swapped_geometries_are_refused() -> None:
    geometry, data = exact("network", random_psd(4, 0)), exact("data", random_psd(4, 1))
    with pytest.raises(InvalidInputError, match="got 'data' and 'network'"):
        cross_fit(data, geometry)
    with pytest.raises(InvalidInputError, match="the data geometry is zero"):
        cross_fit(geometry, exact("data", torch.zeros(4, 4, dtype=torch.float64)))
