import math
from functools import partial

import numpy as np
import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.studies import Row, Rows, find_study, predict_judgement
from scoregrain.studies.predict import PredictStudy
from scoregrain.studies.predict_judgement import Judgement
from scoregrain.studies.predict_statistics import pooled
from scoregrain.studies.predictors import HALVES, KNOWN, PREDICTORS

pytestmark = pytest.mark.filterwarnings("ignore::scoregrain._errors.TimeBlindWarning")

STUDY = PredictStudy.at("small")
CONTROLS = ("control-sw2", "control-denoising", "control-constants-sw2", "control-constants-denoising")
ALPHA = np.exp(np.random.default_rng(1).normal(size=(8, 8)))
QUICK = 100  # choices among random constants


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(predict_judgement, "DRAWS", QUICK)
    for name, fewer in {"crossed_interval": {"draws": 1000}, "network_permutations": {"most": 500}}.items():
        monkeypatch.setattr(predict_judgement, name, partial(getattr(predict_judgement, name), **fewer))


def hand_made(quality=None, study=STUDY, sign=1.0, noise=0.05, drives=None, zeros=1e9):
    """Rows whose log outcomes follow one predictor, by default α over chance; all other predictors are noise."""
    rows, rng = [], np.random.default_rng(0)
    others = {name: rng.normal(size=(8, 8)) for name in KNOWN}
    known = {**others, "alpha": ALPHA, "alpha_first": ALPHA, "alpha_second": ALPHA + 0.3 * rng.normal(size=(8, 8))}
    if drives is None:
        drives = np.log(ALPHA) if quality is None else known[quality]
    for seed in range(study.seeds):
        for i, data in enumerate(study.datasets):
            for j, network in enumerate(study.networks):
                log = sign * drives[i, j] + noise * rng.normal()
                values = {name: float(each[i, j]) for name, each in known.items()}
                values |= {"sw2": 0.1 * math.exp(log), "denoising": 0.2 * math.exp(log)}
                values |= {"sw2_resample": 0.1, "sw2_zeros": zeros, "sw2_white": 6 * zeros, "loss": 0.1}
                rows.append(Row({"seed": seed, "network": network, "data": data}, values))
    return Rows(rows)


def findings(rows, study=STUDY):
    return {finding.claim: finding for finding in study.findings(rows)}


def test_the_study_is_registered_and_declares_a_finding_for_each_claim():
    assert find_study("predict") is PredictStudy
    claims = STUDY.claims()
    assert [claim.key for claim in claims] == list(findings(hand_made()))
    assert tuple(claim.key for claim in claims if claim.control) == CONTROLS


def test_what_is_held_out_is_declared_and_both_sides_have_smooth_and_rough_data():
    assert STUDY.declared()["held_out"] == ["digits", "rough", "low", "rough-mixture"]
    assert [data for data in STUDY.datasets if data not in STUDY.held_out] == ["smooth", "high", "pixel", "mixture"]
    statistic = {claim.key: claim.statistic for claim in STUDY.claims()}["chosen-sw2"]
    assert all(name in statistic for name in (*STUDY.held_out, *STUDY.fold))
    for wrong in ({"held_out": ("digit",)}, {"held_out": STUDY.datasets}, {"fold": ()}):
        with pytest.raises(InvalidInputError, match="must be some of"):
            PredictStudy.at("small", **wrong)
    with pytest.raises(InvalidInputError, match="8 learning rates"):
        PredictStudy.at("small", learning_rates=(1e-3,))


def test_every_family_meets_every_data_set_seed_by_seed():
    cells = STUDY.cells()
    assert len(cells) == len({tuple(cell.values()) for cell in cells}) == 2 * 8 * 8
    assert {cell["seed"] for cell in cells[:64]} == {0}
    assert STUDY.size == 8
    with pytest.raises(InvalidInputError, match="one size"):
        _ = PredictStudy.at("small", networks=("mlp-8", "mlp-4"), fold=("mlp-4",), learning_rates=(1e-3, 1e-3)).size


def test_alpha_is_validated_where_outcomes_follow_it():
    found = findings(hand_made())
    keys = ("rank-sw2", "rank-denoising", "interaction-sw2", "interaction-denoising", "pooled-sw2", "chosen-sw2")
    keys += ("anisotropic-sw2", "anisotropic-denoising")
    assert {found[key].word for key in keys} == {"holds"}
    assert found["chosen-denoising"].value > 0.9
    assert "chosen: larger α over chance, worse" in found["chosen-sw2"].note
    assert {found[key].word for key in CONTROLS} == {"fails, as it must"}
    assert found["rank-sw2"].n == 8
    assert found["chosen-sw2"].n == 32  # both folds, on four data sets
    assert f"p = {1 / (1 + QUICK):.2g} by choices among random constants" in found["chosen-sw2"].note
    assert "0 of 128 cells are worse than the nearer of zeros and white noise" in found["rank-sw2"].note


def test_alpha_is_refuted_where_outcomes_go_against_it_and_the_choice_takes_its_sign():
    found = findings(hand_made(sign=-1))
    assert {found[key].word for key in ("rank-sw2", "interaction-sw2", "pooled-sw2")} == {"refuted"}
    assert found["chosen-sw2"].word == "holds"
    assert found["chosen-denoising"].value > 0.9
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
    assert found["chosen-denoising"].value > 0.9


