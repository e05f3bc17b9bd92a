"""The study of Theorem 1: verdicts on rows made by hand, and the whole of it, tiny."""

import dataclasses
import math

import numpy as np
import pytest

from scoregrain.studies.linear_dsm import LinearDSMStudy
from scoregrain.studies.linear_statistics import order, slope
from scoregrain.studies.study import Row, Rows

STUDY = LinearDSMStudy.at("tiny", spectra=("oracle",), seeds=3)
VALUES = np.array([8.0, 5.0, 3.0, 2.0, 1.0])
CONTROLS = {"tied", "shifted", "own-eigenvalue", "reversed"}


def row(seed, **changed):
    """What Theorem 1 predicts at σ = 1, D = 5, with a little noise where numbers are sampled."""
    wobble = np.exp(0.01 * np.random.default_rng(seed).standard_normal(5))
    values = {
        "eigenvalues": VALUES,
        "rates": np.array([1.0, 1, 1, 1, 2]),
        "rates_tied": np.ones(5) * 2,
        "rates_shifted": np.ones(5),
        "off_data": 8.0,
        "off_data_shaped": 1.0,
        "times": np.array([2.0, 2.0, 1.9, 1.8, 1.0]),
        "times_along": 1 / VALUES,
        "traces": 12 * VALUES * wobble,
        "traces_function": 12 * VALUES**2 * wobble,
        "traces_white": 12 * VALUES * wobble,
        "traces_shaped": 12 * VALUES**0.3 * wobble,
        "places": [0, 2, 4],
        "stationary": np.array([8.0, 3.0, 1.0]) * wobble[:3],
        "stationary_predicted": np.array([8.0, 3.0, 1.0]),
    }
    values |= changed
    plain = {key: each.tolist() if isinstance(each, np.ndarray) else each for key, each in values.items()}
    return Row({"spectrum": "oracle", "sigma": 1.0, "seed": seed}, plain)


def words(**changed):
    return {each.claim: each.word for each in STUDY.findings(Rows([row(seed, **changed) for seed in range(3)]))}


def test_rows_of_the_theorem_hold_and_the_controls_fail():
    found = words()
    assert {key for key, word in found.items() if word == "fails, as it must"} == CONTROLS
    assert {key for key, word in found.items() if word == "refuted"} == {"along"}
    assert all(word == "holds" for key, word in found.items() if key not in CONTROLS | {"along"})


@pytest.mark.parametrize(
    ("key", "changed"),
    [
        ("rates", {"rates": np.array([1.0, 1, 1, 1.1, 2])}),
        ("smallest", {"rates": np.ones(5)}),
        ("others", {"rates": np.array([1.0, 1.01, 1, 1, 2])}),
        ("time", {"times": np.ones(5)}),
        ("noise", {"traces": VALUES**2}),
        ("noise-function", {"traces_function": VALUES}),
        ("noise-size", {"traces": 24 * VALUES}),
        ("stationary", {"stationary": np.array([16.0, 6.0, 2.0])}),
        ("stationary-slope", {"stationary": np.ones(3)}),
        ("shaped", {"off_data_shaped": 8.0}),
        ("shaped-noise", {"traces_shaped": VALUES**2}),
    ],
)
def test_rows_that_say_otherwise_refute(key, changed):
    assert words(**changed)[key] == "refuted"


@pytest.mark.parametrize(
    ("key", "changed"),
    [
        ("tied", {"rates_tied": np.array([1.0, 1, 1, 1, 2])}),
        ("shifted", {"rates_shifted": np.array([1.0, 1, 1, 1, 2])}),
        ("own-eigenvalue", {"rates": VALUES}),
        ("reversed", {"traces": VALUES[::-1].copy()}),
    ],
)
def test_controls_can_be_seen_not_to_fail(key, changed):
    assert words(**changed)[key] == "does not fail"


def test_missing_numbers_leave_claims_undecided():
    gone = [None] * 5
    found = words(rates=gone, traces=gone, times=gone, off_data=None, off_data_shaped=None)
    assert {found[key] for key in ("rates", "smallest", "others", "noise", "noise-size", "shaped")} == {"undecided"}
    assert found["along"] == "refuted"


def test_every_claim_has_a_finding_and_every_pair_its_cell():
    study = LinearDSMStudy.at("small")
    assert len(study.cells()) == 8 * 3 * 3
    assert len({tuple(cell.values()) for cell in study.cells()}) == 72
    keys = [claim.key for claim in STUDY.claims()]
    assert keys == [each.claim for each in STUDY.findings(Rows([row(seed) for seed in range(3)]))]
    assert {claim.key for claim in STUDY.claims() if claim.control} == CONTROLS


def test_the_slope_is_that_of_a_power_law():
    assert slope([1, 2, 4, 8], [3, 12, 48, None]) == pytest.approx(2)
    assert math.isnan(slope([1, 1], [2, 3]))


def test_equal_times_have_no_order_and_unfinished_ones_are_longest():
    assert order(row(0, times=[1.0, 1.0, 1.0, 1.0, 1.0]), "times") == 0
    assert order(row(0, times=[None, 4.0, 3.0, 2.0, 1.0]), "times") == 1


def test_the_oracle_cell_finds_t1_and_t3():
    study = dataclasses.replace(STUDY, chains=4, draws=4000)
    found = study.run({"spectrum": "oracle", "sigma": 1.0, "seed": 0}, study.material())
    assert found["rates"] == pytest.approx([1, 1, 1, 1, 2], rel=1e-9)
    assert found["traces"] == pytest.approx([96, 60, 36, 24, 12], rel=0.15)


@pytest.mark.slow
def test_the_tiny_row_confirms_the_theorem_and_its_conditions():
    study = LinearDSMStudy.at("tiny")
    material = study.material()
    rows = Rows([Row(cell, study.run(cell, material)) for cell in study.cells()])
    found = {each.claim: each for each in study.findings(rows)}
    assert all(each.value is not None and math.isfinite(each.value) for each in found.values())
    assert {key for key, each in found.items() if each.word == "fails, as it must"} == CONTROLS
    assert {key for key, each in found.items() if each.word == "holds"} == set(found) - CONTROLS - {"along"}
    assert found["along"].value == pytest.approx(-1)  # the larger λ_i, the sooner its own error is gone
    assert [len(table.rows) for table in study.tables(rows)] == [2, 2]
    assert len(study.figure(rows).axes) == 3
