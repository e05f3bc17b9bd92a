"""The limit study: closed forms of one Gaussian, verdicts on rows made by hand, and the whole of it, tiny."""

import dataclasses
import math

import numpy as np
import pytest

from scoregrain.studies.score_limit import LAWS, ScoreLimitStudy, crossovers, order_of
from scoregrain.studies.study import Row, Rows

STUDY = ScoreLimitStudy.at("tiny")
CONTROLS = {"off-support", "reversed"}
SIGMAS = np.logspace(-4, 2, 61)
POWERS = {"white": 0.0, "power-law:alpha=-0.5": -0.5, "power-law:alpha=0.5": 0.5}


def row(noise="white", seed=0, law="density", power=1.0, order=2, off=-2, on=2):
    """A Gaussian of spectrum S under noise of power w²: the error is σ²w²/(S + σ²w²), exactly."""
    radii = np.linspace(0.05, 0.7, 8)
    inside = 1 / (1 + (radii / 0.1) ** 2)
    gain = radii ** (2 * POWERS[noise])
    share = SIGMAS[None] ** order * gain[:, None] ** power / inside[:, None]
    errors = share / (1 + share) * math.exp(0.001 * seed)
    whole = {"density": errors.mean(0), "off-support": SIGMAS**off, "on-support": SIGMAS**on}[law]
    return Row(
        {"law": law, "noise": noise, "seed": seed},
        {
            "sigmas": SIGMAS.tolist(),
            "error": whole.tolist(),
            "radii": radii.tolist(),
            "noise_power": gain.tolist(),
            "inside": inside.tolist(),
            "whole": (inside + (3 + 0.1 * seed) * inside**2).tolist(),
            "errors": errors.tolist(),
        },
    )


def rows(seeds=6, **changed):
    return Rows(
        [
            row(noise, seed, law, **changed)
            for seed in range(seeds)
            for law, noise in [*(("density", noise) for noise in POWERS), *((law, "white") for law in LAWS[1:])]
        ]
    )


def words(**changed):
    return {each.claim: each.word for each in STUDY.findings(rows(**changed))}


def test_crossovers_of_a_gaussian_are_where_noise_has_its_power():
    found = row("power-law:alpha=0.5")
    expected = np.sqrt(np.array(found["inside"]) / found["noise_power"])
    np.testing.assert_allclose(crossovers(found), expected, rtol=0.01)


def test_a_crossover_that_is_not_reached_is_no_number():
    low = row()
    low.values["errors"][0] = [0.1] * len(SIGMAS)
    low.values["errors"][1] = [None] * len(SIGMAS)
    assert np.isnan(crossovers(low)).tolist() == [True, True] + [False] * 6


def test_the_order_of_a_gaussian_is_two():
    assert order_of(row()["error"], row()) == pytest.approx(2, abs=0.01)


def test_rows_of_the_theorem_hold_and_the_controls_fail():
    found = words()
    assert {key for key, word in found.items() if word == "fails, as it must"} == CONTROLS
    assert all(word == "holds" for key, word in found.items() if key not in CONTROLS)


def test_another_order_refutes_the_first_claims():
    found = words(order=1)
    assert (found["order"], found["order-everywhere"]) == ("refuted", "refuted")


def test_crossovers_that_do_not_follow_the_noise_refute():
    """A noise whose colour changes nothing: crossovers stay where they are."""
    found = words(power=0.0)
    assert found["later"] == "refuted"
    assert found["order"] == "holds"


def test_on_the_support_another_order_refutes():
    assert words(on=1)["on-support"] == "refuted"
    assert words(on=-2)["on-support"] == "refuted"


def test_the_power_that_counts_is_the_one_that_leaves_less_spread():
    """Not the smaller one: in proportion to it, the power of the whole law explains crossovers as well."""
    many = rows()
    for each in many:
        each.values["whole"] = (np.array(each["inside"]) * (3 + 0.1 * each["seed"])).tolist()
    assert next(each.word for each in STUDY.findings(many) if each.claim == "inside") == "undecided"
    for each in many:
        each.values["whole"], each.values["inside"] = each["inside"], (np.array(each["inside"]) ** 1.5).tolist()
    assert next(each.word for each in STUDY.findings(many) if each.claim == "inside") == "refuted"


def test_controls_can_be_seen_not_to_fail():
    assert words(off=2)["off-support"] == "does not fail"
    flipped = [dataclasses.replace(each, values={**each.values, "errors": each["errors"][::-1]}) for each in rows()]
    white = Rows([each for each in flipped if each["noise"] == "white"])
    found = {each.claim: each.word for each in dataclasses.replace(STUDY, noises=("white",)).findings(white)}
    assert (found["reversed"], found["crossover"]) == ("does not fail", "refuted")


def test_missing_numbers_leave_claims_undecided():
    broken = rows()
    for each in broken:
        each.values["error"] = [None] * len(SIGMAS)
        each.values["errors"] = [[None] * len(SIGMAS)] * 8
    assert {each.word for each in STUDY.findings(broken)} == {"undecided"}


def test_cells_pair_all_noises_with_every_seed():
    cells = ScoreLimitStudy.at("small").cells()
    assert len(cells) == 8 * 7
    assert {law: sum(cell["law"] == law for cell in cells) for law in LAWS[1:]} == dict.fromkeys(LAWS[1:], 8)
    assert [claim.key for claim in STUDY.claims()] == [each.claim for each in STUDY.findings(rows())]


def test_a_cell_measures_order_two_and_crossovers_below_the_power():
    study = dataclasses.replace(STUDY, points=16)
    found = Row(study.cells()[1], study.run(study.cells()[1], {}))
    assert order_of(found["error"], found) == pytest.approx(2, abs=0.02)
    scaled = crossovers(found)[1:] ** 2 * np.array(found["noise_power"])[1:] / np.array(found["inside"])[1:]
    assert (scaled > 0.3).all()
    assert (scaled < 1).all()  # the narrowest component turns last and has the largest score


def test_a_score_without_a_density_diverges_off_its_support_and_has_a_limit_on_it():
    study = dataclasses.replace(STUDY, points=16)
    for law, order in (("off-support", -2), ("on-support", 2)):
        cell = {"law": law, "noise": "white", "seed": 0}
        found = Row(cell, study.run(cell, {}))
        assert order_of(found["error"], found) == pytest.approx(order, abs=0.02)
        lost = np.isnan(np.array(found["errors"])).all(1)  # frequencies the law does not have
        assert (lost == (np.array(found["radii"]) > 0.5001 * max(found["radii"]))).all()


@pytest.mark.slow
def test_the_tiny_row_confirms_the_limit_and_its_condition():
    rows = Rows([Row(cell, STUDY.run(cell, {})) for cell in STUDY.cells()])
    found = {each.claim: each for each in STUDY.findings(rows)}
    assert all(each.value is not None and math.isfinite(each.value) for each in found.values())
    assert {key for key, each in found.items() if each.word == "fails, as it must"} == CONTROLS
    assert found["order"].word == "holds"
    assert found["off-support"].value == pytest.approx(-2, abs=1e-6)
    assert found["on-support"].word == "holds"
    assert len(STUDY.tables(rows)[0].rows) == 5
    assert len(STUDY.figure(rows).axes) == 3
