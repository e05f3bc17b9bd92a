"""``evaluate``: verdicts that cannot flatter, closed forms, the exact model as a run, what is refused."""

import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import Gaussian, GaussianMixture, Images, RankOne, Sphere, Split, probing_basis
from scoregrain.diffusion import DiffusionProcess, GaussianScore
from scoregrain.geometry import data_geometry
from scoregrain.metrics.baselines import GAUSSIAN, RESAMPLE, WHITE, ZEROS, Verdict
from scoregrain.models import NetworkFamily
from scoregrain.operators import DiagonalOperator
from scoregrain.report import evaluate
from scoregrain.report.comparison import SAMPLES, judged_sets
from scoregrain.report.material import Material
from scoregrain.schedules import linear_schedule
from scoregrain.training import Run, TrainConfig
from tests.report.judged import QUICK, SHAPE, VARIANCES, draws, judged, law, split

DIRECTION = probing_basis("dct-ii", SHAPE)[:, 3].reshape(SHAPE)
FAR = torch.zeros(2, *SHAPE, dtype=torch.float64)
FAR[0], FAR[1] = 0.8, -0.8


def distances(evaluation):
    return {each.name: each for each in evaluation.distances}


def along(evaluation):
    return {each.name: each for each in evaluation.directions}


def test_the_gaussian_has_the_moments_of_all_reference_arrays_and_not_of_the_target():
    """Fitted to the few arrays it is compared with it would be too near to them."""
    few, many = draws(law(), 20), draws(law(), 500) + 5
    made = judged_sets(Material(few, few, few, many, None, law(), "shifted", (), ()), seed=0)
    assert len(made[GAUSSIAN]) == 20
    assert torch.allclose(made[GAUSSIAN].mean(), torch.tensor(5.0), atol=0.5)
    assert made[RESAMPLE].mean().abs() < 0.5


def test_fresh_draws_cannot_be_told_from_a_resample():
    found = judged(draws(law()), law())
    first = found.distances[0]
    assert "not distinguishable from a fresh resample" in found.headline
    assert abs(first.samples.value - first.baselines[RESAMPLE].value) < 3 * first.samples.error
    assert first.baselines[ZEROS].value > 5 * first.samples.value
    assert "memorised" not in found.headline


@pytest.mark.parametrize(
    ("samples", "data", "said"),
    [
        (torch.zeros(300, *SHAPE), law(), "no better than generating nothing"),
        (5 * draws(law()), law(), "worse than generating nothing"),
        (torch.randn(300, *SHAPE, generator=torch.Generator().manual_seed(3)), RankOne(DIRECTION), "than white noise"),
    ],
)
def test_the_verdict_cannot_flatter(samples, data, said):
    assert said in judged(samples, data).headline


def test_a_gaussian_with_the_moments_of_four_clusters_is_no_achievement():
    """In a plane: with many dimensions its projections are nearly those of the clusters."""
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64).reshape(4, 1, 1, 2)
    clusters = GaussianMixture([1] * 4, 3 * corners, [1e-4] * 4)
    smooth = Gaussian(clusters.mean, clusters.covariance)
    assert "no better than a Gaussian with the data's moments" in judged(draws(smooth, 2000), clusters).headline
    assert "not distinguishable from a fresh resample of the data:" in judged(draws(clusters, 2000), clusters).headline


def test_how_many_times_the_floor_is_said():
    found = judged(draws(law()) + 0.5, law())
    scores = found.distances[0].scores
    times = scores[SAMPLES].value / scores[RESAMPLE].value
    assert f"{times:.3g} times as far as a fresh resample" in found.headline


def test_a_constant_shift_has_the_closed_forms():
    """MATH A8: SW² = ‖c‖²/D; W₂ of the Gaussians is ‖c‖, over √D the same; along the means' difference ‖c‖."""
    target = draws(law(), n=400)
    data = Split(Images(draws(law(), seed=8), "set"), Images(target, "set"))
    found = judged(target + 3.0, data, projections=4096)
    by_name = distances(found)
    assert by_name["sliced Wasserstein"].samples.value == pytest.approx(3, rel=0.03)
    assert by_name["Gaussian W₂"].samples.value == pytest.approx(3, abs=1e-5)
    assert along(found)["mean difference"].samples.value == pytest.approx(3 * 4, abs=1e-5)


