"""The study of Propositions 1–3: unbiased deviations, verdicts on rows made by hand, and the whole of it, tiny."""

import math

import numpy as np
import pytest
import torch

from scoregrain._random import stream
from scoregrain.studies.closed_forms import MARGIN, NETWORKS, ClosedFormsStudy, changed, compared, z_squared
from scoregrain.studies.last_layers import LAYERS
from scoregrain.studies.study import Row, Rows

STUDY = ClosedFormsStudy.at("small", seeds=5)
BROKEN = [case for case, each in (LAYERS | NETWORKS).items() if not each.holds]


def rows(**deviations):
    """Deviations of 0.1 where a condition is broken and of about 0 elsewhere, by case where they are given."""
    found = []
    for cell in STUDY.cells():
        case, noise = cell["case"], 0.001 * np.random.default_rng(cell["seed"]).standard_normal()
        subject = (LAYERS | NETWORKS)[case]
        values = {
            "deviation": deviations.get(case, 0.0 if subject.holds else 0.1) + noise,
            "besides_form": (0.0 if subject.keeps_form else 0.1) + noise,
            "distinct": 3,
            "size": 48,
        }
        found.append(Row(cell, values | ({"z_squared": 1.0} if case in LAYERS else {})))
    return Rows(found)


def words(**deviations):
    return {each.claim: each.word for each in STUDY.findings(rows(**deviations))}


def test_propositions_hold_and_every_broken_condition_is_rejected():
    found = words()
    assert {key for key, word in found.items() if word == "fails, as it must"} == {f"broken-{case}" for case in BROKEN}
    assert {key for key, word in found.items() if word == "holds"} == {
        *("mlp", "cnn", "tokens", "exact", "networks", "form")
    }


@pytest.mark.parametrize(
    ("key", "case"), [("mlp", "mlp-relu-mean"), ("cnn", "cnn-circular"), ("tokens", "tokens"), ("networks", "mlp-8")]
)
def test_one_case_that_deviates_refutes_its_claim(key, case):
    found = words(**{case: 0.05})
    assert found[key] == "refuted"
    assert [word for name, word in found.items() if word == "refuted"] == ["refuted"]


def test_a_broken_condition_that_is_not_seen_does_not_fail():
    """Undecided is not rejected: zero, and just the margin."""
    assert words(**{"cnn-tanh": 0.0})["broken-cnn-tanh"] == "does not fail"
    assert words(**{"cnn-tanh": MARGIN})["broken-cnn-tanh"] == "does not fail"


def test_missing_seeds_leave_a_claim_undecided():
    broken = rows()
    broken[0].values["deviation"] = None
    assert broken[0]["case"] == "mlp"
    control = next(row for row in broken if row["case"] == "cnn-tanh")
    control.values["deviation"] = None
    found = {each.claim: each.word for each in STUDY.findings(broken)}
    assert (found["mlp"], found["cnn"]) == ("undecided", "holds")
    assert (found["broken-cnn-tanh"], found["broken-cnn-scaled"]) == ("undecided", "fails, as it must")


def test_every_claim_has_a_finding_at_every_scale():
    for scale in ("tiny", "small"):
        study = ClosedFormsStudy.at(scale)
        assert len({claim.key for claim in study.claims()}) == len(study.claims())
        assert any(claim.control for claim in study.claims())
        assert all(case in LAYERS | NETWORKS for case in (*study.layers, *study.networks))
    assert [claim.key for claim in STUDY.claims()] == [each.claim for each in STUDY.findings(rows())]


def draws(n, spectrum, name):
    return torch.randn(n, 3, generator=stream(0, name), dtype=torch.float64) * spectrum.sqrt()


def test_the_deviation_is_unbiased_with_few_draws():
    """400 repetitions with 10 draws a half: 0 for the truth, ‖G-P‖²/‖P‖² for another matrix P."""
    spectrum = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
    truth, other = spectrum.diag(), torch.eye(3, dtype=torch.float64)
    for predicted, expected in ((truth, 0.0), (other, 5 / 3)):
        found = []
        for k in range(400):
            halves = [draws(10, spectrum, f"{k} {half}") for half in range(2)]
            moments = tuple(x.T @ x / 10 for x in halves)
            found.append(compared(moments, (predicted, predicted), 1, (3, 1, 1))["deviation"])
        error = np.std(found) / math.sqrt(len(found))
        assert np.mean(found) == pytest.approx(expected, abs=4 * error)
        assert error < 0.1


def test_distinct_eigenvalues_are_counted():
    matrix = torch.tensor([2.0, 2.0, 1.0], dtype=torch.float64).diag()
    assert compared((matrix, matrix), (matrix, matrix), 1, (3, 1, 1))["distinct"] == 2


def test_z_scores_are_of_size_one_for_the_truth_alone():
    spectrum = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
    right = [z_squared(draws(2000, spectrum, f"z {k}"), spectrum.diag(), k) for k in range(40)]
    assert np.mean(right) == pytest.approx(1, abs=0.4)
    assert z_squared(draws(2000, spectrum, "z"), 1.2 * spectrum.diag(), 0) > 5


def test_a_mean_of_the_last_weights_is_nothing_behind_a_layer_norm():
    """Normalised tokens sum to zero, so that Proposition 3's condition is void there; the bias's is not."""
    x, t = torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.long)
    torch.manual_seed(0)
    plain = NETWORKS["dit-8/4"].sampled().build()
    for case, same in (("dit-8/4:weights", True), ("dit-8/4:bias", False)):
        torch.manual_seed(0)
        assert torch.allclose(NETWORKS[case].sampled().build()(x, t), plain(x, t), atol=1e-5) is same


def test_a_changed_family_is_changed_each_time_it_is_built():
    family = changed("dit-8/4", lambda network: network.final.bias.add_(0.5))
    assert all(bool((family.build().final.bias == 0.5).all()) for _ in range(2))


def test_a_subject_is_measured_with_its_multiple_of_networks(monkeypatch):
    """The closed form's networks come after the sampled ones, none of them twice."""
    asked = []

    def measured(family, networks, *, seed, first=0, estimator="auto"):
        asked.append((first, networks, estimator))
        raise StopIteration

    monkeypatch.setattr("scoregrain.studies.closed_forms.measure_geometry", measured)
    study, subject = ClosedFormsStudy.at("tiny", count=64), NETWORKS["unet-8:channels=3"]
    with pytest.raises(StopIteration):
        study.run({"case": "unet-8:channels=3", "seed": 0}, {})
    with pytest.raises(StopIteration):
        study._closed(subject, 0)
    assert asked == [(0, 256, "plain"), (256, 256, "auto")]


@pytest.mark.slow
def test_the_tiny_row_confirms_the_propositions_and_rejects_every_broken_one():
    study = ClosedFormsStudy.at("tiny")
    rows = Rows([Row(cell, study.run(cell, {})) for cell in study.cells()])
    found = {each.claim: each for each in study.findings(rows)}
    assert all(each.value is not None and math.isfinite(each.value) for each in found.values())
    assert {key for key, each in found.items() if each.word == "fails, as it must"} == {
        f"broken-{case}" for case in study.layers if case in BROKEN
    }
    assert all(found[key].word == "holds" for key in ("mlp", "cnn", "tokens", "exact"))
    assert abs(rows.where(case="tokens").array("deviation", "seed").mean()) < 0.003
    assert len(study.tables(rows)[0].rows) == len(study.layers) + len(study.networks)
    assert len(study.figure(rows).axes) == 1
