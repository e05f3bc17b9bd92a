"""The study of spheres: its spans and its findings; the exact score of a sphere is in test_sphere_outcomes.py."""

import numpy as np
import pytest
import torch

from scoregrain.geometry import measure_geometry
from scoregrain.studies.directions import Place
from scoregrain.studies.families import study_family
from scoregrain.studies.sphere import ARMS, OUTCOMES, SphereStudy, span
from scoregrain.studies.study import Row, Rows


@pytest.fixture(scope="module")
def geometry():
    return measure_geometry(study_family("dit-8/2"))


def rows_of(study, factor, spread=0.05):
    """Rows in which an arm multiplies every outcome by a factor, and each seed by one of its own."""
    rows = []
    for cell in study.cells():
        rng = np.random.default_rng([cell["seed"], ARMS.index(cell["arm"])])
        common = np.exp(np.random.default_rng(cell["seed"]).standard_normal())
        values = {name: common * factor(cell["arm"]) * np.exp(spread * rng.standard_normal()) for name in OUTCOMES}
        values |= {"predicted": 1.0, "loss": 0.1, "excess_off": 0.1, "sw2_resample": 0.1, "sw2_zeros": 1.0}
        rows.append(Row(cell, {**values, "sw2_white": 0.5, "sw2_exact": 0.1}))
    return Rows(rows)


def words(study, rows):
    return {found.claim: found.word for found in study.findings(rows)}


@pytest.mark.parametrize("arm", ARMS)
def test_a_span_is_orthonormal_and_another_one_for_every_seed(geometry, arm):
    first, again, second = (span(geometry, arm, seed) for seed in (0, 0, 1))
    torch.testing.assert_close(first.T @ first, torch.eye(3, dtype=torch.float64))
    assert torch.equal(first, again)
    assert (first.T @ second).square().sum() < 2.9


def test_spans_of_large_and_small_lie_in_the_eigenspaces(geometry):
    matrix, values = geometry.matrix(), geometry.eigenvalues
    large, small = span(geometry, "large", 0), span(geometry, "small", 0)
    torch.testing.assert_close(matrix @ large, float(values[0]) * large)
    assert (matrix @ small).abs().max() < 1e-9 * float(values[0])


def test_two_random_spans_are_not_the_same_and_predict_the_mean_eigenvalue(geometry):
    first, other = span(geometry, "random", 0), span(geometry, "other-random", 0)
    assert (first.T @ other).square().sum() < 1
    matrix = geometry.matrix()
    spans = torch.stack([span(geometry, "random", seed) for seed in range(300)])
    means = torch.einsum("sik,ij,sjk->s", spans, matrix, spans) / 3
    expected, error = geometry.trace / 64, float(means.std()) / 300**0.5
    assert abs(float(means.mean()) - expected) < 4 * error


def test_an_eigenvalue_of_fewer_than_three_directions_is_refused(geometry, monkeypatch):
    monkeypatch.setattr("scoregrain.studies.sphere.places", lambda geometry, count: [Place(0, 2, 1.0, 0.0)] * count)
    with pytest.raises(ValueError, match="the large eigenvalue has 2 directions, a sphere needs 3: take a dit"):
        span(geometry, "large", 0)


def test_the_material_has_predictions_that_are_exact_zeros_in_the_null_space():
    study = SphereStudy.at("tiny", seeds=2)
    material = study.material()
    assert material["spans"].shape == (4, 2, 64, 3)
    predicted = material["predicted"]
    assert (predicted[ARMS.index("small")] == 0).all()
    assert (predicted[ARMS.index("large")] > predicted[ARMS.index("random")]).all()


def test_worse_spheres_of_large_eigenvalue_hold_and_the_control_fails():
    study = SphereStudy.at("small")
    found = words(study, rows_of(study, lambda arm: 2.0 if arm == "large" else 1.0))
    assert found.pop("control") == "fails, as it must"
    assert set(found.values()) == {"holds"}


def test_better_spheres_of_large_eigenvalue_refute():
    study = SphereStudy.at("small")
    found = words(study, rows_of(study, lambda arm: 0.5 if arm == "large" else 1.0))
    assert {found[name] for name in OUTCOMES} == {"refuted"}


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_random_spans_that_differ_either_way_do_not_fail(factor):
    study = SphereStudy.at("small")
    found = words(study, rows_of(study, lambda arm: factor if arm == "random" else 1.0))
    assert found["control"] == "does not fail"


def test_the_value_is_the_mean_log_ratio_of_pairs():
    study = SphereStudy.at("small")
    first = study.findings(rows_of(study, lambda arm: 3.0 if arm == "large" else 1.0, spread=0.0))[0]
    assert first.value == pytest.approx(np.log(3))
    assert first.n == 6


@pytest.mark.parametrize("value", [None, 1.0])
def test_rows_without_numbers_or_all_equal_decide_nothing(value):
    study = SphereStudy.at("tiny")
    rows = Rows([Row(row.cell, row.values | dict.fromkeys(OUTCOMES, value)) for row in rows_of(study, lambda arm: 1.0)])
    found = words(study, rows)
    assert "holds" not in found.values()
    assert "refuted" not in found.values()
    assert found["control"] != "does not fail"
    assert len(study.tables(rows)[0].rows) == 4


def test_the_table_has_every_arm_with_trivial_baselines_and_the_figure_every_outcome():
    study = SphereStudy.at("tiny")
    rows = rows_of(study, lambda arm: 1.0)
    table = study.tables(rows)[0]
    assert [row[0] for row in table.rows] == list(ARMS)
    assert table.rows[0][-4:] == ("0.1", "1", "0.5", "0.1")
    worse = sum(row["sw2"] > 1 for row in rows)
    assert table.note.endswith(f"By SW₂ {worse} of 16 cells are worse than zeros.")
    assert len(table.columns) == len(table.rows[0])
    assert len(study.figure(rows).axes) == len(OUTCOMES)


@pytest.mark.slow
def test_tiny_finds_a_number_for_each_claim_and_its_control_fails():
    study = SphereStudy.at("tiny")
    material = study.material()
    rows = Rows([Row(cell, study.run(cell, material)) for cell in study.cells()])
    found = study.findings(rows)
    assert [each.claim for each in found] == [claim.key for claim in study.claims()]
    assert all(each.value is not None and np.isfinite(each.value) for each in found)
    assert found[-1].word == "fails, as it must"
    assert all(row["sw2_exact"] < 2 * row["sw2_resample"] for row in rows)
    assert all(row["sw2"] > row["sw2_exact"] for row in rows)
