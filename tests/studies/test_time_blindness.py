"""Groups of a U-Net: what the claims say of rows whose story is known, and that members of a pair are a pair."""

import numpy as np
import pytest
import torch

from scoregrain.studies.registry import find_study
from scoregrain.studies.study import Row, Rows
from scoregrain.studies.time_blindness import TimeBlindnessStudy
from scoregrain.studies.time_blindness_claims import lower_minus_upper
from scoregrain.studies.time_blindness_tables import ENDS, SHAPE_OF_G

LEVELS = 10


def rows(by_groups, excess=lambda groups: np.full(LEVELS, 0.01), seeds=6, noise=0.02):
    """Rows in which SW₂ is a function of the number of groups, and so is the excess at each level, up to seeds."""
    random, found = np.random.default_rng(0), []
    for cell in TimeBlindnessStudy(seeds=seeds).cells():
        scale = np.exp(noise * random.standard_normal())
        curve = scale * excess(cell["groups"])
        values = dict.fromkeys(("width", "off", "gap", "excess_along", "excess_last", "loss"), 0.5)
        values |= dict.fromkeys(SHAPE_OF_G, 1.0) | dict.fromkeys(("eigenvalue", "trained_sensitivity"), 0.1)
        values |= {"sw2": by_groups[cell["groups"]] * scale, "excess": curve.mean(), "excess_levels": curve.tolist()}
        values |= dict.fromkeys(("sw2_zeros", "sw2_resample", "sw2_white", "sw2_exact"), 1.0)
        found.append(Row(cell, {**values, "levels": list(range(LEVELS))}))
    return Rows(found)


def words(found):
    return {each.claim: each.word for each in found}


@pytest.fixture
def study():
    return TimeBlindnessStudy(seeds=6)


def test_the_registry_finds_it():
    assert find_study("time-blindness") is TimeBlindnessStudy


def test_samples_that_get_worse_with_groups_confirm_all_claims_on_samples(study):
    found = words(study.findings(rows({32: 4.0, 16: 0.8, 8: 0.5, 4: 0.3})))
    for key in ("blind-sw2", "blind-zeros", "aware-zeros", "trend", "aware-trend"):
        assert found[key] == "holds", key
    assert found["control"] == "fails, as it must"


def test_samples_that_get_better_with_groups_refute_them(study):
    found = words(study.findings(rows({32: 0.3, 16: 2.0, 8: 3.0, 4: 4.0})))
    for key in ("blind-sw2", "blind-zeros", "aware-zeros", "trend", "aware-trend"):
        assert found[key] == "refuted", key
    assert found["control"] == "fails, as it must"


def test_blindness_alone_is_told_from_a_trend_among_networks_that_see(study):
    found = words(study.findings(rows({32: 4.0, 16: 1.0, 8: 1.0, 4: 1.0}, noise=0.1)))
    assert found["blind-sw2"] == "holds"
    assert found["aware-trend"] == "undecided"


@pytest.mark.parametrize(("where", "word"), [(slice(None, 5), "holds"), (slice(5, None), "refuted")])
def test_where_the_blind_network_is_worse_is_found(study, where, word):
    def excess(groups):
        curve = np.full(LEVELS, 0.01)
        curve[where] *= 10 if groups == 32 else 1
        return curve

    found = words(study.findings(rows(dict.fromkeys((32, 16, 8, 4), 1.0), excess)))
    assert found["blind-denoising"] == "holds"
    assert found["blind-low-noise"] == word


def test_the_halves_of_a_curve_are_compared_on_the_log_scale():
    curve = np.repeat([0.2, 0.05], 5)
    assert lower_minus_upper(rows(dict.fromkeys((32, 16, 8, 4), 1.0), lambda _: curve)) == pytest.approx(np.log(4))


def test_findings_follow_the_claims_and_survive_missing_and_equal_numbers(study):
    given = rows(dict.fromkeys((32, 16, 8, 4), 1.0), noise=0.0)
    missing = Rows([Row(row.cell, {**row.values, "sw2": None}) for row in given])
    for each in (given, missing):
        findings = study.findings(each)
        assert [finding.claim for finding in findings] == [claim.key for claim in study.claims()]
        assert "holds" not in words(findings).values()
        assert len(study.tables(each)) == 2


def test_tables_have_a_row_for_each_number_of_groups_and_each_direction(study):
    geometries, outcomes = study.tables(rows({32: 4.0, 16: 0.8, 8: 0.5, 4: 0.3}))
    assert [row[0] for row in geometries.rows] == ["32", "16", "8", "4"]
    assert [row[:2] for row in outcomes.rows[:2]] == [("32", "top"), ("32", "bottom")]
    for table in (geometries, outcomes):
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_members_of_a_pair_begin_with_the_same_parameters(study):
    blind, aware = (study.family(groups).trainable(5).state_dict() for groups in (32, 8))
    assert blind.keys() == aware.keys()
    assert all(torch.equal(blind[key], aware[key]) for key in blind)


@pytest.mark.slow
def test_the_tiny_row_runs_its_control_fails_and_only_32_groups_are_blind():
    torch.set_num_threads(1)
    study = TimeBlindnessStudy.at("tiny")
    material = study.material()
    found = Rows([Row(cell, study.run(cell, material)) for cell in study.cells()])
    findings = study.findings(found)
    assert all(each.value is not None for each in findings)
    assert findings[-1].word == "fails, as it must"
    for row in found:
        blind = row["groups"] == 32
        assert all((row[name] < 1e-5) == blind for name in ("sensitivity", "trained_sensitivity"))
        assert row["sw2_exact"] < row["sw2"]
    for direction in ENDS:  # the same data: baselines do not depend on the network
        mine = found.where(direction=direction, seed=0)
        assert len({row["sw2_resample"] for row in mine}) == len({row["sw2_exact"] for row in mine}) == 1
    assert study.figure(found).axes
