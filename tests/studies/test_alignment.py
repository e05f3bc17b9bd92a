import math

import numpy as np
import pytest
import torch

from scoregrain.align import measure_alignment
from scoregrain.geometry import data_geometry, measure_geometry
from scoregrain.models import NetworkFamily
from scoregrain.studies import Row, Rows, find_study
from scoregrain.studies.alignment import AlignmentStudy
from scoregrain.studies.alignment_tables import HAAR, IDENTITY, OTHER_HAAR, ROTATIONS, W_MAX, W_MIN
from scoregrain.studies.families import study_family
from scoregrain.studies.image_outcomes import Target

STUDY = AlignmentStudy.at("tiny", seeds=6, network="dit-4/2", samples=100, measured=64)
PAPER = {W_MIN: 0.1, IDENTITY: 1.5, W_MAX: 2.5, HAAR: 0.8, OTHER_HAAR: 0.8}
CONTROLS = ("control-labels", "control-haar")


def hand_made(sw2, error=None, groups=(0.4, 0.3, 0.2, 0.1), zeros=9.0, seeds=6):
    """Rows whose distances are as given, up to a few per cent that differ by seed and rotation.

    ``groups`` are errors of data turned at random; of others they are in the opposite order.
    """
    rows = []
    for seed in range(seeds):
        for i, rotation in enumerate(ROTATIONS):
            noise = math.exp(0.02 * math.sin(7 * seed + 3 * i))
            values = {
                "alignment": 1.0 + i,
                "alignment_error": 0.13 if i < 3 else None,
                "count": 100,
                "trained": 0,
                "loss": 0.1,
                "sw2": sw2[rotation] * noise,
                "msw2": 1.0,
                "error": (error or sw2)[rotation] * noise,
                "error_linear": 0.2,
                "error_groups": [g * noise for g in (groups if rotation == HAAR else groups[::-1])],
                "error_linear_groups": [0.2] * 4,
                "energy_groups": [1.0, 1.1, 1.2, 1.3],
                "energy_groups_data": [4.0, 3.0, 2.0, 1.0],
                "sw2_resample": 0.05,
                "sw2_gaussian": 0.06,
                "sw2_zeros": zeros,
                "sw2_white": 0.9,
            }
            rows.append(Row({"seed": seed, "rotation": rotation}, values))
    return Rows(rows)


def words(rows, study=STUDY):
    return {finding.claim: finding.word for finding in study.findings(rows)}


@pytest.fixture(scope="module")
def material():
    return STUDY.material()


def test_the_study_is_registered_and_declares_a_finding_for_each_claim():
    assert find_study("alignment") is AlignmentStudy
    claims = [claim.key for claim in STUDY.claims()]
    assert [finding.claim for finding in STUDY.findings(hand_made(PAPER))] == claims
    assert len(set(claims)) == len(claims)
    assert tuple(claim.key for claim in STUDY.claims() if claim.control) == CONTROLS


def test_cells_are_whole_pairs_seed_by_seed():
    cells = STUDY.cells()
    assert len(cells) == 30
    assert [cell["rotation"] for cell in cells[:5]] == list(ROTATIONS)
    assert {cell["seed"] for cell in cells[:5]} == {0}


def test_the_papers_order_holds_where_the_rows_have_it():
    found = words(hand_made(PAPER))
    paper = ("min-identity", "identity-max", "min-max", "min-haar", "haar-max")
    paper += ("denoising-min-identity", "denoising-min-max", "denoising-haar-max")
    assert {found[key] for key in paper} == {"holds"}
    assert found["haar-equal"] == "refuted"
    assert found["worse-than-nothing"] == "refuted"
    assert found["quarters"] == "holds"
    assert {found[key] for key in CONTROLS} == {"fails, as it must"}


def test_the_opposite_order_refutes_it_and_controls_still_fail():
    found = words(hand_made({W_MIN: 2.5, IDENTITY: 0.2, W_MAX: 0.1, HAAR: 0.8, OTHER_HAAR: 0.8}, groups=(1, 2, 3, 4)))
    keys = ("min-identity", "identity-max", "min-max", "min-haar", "haar-max", "worse-than-nothing", "quarters")
    assert {found[key] for key in keys} == {"refuted"}
    assert {found[key] for key in CONTROLS} == {"fails, as it must"}


def test_both_outcomes_are_judged_apart():
    found = words(hand_made(PAPER, error={**PAPER, W_MIN: 5.0}))
    assert (found["min-max"], found["denoising-min-max"]) == ("holds", "refuted")


def test_a_haar_rotation_is_equal_to_w_min_within_a_quarter():
    finding = {f.claim: f for f in STUDY.findings(hand_made({**PAPER, W_MIN: 0.82}))}
    assert finding["haar-equal"].word == "holds"
    assert finding["haar-equal"].value == pytest.approx(math.log(0.8 / 0.82), abs=0.03)
    assert finding["min-haar"].word == "refuted"  # and yet it is a little worse


def test_a_control_that_holds_is_seen():
    assert words(hand_made({**PAPER, OTHER_HAAR: 0.4}))["control-haar"] == "does not fail"


def test_a_gain_whose_sign_goes_with_the_seed_is_noticed_by_the_control():
    rows = hand_made(PAPER)
    for row in rows.where(rotation=W_MAX):
        row.values["sw2"] = rows.where(rotation=W_MIN, seed=row["seed"])[0]["sw2"] * math.exp(0.5 * (-1) ** row["seed"])
    assert words(rows)["control-labels"] == "does not fail"


