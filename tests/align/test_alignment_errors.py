"""Error bars of alignment against the spread over repeated measurements of a known law (MATH A5, C3)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from scoregrain.align import Alignment, find_rotation, measure_alignment
from scoregrain.geometry import Geometry, data_geometry
from tests.align.cases import UNEQUAL, exact, gaussian, orthonormal, random_psd, sampled

REPEATS = 400  # the standard deviation over the repeats is known to 3.5 %
TOLERANCE = 0.15


def _laws() -> tuple[Tensor, Tensor]:
    """Of networks and of data: spectra with clear gaps in unrelated bases."""
    generator = torch.Generator().manual_seed(1)
    laws = []
    for ratio in (1.6, 2.0):
        u = orthonormal(6, generator)
        laws.append((u * ratio ** -torch.arange(6, dtype=torch.float64)) @ u.T)
    return laws[0], laws[1]


def _networks(law: Tensor, sizes: tuple[int, ...], generator: torch.Generator) -> Geometry:
    return sampled("network", gaussian(law, sum(sizes), generator), sizes)


def _images(law: Tensor, generator: torch.Generator) -> Geometry:
    return data_geometry(gaussian(law, 397, generator).reshape(397, 1, 6))


def _compare(alignments: list[Alignment], value: str, error: str) -> None:
    values = torch.tensor([getattr(a, value) for a in alignments], dtype=torch.float64)
    errors = torch.tensor([getattr(a, error) for a in alignments], dtype=torch.float64)
    assert float(errors.square().mean().sqrt()) == pytest.approx(float(values.std()), rel=TOLERANCE), value


ERRORS = {
    "natural": "error",
    "of_chance": "of_chance_error",
    "minimum": "minimum_error",
    "maximum": "maximum_error",
}


@pytest.mark.parametrize(
    ("sizes", "rotated"), [((25,) * 16, False), (UNEQUAL, True)], ids=["equal groups", "unequal groups, rotated"]
)
def test_errors_are_the_spread_over_repeats(sizes: tuple[int, ...], rotated: bool) -> None:
    g, m = _laws()
    generator = torch.Generator().manual_seed(2)
    rotation = find_rotation(exact("network", g), exact("data", m)) if rotated else None
    alignments = [
        measure_alignment(_networks(g, sizes, generator), _images(m, generator), rotation) for _ in range(REPEATS)
    ]
    for value, error in ERRORS.items():
        _compare(alignments, value, error)


def test_the_two_parts_are_the_spread_when_the_other_side_is_exact() -> None:
    g, m = _laws()
    generator = torch.Generator().manual_seed(3)
    networks, images = exact("network", g), exact("data", m)
    by_networks = [measure_alignment(_networks(g, UNEQUAL, generator), images) for _ in range(REPEATS)]
    by_images = [measure_alignment(networks, _images(m, generator)) for _ in range(REPEATS)]
    _compare(by_networks, "of_chance", "error_networks")
    _compare(by_images, "of_chance", "error_images")
    assert all(a.error_images == 0 and a.of_chance_error == a.error_networks for a in by_networks)
    assert all(a.error_networks == 0 and a.of_chance_error == a.error_images for a in by_images)


def test_of_chance_knows_that_alignment_and_trace_share_their_error() -> None:
    """Networks that differ in scale alone: α is uncertain, α of chance is not."""
    generator = torch.Generator().manual_seed(4)
    scales = 1 + torch.rand(320, 1, generator=generator, dtype=torch.float64)
    geometry = sampled("network", scales * torch.tensor([[3.0, 1.0, 0.5]]), [20] * 16)
    alignment = measure_alignment(geometry, exact("data", random_psd(3, 0)))
    assert alignment.error is not None
    assert alignment.of_chance_error is not None
    assert alignment.error > 0.01 * alignment.natural
    assert alignment.of_chance_error < 1e-12 * alignment.of_chance


def test_linear_error_is_the_textbook_standard_error() -> None:
    """Groups of one draw each: the error of α is that of a mean of ``xᵀ M x``."""
    draws = gaussian(random_psd(4, 1), 50, torch.Generator().manual_seed(5))
    m = random_psd(4, 2)
    alignment = measure_alignment(sampled("network", draws, [1] * 50), exact("data", m))
    terms = torch.stack([x @ m @ x for x in draws])
    assert alignment.natural == pytest.approx(float(terms.mean()), rel=1e-12)
    assert alignment.error == pytest.approx(float(terms.std()) / math.sqrt(50), rel=1e-12)


def test_ratio_error_is_the_delete_one_group_jackknife() -> None:
    draws = gaussian(random_psd(4, 1), 160, torch.Generator().manual_seed(6))
    m = random_psd(4, 2)
    alignment = measure_alignment(sampled("network", draws, [10] * 16), exact("data", m))
    without = []
    for j in range(16):
        rest = torch.cat([draws[: 10 * j], draws[10 * j + 10 :]])
        g = rest.T @ rest / 150
        without.append(measure_alignment(exact("network", g), exact("data", m)).of_chance)
    spread = sum((value - sum(without) / 16) ** 2 for value in without)
    assert alignment.error_networks == pytest.approx(math.sqrt(15 / 16 * spread), rel=1e-9)


def test_exact_geometries_have_no_error() -> None:
    alignment = measure_alignment(exact("network", random_psd(4, 1)), exact("data", random_psd(4, 2)))
    assert (alignment.error, alignment.of_chance_error, alignment.minimum_error, alignment.maximum_error) == (0,) * 4
    assert (alignment.error_networks, alignment.error_images) == (0, 0)


@pytest.mark.parametrize("few", ["networks", "images", "both"])
def test_fewer_than_16_groups_have_no_error(few: str) -> None:
    generator = torch.Generator().manual_seed(7)
    law = random_psd(4, 1)
    groups = {"networks": (15, 16), "images": (16, 15), "both": (15, 15)}[few]
    network, data = (
        sampled(kind, gaussian(law, 10 * g, generator), [10] * g)
        for kind, g in zip(("network", "data"), groups, strict=True)
    )
    alignment = measure_alignment(network, data)
    assert alignment.error is alignment.of_chance_error is alignment.minimum_error is alignment.maximum_error is None
    assert (alignment.error_networks is None, alignment.error_images is None) == tuple(g < 16 for g in groups)
    assert alignment.verdict == "undecided"
