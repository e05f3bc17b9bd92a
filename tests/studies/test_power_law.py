import json
import math

import numpy as np
import pytest

from scoregrain._errors import InvalidInputError
from scoregrain.studies import Row, Rows, find_study
from scoregrain.studies.power_law import PowerLawStudy
from scoregrain.studies.power_law_claims import TIE
from scoregrain.studies.store import plain
from scoregrain.studies.study import cell_key

DATA = ("some/mnist.npz", "cifar10.npz", "digits")
STUDY = find_study("power-law").at("small", data=DATA, sweep=(-0.2, 0.2))


def rows(bound=0.0, jitter=0.02, zeros=3.0, fixed=None, **gains):
    """Rows in which an arm's log SW₂ is this much lower than white noise's, up to a jitter of seeds."""
    arms = {arm: name for name, arm in STUDY.arms.items()}
    made = []
    for i, cell in enumerate(STUDY.cells()):
        dearer = 3.0 if cell["kind"] == "white" else 0.0  # what a noise alone costs in the bound of singular data
        arm = arms.get((cell["kind"], cell["alpha"]))
        level = -gains.get(arm, 0.0) + jitter * math.sin(5 * i)
        values = {
            "sw2": math.exp(level + 0.3 * cell["seed"]),  # what a seed does to all arms alike is nothing
            "spectrum": 0.5,
            "bound": None if bound is None else 9 + dearer + jitter * math.sin(3 * i) - bound * (arm == "strong"),
            "bound_linear": 5 + dearer,
            "count": 100,
            "trained": 60,
            "error": 0.2,
            "error_linear": 0.1,
            "energy": 1.13,
            **{f"sw2_{name}": math.exp(zeros) for name in ("resample", "gaussian", "zeros", "white")},
            **{f"spectrum_{name}": 0.1 for name in ("resample", "gaussian")},
        }
        made.append(Row(cell, values | (fixed or {})))
    return Rows(made)


def found(study_rows):
    return {each.claim: each for each in STUDY.findings(study_rows)}


def test_cells_are_the_claimed_arms_of_all_seeds_and_the_sweep_of_few():
    keys = [cell_key(cell) for cell in STUDY.cells()]
    assert len(set(keys)) == len(keys) == 3 * (7 * 6 + 2 * 2)
    assert keys[0] == "data=mnist,kind=white,alpha=0.0,seed=0"


def test_data_of_one_name_are_refused():
    with pytest.raises(InvalidInputError, match="one name"):
        find_study("power-law").at("tiny", data=("a/mnist.npz", "b/mnist.npz"))


@pytest.mark.parametrize("alphas", [{"alpha": 0.0}, {"strong": 0.0}, {"alpha": -0.5}, {"alpha": 0.5}])
def test_arms_that_are_the_same_are_refused(alphas):
    with pytest.raises(InvalidInputError, match="alpha and ±strong must differ"):
        find_study("power-law").at("tiny", **alphas)


def test_each_data_set_has_its_own_claim_and_there_is_a_control():
    claims = STUDY.claims()
    assert [claim.key for claim in claims[:3]] == ["mnist-improves", "cifar10-tie", "digits-improves"]
    assert [claim.source.startswith("arXiv") for claim in claims[:3]] == [True, True, False]
    assert any(claim.control for claim in claims)


def test_a_gain_of_colour_is_found_and_told_from_one_of_amount():
    judged = found(rows(colour=0.2, strong=0.2, both=0.2, rough=-0.2, bound=0.5))
    assert list(judged) == [claim.key for claim in STUDY.claims()]
    keys = ("mnist-improves", "digits-improves", "colour", "strong", "colour-beyond-amount", "smooth-not-rough")
    for key in (*keys, "bound"):
        assert judged[key].word == "holds", key
    assert judged["cifar10-tie"].word == "refuted"
    assert judged["amount"].word == "undecided"
    assert judged["colour"].value == pytest.approx(0.2, abs=0.02)
    assert judged["smooth-not-rough"].value == pytest.approx(0.4, abs=0.03)
    assert judged["colour"].n == 6
    assert judged["swapped"].word == "fails, as it must"
    assert judged["colour"].note.endswith("0 of 36 cells are worse than zeros")


def test_a_gain_of_amount_is_not_taken_for_one_of_colour():
    judged = found(rows(amount=0.2, both=0.2, literal=0.2))
    assert judged["amount"].word == judged["formula"].word == "holds"
    assert judged["colour"].word == judged["strong"].word == judged["colour-beyond-amount"].word == "undecided"
    assert judged["cifar10-tie"].word == "holds"


