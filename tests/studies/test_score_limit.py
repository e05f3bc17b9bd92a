"""The limit study: closed forms of one Gaussian, verdicts on rows made by hand, and the whole of it, tiny."""

import dataclasses
import math

import numpy as np
import pytest

from scoregrain.studies.score_limit import ScoreLimitStudy, crossovers, order_of
from scoregrain.studies.study import Row, Rows

STUDY = ScoreLimitStudy.at("tiny")
CONTROLS = {"singular", "reversed"}
SIGMAS = np.logspace(-4, 2, 61)
POWERS = {"white": 0.0, "power-law:alpha=-0.5": -0.5, "power-law:alpha=0.5": 0.5}


def row(noise="white", seed=0, law="density", power=1.0, order=2, singular=-2):
    """A Gaussian of spectrum S under noise of power w²: the error is σ²w²/(S + σ²w²), exactly."""
    radii = np.linspace(0.05, 0.7, 8)
    inside = 1 / (1 + (radii / 0.1) ** 2)
    gain = radii ** (2 * POWERS[noise])
    share = SIGMAS[None] ** order * gain[:, None] ** power / inside[:, None]
    errors = share / (1 + share) * math.exp(0.001 * seed)
    whole = SIGMAS**singular if law == "singular" else errors.mean(0)
    return Row(
        {"law": law, "noise": noise, "seed": seed},
        {
            "sigmas": SIGMAS.tolist(),
            "error": whole.tolist(),
            "radii": radii.tolist(),
            "noise_power": gain.tolist(),
            "inside": inside.tolist(),
            "whole": (inside * (3 + 0.1 * seed)).tolist(),
            "errors": errors.tolist(),
        },
    )


def rows(seeds=6, **changed):
    return Rows(
        [
            row(noise, seed, law, **changed)
            for seed in range(seeds)
            for law, noise in [*(("density", noise) for noise in POWERS), ("singular", "white")]
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


def test_controls_can_be_seen_not_to_fail():
    assert words(singular=2)["singular"] == "does not fail"
    flipped = [dataclasses.replace(each, values={**each.values, "errors": each["errors"][::-1]}) for each in rows()]
    white = Rows([each for each in flipped if each["noise"] == "white"])
    found = {each.claim: each.word for each in dataclasses.replace(STUDY, noises=("white",)).findings(white)}
    assert (found["reversed"], found["crossover"]) == ("does not fail", "refuted")


def test_missing_numbers_leave_claims_undecided():
    broken = rows()
    for each in broken:
        each.values["error"] = [None] * len(SIGMAS)
        each.values["errors"] = [[None] * len(SIGMAS)] * 8
    assert {each.word for each in STUDY.findings(broken) if each.claim not in CONTROLS} == {"undecided"}


def test_cells_pair_all_noises_with_every_seed():
    cells = ScoreLimitStudy.at("small").cells()
    assert len(cells) == 8 * 6
    assert sum(cell["law"] == "singular" for cell in cells) == 8
    assert [claim.key for claim in STUDY.claims()] == [each.claim for each in STUDY.findings(rows())]


def test_a_cell_measures_order_two_and_crossovers_below_the_power():
    study = dataclasses.replace(STUDY, points=16)
    found = Row(study.cells()[1], study.run(study.cells()[1], {}))
    assert order_of(found["error"], found) == pytest.approx(2, abs=0.02)
    scaled = crossovers(found)[1:] ** 2 * np.array(found["noise_power"])[1:] / np.array(found["inside"])[1:]
    assert (scaled > 0.3).all()
    assert (scaled < 1).all()  # the narrowest component turns last and has the largest score


@pytest.mark.slow
def test_the_tiny_row_confirms_the_limit_and_its_condition():
    rows = Rows([Row(cell, STUDY.run(cell, {})) for cell in STUDY.cells()])
    found = {each.claim: each for each in STUDY.findings(rows)}
    assert all(each.value is not None and math.isfinite(each.value) for each in found.values())
    assert {key for key, each in found.items() if each.word == "fails, as it must"} == CONTROLS
    assert found["order"].word == "holds"
    assert found["singular"].value == pytest.approx(-2, abs=1e-6)
    assert len(STUDY.tables(rows)[0].rows) == 4
    assert len(STUDY.figure(rows).axes) == 3
