"""Noise along the grain: Σ has the spectrum and directions that are said, theory is MATH C5, verdicts follow rows."""

import math

import numpy as np
import pytest
import torch

from scoregrain.datasets import RankOne
from scoregrain.diffusion import DiffusionProcess, GaussianScore
from scoregrain.schedules import linear_schedule
from scoregrain.studies.directions import haar
from scoregrain.studies.grain_noise import noise_along, theory, whitened_excess
from scoregrain.studies.noise_in_the_grain import NoiseInTheGrainStudy
from scoregrain.studies.noise_in_the_grain_claims import GAMMAS, HAAR, OUTCOMES, PLACES, SAD
from scoregrain.studies.registry import find_study
from scoregrain.studies.study import Row, Rows

SHAPE = (1, 2, 2)
VALUES = torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64)
BASIS = haar(4, 7)
GEOMETRY = BASIS * VALUES @ BASIS.T


def test_the_noise_is_diagonal_along_the_eigenvectors_with_variances_of_mean_one():
    sigma = noise_along(GEOMETRY, SHAPE, gamma=1.0).operator(SHAPE).to_dense()
    variances = torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64) * 4 / 15
    assert torch.allclose(BASIS.T @ sigma @ BASIS, variances.diag())


def test_random_directions_keep_the_spectrum_of_the_noise_and_leave_the_grain():
    along, apart, other = (noise_along(GEOMETRY, SHAPE, 1.0, seed).operator(SHAPE).to_dense() for seed in (None, 0, 1))
    assert torch.allclose(torch.linalg.eigvalsh(apart), torch.linalg.eigvalsh(along))
    assert not torch.allclose(apart, along, atol=0.1)
    assert not torch.allclose(apart, other, atol=0.1)
    off = BASIS.T @ apart @ BASIS
    assert float((off - off.diagonal().diag()).norm()) > 0.1


def test_white_noise_is_white_in_every_basis():
    for seed in (None, 0):
        assert torch.allclose(noise_along(GEOMETRY, SHAPE, 0.0, seed).operator(SHAPE).to_dense(), torch.eye(4).double())


def test_the_theory_of_white_noise_is_the_condition_number_with_the_datas_rate_doubled():
    # rates λ_j (1 + δ_ij): data along the largest λ make the ratio 16 / 1, along the smallest 8 / 2
    assert theory(GEOMETRY, 0.0, 0)["theory_time"] == pytest.approx(16)
    assert theory(GEOMETRY, 0.0, 3)["theory_time"] == pytest.approx(8 / 2)
    # 4 λ_i (1 + D) / (1 + 1) = 80, at a step of 1 / the largest rate
    assert theory(GEOMETRY, 0.0, 0)["theory_noise"] == pytest.approx(80 / 16**2)


def test_under_gamma_one_only_the_data_have_another_rate():
    # λ_j s_j = 32 / 15 for all j, the data's direction has λ_i more
    assert theory(GEOMETRY, 1.0, 0)["theory_time"] == pytest.approx((32 / 15 + 8) / (32 / 15))
    assert theory(GEOMETRY, 1.0, 3)["theory_time"] == pytest.approx((32 / 15 + 1) / (32 / 15))


def test_the_whitened_excess_of_an_error_in_units_of_the_noise_does_not_depend_on_it():
    law = RankOne((BASIS[:, 0]).reshape(SHAPE))
    for gamma in GAMMAS:
        noise = noise_along(GEOMETRY, SHAPE, gamma)
        process = DiffusionProcess(linear_schedule(100), noise)
        exact = GaussianScore(law.mean, law.covariance, process)
        wrong = noise.colour(torch.full((1, *SHAPE), 0.3, dtype=torch.float64))
        found = whitened_excess(lambda x, t, e=exact, w=wrong: e(x, t) + w.to(x), process, law, 0, 64)
        assert found["excess_white"] == pytest.approx(0.09, rel=1e-3)
        assert found["excess_white_levels"] == pytest.approx([0.09] * 10, rel=1e-3)


def times(gamma):
    """Of an invented theory: shorter for larger γ."""
    return 100 ** (1 - gamma)


def rows(helps, random_helps=0.0, seeds=6, noise=0.05, zeros=99.0):
    """Rows of a world in which γ improves both outcomes by a factor e^(helps γ), along random directions by another."""
    draws, found = np.random.default_rng(0), []
    for cell in NoiseInTheGrainStudy(seeds=seeds).cells():
        gain = helps * cell["gamma"] if cell["basis"] == SAD else random_helps
        value = math.exp(noise * draws.standard_normal() - gain)
        values = dict.fromkeys(("width", "off", "gap", "loss", "variance", "theory_noise"), 0.5)
        values |= dict.fromkeys(("sw2_resample", "sw2_white", "sw2_exact"), 1.0)
        values |= {
            "sw2": value,
            "sw2_zeros": zeros,
            "excess": value / 20,
            "excess_white": value / 10,
            "inverse": 1.5,
            "gap": 2 * value,
            "theory_time": times(cell["gamma"]),
            "index": 0,
        }
        found.append(Row(cell, values))
    return Rows(found)


