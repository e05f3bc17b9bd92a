"""The study of Theorem 1: verdicts on rows made by hand, and the whole of it, tiny."""

import dataclasses
import math

import numpy as np
import pytest

from scoregrain.studies.linear_dsm import LinearDSMStudy
from scoregrain.studies.linear_statistics import order, share_of_few, slope
from scoregrain.studies.study import Row, Rows

STUDY = LinearDSMStudy.at("tiny", spectra=("oracle",), seeds=3)
VALUES = np.array([8.0, 5.0, 3.0, 2.0, 1.0])
CONTROLS = {"tied", "shifted", "own-eigenvalue", "reversed"}


def row(seed, spectrum="oracle", **changed):
    """What Theorem 1 predicts at σ = 1, D = 5, with a little noise where numbers are sampled."""
    wobble = np.exp(0.01 * np.random.default_rng(seed).standard_normal(5))
    values = {
        "eigenvalues": VALUES,
        "rates": np.array([1.0, 1, 1, 1, 2]),
        "rates_tied": np.ones(5) * 2,
        "rates_shifted": np.ones(5),
        "off_data": 8.0,
        "off_data_shaped": 1.0,
        "times": np.array([2.0, 2.0, 2.0, 1.99, 1.0]),
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
    return Row({"spectrum": spectrum, "sigma": 1.0, "seed": seed}, plain)


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
        ("time", {"times": np.array([1.0, 1.0, 1.0, 1.0, 2.0])}),
        ("time-few", {"times": np.array([16.0, 8.0, 4.0, 2.0, 1.0])}),
        ("along", {"times_along": np.ones(5)}),
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
    lost = ("rates", "smallest", "others", "time", "time-few", "noise", "noise-size", "shaped")
    assert {found[key] for key in (*lost, "own-eigenvalue", "reversed")} == {"undecided"}
    assert found["along"] == "refuted"


def test_equal_times_do_not_fall_and_have_no_difference_to_place():
    found = words(times=np.ones(5))
    assert (found["time"], found["time-few"]) == ("holds", "undecided")


def test_tables_and_figure_are_made_of_rows_that_lack_numbers():
    """A time that was not reached is None."""
    gone = [None] * 5
    rows = Rows([row(seed, times=[None, 2.0, 2.0, 2.0, None], rates=gone, off_data=None) for seed in range(3)])
    rates, noise = STUDY.tables(rows)
    assert rates.rows[0] == ("oracle", "1", "nan", "nan", "1.000", "1.000", "nan", "0.125", "nan", "1")
    assert noise.note.endswith("oracle 3.")
    assert len(STUDY.figure(rows).axes) == 3


def test_sampled_claims_are_judged_by_the_worst_spectrum():
    """The mean of the two slopes would be within the margin."""
    study = LinearDSMStudy.at("tiny", spectra=("oracle", "unet-8"), seeds=3)
    steep = [row(seed, "oracle", traces=VALUES**1.2, stationary=VALUES[[0, 2, 4]] ** 1.3) for seed in range(3)]
    flat = [row(seed, "unet-8", traces=VALUES**0.85, stationary=VALUES[[0, 2, 4]] ** 0.6) for seed in range(3)]
    found = {each.claim: each for each in study.findings(Rows([*steep, *flat]))}
    assert (found["noise"].word, found["noise"].n) == ("refuted", 3)
    assert found["noise"].value == pytest.approx(1.2)
    assert found["noise"].note == "worst of 2: oracle at σ = 1"
    assert found["stationary-slope"].note == "worst of 2: unet-8 at σ = 1"


def test_a_control_is_judged_by_the_spectrum_that_comes_nearest():
    study = LinearDSMStudy.at("tiny", spectra=("oracle", "unet-8"), seeds=3)
    rows = [row(seed, "oracle") for seed in range(3)]
    rows += [row(seed, "unet-8", traces=VALUES[::-1].copy()) for seed in range(3)]
    found = {each.claim: each for each in study.findings(Rows(rows))}["reversed"]
    assert (found.word, found.note) == ("does not fail", "nearest of 2: unet-8 at σ = 1")


def test_the_share_of_the_smallest_few_is_of_the_log():
    """⌈5/4⌉ = 2 directions: from u_3 on, two of four factors of two."""
    assert share_of_few(row(0, times=[16.0, 8.0, 4.0, 2.0, 1.0])) == pytest.approx(0.5)


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
    assert math.isnan(order(row(0, times=[None] * 5), "times"))


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
