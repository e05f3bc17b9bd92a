import math

import numpy as np
import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.studies import Row, Rows, find_study
from scoregrain.studies.predict import PredictStudy
from scoregrain.studies.predictors import HALVES, PREDICTORS

pytestmark = pytest.mark.filterwarnings("ignore::scoregrain._errors.TimeBlindWarning")

STUDY = PredictStudy.at("small")
CONTROLS = ("control-sw2", "control-denoising")
ALPHA = np.random.default_rng(1).normal(size=(8, 7))


def hand_made(quality=None, study=STUDY, sign=1.0, noise=0.05):
    """Rows whose outcomes follow one predictor, by default α over chance; all other predictors are noise."""
    rows, rng = [], np.random.default_rng(0)
    others = {name: rng.normal(size=(8, 7)) for name in (*PREDICTORS, *HALVES)}
    known = {**others, "alpha": ALPHA, "alpha_first": ALPHA, "alpha_second": ALPHA + 0.3 * rng.normal(size=(8, 7))}
    drives = known[quality or "alpha"]
    for seed in range(study.seeds):
        for i, data in enumerate(study.datasets):
            for j, network in enumerate(study.networks):
                log = sign * drives[i, j] + noise * rng.normal()
                values = {name: float(each[i, j]) for name, each in known.items()}
                values |= {"sw2": 0.1 * math.exp(log), "denoising": 0.2 * math.exp(log)}
                values |= {"sw2_resample": 0.1, "sw2_zeros": 1.0, "sw2_white": 0.6, "loss": 0.1}
                rows.append(Row({"seed": seed, "network": network, "data": data}, values))
    return Rows(rows)


def findings(rows, study=STUDY):
    return {finding.claim: finding for finding in study.findings(rows)}


def test_the_study_is_registered_and_declares_a_finding_for_each_claim():
    assert find_study("predict") is PredictStudy
    claims = STUDY.claims()
    assert [claim.key for claim in claims] == list(findings(hand_made()))
    assert tuple(claim.key for claim in claims if claim.control) == CONTROLS


def test_half_of_the_data_sets_are_held_out_before_anything_is_run():
    assert len(STUDY.held_out) == 4
    assert set(STUDY.held_out) < set(STUDY.datasets)
    assert all(data in " ".join(claim.statistic for claim in STUDY.claims()) for data in STUDY.held_out)
    assert STUDY.held_out == PredictStudy.at("small", seeds=5, networks=("mlp-8", "linear-8")).held_out


def test_every_family_meets_every_data_set_seed_by_seed():
    cells = STUDY.cells()
    assert len(cells) == len({tuple(cell.values()) for cell in cells}) == 3 * 7 * 8
    assert {cell["seed"] for cell in cells[:56]} == {0}
    assert STUDY.size == 8
    with pytest.raises(InvalidInputError, match="one size"):
        _ = PredictStudy.at("small", networks=("mlp-8", "mlp-4")).size


def test_alpha_is_validated_where_outcomes_follow_it():
    found = findings(hand_made())
    keys = ("rank-sw2", "rank-denoising", "pooled-sw2", "chosen-sw2", "chosen-denoising")
    assert {found[key].word for key in keys} == {"holds"}
    assert "chosen: larger α over chance, worse" in found["chosen-sw2"].note
    assert {found[key].word for key in CONTROLS} == {"fails, as it must"}
    assert found["rank-sw2"].n == 8
    assert found["chosen-sw2"].n == 28


def test_alpha_is_refuted_where_outcomes_go_against_it_and_the_choice_takes_its_sign():
    found = findings(hand_made(sign=-1))
    assert {found[key].word for key in ("rank-sw2", "rank-denoising", "pooled-sw2")} == {"refuted"}
    assert found["chosen-sw2"].word == found["chosen-denoising"].word == "holds"
    assert "chosen: smaller α over chance, worse" in found["chosen-sw2"].note
    assert {found[key].word for key in CONTROLS} == {"fails, as it must"}


def test_another_predictor_is_found_where_outcomes_follow_it():
    found = findings(hand_made("trace"))
    assert "chosen: larger tr G, worse" in found["chosen-sw2"].note
    assert found["chosen-sw2"].word == "holds"
    assert found["rank-sw2"].word == "undecided"


def test_a_predictor_that_turns_round_on_held_out_data_is_refuted():
    rows = hand_made()
    for row in rows:
        if row.cell["data"] in STUDY.held_out:
            row.values["sw2"] = 0.01 / row.values["sw2"]
    found = findings(rows)
    assert found["chosen-sw2"].word == "refuted"
    assert found["chosen-denoising"].word == "holds"


def test_noise_predicts_nothing():
    found = findings(hand_made(sign=0, noise=1))
    assert {finding.word for key, finding in found.items() if key not in CONTROLS} == {"undecided"}


def test_the_reliability_is_that_of_the_halves():
    rows = hand_made()
    table = [rows.array(name, "data", "network", "seed")[..., 0].flatten() for name in HALVES]
    r = np.corrcoef(*table)[0, 1]
    assert f"reliability of α over cells {2 * r / (1 + r):.3f}" in findings(rows)["rank-sw2"].note


def test_missing_outcomes_count_as_the_worst():
    rows = hand_made()
    worst = max(range(7), key=lambda j: ALPHA[0, j])
    for row in rows.where(data="digits", network=STUDY.networks[worst]):
        row.values["sw2"] = None
    found = findings(rows)
    assert found["rank-sw2"].word == "holds"
    assert "3 outcomes are no numbers" in found["rank-sw2"].note
    assert len(STUDY.tables(rows)) == 2
    STUDY.figure(rows)


def test_equal_outcomes_are_no_finding():
    rows = hand_made(sign=0, noise=0)
    assert {finding.word for key, finding in findings(rows).items() if key not in CONTROLS} == {"undecided"}


def test_tables_tell_correlations_and_cells():
    predictors, cells = STUDY.tables(hand_made())
    assert predictors.rows[0][0] == "α over chance"
    assert float(predictors.rows[0][1]) > 0.9
    assert len(predictors.rows) == len(PREDICTORS)
    assert len(cells.rows) == 56
    assert cells.rows[0][:3] == ("digits", "unet-8", f"{ALPHA[0, 0]:.3g}")
    assert cells.rows[0][-2:] == ("10", "6")  # zeros and white noise over fresh data


def test_data_are_the_same_for_all_families_and_fresh_ones_are_others():
    one, two = (PredictStudy.at("tiny").split("smooth") for _ in range(2))
    assert torch.equal(one.train.pixels, two.train.pixels)
    assert len(one.held_out) == 256
    assert not torch.equal(one.train.pixels[:256], one.held_out.pixels)


@pytest.mark.slow
def test_the_tiny_row_gives_a_finding_for_each_claim_and_its_controls_fail():
    study = PredictStudy.at("tiny")
    material = study.material()
    rows = Rows([Row(cell, study.run(cell, material)) for cell in study.cells()])
    found = study.findings(rows)
    assert all(math.isfinite(finding.value) for finding in found)
    assert {finding.word for finding in found if finding.claim in CONTROLS} == {"fails, as it must"}
    alpha = rows.array("alpha", "data", "network", "seed")[..., 0]
    assert alpha[:, 3] == pytest.approx(1)  # the linear map's geometry is isotropic
    denoising = rows.array("denoising", "data", "network", "seed")[..., 0]
    assert (denoising[:, :2] < denoising[:, 3:]).all()  # transformers learn what a time-blind linear map cannot
    assert len(study.tables(rows)) == 2