def words(found, outcome="sw2"):
    return {each.claim.removesuffix(f"-{outcome}"): each.word for each in found if each.claim.endswith(f"-{outcome}")}


CONTROLS = {"haar": "undecided", "shuffled": "fails, as it must"}  # random directions: no other than white


@pytest.fixture
def study():
    return NoiseInTheGrainStudy(seeds=6)


def test_the_registry_finds_it_and_random_directions_are_one_more_noise(study):
    assert find_study("noise-in-the-grain") is NoiseInTheGrainStudy
    assert len(study.cells()) == 6 * (len(GAMMAS) + 1) * len(PLACES)
    assert {(cell["basis"], cell["gamma"]) for cell in study.cells() if cell["basis"] == HAAR} == {(HAAR, 1.0)}


@pytest.mark.parametrize("outcome", list(OUTCOMES))
def test_where_the_rule_helps_its_claims_hold_and_the_controls_fail(study, outcome):
    found = words(study.findings(rows(helps=1.0)), outcome)
    assert found == dict.fromkeys(found, "holds") | CONTROLS


def test_where_the_rule_harms_its_claims_are_refuted_and_the_controls_fail(study):
    found = words(study.findings(rows(helps=-1.0)))
    assert found == dict.fromkeys(found, "refuted") | CONTROLS


def test_where_any_coloured_noise_helps_it_is_not_the_grain(study):
    found = words(study.findings(rows(helps=1.0, random_helps=1.0)))
    assert found["haar"] == "holds"
    assert found["grain"] == "undecided"


def test_samples_of_white_noise_that_are_worse_than_zeros_decide_nothing_about_samples(study):
    given = rows(helps=1.0, zeros=0.9)
    found = study.findings(given)
    for outcome in OUTCOMES:
        decided = words(found, outcome)
        expected = "undecided" if outcome in ("sw2", "sampling") else "holds"
        assert decided == dict.fromkeys(decided, expected) | CONTROLS
    assert f"{sum(row['sw2'] > 0.9 for row in given)} of 90 cells are worse than zeros" in found[0].note


def test_what_is_averaged_over_directions_is_told_by_direction(study):
    given = rows(helps=1.0)
    for row in given.where(basis=SAD, gamma=1.0, direction="top"):
        row.values["sw2"] *= math.exp(-2)
    equal = study.findings(given)[0]
    assert "top +3.0" in equal.note or "top +2.9" in equal.note
    assert "middle +1.0" in equal.note or "middle +0.9" in equal.note


def test_findings_follow_the_claims_and_survive_missing_and_equal_numbers(study):
    for value in (None, 1.0):
        given = Rows(
            [
                Row(row.cell, row.values | dict.fromkeys(("sw2", "excess", "excess_white", "gap"), value))
                for row in rows(1.0)
            ]
        )
        findings = study.findings(given)
        assert [finding.claim for finding in findings] == [claim.key for claim in study.claims()]
        assert {finding.word for finding in findings} <= {"undecided", "fails, as it must"}
        assert study.tables(given)[0].rows


def test_the_table_tells_no_theory_of_random_directions(study):
    table = study.tables(rows(1.0))[0]
    assert len(table.rows) == (len(GAMMAS) + 1) * len(PLACES)
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert {row[5] for row in table.rows if row[0] == "random"} == {"–"}
    assert "1e+03" in {row[5] for row in table.rows}


@pytest.mark.slow
def test_the_tiny_row_runs_and_its_controls_fail():
    torch.set_num_threads(1)
    study = NoiseInTheGrainStudy.at("tiny")
    material = study.material()
    found = Rows([Row(cell, study.run(cell, material)) for cell in study.cells()])
    findings = study.findings(found)
    assert all(each.value is not None for each in findings)
    controls = {claim.key for claim in study.claims() if claim.control}
    assert {each.word for each in findings if each.claim in controls} == {"fails, as it must"}
    top = found.where(basis=SAD, direction="top", seed=0)
    assert [row["variance"] for row in top] == sorted((row["variance"] for row in top), reverse=True)
    assert all(row["sw2_exact"] < row["sw2"] for row in found)
    assert study.figure(found).axes
