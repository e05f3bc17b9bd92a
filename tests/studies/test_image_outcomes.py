import math

import pytest
import torch
from torch import nn

from scoregrain.datasets import Images, Split
from scoregrain.diffusion import DiffusionProcess
from scoregrain.schedules import linear_schedule
from scoregrain.studies.image_outcomes import (
    Target,
    best_linear,
    energy_groups,
    feature_outcomes,
    image_outcomes,
    image_split,
    mode_outcomes,
    target_note,
)
from scoregrain.studies.outcomes import Sampling
from scoregrain.studies.study import Row, Rows

SHAPE = (1, 4, 4)
PROCESS = DiffusionProcess(linear_schedule(1000))
SAMPLING = Sampling(300, "ddim", 25)
BASIS = torch.eye(16, dtype=torch.float64)
OUTCOMES = ("sw2", "error", "error_levels", "error_groups", "energy_groups", "fd", "spectrum", "labels_off")


def gaussian_split(labels=False):
    scales = torch.linspace(0.3, 1.5, 16).reshape(SHAPE)
    x = 0.5 + scales * torch.randn(2000, *SHAPE, generator=torch.Generator().manual_seed(0))
    classes = (x[:, 0, 3, 3] > 0.5).long() if labels else None

    def part(first, last):
        return Images(x[first:last], "made", (), classes[first:last] if labels else None)

    return Split(part(0, 1600), part(1600, 2000))


SPLIT = gaussian_split(labels=True)


class Offset(nn.Module):
    """The best linear denoiser of the training arrays, plus a constant along the first direction."""

    def __init__(self, bias=0.0):
        super().__init__()
        self.exact = best_linear(SPLIT.train, PROCESS)
        self.offset = bias * BASIS[:, 0].reshape(SHAPE).float()

    def forward(self, x, t):
        return self.exact(x, t) + self.offset


class Broken(nn.Module):
    def forward(self, x, t):
        return torch.full_like(x, float("nan"))


@pytest.fixture(scope="module")
def linear():
    return image_outcomes(Offset(), PROCESS, SPLIT, SAMPLING, 0, BASIS)


def test_target_resample_and_training_arrays_are_chosen_by_the_seed_and_do_not_overlap():
    split = Split(
        Images(torch.arange(40.0).reshape(40, 1, 1), "a", ()), Images(100 + torch.arange(6.0).reshape(6, 1, 1), "a", ())
    )
    target = Target.of(split, 4, 0)
    assert sorted(target.arrays.flatten().tolist())[0] >= 100
    held = {v for v in torch.cat([target.arrays, target.resample]).flatten().tolist() if v >= 100}
    assert len(target.resample) == len(target.arrays) == len(target.gaussian) == 4
    assert len(held) == 6  # the two that were left, then training ones
    assert target.trained == 2
    assert Target.of(split, 3, 0).trained == 0
    assert torch.equal(target.arrays, Target.of(split, 4, 0).arrays)
    assert not torch.equal(target.arrays, Target.of(split, 4, 1).arrays)
    assert len(Target.of(split, 50, 0).arrays) == 6


def test_the_best_linear_denoiser_has_its_own_error_and_samples_its_gaussian(linear):
    assert linear["error"] == pytest.approx(linear["error_linear"], rel=1e-6)
    assert linear["error_groups"] == pytest.approx(linear["error_linear_groups"], rel=1e-6)
    assert linear["energy_groups"] == pytest.approx([1, 1, 1, 1], abs=0.25)
    assert linear["sw2"] < 2 * linear["sw2_gaussian"]
    assert linear["sw2"] < 0.3 * linear["sw2_zeros"]


def test_levels_and_groups_have_the_same_mean(linear):
    assert sum(linear["error_levels"]) / 10 == pytest.approx(linear["error"])
    assert sum(linear["error_groups"]) / 4 == pytest.approx(linear["error"])


def test_a_constant_error_along_a_direction_is_told_of_its_quarter_alone(linear):
    biased = image_outcomes(Offset(0.8), PROCESS, SPLIT, SAMPLING, 0, BASIS)
    # E (b + e)² - E e² = b² + 2 b E e in one of four directions; E e is within a few hundredths of 0
    assert biased["error_groups"][0] - linear["error_groups"][0] == pytest.approx(0.64 / 4, abs=0.02)
    assert biased["error_groups"][1:] == pytest.approx(linear["error_groups"][1:], rel=1e-6)


def test_zeros_are_as_far_as_the_energy_of_the_data(linear):
    energy = Target.of(SPLIT, 300, 0).arrays.square().mean().sqrt()  # MATH A8: SW₂² → tr M / D
    assert linear["sw2_zeros"] == pytest.approx(float(energy), rel=0.05)


def test_twice_the_data_has_four_times_its_energy():
    x = SPLIT.held_out.pixels
    found = energy_groups(2 * x, x, BASIS)
    assert found["energy_groups"] == pytest.approx([4, 4, 4, 4])
    assert sum(found["energy_groups_data"]) / 4 == pytest.approx(float(x.double().square().mean()))


def test_the_target_itself_has_no_distance_to_its_features():
    target = Target.of(SPLIT, 200, 0)
    found = feature_outcomes(target.arrays, target)
    assert found["fd"] == pytest.approx(0, abs=1e-8)
    assert found["spectrum"] == pytest.approx(0, abs=1e-8)
    twice = feature_outcomes(2 * target.arrays, target)
    assert twice["spectrum"] == pytest.approx(math.log(4))
    assert 0 < found["fd_resample"] < twice["fd"]
    assert feature_outcomes(torch.zeros_like(target.arrays), target)["spectrum"] is None  # infinite


def test_samples_of_one_label_lack_the_other():
    train, target = SPLIT.train, Target.of(SPLIT, 200, 0)
    one = train.pixels[train.labels == 1]
    found = mode_outcomes(one, target, train)
    assert found["labels_off"] == pytest.approx(1 - len(one) / len(train))
    assert found["labels_covered"] == 0.5
    assert found["labels_covered_held_out"] == 1


def test_a_network_that_gives_no_numbers_has_no_outcomes_but_baselines():
    found = image_outcomes(Broken(), PROCESS, SPLIT, SAMPLING, 0, BASIS)
    assert [name for name in OUTCOMES if found[name] is not None] == []
    assert found["sw2_resample"] > 0


def test_labels_and_directions_are_optional(linear):
    plain = image_outcomes(Offset(), PROCESS, gaussian_split(), SAMPLING, 0)
    assert plain["sw2"] == linear["sw2"]
    assert set(linear) - set(plain) == {name for name in linear if "groups" in name or "labels" in name}


def test_a_split_holds_out_what_is_asked_for():
    split = image_split("digits", 4, 100, limit=50)
    assert (len(split.train), len(split.held_out), split.train.shape) == (50, 100, (1, 4, 4))


def test_rows_tell_how_many_were_held_out_and_whether_fresh_ones_were_trained_on(linear):
    assert (linear["count"], linear["trained"]) == (300, 200)  # 400 are held out
    rows = Rows([Row({"seed": 0}, linear)])
    assert target_note(rows) == (
        "Samples are compared with 300 held-out images; of as many fresh ones 200 are training images."
    )
    assert target_note(Rows([Row({}, {"count": 9, "trained": 0})])) == "Samples are compared with 9 held-out images."