def test_what_is_reversed_is_refuted_and_the_control_notices():
    judged = found(rows(colour=-0.2, strong=-0.2, both=-0.2, amount=-0.1, literal=-0.3, rough=0.2, bound=-0.5))
    keys = ("mnist-improves", "colour", "strong", "colour-beyond-amount", "amount", "formula", "smooth-not-rough")
    for key in (*keys, "bound"):
        assert judged[key].word == "refuted", key
    assert judged["swapped"].word == "fails, as it must"


def test_a_noise_that_costs_the_affine_denoiser_as_much_has_no_better_bound():
    judged = found(rows())  # the bound itself is lower by 3 bits under the colour
    assert judged["bound"].value == pytest.approx(0, abs=0.02)
    assert judged["bound"].word == "undecided"


def test_a_gain_whose_sign_goes_with_the_seed_is_noticed_by_the_control():
    made = rows()
    for row in made.where(kind="colour", alpha=STUDY.alpha):
        row.values["sw2"] *= math.exp(-0.3 * (-1) ** row["seed"])
    assert found(made)["swapped"].word == "does not fail"


def test_networks_worse_than_zeros_decide_nothing():
    judged = found(rows(colour=0.2, strong=0.2, both=0.2, rough=-0.2, bound=0.5, zeros=-1.0))
    assert {judged[key].word for key in ("mnist-improves", "colour", "strong", "cifar10-tie")} == {"undecided"}
    assert "36 of 36 cells are worse than zeros" in judged["colour"].note
    assert judged["bound"].word == "holds"
    assert judged["swapped"].word == "fails, as it must"


def test_missing_and_equal_values_leave_claims_open():
    assert {each.word for each in found(rows(fixed={"sw2": None}, bound=None)).values()} == {"undecided"}
    equal = found(rows(jitter=0.0))
    assert equal["colour"].word == "undecided"
    assert equal["cifar10-tie"].word == "holds"


def test_a_tie_needs_an_interval_within_the_margin():
    assert found(rows(colour=0.05))["cifar10-tie"].word == "holds"
    assert found(rows(jitter=0.5))["cifar10-tie"].word == "undecided"
    assert found(rows(colour=-2 * TIE))["cifar10-tie"].word == "refuted"


def test_twice_the_samples_are_held_out_so_that_seeds_differ(monkeypatch):
    asked = []

    def refused(*given):
        asked.append(given)
        raise InvalidInputError("enough is known")

    monkeypatch.setattr("scoregrain.studies.power_law.image_split", refused)
    with pytest.raises(InvalidInputError):
        PowerLawStudy.at("tiny", samples=130).run({"data": "digits", "kind": "white", "alpha": 0.0, "seed": 0}, {})
    assert asked == [("digits", 8, 260, 4000)]


def test_tables_have_every_arm_and_the_trivial_generators():
    tables = STUDY.tables(rows(colour=0.2, fixed={"spectrum": None}))
    assert [table.title.split(",")[0] for table in tables] == ["mnist", "cifar10", "digits"]
    for table in tables:
        assert len(table.rows) == 7 + 2 + 4
        assert all(len(line) == len(table.columns) for line in table.rows)
        assert "100 held-out images; of as many fresh ones 60 are training images" in table.note
        bound = table.rows[0][table.columns.index("bound - linear's, bits/dim")]
        assert float(bound.split()[0]) == pytest.approx(4, abs=0.02)
    assert len(STUDY.figure(rows(fixed={"sw2": None})).axes) == 3


@pytest.mark.slow
def test_the_tiny_row_ends_with_finite_findings_and_a_failing_control():
    study = find_study("power-law").at("tiny")
    made = Rows([Row(cell, json.loads(json.dumps(plain(study.run(cell, {}))))) for cell in study.cells()])
    judged = {each.claim: each for each in study.findings(made)}
    assert list(judged) == [claim.key for claim in study.claims()]
    assert all(each.value is not None and math.isfinite(each.value) for each in judged.values())
    assert judged["swapped"].word == "fails, as it must"
    both, amount = (made.where(kind=kind).array("energy", "seed") for kind in ("both", "amount"))
    assert both == pytest.approx(amount)
    assert np.all(
        made.array("sw2", "kind", "alpha", "seed")[0, 0] > made.where(kind="white").array("sw2_resample", "seed")
    )
