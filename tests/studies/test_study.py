import math

import numpy as np
import pytest

from scoregrain._errors import InvalidInputError
from scoregrain.studies import STUDIES, Row, Rows, find_study
from scoregrain.studies.study import SCALES, Claim, cell_key, judged, word_for
from tests.studies.cases import Coins

ROWS = Rows([Row({"seed": s, "arm": a}, {"v": 10 * s + i}) for s in range(2) for i, a in enumerate("abc")])


def test_values_are_arranged_by_axes():
    assert ROWS.array("v", "seed", "arm").tolist() == [[0, 1, 2], [10, 11, 12]]
    assert ROWS.array("v", "arm", "seed").tolist() == [[0, 10], [1, 11], [2, 12]]
    assert ROWS.where(arm="b").array("v", "seed").tolist() == [1, 11]
    assert ROWS.levels("arm") == ["a", "b", "c"]


def test_what_is_missing_is_no_number_and_what_is_ambiguous_is_refused():
    lacking = Rows([*ROWS[:5], Row({"seed": 1, "arm": "c"}, {"v": None})])
    assert np.isnan(lacking.array("v", "seed", "arm")[1, 2])
    assert np.isnan(ROWS[:5].array("v", "seed", "arm")[1, 2])
    with pytest.raises(InvalidInputError, match="name another axis"):
        ROWS.array("v", "seed")


def test_a_row_gives_entries_of_its_cell_and_its_values():
    assert (ROWS[4]["arm"], ROWS[4]["v"]) == ("b", 11)


@pytest.mark.parametrize(
    ("interval", "control", "word"),
    [
        ((0.1, 1), False, "holds"),
        ((-1, -0.1), False, "refuted"),
        ((-1, 1), False, "undecided"),
        ((0.1, 1), True, "does not fail"),
        ((-1, 1), True, "fails, as it must"),
        ((-1, -0.1), True, "fails, as it must"),
    ],
)
def test_an_interval_decides(interval, control, word):
    claim = Claim("k", "t", "s", "x", control)
    assert judged(claim, sum(interval) / 2, interval, 6).word == word


def test_an_interval_is_compared_with_the_number_that_is_claimed():
    claim = Claim("k", "t", "s", "x")
    assert judged(claim, 2, (1, 3), 6, at=0.5).word == "holds"
    assert judged(claim, 2, (1, 3), 6, at=3.5).word == "refuted"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_no_number_decides_nothing(bad):
    claim = Claim("k", "t", "s", "x")
    found = judged(claim, bad, (0.0, 1.0), 6)
    assert (found.word, found.value, found.interval) == ("undecided", None, None)
    assert judged(claim, 1.0, (0.5, bad), 6).word == "undecided"


def test_a_control_that_holds_is_told():
    assert word_for(Claim("k", "t", "s", "x", control=True), holds=True, refuted=False) == "does not fail"


def test_settings_of_a_scale_and_of_ones_own():
    assert Coins.at("tiny").seeds == 3
    assert Coins.at("small").seeds == 5
    assert Coins.at("small", seeds=2).seeds == 2
    assert Coins.at("small", seeds=None).seeds == 5


def test_what_is_no_scale_or_setting_is_refused_with_the_nearest():
    with pytest.raises(InvalidInputError, match=r"unknown scale .smal. \(did you mean .small.\?\)"):
        Coins.at("smal")
    with pytest.raises(InvalidInputError, match=r"no setting .seed. \(did you mean .seeds.\?\)"):
        Coins.at("tiny", seed=3)


def test_the_device_is_not_declared():
    assert Coins.at("tiny", device="cuda").declared() == Coins.at("tiny").declared()


def test_the_nearest_study_is_named():
    with pytest.raises(InvalidInputError, match=r"unknown study .rank-on. \(did you mean .rank-one.\?\)"):
        find_study("rank-on")


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_declared_at_its_scales(name):
    study_class = find_study(name)
    assert study_class.name == name
    assert {"tiny"} <= set(study_class.settings) <= set(SCALES)
    for scale in study_class.settings:
        study = study_class.at(scale)
        cells, claims = study.cells(), study.claims()
        assert len({cell_key(cell) for cell in cells}) == len(cells) > 0
        assert len({claim.key for claim in claims}) == len(claims)
        assert any(claim.control for claim in claims), "a study without a control shows nothing"
        assert all(claim.text and claim.source and claim.statistic for claim in claims)
