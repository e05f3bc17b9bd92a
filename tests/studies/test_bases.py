"""The study of bases: what its vectors are, and what it finds in rows with known answers."""

import math

import numpy as np
import pytest
import torch

from scoregrain.geometry import data_geometry, measure_geometry
from scoregrain.studies.bases import BasesStudy, quadratic_form
from scoregrain.studies.families import study_family
from scoregrain.studies.study import Row, Rows

EXACT = {"network": "dit-8/4", "bases": ("dct-ii", "hadamard", "haar", "canonical"), "vectors": 5}

FEW = {"bases": ("hadamard", "haar", "sad"), "vectors": 6}


@pytest.fixture(scope="module")
def study():
    return BasesStudy.at("tiny", **EXACT)


@pytest.fixture(scope="module")
def material(study):
    return study.material()


def rows_of(study, outcome):
    """Rows whose outcomes are functions of vᵀGv (also of basis and seed); vᵀGv falls along the vectors."""
    rows = []
    for cell in study.cells():
        predicted = 2.0 ** -cell["vector"] * (1 + study.bases.index(cell["basis"]))
        sw2, excess = outcome(predicted, cell)
        control = float(np.random.default_rng([cell["vector"], len(cell["basis"])]).random())
        values = {
            "predicted": predicted,
            "predicted_error": 0.01,
            "control": control,
            "sw2": sw2,
            "excess_along": excess,
        }
        values |= {"width": 1.0, "off": 0.1, "gap": 0.1, "sw2_resample": 0.1, "sw2_zeros": 1.0}
        rows.append(Row(cell, {**values, "sw2_white": 0.6, "sw2_exact": 0.1, "loss": 0.1}))
    return Rows(rows)


def words(study, rows):
    return {found.claim: found.word for found in study.findings(rows)}


def test_the_vectors_are_of_their_bases_of_norm_one_and_none_is_there_twice(study, material):
    rows = material["vectors"].flatten(2)
    assert rows.shape == (4, 5, 64)
    overlaps = (rows.flatten(0, 1) @ rows.flatten(0, 1).T).abs()
    torch.testing.assert_close(overlaps.diagonal(), torch.ones(20, dtype=torch.float64))
    assert overlaps.fill_diagonal_(0).max() < 1 - 1e-9  # the constant is a vector of three of these bases
    assert (rows[3] != 0).sum() == 5  # a pixel each


def test_the_first_vector_of_a_basis_has_its_largest_prediction_and_the_last_its_smallest(study, material):
    matrix = measure_geometry(study_family(study.network)).matrix()
    rows = material["vectors"].flatten(2)
    predicted = material["predicted"][..., 0]
    torch.testing.assert_close(predicted, torch.einsum("bvi,ij,bvj->bv", rows, matrix, rows))
    assert (predicted.diff(dim=1) <= 0).all()
    pixels = matrix.diagonal()
    torch.testing.assert_close(predicted[3, [0, -1]], torch.stack([pixels.max(), pixels.min()]))


def test_the_control_has_the_same_trace_over_a_basis_and_another_order(study, material):
    """tr G' = tr G: over random vectors both predictions are alike in the mean, but G' does not know G's directions."""
    whole = BasesStudy.at("tiny", **EXACT | {"bases": ("canonical",), "vectors": 64}).material()["predicted"][0]
    torch.testing.assert_close(whole[:, 0].sum(), whole[:, 2].sum())
    assert (material["predicted"][0, :, 0] / material["predicted"][0, :, 2])[0] > 3


