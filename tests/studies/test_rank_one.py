import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.studies import Row, Rows
from scoregrain.studies.rank_one import RankOneStudy
from scoregrain.studies.runner import run_study

STUDY = RankOneStudy(networks=("unet-8",), places=(5,), seeds=6, updates=(1,))
EIGENVALUES = (90.0, 20.0, 5.0, 1.0, 0.2)


def rows(sw2, along, last=None, zeros=1.0):
    """Rows whose outcomes are functions of the place, times a factor near 1 that only the seed decides."""
    made = []
    for cell in STUDY.cells():
        place, factor = cell["place"], 1 + 0.05 * math.sin(3 * cell["seed"] + 1)
        made.append(
            Row(
                cell,
                {
                    "eigenvalue": EIGENVALUES[place],
                    "eigenvalue_error": 0.1,
                    "index": place,
                    "multiplicity": 1,
                    "sw2": sw2[place] * factor,
                    "sw2_ddpm": 2 * sw2[place] * factor,
                    "msw2": 3 * sw2[place],
                    "excess_along": along[place] * factor,
                    "excess_along_last": (last or sw2)[place] * factor,
                    "gap_first_order": (last or sw2)[place] * factor,
                    "excess_along_levels": [along[place]] * 10,
                    "levels": list(range(50, 1000, 100)),
                    **dict.fromkeys(("width", "off", "gap", "gap_along", "excess_off"), 1.0),
                    "sw2_zeros": zeros,
                    "sw2_resample": 0.1,
                    "sw2_white": 0.6,
                    "sw2_exact": 0.1,
                },
            )
        )
    return Rows(made)


def words(found):
    return {finding.claim.split(":")[0]: finding.word for finding in STUDY.findings(found)}


FALLING, RISING = (8.0, 4.0, 3.0, 2.0, 1.5), (1.5, 2.0, 3.0, 4.0, 8.0)


def test_the_papers_order_is_seen_in_both_outcomes():
    found = words(rows(FALLING, FALLING))
    assert {found[key] for key in ("trend-sw2", "ends-sw2", "ends-other", "trend-denoising")} == {"holds"}
    assert {found[key] for key in ("outcomes-agree", "last-level", "first-order", "worse-than-nothing")} == {"holds"}
    assert found["control"] == "fails, as it must"


def test_the_opposite_order_refutes_it():
    found = words(rows(RISING, RISING))
    assert {found[key] for key in ("trend-sw2", "ends-sw2", "ends-other", "trend-denoising")} == {"refuted"}
    assert found["control"] == "fails, as it must"


def test_outcomes_that_disagree_are_told_apart():
    found = words(rows(FALLING, RISING, last=FALLING))
    assert (found["trend-sw2"], found["trend-denoising"], found["outcomes-agree"]) == ("holds", "refuted", "refuted")
    assert (found["last-level"], found["first-order"]) == ("holds", "holds")


def test_samples_nearer_than_zeros_refute_that_they_are_worse():
    assert words(rows(FALLING, FALLING, zeros=100.0))["worse-than-nothing"] == "refuted"


def test_samples_that_are_not_finite_rank_worst_and_have_no_logarithm():
    made = rows(FALLING, FALLING)
    lost = [replace(r, values=r.values | {"sw2": None}) if r["seed"] == 2 and r["place"] == 0 else r for r in made]
    found = words(Rows(lost))
    assert found["trend-sw2"] == "holds"
    assert found["ends-sw2"] == "undecided"


def test_the_tables_hold_baselines_beside_outcomes():
    (table,) = STUDY.tables(rows(FALLING, RISING))
    assert len(table.rows) == 5
    assert all(len(row) == len(table.columns) for row in table.rows)
    entry = dict(zip(table.columns, table.rows[1], strict=True))
    assert (entry["index"], entry["λ"], entry["zeros"]) == ("1", "20.00 ± 0.10", "1")
    assert float(entry["SW₂"].split(" ")[0]) == pytest.approx(4.0, rel=0.05)
    assert float(entry["SW₂ by ddpm"].split(" ")[0]) == pytest.approx(8.0, rel=0.05)
    assert STUDY.figure(rows(FALLING, RISING)).axes


def test_directions_are_of_the_eigenvalues_that_are_told():
    study = RankOneStudy(networks=("dit-8/2",), places=(3,), seeds=2, updates=(1,), measured=64)
    material = study.material()
    found, told = material["dit-8/2 directions"], material["dit-8/2 places"]
    assert found.shape == (3, 2, 1, 8, 8)
    assert told[:, 2].tolist() == [0, 16, 28]
    assert told[:, 3].tolist() == [4, 4, 36]
    assert torch.allclose(found.flatten(2).norm(dim=2), torch.ones(3, 2, dtype=torch.float64))


@pytest.mark.slow
def test_the_tiny_row_is_run_and_its_control_fails(tmp_path):
    study = RankOneStudy.at("tiny")
    found = run_study(study, tmp_path / "out")
    assert [finding.claim for finding in found.findings] == [claim.key for claim in study.claims()]
    control = next(finding for finding in found.findings if finding.claim.startswith("control"))
    assert control.word == "fails, as it must"
    excess = found.rows.array("excess", "seed", "place")
    exact, zeros = (found.rows.array(name, "seed", "place") for name in ("sw2_exact", "sw2_zeros"))
    assert (excess > 0.01).all()  # forty updates leave much to learn
    assert (exact < 0.5 * zeros).all()  # while the exact score through the same sampler gives the law
    assert np.isfinite(found.rows.array("sw2", "seed", "place")).all()
    before = (tmp_path / "out" / "rows.jsonl").read_bytes()
    assert run_study(study, tmp_path / "out").ran == 0
    assert (tmp_path / "out" / "rows.jsonl").read_bytes() == before


def test_a_network_has_its_own_rate_where_they_are_given():
    small = RankOneStudy.at("small")
    assert [small._rate(network) for network in small.networks] == [3e-3, 3e-3, 1e-2, 1e-2]
    assert RankOneStudy(learning_rate=0.5)._rate("dit-8/2") == 0.5
    assert RankOneStudy.at("small", learning_rates=(0.1,))._rate("dit-8/2") == 0.1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"networks": ("unet-8",)}, "places has 4 entries for 1 networks"),
        ({"updates": (800, 900)}, "updates has 2 entries for 4 networks: give one for each, or one for all"),
        ({"networks": ("dit-8/2",), "places": (6,), "updates": (8,)}, "learning_rates has 4 entries for 1 networks"),
        ({"learning_rates": ("abc",)}, "a learning rate must be a number above 0, got 'abc'"),
        ({"networks": ("foo-8",) * 4}, "'foo-8' names no family"),
        ({"updates": (0,)}, "updates must be"),
        ({"samples": 0}, "samples must be"),
    ],
)
def test_settings_that_no_cell_could_be_run_with_are_refused_before_they_are_declared(given, said):
    with pytest.raises(InvalidInputError, match=said):
        RankOneStudy.at("small", **given)


def test_one_entry_counts_for_all_networks():
    study = RankOneStudy.at("small", places=(3,), updates=(8,))
    assert len(study.cells()) == 6 * 4 * 3


def test_more_places_than_the_geometry_has_are_refused():
    study = RankOneStudy(networks=("dit-8/4",), places=(5,), updates=(8,))
    with pytest.raises(InvalidInputError, match="4 clusters of directions are identifiable, 5 are asked for"):
        study.material()