def test_all_zeros_have_the_closed_form():
    score = judged(draws(law(), 2000), law()).distances[0].baselines[ZEROS]
    assert abs(score.value - math.sqrt(float(VARIANCES.mean()))) < 4 * score.error


def test_the_direction_of_a_rank_one_law_is_judged_apart():
    data = RankOne(DIRECTION)
    found = along(judged(torch.zeros(400, *SHAPE), data))["v of the law"]
    assert found.samples.value == pytest.approx(4, abs=4 * found.samples.error)
    assert found.baselines[WHITE].value == pytest.approx(3, abs=4 * found.baselines[WHITE].error)


def test_the_direction_of_a_law_is_not_there_twice():
    """The leading direction of the data is the law's own, of either sign."""
    turned = RankOne(-DIRECTION)
    for data in (RankOne(DIRECTION), turned):
        assert list(along(judged(draws(data), data))) == ["v of the law", "mean difference"]
    other = data_geometry(draws(law(), 5000))
    names = list(along(judged(draws(turned), turned, geometry=other)))
    assert names[0] == "v of the law"
    assert any(name.startswith("SAD ") for name in names)


def test_energies_are_those_of_the_law():
    data = RankOne(DIRECTION)
    found = judged(draws(data, 400), data).along
    assert found.bins.names == ["0", "1–15"]
    value, error = found.energy[SAMPLES]
    assert abs(value[0] - 16) < 4 * error[0]
    assert value[1] < 1e-10


def test_energies_along_a_geometry_use_its_clusters():
    geometry = data_geometry(draws(law(), 5000))
    found = judged(draws(law()), law(), geometry=geometry)
    assert found.along.bins.name.startswith("score anisotropy directions")
    assert len(found.along.bins.names) == len(geometry.clusters)
    value, error = found.along.energy[SAMPLES]
    expected = found.along.bins.mean(law().covariance.quadratic(geometry.eigenvectors.T.reshape(16, *SHAPE)))
    assert bool(((value - expected).abs() < 5 * error).all())


def test_training_arrays_as_samples_are_memorised():
    data = split(draws(law(), 400), 300)
    found = judged(data.train.pixels, data)
    assert found.headline.startswith("memorised: 100 % of the samples are near copies of training arrays")
    assert found.memorisation.memorised
    assert torch.equal(found.pictures.copied, found.pictures.nearest)
    assert found.summary()["memorised"] is True


def test_fresh_arrays_are_not_memorised():
    found = judged(draws(law(), seed=9), split(draws(law(), 400), 300))
    assert not found.memorisation.memorised
    assert found.headline.startswith("sliced Wasserstein")


def test_memorisation_is_left_open_where_nobody_says_what_was_trained_on():
    found = judged(draws(law()), Images(draws(law(), 400, seed=9), "set"))
    assert found.memorisation is None
    assert "Memorisation is not judged" in found.warnings[0]


def test_data_may_be_an_array_in_memory():
    found = judged(draws(law()).clamp(-1, 1), draws(law(), 400, seed=9).clamp(-1, 1))
    assert "not distinguishable" in found.headline
    assert found.memorisation is None


def test_an_npz_file_says_what_was_trained_on(tmp_path):
    pixels = draws(law(), 400).clamp(-1, 1).numpy()
    np.savez(tmp_path / "set.npz", train=pixels[:300], test=pixels[300:])
    assert judged(torch.from_numpy(pixels[:300]), tmp_path / "set.npz").memorisation.memorised


def test_one_of_two_modes():
    clusters = GaussianMixture([1, 3], FAR, [0.01, 0.01])
    found = judged(0.8 + 0.1 * torch.randn(100, *SHAPE, generator=torch.Generator().manual_seed(0)), clusters)
    assert found.modes.counts.tolist() == [100, 0]
    assert "modes: 1 of 2 modes are covered, total variation 0.75" in "\n".join(found.lines)


