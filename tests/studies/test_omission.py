import json
import math

import numpy as np
import pytest
import torch

from scoregrain.studies import Claim, Finding, Row, Rows, find_study
from scoregrain.studies.image_outcomes import image_split
from scoregrain.studies.omission_findings import worst
from scoregrain.studies.omission_generators import TRAINED, TRIVIAL, band_power, omitting
from scoregrain.studies.store import plain
from scoregrain.studies.study import cell_key

STUDY = find_study("omission").at("tiny", seeds=6, edges=(0.0, 0.3, 0.6, 1.0))


def rows(
    band_gain=(0.2, 0.4, 0.6),
    emptying=0.0,
    clean=-0.3,
    deviation=1e-6,
    law=(0.2, 0.1),
    jitter=0.02,
    zeros=3.0,
    without=(0.0, 0.5, 1.0),
    **fixed,
):
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
            more = emptying if isinstance(emptying, float) else emptying[cell["band"]]
            logs = {"conditional": -gain, "marginal": -gain, "plain_emptied": -gain + more, "emptied": -gain}
            logs |= {"zeros": zeros, "corrupted_emptied": -without[cell["band"]]}
            values = {"deviation": deviation, "count": 256, "trained": 0}
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
    assert {found[key].word for key in ("drawn-content", "swapped")} == {"fails, as it must"}
    assert found["every-band"].value == pytest.approx(0.2, abs=0.03)
    assert "the band 0–0.3 of 3" in found["every-band"].note
    assert found["beyond-emptying"].value == pytest.approx(0.3, abs=0.02)
    assert found["conditional-is-not-marginal"].value == pytest.approx(0.09, abs=0.02)
    assert found["higher-bands"].value == 1.0
    assert "0 of 42 cells are worse than zeros" in found["every-band"].note  # 6 clean ones, 18 plain, 18 omission


def test_what_is_reversed_is_refuted_and_controls_notice():
    found = words(rows(band_gain=(-0.2, -0.4, -0.6), emptying=-0.3, clean=0.5, deviation=1e-3, law=(0.1, 0.2)))
    reversed_ = ("every-band", "higher-bands", "beyond-emptying", "better-outside", "band-is-exact")
    assert {found[key] for key in (*reversed_, "conditional-is-not-marginal")} == {"refuted"}
    assert found["swapped"] == "fails, as it must"


def test_one_lost_band_refutes_that_every_band_is_won():
    assert words(rows(band_gain=(-0.2, 0.9, 0.9)))["every-band"] == "refuted"


def test_a_band_that_is_lost_for_sure_is_told_before_one_that_may_be_lost_by_more():
    claim = Claim("k", "t", "s", "x")
    found = [
        Finding(claim.key, 0.5, (0.2, 0.8), 6, "holds"),
        Finding(claim.key, -0.1, (-0.9, 0.7), 6, "undecided"),
        Finding(claim.key, -0.3, (-0.4, -0.2), 6, "refuted"),
    ]
    assert worst(found) == 2
    assert worst(found[:2]) == 1
    assert worst([found[0], Finding(claim.key, None, None, 5, "undecided")]) == 1


def test_what_needs_no_network_is_told_beside():
    found = {each.claim: each for each in STUDY.findings(rows(jitter=0.0))}
    assert "against their emptied band: 0;" in found["every-band"].note
    assert "against their emptied band: 1;" in found["higher-bands"].note


def test_a_trend_beyond_emptying_is_told_from_one_of_emptying():
    found = words(rows(emptying=0.0))
    assert (found["higher-bands"], found["higher-bands-beyond-emptying"]) == ("holds", "undecided")
    found = words(rows(emptying=(0.1, 0.3, 0.5)))
    assert found["higher-bands-beyond-emptying"] == "holds"
    assert words(rows(emptying=(0.5, 0.3, 0.1)))["higher-bands-beyond-emptying"] == "refuted"


def test_a_gain_whose_sign_goes_with_the_seed_is_noticed_by_the_control():
    made = rows(jitter=0.0)
    for row in made.where(part="networks"):
        row.values["sw2_plain"] = row["sw2_conditional"] * math.exp(0.3 * (-1) ** row["seed"])
    assert words(made)["swapped"] == "does not fail"


def test_networks_worse_than_zeros_decide_nothing():
    found = {each.claim: each for each in STUDY.findings(rows(emptying=0.3, zeros=-0.4))}
    keys = ("every-band", "higher-bands", "beyond-emptying", "better-outside")
    assert {found[key].word for key in keys} == {"undecided"}
    assert "6 of the reference's 6" in found["every-band"].note
    assert found["conditional-is-not-marginal"].word == "holds"


def test_a_gain_that_emptying_explains_is_no_gain():
    found = words(rows(emptying=0.0))
    assert (found["every-band"], found["beyond-emptying"]) == ("holds", "undecided")


def test_content_that_should_not_matter_but_does_is_noticed():
    assert words(rows(w2_drawn=0.3))["drawn-content"] == "does not fail"


def test_missing_and_equal_values_leave_claims_open():
    found = words(rows(sw2_conditional=None, outside_marginal=None, sw2_clean=None))
    for key in ("every-band", "beyond-emptying", "better-outside", "swapped"):
        assert found[key] == "undecided"
    assert words(rows(deviation=None))["band-is-exact"] == "undecided"
    equal = words(rows(band_gain=(0.0, 0.0, 0.0), clean=0.0, jitter=0.0, law=(0.11, 0.1)))
    assert {equal[key] for key in ("every-band", "higher-bands", "beyond-emptying")} == {"undecided"}


def test_tables_and_figure_are_made_of_rows_with_gaps():
    found = rows(sw2_conditional=None)
    distance, outside, power, law = STUDY.tables(found)
    assert len(distance.rows) == len(TRAINED) + len(TRIVIAL)
    assert all(len(line) == len(table.columns) for table in (distance, outside, power, law) for line in table.rows)
    assert {line[1] for line in power.rows} == {"0", "1"}
    assert "compared with 256 held-out images." in distance.note
    titles = [axis.get_title() for axis in STUDY.figure(found).axes]
    assert len(titles) == 3


@pytest.mark.slow
def test_the_tiny_row_ends_with_finite_findings_and_failing_controls():
    study = find_study("omission").at("tiny")
    made = [Row(cell, json.loads(json.dumps(plain(study.run(cell, {}))))) for cell in study.cells()]
    found = {each.claim: each for each in study.findings(Rows(made))}
    assert list(found) == [claim.key for claim in study.claims()]
    assert all(each.value is not None and math.isfinite(each.value) for each in found.values())
    for key in ("drawn-content", "swapped"):
        assert found[key].word == "fails, as it must"
    assert found["band-is-exact"].word == "holds"
    power = Rows(made).where(part="networks").array("power_plain", "seed", "band")
    assert np.all(power > 2)  # plain diffusion reproduces the corruption


def test_bands_hold_equal_parts_of_the_power_of_digits_and_none_the_constant():
    study = find_study("omission").at("small")
    pixels = image_split("digits", 8, 512).train.pixels
    power = [band_power(pixels, omitting((8, 8), *band)) for band in study.bands]
    assert power == pytest.approx([np.mean(power)] * 3, rel=0.1)
    assert band_power(torch.ones(1, 1, 8, 8), omitting((8, 8), study.edges[0], study.edges[-1])) < 1e-9


def test_no_more_images_are_trained_on_than_the_setting_says():
    study = find_study("omission").at("tiny", arrays=50)
    assert len(study._split.train) == 50
    assert len(study._split.held_out) == 2 * study.samples
