import json
import math

import numpy as np
import pytest

from scoregrain.studies import Row, Rows, find_study
from scoregrain.studies.omission_generators import TRAINED, TRIVIAL
from scoregrain.studies.store import plain
from scoregrain.studies.study import cell_key

STUDY = find_study("omission").at("tiny", seeds=6, edges=(0.0, 0.3, 0.6, 1.0))


def rows(band_gain=(0.2, 0.4, 0.6), emptying=0.0, clean=-0.3, deviation=1e-6, law=(0.2, 0.1), jitter=0.02, **fixed):
    """Rows whose log SW₂ differ by what is asked, up to a jitter of seeds; ``fixed`` are values as they are."""
    made = []
    for i, cell in enumerate(STUDY.cells()):
        wobble = [jitter * math.sin(7 * i + k) for k in range(8)]
        if cell["part"] == "clean":
            values = {"sw2_clean": math.exp(clean + wobble[0])}
        elif cell["part"] == "law":
            values = {"w2_conditional": law[0] + wobble[0], "w2_marginal": law[1], "w2_drawn": law[1] + wobble[1] / 9}
            values |= {"w2_resample": 0.09, "closed": law[0], "closed_covariance": 0.14}
        else:
            gain = band_gain[cell["band"]]
            logs = {"conditional": -gain, "marginal": -gain, "plain_emptied": -gain + emptying, "emptied": -gain}
            values = {"deviation": deviation}
            for k, name in enumerate([*TRAINED, *TRIVIAL]):
                level = math.exp(logs.get(name, 0.0) + wobble[k % 8])
                values |= {f"sw2_{name}": level, f"outside_{name}": level, f"power_{name}": 1e-13 if k % 2 else 1.0}
        made.append(Row(cell, values | {k: v for k, v in fixed.items() if k in values}))
    return Rows(made)


def words(found):
    return {each.claim: each.word for each in STUDY.findings(found)}


def test_cells_are_all_bands_of_all_seeds_and_the_clean_ones():
    keys = [cell_key(cell) for cell in STUDY.cells()]
    assert len(set(keys)) == len(keys) == 6 + 2 * 3 * 6


def test_claims_hold_where_the_rows_say_so_and_name_their_number():
    found = {each.claim: each for each in STUDY.findings(rows(emptying=0.3))}
    assert list(found) == [claim.key for claim in STUDY.claims()]
    holding = ("every-band", "higher-bands", "beyond-emptying", "better-outside", "band-is-exact")
    assert {found[key].word for key in (*holding, "conditional-is-not-marginal")} == {"holds"}
    assert {found[key].word for key in ("drawn-content", "reversed")} == {"fails, as it must"}
    assert found["every-band"].value == pytest.approx(0.2, abs=0.03)
    assert "the band 0–0.3 of 3" in found["every-band"].note
    assert found["beyond-emptying"].value == pytest.approx(0.3, abs=0.02)
    assert found["conditional-is-not-marginal"].value == pytest.approx(0.09, abs=0.02)
    assert found["higher-bands"].value == 1.0


def test_what_is_reversed_is_refuted_and_controls_notice():
    found = words(rows(band_gain=(-0.2, -0.4, -0.6), emptying=-0.3, clean=0.5, deviation=1e-3, law=(0.1, 0.2)))
    reversed_ = ("every-band", "higher-bands", "beyond-emptying", "better-outside", "band-is-exact")
    assert {found[key] for key in (*reversed_, "conditional-is-not-marginal")} == {"refuted"}
    assert found["reversed"] == "does not fail"


def test_one_lost_band_refutes_that_every_band_is_won():
    assert words(rows(band_gain=(-0.2, 0.9, 0.9)))["every-band"] == "refuted"


def test_a_gain_that_emptying_explains_is_no_gain():
    found = words(rows(emptying=0.0))
    assert (found["every-band"], found["beyond-emptying"]) == ("holds", "undecided")


def test_content_that_should_not_matter_but_does_is_noticed():
    assert words(rows(w2_drawn=0.3))["drawn-content"] == "does not fail"


def test_missing_and_equal_values_leave_claims_open():
    found = words(rows(sw2_conditional=None, outside_marginal=None, sw2_clean=None))
    for key in ("every-band", "beyond-emptying", "better-outside", "reversed"):
        assert found[key] == "undecided"
    equal = words(rows(band_gain=(0.0, 0.0, 0.0), clean=0.0, jitter=0.0, law=(0.11, 0.1)))
    assert {equal[key] for key in ("every-band", "higher-bands", "beyond-emptying")} == {"undecided"}


def test_tables_and_figure_are_made_of_rows_with_gaps():
    found = rows(sw2_conditional=None)
    distance, outside, power, law = STUDY.tables(found)
    assert len(distance.rows) == len(TRAINED) + len(TRIVIAL)
    assert all(len(line) == len(table.columns) for table in (distance, outside, power, law) for line in table.rows)
    assert {line[1] for line in power.rows} == {"0", "1"}
    titles = [axis.get_title() for axis in STUDY.figure(found).axes]
    assert len(titles) == 3


@pytest.mark.slow
def test_the_tiny_row_ends_with_finite_findings_and_failing_controls():
    study = find_study("omission").at("tiny")
    made = [Row(cell, json.loads(json.dumps(plain(study.run(cell, {}))))) for cell in study.cells()]
    found = {each.claim: each for each in study.findings(Rows(made))}
    assert list(found) == [claim.key for claim in study.claims()]
    assert all(each.value is not None and math.isfinite(each.value) for each in found.values())
    for key in ("drawn-content", "reversed"):
        assert found[key].word == "fails, as it must"
    assert found["band-is-exact"].word == "holds"
    power = Rows(made).where(part="networks").array("power_plain", "seed", "band")
    assert np.all(power > 2)  # plain diffusion reproduces the corruption