def test_families_that_are_good_at_everything_validate_no_constant_of_theirs():
    quality = np.tile(np.array([0.0, 1, 2, 3, 0.5, 1.5, 2.5, 3.5]), (8, 1))
    rows = hand_made(drives=quality)
    for row in rows:  # a label: it orders one fold by quality and the other against it
        j = STUDY.networks.index(row.cell["network"])
        row.values["parameters"] = quality[0, j] if j < 4 else -quality[0, j]
    found = findings(rows)
    assert found["chosen-denoising"].word == "refuted"  # and would hold if the same families judged
    assert found["control-constants-denoising"].word == "fails, as it must"
    assert found["control-constants-denoising"].interval[0] < -0.5


def test_random_constants_would_pass_if_the_same_families_chose_and_judged():
    rows = hand_made(drives=np.tile(np.arange(8.0), (8, 1)))
    judgement = Judgement(STUDY, rows)
    constants = np.random.default_rng(3).normal(size=(50, 8, 1, 8))
    leaking = []
    for each in constants:
        values = pooled(np.broadcast_to(each, (8, 8, 8)), judgement.means["sw2"][None])
        leaking.append(np.abs(values).max())
    assert np.quantile(leaking, 0.025) > 0.2  # the best of eight labels always predicts the families that it labels


def test_capability_alone_is_no_interaction():
    isotropic_are_worst = np.tile(np.array([0.0, 0.2, 3, 3, 0.1, 0.3, 0.4, 0.2]), (8, 1))
    rows = hand_made(drives=isotropic_are_worst)
    for row in rows:
        j = STUDY.networks.index(row.cell["network"])
        row.values["alpha"] = 1.0 if j in (2, 3) else 0.5 + 0.1 * ALPHA[STUDY.datasets.index(row.cell["data"]), j] / 9
    found = findings(rows)
    assert found["rank-sw2"].value > 0.4
    assert found["anisotropic-sw2"].word == "undecided"
    assert found["interaction-sw2"].word == "undecided"
    assert abs(found["interaction-sw2"].value) < 0.25


def test_data_where_even_the_best_family_is_worse_than_zeros_decide_nothing():
    found = findings(hand_made(zeros=1e-9))
    keys = ("rank-sw2", "anisotropic-sw2", "interaction-sw2", "pooled-sw2", "chosen-sw2")
    assert {found[key].word for key in keys} == {"undecided"}
    assert "128 of 128 cells are worse than the nearer" in found["rank-sw2"].note
    assert found["rank-denoising"].word == "holds"
    assert {found[key].word for key in CONTROLS} == {"fails, as it must"}


def test_a_turned_geometry_that_predicted_would_be_noticed():
    found = findings(hand_made("alpha_turned"))
    assert found["control-sw2"].word == found["control-denoising"].word == "does not fail"
    assert found["rank-sw2"].word == "undecided"


def test_families_without_a_grain_hide_an_order_that_those_with_one_have():
    drives = np.log(ALPHA)
    drives[:, 2:4] = 9.0  # as the mean over pixels and the linear map: isotropic, and the worst
    rows = hand_made(drives=drives)
    for row in rows:
        if row.cell["network"] in STUDY.networks[2:4]:
            row.values["alpha"] = 1.0
    found = findings(rows)
    assert (found["anisotropic-sw2"].word, found["anisotropic-sw2"].n) == ("holds", 8)
    assert found["anisotropic-sw2"].value > 0.9
    assert found["rank-sw2"].value < 0.7


def test_white_noise_that_is_nearer_than_zeros_is_what_samples_must_beat():
    rows = hand_made()
    for row in rows:
        row.values["sw2_white"] = 1e-9
    assert findings(rows)["rank-sw2"].word == "undecided"


def test_one_good_family_is_enough_for_a_data_set_to_count():
    rows = hand_made()
    for row in rows:
        row.values["sw2_white"] = row.values["sw2_zeros"] = 1.0001 * min(
            each["sw2"] for each in rows.where(data=row["data"], seed=row["seed"])
        )
    assert findings(rows)["rank-sw2"].word == "holds"


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
    worst = max(range(8), key=lambda j: ALPHA[0, j])
    for row in rows.where(data="digits", network=STUDY.networks[worst]):
        row.values["sw2"] = None
    found = findings(rows)
    assert found["rank-sw2"].word == "holds"
    assert "2 outcomes are no numbers" in found["rank-sw2"].note
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
    assert len(cells.rows) == 64
    assert len(predictors.columns) == 9
    assert cells.rows[0][:3] == ("digits", "unet-8", f"{ALPHA[0, 0]:.3g}")
    assert cells.rows[0][-2:] == ("1e+10", "6e+10")  # zeros and white noise over fresh data


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
    assert [finding.claim for finding in found if finding.value is None] == []
    assert {finding.word for finding in found if finding.claim in CONTROLS} == {"fails, as it must"}
    alpha = rows.array("alpha", "data", "network", "seed")[..., 0]
    assert alpha[:, 3] == pytest.approx(1)  # the linear map's geometry is isotropic
    denoising = rows.array("denoising", "data", "network", "seed")[..., 0]
    assert (denoising[:, :2] < denoising[:, 3:]).all()  # transformers learn what a time-blind linear map cannot
    assert len(study.tables(rows)) == 2