def test_networks_worse_than_zeros_decide_nothing_but_that():
    found = {f.claim: f for f in STUDY.findings(hand_made(PAPER, zeros=1.0))}  # identity is, Haar is not
    assert {found[key].word for key in ("min-identity", "identity-max", "min-max")} == {"undecided"}
    assert "6 of 12 cells are worse than zeros" in found["min-identity"].note
    assert (found["min-haar"].word, found["haar-equal"].word) == ("holds", "refuted")
    assert found["worse-than-nothing"].word == found["denoising-min-max"].word == "holds"
    assert found["control-labels"].word == "fails, as it must"


def test_the_claims_tell_what_they_rest_on():
    claims = {claim.key: claim for claim in STUDY.claims()}
    for key in ("min-haar", "haar-max"):
        assert "the trainings with Haar are further" in claims[key].statistic
    assert "the trainings with identity are further" in claims["min-max"].statistic
    assert "zeros" not in claims["denoising-min-haar"].statistic
    assert "turned at random" in claims["quarters"].text


def test_twice_the_samples_are_held_out_so_that_seeds_have_targets_of_their_own():
    split = STUDY.split()
    assert len(split.held_out) == 200
    one, two = (Target.of(split, STUDY.samples, seed) for seed in (0, 1))
    assert one.trained == two.trained == 0
    assert not torch.equal(one.arrays.sort(0).values, two.arrays.sort(0).values)


def test_missing_values_leave_a_claim_undecided_and_tables_and_figure_whole():
    rows = hand_made(PAPER)
    for name in ("sw2", "error", "energy_groups", "error_groups", "error_linear_groups"):
        rows[2].values[name] = None  # W_max of seed 0 diverged
    found = words(rows)
    assert (found["min-max"], found["min-identity"]) == ("undecided", "holds")
    outcomes, quarters = STUDY.tables(rows)
    assert "1 of 6 missing" in outcomes.rows[2][2]
    assert [row[1] for row in outcomes.rows[:3]] == ["1.00 ± 0.13", "2.00 ± 0.13", "3.00 ± 0.13"]  # one W each
    assert "100 held-out images" in outcomes.note
    assert quarters.rows[0][1].startswith("40 %;")
    STUDY.figure(rows)


def test_equal_rows_are_no_finding():
    rows = Rows([Row(row.cell, hand_made(PAPER)[0].values) for row in hand_made(PAPER)])
    found = words(rows)
    assert {found[key] for key in ("min-identity", "min-max")} == {"undecided"}
    assert {found[key] for key in CONTROLS} == {"fails, as it must"}


def test_trivial_generators_stand_in_the_table():
    outcomes = STUDY.tables(hand_made(PAPER))[0]
    column = outcomes.columns.index("SW₂")
    found = {row[0]: float(row[column].split()[0]) for row in outcomes.rows[5:]}
    assert found == {"fresh images": 0.05, "Gaussian": 0.06, "zeros": 9, "white noise": 0.9}


def test_rotations_are_those_of_theorem_2(material):
    g, m = material["network geometry"], material["data geometry"]
    chance = g.trace() * m.trace() / 16
    found = [float((g * (w @ m @ w.T)).sum() / chance) for w in material["rotations"]]
    lam, nu = (torch.linalg.eigvalsh(x).flip(0) for x in (g, m))
    assert found[0] == pytest.approx(float(lam @ nu.flip(0) / chance), abs=1e-9)
    assert found[2] == pytest.approx(float(lam @ nu / chance))
    assert material["alignment"][:, 0].tolist() == pytest.approx(found, abs=1e-9)  # the geometry of a DiT is exact
    geometry = measure_geometry(study_family("dit-4/2"), 64)
    assert found[1] == pytest.approx(measure_alignment(geometry, data_geometry(STUDY.split().train)).of_chance)


def test_each_seed_has_two_haar_rotations_of_its_own(material):
    drawn = [STUDY._turned(name, seed, material)[0] for seed in range(3) for name in (HAAR, OTHER_HAAR)]
    for w in drawn:
        assert torch.allclose(w @ w.T, torch.eye(16, dtype=torch.float64))
    overlaps = [float((a * b).sum().abs()) for i, a in enumerate(drawn) for b in drawn[:i]]
    assert max(overlaps) < 6  # tr W₁ᵀW₂ of independent ones has deviation 1; of equal ones 16


def test_the_papers_settings_name_its_network():
    paper = AlignmentStudy.at("paper")
    assert study_family(paper.network).fingerprint() == NetworkFamily.from_preset("iddpm-28").fingerprint()
    assert (paper.batch_size, paper.updates, paper.seeds) == (500, 100_000, 5)


@pytest.mark.slow
def test_the_tiny_row_gives_a_finding_for_each_claim_and_its_controls_fail():
    study = AlignmentStudy.at("tiny")
    material = study.material()
    rows = Rows([Row(cell, study.run(cell, material)) for cell in study.cells()])
    findings = study.findings(rows)
    assert all(math.isfinite(finding.value) for finding in findings)
    assert {finding.word for finding in findings if finding.claim in CONTROLS} == {"fails, as it must"}
    alignment = rows.array("alignment", "seed", "rotation")
    assert (alignment[:, 0] < alignment[:, 1]).all()
    assert (alignment[:, 1] < alignment[:, 2]).all()
    energy = np.array([row["energy_groups_data"] for row in rows.where(seed=0)])
    assert energy[0].argmax() == 3  # W_min puts the data where the eigenvalues are small
    assert energy[2].argmax() == 0
    assert energy.sum(1) == pytest.approx([energy[0].sum()] * 5, rel=1e-6)  # and loses none of it
    assert len(study.tables(rows)) == 2
