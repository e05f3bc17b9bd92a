"""Trivial generators against the laws they should have; every sentence of the verdict."""

import math
from typing import get_args

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.metrics.baselines import Judgement, Verdict, decide, judge, make_baselines, verdict
from scoregrain.metrics.gaussian import gaussian_w2
from scoregrain.metrics.sliced import sliced_wasserstein

F64 = torch.float64
NAMES = ["resample", "zeros", "white noise", "moment-matched Gaussian"]


def normal(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, generator=stream(seed, "baseline tests"), dtype=dtype)


# the samples ---------------------------------------------------------------------------------------------------------


def test_without_another_sample_the_target_is_split_in_disjoint_halves():
    target = torch.arange(21.0)[:, None, None].expand(21, 1, 3)
    made = make_baselines(target)
    first, second = (set(each[:, 0, 0].tolist()) for each in (made.reference, made.samples["resample"]))
    assert (len(first), len(second), first & second) == (10, 10, set())
    assert first | second < set(range(21))
    assert list(made.samples) == NAMES
    assert {tuple(each.shape) for each in made.samples.values()} == {(10, 1, 3)}
    assert first != set(make_baselines(target, seed=1).reference[:, 0, 0].tolist())


def test_another_sample_of_the_law_leaves_the_target_whole():
    target, other = normal(30, 1, 4), normal(50, 1, 4, seed=1)
    made = make_baselines(target, resample=other)
    assert made.reference is target
    drawn = made.samples["resample"]
    assert drawn.shape == target.shape
    assert all(any(torch.equal(row, each) for each in other) for row in drawn)
    assert len(drawn.unique(dim=0)) == 30
    assert make_baselines(target, 80, resample=other).samples["resample"] is other


def test_there_are_as_many_as_asked_for_in_the_targets_dtype():
    made = make_baselines(normal(30, 2, 4, dtype=torch.float32), n=2500, resample=normal(40, 2, 4))
    assert [len(made.samples[name]) for name in NAMES] == [40, 2500, 2500, 2500]
    assert all(made.samples[name].dtype == torch.float32 for name in NAMES[1:])


def test_a_seed_decides_every_draw():
    target = normal(30, 1, 4)
    one, same, other = (make_baselines(target, seed=seed).samples for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in NAMES)
    assert [name for name in NAMES if torch.equal(one[name], other[name])] == ["zeros"]
    assert not torch.equal(one["white noise"], one["moment-matched Gaussian"])


def test_they_have_the_laws_they_are_named_for():
    target = 2 + normal(500, 6) @ normal(6, 6, seed=1)
    made = make_baselines(target, n=20_000, resample=target).samples
    matched, white = made["moment-matched Gaussian"], made["white noise"]
    torch.testing.assert_close(matched.mean(0), target.mean(0), rtol=0, atol=0.08)
    torch.testing.assert_close(matched.T.cov(), target.T.cov(), rtol=0.1, atol=0.3)
    torch.testing.assert_close(white.T.cov(), torch.eye(6, dtype=F64), rtol=0, atol=0.05)
    assert float(white.mean().abs()) < 0.02
    assert not made["zeros"].any()


