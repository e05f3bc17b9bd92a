"""The order of alignment: sorted, with paired errors of the differences, and marked as not validated."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.align import measure_alignment, rank_geometries
from scoregrain.geometry import Geometry, data_geometry
from scoregrain.geometry.structure import DenseStructure
from tests.align.cases import diag, exact, gaussian, orthonormal, random_psd, sampled, truncated

NOT_VALIDATED = "not validated: no study has yet shown that this order predicts the quality after training"
DATA = exact("data", diag(4, 3, 1))


def measured(law: Tensor, seed: int, count: int = 320) -> Geometry:
    generator = torch.Generator().manual_seed(seed)
    return sampled("network", gaussian(law, count, generator), [count // 16] * 16)


def test_the_smallest_alignment_over_chance_comes_first() -> None:
    """Scales do not count: the second has the largest α of all."""
    networks = {
        "against": exact("network", diag(5, 2, 1)),
        "neither": exact("network", 100 * diag(1, 1, 1)),
        "with": exact("network", diag(1, 2, 5)),
    }
    ranking = rank_geometries(networks, DATA)
    assert ranking.names == ("with", "neither", "against")
    assert ranking.places == (1, 2, 3)
    assert [e.alignment.verdict for e in ranking.entries] == ["with", "neither", "against"]
    for entry, after in zip(ranking.entries, ranking.entries[1:], strict=False):
        assert entry.alignment.of_chance == measure_alignment(networks[entry.name], DATA).of_chance
        assert entry.to_next == pytest.approx(after.alignment.of_chance - entry.alignment.of_chance, rel=1e-12)
        assert (entry.to_next_error, entry.to_next_least) == (0, entry.to_next)
        assert entry.tied_with_next is False
    last = ranking.entries[-1]
    assert (last.to_next, last.to_next_error, last.to_next_least, last.tied_with_next) == (None,) * 4


def test_it_says_everywhere_that_it_is_not_validated() -> None:
    ranking = rank_geometries({"a": exact("network", diag(5, 2, 1)), "b": exact("network", diag(1, 2, 5))}, DATA)
    assert ranking.validated is False
    assert ranking.summary()["validated"] is False
    assert ranking.summary()["note"] == NOT_VALIDATED
    assert NOT_VALIDATED in ranking.table().splitlines()[0]
    assert ranking.table().startswith("order of alignment")
    assert NOT_VALIDATED in repr(ranking)
    for documented in (rank_geometries, type(ranking)):
        assert "Not validated: no study has yet shown" in str(documented.__doc__)


def test_the_table_and_the_summary() -> None:
    networks = {
        "b": exact("network", diag(5, 2, 1)),
        "longer": exact("network", diag(1, 2, 5)),
        "same": exact("network", diag(10, 4, 2)),
    }
    ranking = rank_geometries(networks, DATA)
    assert ranking.table().splitlines()[1:] == [
        "   1. longer  0.7031 times chance (exact)   possible 0.7 to 1.3, at 0 of that range",
        "   2. b       1.266 times chance (exact)   possible 0.7 to 1.3, at 1 of that range   tied with the next",
        "   2. same    1.266 times chance (exact)   possible 0.7 to 1.3, at 1 of that range",
        "  alignment over chance orders; what is possible differs between networks",
    ]
    summary = json.loads(json.dumps(ranking.summary(), allow_nan=False))
    assert [entry["model"] for entry in summary["ranking"]] == ["longer", "b", "same"]
    assert [entry["place"] for entry in summary["ranking"]] == [1, 2, 2]
    assert [entry["tied_with_next"] for entry in summary["ranking"]] == [False, True, None]
    assert [entry["relative"] for entry in summary["ranking"]] == [0, 1, 1]
    for entry in summary["ranking"]:  # by hand: α over tr G tr M / D = 8·8/3, or 2·8·8/3
        assert entry["possible_range"] == pytest.approx([15 / (64 / 3), 27 / (64 / 3)], rel=1e-12)
    assert summary["ranking"][0]["of_chance"] == summary["ranking"][0]["alignment"]["of_chance"]


def test_ties_are_differences_below_two_errors() -> None:
    law = diag(3, 2, 1)
    near = rank_geometries({"one": measured(law, 0), "two": measured(law, 1)}, DATA).entries[0]
    far = rank_geometries({"one": measured(law, 0), "two": measured(diag(1, 2, 3), 1)}, DATA).entries[0]
    for entry in (near, far):
        assert entry.to_next is not None
        assert entry.to_next_error is not None
        assert entry.tied_with_next is (entry.to_next < 2 * entry.to_next_error)
    assert (near.tied_with_next, far.tied_with_next) == (True, False)


def test_errors_of_networks_add_and_unknown_ones_leave_the_order_open() -> None:
    one, two = measured(diag(3, 2, 1), 0), measured(diag(3, 1, 1), 1)
    entry = rank_geometries({"one": one, "two": two}, DATA).entries[0]
    parts = [measure_alignment(network, DATA).error_networks or 0.0 for network in (one, two)]
    assert entry.to_next_error == pytest.approx((parts[0] ** 2 + parts[1] ** 2) ** 0.5, rel=1e-12)
    few = sampled("network", gaussian(diag(3, 2, 1), 60, torch.Generator().manual_seed(2)), [20] * 3)
    ranking = rank_geometries({"one": one, "few": few}, DATA)
    assert (ranking.entries[0].to_next_error, ranking.entries[0].tied_with_next) == (None, None)
    assert "order with the next unknown" in ranking.table()
    assert ranking.places == (1, 2)
    few_images = data_geometry(torch.randn(8, 1, 3, generator=torch.Generator().manual_seed(3)))
    assert rank_geometries({"one": one, "two": two}, few_images).entries[0].tied_with_next is None


def test_images_are_paired() -> None:
    """Two networks that are nearly alike: images move both alignments together, and hardly their difference."""
    images = data_geometry(gaussian(diag(4, 3, 1), 320, torch.Generator().manual_seed(4)).reshape(-1, 1, 3))
    networks = {"one": exact("network", diag(5, 2, 1)), "two": exact("network", diag(5.01, 2, 1))}
    entry = rank_geometries(networks, images).entries[0]
    assert entry.to_next_error is not None
    assert entry.alignment.of_chance_error is not None
    assert 0 < entry.to_next_error < 0.02 * entry.alignment.of_chance_error


def test_the_error_of_a_difference_is_its_spread_over_repeats() -> None:
    """Networks and images both vary."""
    generator = torch.Generator().manual_seed(5)
    bases = [orthonormal(5, generator) for _ in range(3)]
    one, two, m = ((u * torch.tensor([5.0, 3.0, 2.0, 1.0, 0.5], dtype=torch.float64)) @ u.T for u in bases)
    differences, errors = [], []
    for _ in range(200):
        networks = {
            name: sampled("network", gaussian(law, 320, generator), [20] * 16)
            for name, law in (("one", one), ("two", two))
        }
        data = data_geometry(gaussian(m, 320, generator).reshape(-1, 1, 5))
        ranking = rank_geometries(networks, data)
        values = {e.name: e.alignment.of_chance for e in ranking.entries}
        differences.append(values["two"] - values["one"])
        errors.append(ranking.entries[0].to_next_error or 0.0)
    root = float(torch.tensor(errors).square().mean().sqrt())
    assert root == pytest.approx(float(torch.tensor(differences).std()), rel=0.15)


def test_directions_that_were_not_measured_can_decide_the_order() -> None:
    """The difference is many errors wide, but not if the rest of both geometries is at its worst."""
    generator = torch.Generator().manual_seed(6)
    laws = [random_psd(64, 0) + torch.eye(64) * shift for shift in (0.1, 0.2)]
    networks = {
        name: truncated("network", gaussian(law, 3200, generator), [200] * 16, 2)
        for name, law in zip(("one", "two"), laws, strict=True)
    }
    entry = rank_geometries(networks, exact("data", laws[0])).entries[0]
    assert entry.to_next_error is not None
    assert entry.to_next is not None
    assert entry.to_next > 2 * entry.to_next_error
    assert entry.to_next_least is not None
    assert entry.to_next_least < 0
    assert entry.tied_with_next


def test_what_cannot_be_ranked() -> None:
    one = exact("network", random_psd(4, 0), DenseStructure((1, 2, 2)))
    with pytest.raises(InvalidInputError, match="at least two networks, got 1"):
        rank_geometries({"one": one}, exact("data", random_psd(4, 1), DenseStructure((1, 2, 2))))
    other = exact("network", random_psd(4, 0), DenseStructure((1, 4, 1)))
    with pytest.raises(InvalidInputError, match=r"one shape.*'one' has shape \(1, 2, 2\), 'other' has \(1, 4, 1\)"):
        rank_geometries({"one": one, "other": other}, exact("data", random_psd(4, 1), DenseStructure((1, 2, 2))))
    with pytest.raises(InvalidInputError, match=r"\(1, 2, 2\).*\(1, 4, 1\)"):
        rank_geometries({"one": one, "two": one}, exact("data", random_psd(4, 1), DenseStructure((1, 4, 1))))