def test_the_error_of_a_prediction_is_that_of_a_mean_of_squares():
    """Of N draws of variance s² along v, vᵀGv has the standard error s² √(2/N)."""
    widths = torch.linspace(0.05, 0.2, 16).reshape(1, 4, 4)
    draws = widths * torch.randn(20_000, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    geometry = data_geometry(draws)
    values, errors = quadratic_form(geometry, torch.eye(16, dtype=torch.float64))
    expected = widths.flatten().double().square()
    assert ((values - expected).abs() < 4 * errors).all()
    groups = len(geometry.groups)
    assert groups >= 16
    ratio = errors / (expected * math.sqrt(2 / 20_000))
    assert float(ratio.square().mean().sqrt()) == pytest.approx(1, abs=3 / math.sqrt(2 * 16 * (groups - 1)))
    assert (quadratic_form(geometry, torch.eye(16, dtype=torch.float64), errors=False)[1] == 0).all()


def test_an_exact_geometry_predicts_without_error(material):
    assert (material["predicted"][..., 1] == 0).all()


def test_too_few_places_are_refused():
    with pytest.raises(ValueError, match=r"\d+ clusters of directions are identifiable, 60 are asked for"):
        BasesStudy.at("tiny", network="dit-8/4", bases=("sad",), vectors=60).material()


def test_outcomes_that_grow_hold_and_the_control_fails():
    study = BasesStudy.at("tiny", **FEW)
    found = words(study, rows_of(study, lambda g, cell: (g * (1 + 0.1 * cell["seed"]), g**2)))
    assert found.pop("control") == "fails, as it must"
    assert set(found.values()) == {"holds"}


def test_outcomes_that_fall_are_refuted_each_for_itself():
    study = BasesStudy.at("tiny", **FEW)
    found = words(study, rows_of(study, lambda g, cell: (g, 1 / g)))
    assert found["all:sw2"] == found["inside:sw2"] == found["basis:haar"] == "holds"
    assert found["all:excess_along"] == found["inside:excess_along"] == "refuted"


def test_seeds_that_disagree_are_refuted():
    study = BasesStudy.at("tiny", **FEW)
    assert words(study, rows_of(study, lambda g, cell: (g if cell["seed"] else 1 / g, 1.0)))["seeds"] == "refuted"


def test_one_seed_does_not_agree_with_itself():
    study = BasesStudy.at("tiny", seeds=1)
    assert words(study, rows_of(study, lambda g, cell: (g, g)))["seeds"] == "undecided"


@pytest.mark.parametrize("outcome", [(None, None), (1.0, 1.0)])
def test_rows_without_numbers_or_all_equal_decide_nothing(outcome):
    study = BasesStudy.at("tiny")
    rows = rows_of(study, lambda g, cell: outcome)
    assert set(words(study, rows).values()) == {"undecided"}
    assert len(study.tables(rows)) == 2


def test_the_tables_have_the_bases_with_their_correlations_and_every_vector():
    study = BasesStudy.at("tiny")
    rows = rows_of(study, lambda g, cell: (g, 1 / g))
    bases, vectors = study.tables(rows)
    assert bases.rows[0] == ("hadamard", "0.125 to 1", "0.125 to 1", "1.00", "-1.00", "0.1", "1", "0.6", "0.1")
    assert bases.note.endswith("By SW₂ 2 of 16 cells are worse than zeros.")
    assert len(vectors.rows) == 8
    assert vectors.rows[0][:2] == ("hadamard", "1.000 ± 0.010")
    assert len(study.figure(rows).axes) == 2


def test_findings_over_several_bases_say_that_their_vectors_overlap():
    study = BasesStudy.at("tiny", **FEW)
    for found in study.findings(rows_of(study, lambda g, cell: (g, g))):
        assert ("overlap" in found.note) is not found.claim.startswith("basis:")


def test_it_has_no_small_scale():
    """Updates that can be had there leave a sampler that blows up."""
    assert list(BasesStudy.settings) == ["tiny", "paper"]


@pytest.mark.parametrize("scale", ["tiny", "paper"])
def test_claims_and_cells_are_distinct_and_there_is_a_control(scale):
    study = BasesStudy.at(scale)
    keys = [claim.key for claim in study.claims()]
    assert len(set(keys)) == len(keys)
    assert [claim.key for claim in study.claims() if claim.control] == ["control"]
    assert len(study.cells()) == study.seeds * len(study.bases) * study.vectors


@pytest.mark.slow
def test_tiny_finds_a_number_for_each_claim_and_its_control_fails():
    study = BasesStudy.at("tiny")
    material = study.material()
    rows = Rows([Row(cell, study.run(cell, material)) for cell in study.cells()])
    found = study.findings(rows)
    assert [each.claim for each in found] == [claim.key for claim in study.claims()]
    assert all(each.value is not None and np.isfinite(each.value) for each in found)
    assert found[-1].word == "fails, as it must"
    assert all(row["sw2_exact"] < row["sw2_zeros"] < row["sw2"] for row in rows)  # it is hardly trained
    assert all(row["excess_along"] > 0 for row in rows)