def test_the_matched_gaussian_of_few_samples_stays_in_their_span():
    target = normal(5, 40)
    matched = make_baselines(target, n=300, resample=target).samples["moment-matched Gaussian"]
    span = torch.linalg.qr((target - target.mean(0)).T).Q[:, :4]
    deviation = matched - target.mean(0)
    torch.testing.assert_close(deviation @ span @ span.T, deviation)
    assert int(torch.linalg.matrix_rank(deviation)) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": torch.zeros(3, 2)}, "the target holds too few samples: 3, at least 4"),
        ({"target": torch.full((4, 2), math.nan)}, "the target must be finite"),
        (
            {"target": torch.zeros(4, 2), "resample": torch.zeros(4, 3)},
            "the target and the resample must be samples of",
        ),
        ({"target": torch.zeros(4, 2), "n": 1}, "n must be at least 2, got 1"),
    ],
)
def test_what_is_no_target_is_refused_in_one_line(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        make_baselines(**arguments)


# the verdict ---------------------------------------------------------------------------------------------------------

ALL = {
    "resample": (0.1, 0.01),
    "zeros": (1.0, 0.01),
    "white noise": (1.5, 0.01),
    "moment-matched Gaussian": (0.4, 0.01),
}
MATCHED = "a Gaussian with the data's moments"
FRESH = "a fresh resample of the data"
FURTHER = f"but further than {FRESH}"
SENTENCES = [
    (5.2, 0.1, ALL, "worse than generating nothing: 5.2 ± 0.1 against 1 ± 0.01 for all zeros"),
    (1.03, 0.01, ALL, "worse than generating nothing: 1.03 ± 0.01 against 1 ± 0.01 for all zeros"),
    (1.02, 0.01, ALL, "no better than generating nothing: 1.02 ± 0.01 against 1 ± 0.01 for all zeros"),
    (0.98, 0.01, ALL, "no better than generating nothing: 0.98 ± 0.01 against 1 ± 0.01 for all zeros"),
    (
        0.6,
        0.01,
        ALL | {"white noise": (0.5, 0.01)},
        "no better than white noise: 0.6 ± 0.01 against 0.5 ± 0.01 for white noise",
    ),
    (0.7, 0.01, ALL, f"no better than {MATCHED}: 0.7 ± 0.01 against 0.4 ± 0.01 for {MATCHED}"),
    (0.3, 0.012, ALL, f"better than every trivial baseline, {FURTHER}: 0.3 ± 0.012 against 0.1 ± 0.01 for {FRESH}"),
    (0.11, 0.01, ALL, f"not distinguishable from {FRESH}: 0.11 ± 0.01 against 0.1 ± 0.01 for {FRESH}"),
    (
        0.11,
        0.01,
        ALL | {"moment-matched Gaussian": (0.12, 0.01)},
        f"not distinguishable from {FRESH}, and no better than {MATCHED}: 0.11 ± 0.01 against 0.1 ± 0.01 for {FRESH}",
    ),
    (0.12, 0.01, ALL, f"better than every trivial baseline, {FURTHER}: 0.12 ± 0.01 against 0.1 ± 0.01 for {FRESH}"),
    (  # the error of samples of which one blew up
        0.3,
        0.3,
        ALL | {"zeros": (1.0, 0.01), "moment-matched Gaussian": (0.15, 0.01)},
        f"no better than {MATCHED}: 0.3 ± 0.3 against 0.15 ± 0.01 for {MATCHED}",
    ),
    (0.12, 1.0, ALL, "no better than generating nothing: 0.12 ± 1 against 1 ± 0.01 for all zeros"),
    (
        0.01,
        0.01,
        ALL,
        f"nearer to the target than fresh arrays are, which is no merit: 0.01 ± 0.01 against 0.1 ± 0.01 for {FRESH}",
    ),
    (0.5, 0.01, {"zeros": (1.0, 0.01)}, "better than every trivial baseline"),
    (0.5, 0.01, {}, "compared with no trivial baseline"),
    (
        0.5,
        0,
        {"resample": (0.1, 0)},
        f"compared with no trivial baseline, {FURTHER}: 0.5 ± 0 against 0.1 ± 0 for {FRESH}",
    ),
    (math.inf, 0.0, ALL, "worse than generating nothing: inf ± 0 against 1 ± 0.01 for all zeros"),
    (0.0, 0.0, {"zeros": (0.0, 0.0)}, "no better than generating nothing: 0 ± 0 against 0 ± 0 for all zeros"),
]


@pytest.mark.parametrize(("value", "error", "baselines", "sentence"), SENTENCES)
def test_the_verdict_says_what_the_numbers_say(value, error, baselines, sentence):
    assert verdict(value, error, baselines) == sentence


# what each sentence begins with, where its word is another
BEGINNINGS = {
    "nearer than resample": "nearer to the target",
    "worse than nothing": "worse than generating nothing",
    "no better than nothing": "no better than generating nothing",
    "no better than moment-matched Gaussian": f"no better than {MATCHED}",
    "not distinguishable from resample": f"not distinguishable from {FRESH}",
}


@pytest.mark.parametrize(("value", "error", "baselines", "sentence"), SENTENCES)
def test_the_word_is_that_of_the_sentence(value, error, baselines, sentence):
    word = decide(value, error, baselines)
    assert FURTHER in sentence if word == "further than resample" else sentence.startswith(BEGINNINGS.get(word, word))


def test_every_word_is_said_of_some_numbers():
    assert {decide(*case[:3]) for case in SENTENCES} == set(get_args(Verdict))


@pytest.mark.parametrize(
    ("value", "word"), [(0.071, "not distinguishable from resample"), (0.05, "nearer than resample")]
)
def test_nearer_is_by_more_than_three_standard_errors(value, word):
    assert decide(value, 0.0, ALL) == word
    assert decide(value, 0.02, ALL) == "not distinguishable from resample"


@pytest.mark.parametrize("bad", [(math.nan, 0.1), (0.1, math.nan), (-0.1, 0.1), (0.1, -0.1)])
def test_no_verdict_on_what_is_no_distance(bad):
    with pytest.raises(InvalidInputError, match=r"must be numbers from 0 on, got [^:]* of the samples"):
        verdict(*bad, ALL)
    with pytest.raises(InvalidInputError, match="of zeros"):
        verdict(0.1, 0.1, {"zeros": bad})


def sliced(samples, reference):
    found = sliced_wasserstein(samples, reference, projections=128)
    return found.sw2, found.error


def test_generators_are_judged_as_they_deserve():
    """Data at both ends of a line: large noise is worse than nothing, fresh data are as good as fresh data."""
    scale = torch.zeros(16, dtype=F64)
    scale[2] = 4.0
    data = [normal(800, 16, seed=k).sign() * scale for k in range(3)]
    baselines = make_baselines(data[0], resample=data[1])
    blown_up = judge(5 * normal(800, 16, seed=9), baselines, sliced)
    assert isinstance(blown_up, Judgement)
    assert blown_up.verdict.startswith("worse than generating nothing")
    assert (blown_up.value, blown_up.error) == sliced(5 * normal(800, 16, seed=9), data[0])
    assert judge(data[2], baselines, sliced).verdict.startswith(
        "not distinguishable from a fresh resample of the data: "
    )
    matched = baselines.samples["moment-matched Gaussian"]
    assert judge(matched, baselines, sliced).verdict.startswith("no better than a Gaussian with the data's moments")
    assert judge(0 * data[0], baselines, sliced).verdict.startswith("no better than generating nothing")
    assert list(blown_up.baselines) == NAMES


def test_fresh_data_are_seldom_told_from_fresh_data():
    """About one in thirty for laws tried here, never at two errors; of 200 at most 12."""
    told = 0
    for k in range(200):
        data = [normal(150, 8, seed=3 * k + j) for j in range(3)]
        (value, error), resample = sliced(data[2], data[0]), sliced(data[1], data[0])
        told += "but further" in verdict(value, error, {"resample": resample})
    assert told <= 12


def test_any_distance_with_an_error_can_judge():
    def bures(samples, reference):
        found = gaussian_w2(samples, reference)
        return found.w2, found.error

    data = [3 * normal(400, 5, seed=k) for k in range(3)]
    judged = judge(data[2], make_baselines(data[0], resample=data[1]), bures)
    assert judged.verdict.startswith(
        "not distinguishable from a fresh resample of the data, and no better than a Gauss"
    )