def test_labels_are_modes():
    pixels, labels = draws(law(), 200), torch.arange(200) % 2
    pixels[labels == 1] += 20
    data = Split(Images(pixels[:150], "set", labels=labels[:150]), Images(pixels[150:], "set", labels=labels[150:]))
    found = judged(draws(law(), 50, seed=3), data).modes
    assert (found.counts.tolist(), found.expected.tolist()) == ([50, 0], [0.5, 0.5])


def test_samples_far_from_all_modes_cover_none():
    clusters = GaussianMixture([1, 1], FAR, [0.01, 0.01])
    noise = torch.randn(100, *SHAPE, generator=torch.Generator().manual_seed(0))
    line = next(line for line in judged(noise, clusters).lines if line.startswith("modes: "))
    assert line.startswith("modes: 100 % of the samples are outside all (")
    assert line.endswith("), so that nothing can be said of their modes")


def test_the_target_shows_what_nearest_neighbours_do_to_the_shares():
    """Narrow in the middle of a wide one, in 64 dimensions, a class is nearest to all."""
    pixels, labels = torch.randn(200, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(200) % 2
    pixels[labels == 0] *= 0.3
    data = Split(Images(pixels[:150], "set", labels=labels[:150]), Images(pixels[150:], "set", labels=labels[150:]))
    found = judged(pixels[150:], data)
    assert found.modes.total_variation == found.target_modes.total_variation > 0.4


def test_the_target_itself_as_samples_is_noticed():
    data = split(draws(law(), 400), 200)
    found = judged(data.held_out.pixels, data)
    assert found.warnings == (
        "The samples seem to hold some of the held-out arrays themselves: no fresh arrays are as near.",
    )
    assert found.summary()["verdict"] == "nearer than resample"
    assert "nearer to the target than fresh arrays are, which is no merit: 0 ± 0 against" in found.headline
    assert judged(draws(law(), 200, seed=5), data).warnings == ()


def test_as_many_samples_are_judged_as_there_are_training_arrays():
    found = judged(draws(law()), split(draws(law(), 200), 120))
    first = found.distances[0]
    assert {score.count for score in first.scores.values()} == {120}
    assert first.target == 80
    assert "120 of the 300 samples were drawn at random (seed 0)." in found.notes


def test_data_that_are_sorted_by_class_are_judged_like_any(monkeypatch):
    """Any first few of them would be of one class: a Gaussian of their moments is no bar, and a class all there is."""
    for name in ("material.MOST", "neighbours.LABELLED"):
        monkeypatch.setattr(f"scoregrain.report.{name}", 200)
    labels = torch.arange(2).repeat_interleave(1000)
    pixels = draws(law(), 2000) + 6 * labels.view(-1, 1, 1, 1)
    other = torch.arange(2).repeat_interleave(100)
    held_out = draws(law(), 200, seed=9) + 6 * other.view(-1, 1, 1, 1)
    data = Split(Images(pixels, "set", labels=labels), Images(held_out, "set", labels=other))
    found = judged(pixels[::10] + 0.1, data)
    assert distances(found)["Gaussian W₂"].baselines[GAUSSIAN].value < 1.5
    assert found.modes.expected.tolist() == pytest.approx([0.5, 0.5], abs=0.1)
    assert abs(float(found.pictures.target.mean()) - 3) < 1


def test_more_samples_than_a_resample_has_are_not_judged():
    found = judged(draws(law()), split(draws(law(), 200), 120), n=150)
    assert "At most 120 samples are judged: there are no more arrays for a fresh resample." in found.notes


def test_samples_whose_black_is_zero_are_noticed():
    saying = "No sample has a negative value, fresh draws have: is their black 0, and not -1?"
    assert saying in judged(draws(law()).abs(), law()).warnings
    assert saying not in judged(draws(law()), law()).warnings


def test_one_sample_that_blew_up_does_not_widen_the_error_until_all_is_well():
    samples = draws(law())
    samples[7] *= 4
    said = next(line for line in judged(samples, law(), features="pixels").lines if line.startswith("FD-pixels ("))
    assert "not distinguishable" not in said


def test_every_distance_has_one_of_the_documented_words():
    told = judged(torch.zeros(300, *SHAPE), law(), features="pixels").summary()
    words = {each["name"]: each["verdict"] for each in told["distances"]}
    assert told["verdict"] == words["sliced Wasserstein"] == "no better than nothing"
    assert words["FD-pixels (300 vs 300)"] == "no better than nothing"
    assert words["log-spectral distance"] == "no better than nothing"  # infinite, as that of nothing
    assert words["max-sliced Wasserstein"] is None  # a maximum has no error
    assert set(words.values()) | {each["verdict"] for each in told["directions"]} <= {*get_args(Verdict), None}


def test_the_word_and_the_sentence_of_a_judgement_agree():
    line = RankOne(DIRECTION)
    blown_up, fresh, shifted = (
        judged(5 * draws(law()), law()),
        judged(draws(law()), law()),
        judged(draws(line) + 0.2, line),
    )
    assert blown_up.summary()["verdict"] == "worse than nothing"
    assert "worse than generating nothing" in blown_up.headline
    assert fresh.summary()["verdict"] == "not distinguishable from resample"
    by_name = {each["name"]: each["verdict"] for each in shifted.summary()["distances"]}
    # of means and covariances alone, a Gaussian that has them is no bar
    assert by_name["sliced Wasserstein"] == "no better than moment-matched Gaussian"
    assert by_name["Gaussian W₂"] == "further than resample"


def test_the_same_seed_gives_the_same_numbers():
    samples, options = draws(law()), {"n": 100, "seed": 3}
    once, again = (judged(samples, law(), **options).summary() for _ in range(2))
    assert once == again
    assert once != judged(samples, law(), n=100, seed=4).summary()


def test_values_outside_the_range_are_judged_as_they_are():
    big, clipped = (
        judged(x, law()).distances[0].samples.value for x in (3 * draws(law()), (3 * draws(law())).clamp(-1, 1))
    )
    assert big > 1.5 * clipped


class Exact(nn.Module):
    """The exact model as a network; ``share`` of its answer along one direction is left out."""

    def __init__(self, exact, share=0.0):
        super().__init__()
        self.exact, self.share, self.nothing = exact, share, nn.Parameter(torch.zeros(1))

    def forward(self, x, t):
        said = self.exact(x, t)
        along = (said.flatten(1).double() @ DIRECTION.flatten())[:, None, None, None] * DIRECTION
        return said - self.share * along.to(said)


def exact_run(data, share=0.0):
    process = DiffusionProcess(linear_schedule(200))
    model = Exact(GaussianScore(data.mean, data.covariance, process), share)
    return Run(
        folder=Path("run"),
        config=TrainConfig(data=data, steps=5),
        record={"data": {"name": data.name}},
        step=5,
        model=model,
        family=NetworkFamily(nn.Identity, SHAPE, name="exact"),
        process=process,
        rotation=None,
        history=[{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5, "held_out_loss": 0.6}],
        _split=split(draws(data, 200), 100),
    )


def test_the_exact_model_as_a_run_has_no_excess_and_reaches_the_floor():
    found = evaluate(exact_run(law()), n=300, steps=40, sampler="heun", **QUICK)
    assert "not distinguishable from a fresh resample" in found.headline
    value, _ = found.along.denoising("excess")
    assert float(value.max()) < 1e-10
    assert found.method["sampler"] == "heun"
    assert found.history[-1]["held_out_loss"] == 0.6


def test_what_a_network_leaves_out_is_found_along_its_direction():
    """Along v the excess is share² E (v·ε*)² at each level; ε* = s Σ_t⁻¹ x_t gives E (v·ε*)² = s²/(c² 16 + s²)."""
    data = RankOne(DIRECTION)
    run = exact_run(data, share=0.5)
    found = evaluate(run, draws(data), **QUICK).along
    value, error = found.denoising("excess")
    c, s = (torch.tensor(column) for column in zip(*(run.process.level(t) for t in found.errors.levels), strict=True))
    expected = 0.25 * (s**2 / (16 * c**2 + s**2)).mean()
    assert abs(float(value[0]) - float(expected)) < 4 * float(error[0])
    assert float(value[1]) < 1e-10
    assert "largest along 0" in "\n".join(evaluate(run, draws(data), **QUICK).lines)


def test_without_an_exact_model_the_whole_error_is_shown_and_said():
    data = Sphere(probing_basis("dct-ii", SHAPE)[:, :3], SHAPE)
    run = exact_run(data)
    found = evaluate(run, draws(data), **QUICK).along
    assert found.errors.bayes is None
    assert "has no exact model" in found.note


@pytest.mark.parametrize(
    ("samples", "data", "said"),
    [
        (None, None, "there is nothing to judge: give a run, or samples and data"),
        (draws(law()), None, "samples without a run need data to judge them by"),
        (draws(law(), 19), law(), "too few samples to judge: 19, at least 20"),
        (draws(law()).long(), law(), "samples must be floats (N, C, *space), black -1 and white 1, got int64"),
        (draws(law()).flatten(1), law(), "samples must be floats (N, C, *space)"),
        (draws(law()).mul(math.inf), law(), "300 of 300 samples hold a NaN or an infinity, the first is number 0"),
        (draws(law()) * 1e20, law(), "where white is 1: the sampler or the network diverged"),
        (draws(law())[..., :3], law(), "the samples are arrays (1, 4, 3), the law"),
        (
            draws(law()),
            split(draws(law(), 100)[..., :3], 60),
            "the samples are arrays (1, 4, 4), the data 'set' (1, 4, 3)",
        ),
        (draws(law()), split(draws(law(), 100), 90), "too few held-out arrays of 'set' to judge by: 10"),
    ],
)
def test_what_cannot_be_judged_is_refused(samples, data, said):
    with pytest.raises(InvalidInputError) as caught:
        judged(samples, data)
    assert said in str(caught.value)


def test_a_run_and_what_does_not_fit_it():
    run = exact_run(law())
    with pytest.raises(InvalidInputError, match=r"the samples are arrays \(1, 2, 2\), those of the run \(1, 4, 4\)"):
        evaluate(run, torch.rand(30, 1, 2, 2), **QUICK)
    with pytest.raises(InvalidInputError, match=r"the geometry is of arrays \(1, 2, 2\)"):
        evaluate(run, geometry=data_geometry(torch.rand(30, 1, 2, 2)), **QUICK)
    with pytest.raises(InvalidInputError, match="n must be at least 20, got 0"):
        evaluate(run, n=0, **QUICK)
    with pytest.raises(InvalidInputError, match="unknown sampler 'ddimm'"):
        evaluate(run, sampler="ddimm", **QUICK)
    with pytest.raises(InvalidInputError, match="run must be of type Run"):
        evaluate("runs/a", **QUICK)


def test_baselines_stand_beside_every_distance():
    found = judged(draws(law()), law(), features="random")
    assert [each.name for each in found.distances][-1] == "FD-random-conv (300 vs 300)"
    for each in (*found.distances, *found.directions):
        assert list(each.scores) == [SAMPLES, RESAMPLE, ZEROS, WHITE, GAUSSIAN]
    assert f"{SAMPLES} (300)" in found.lines[0]


def test_what_the_sliced_distance_is_blind_to_other_features_may_see():
    found = judged(draws(law()), law(), features="pixels")
    assert [each.decisive for each in found.distances] == [True, False, False, False, True]
    assert "FD-pixels (300 vs 300): not distinguishable from a fresh resample" in "\n".join(found.lines)


def test_no_features_without_torchmetrics(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = judged(draws(law()), law(), features="random")
    assert "torchmetrics is not installed (pip install 'scoregrain[eval]')" in found.warnings[-1]


def test_covariances_of_a_mixture_may_be_singular():
    flat = DiagonalOperator(SHAPE, torch.cat([torch.ones(8), torch.zeros(8)]).double())
    clusters = GaussianMixture([1, 1], 5 * FAR, [flat, flat])
    found = judged(draws(clusters, 100), clusters).modes
    assert bool(found.covered.all())
