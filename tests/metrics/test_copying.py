"""Memorisation: copies are found, fresh samples are not, and the null deviation is the one observed."""

import math

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.metrics.copying import memorisation

SHAPE = (1, 4, 4)


def draws(n, seed, dtype=torch.float32):
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed)).to(dtype)


TRAIN, HELD_OUT = draws(900, 0), draws(300, 1)


def test_the_training_images_themselves_are_memorised():
    found = memorisation(TRAIN[:200], TRAIN, HELD_OUT)
    assert found.memorised
    assert torch.equal(found.nearest, torch.arange(200))
    assert torch.equal(found.distances, torch.zeros(200, dtype=torch.float64))
    assert (found.ratio, found.share_copies, found.share_closer_to_train, found.excess_closer) == (0, 1, 1, 1)
    assert found.expected_closer == 0.75
    assert found.z > 3


def test_fresh_samples_are_not():
    found = memorisation(draws(300, 2), TRAIN, HELD_OUT)
    assert not found.memorised
    assert abs(found.z) < 3
    assert found.ratio == pytest.approx(1, abs=0.05)
    assert found.expected_copies == pytest.approx(0.01, abs=0.004)


def test_half_copies_are_half():
    samples = torch.cat((TRAIN[:150], draws(150, 2)))
    found = memorisation(samples, TRAIN[:300], HELD_OUT)
    assert found.memorised
    assert found.share_copies == pytest.approx(0.5 + 0.005, abs=0.02)
    assert found.excess_closer == pytest.approx(0.5, abs=0.1)


def test_samples_that_only_lean_towards_the_training_images_are_found():
    """Halves of fresh draws and training images, of unit variance: hardly a copy, but too near."""
    samples = (draws(300, 2) + TRAIN[:300]) / 2**0.5
    found = memorisation(samples, TRAIN[:300], HELD_OUT)
    assert found.z > 3
    assert found.memorised


def test_held_out_images_of_a_slightly_different_law_accuse_nobody():
    """As MNIST's, which other people wrote: fresh samples are certainly nearer to the training images, by a little."""
    found = memorisation(draws(4000, 2), TRAIN, draws(900, 1) + 0.3)
    assert found.z > 3
    assert not found.memorised


def test_samples_nearer_to_the_held_out_images_are_not_memorised():
    found = memorisation(HELD_OUT[:100], TRAIN, HELD_OUT)
    assert found.share_closer_to_train == 0
    assert not found.memorised


@pytest.mark.parametrize("train_size", [40, 60])
@pytest.mark.parametrize("clumped", [False, True])
def test_the_deviation_by_chance_is_the_one_observed(clumped, train_size):
    """200 splits at random: samples that crowd around few images scatter more, and the error says so."""
    shares, errors = [], []
    for seed in range(200):
        pool = draws(80, 2 * seed + 10)
        samples = draws(60, 2 * seed + 11)
        samples = 0.1 * samples if clumped else samples
        found = memorisation(samples, pool[:train_size], pool[train_size:])
        shares.append(found.share_closer_to_train)
        errors.append(found.closer_error)
    shares, error = torch.tensor(shares), torch.tensor(errors).square().mean().sqrt().item()
    expected = train_size / 80
    assert shares.mean() == pytest.approx(expected, abs=4 * error / math.sqrt(200))
    assert 0.82 < shares.std() / error < 1.18
    assert (error > 1.5 * math.sqrt(expected * (1 - expected) / 60)) == clumped


@pytest.mark.parametrize(("samples", "held_out"), [(200, 20), (100, 100), (30, 200)])
def test_fresh_samples_are_seldom_called_copies_whatever_the_numbers(samples, held_out):
    """One in 741 by the normal law; the nearest of few held-out images is a poor limit, and the error knows."""
    copied = sum(
        memorisation(draws(samples, 3 * k + 1000), draws(100, 3 * k + 1001), draws(held_out, 3 * k + 1002)).copied
        for k in range(500)
    )
    assert copied <= 4


def test_few_copies_among_many_fresh_samples_are_found():
    found = memorisation(torch.cat((TRAIN[:20], draws(380, 2))), TRAIN, HELD_OUT)
    assert found.copied
    assert found.memorised
    assert found.z_copies > 3
    found = memorisation(draws(400, 2), TRAIN, HELD_OUT)
    assert not found.copied
    assert found.z_copies < 3


def test_the_default_device_changes_nothing():
    expected = memorisation(draws(50, 2), TRAIN, HELD_OUT)
    samples = draws(50, 2)
    with torch.device("meta"):
        assert memorisation(samples, TRAIN, HELD_OUT).z == expected.z


def test_one_image_that_attracts_all_samples_is_no_evidence():
    """All samples alike: whether their nearest image is a training one is one toss of a coin."""
    found = memorisation(draws(1, 5).expand(50, -1, -1, -1), TRAIN[:300], HELD_OUT)
    assert found.closer_error == pytest.approx(0.5, rel=1e-9)
    assert found.share_closer_to_train in (0, 1)


def test_duplicates_in_both_parts_decide_nothing():
    same = torch.zeros(60, *SHAPE)
    found = memorisation(same[:20], same, same[:20])
    assert (found.share_closer_to_train, found.excess_closer, found.memorised) == (0.75, 0, False)
    assert math.isnan(found.ratio)


def test_kinds_of_floats_may_be_mixed():
    single, mixed = (memorisation(draws(50, 2, dtype), TRAIN, HELD_OUT) for dtype in (torch.float32, torch.float64))
    assert mixed.share_closer_to_train == single.share_closer_to_train
    torch.testing.assert_close(mixed.distances, single.distances)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": draws(19, 0)}, "the samples holds too few samples: 19, at least 20"),
        ({"held_out": draws(5, 0)}, "the held-out images holds too few samples: 5"),
        ({"train": torch.zeros(30, 1, 4, 5)}, "must be samples of one shape"),
        ({"samples": draws(30, 0) * torch.nan}, "the samples must be finite"),
    ],
)
def test_what_cannot_be_judged_is_named(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        memorisation(**{"samples": draws(30, 2), "train": TRAIN, "held_out": HELD_OUT, **changes})
