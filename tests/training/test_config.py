"""A training as a value: what cannot be is refused at once, in one line that says what can."""

import math

import pytest

from scoregrain._errors import InvalidInputError
from scoregrain.training import TrainConfig


@pytest.mark.parametrize(
    ("name", "word", "said"),
    [
        ("prediction", "epsilom", r"unknown prediction 'epsilom' \(did you mean 'epsilon'\?\); known: epsilon, "),
        ("omission", "marginals", r"unknown omission 'marginals' .*'marginal'.*; known: conditional, marginal$"),
        ("schedule", "liner", r"unknown schedule 'liner' .*'linear'"),
        ("schedule", None, "unknown schedule 'None'; known: linear, cosine$"),
        ("weighting", "L2", "unknown weighting 'L2'.*known: l2, whitened$"),
        ("optimizer", "sgd", "unknown optimizer 'sgd'.*known: adam, adamw$"),
        ("lr_schedule", "cosin", "unknown lr_schedule 'cosin' .*'cosine'"),
        ("mixed_precision", "fp16", "unknown mixed_precision 'fp16'.*known: no, bf16$"),
        ("mixed_precision", 16, "unknown mixed_precision '16'; known: no, bf16$"),
    ],
)
def test_unknown_words_are_refused_with_the_known_ones(name, word, said):
    with pytest.raises(InvalidInputError, match=said):
        TrainConfig(**{name: word})


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("timesteps", 1),
        ("steps", 1),
        ("batch_size", 1),
        ("accumulation", 1),
        ("warmup", 0),
        ("checkpoint_every", 1),
        ("keep", 1),
        ("sample_every", 0),
        ("log_every", 1),
    ],
)
def test_counts_are_whole_and_not_too_small(name, least):
    for wrong in (least - 1, 2.5, "3", None):
        with pytest.raises(InvalidInputError, match=name):
            TrainConfig(**{name: wrong})
    assert getattr(TrainConfig(**{name: least}), name) == least


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "clip", "ema"])
@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, "0.1", True, None])
def test_numbers_are_finite_and_not_negative(name, wrong):
    with pytest.raises(InvalidInputError, match=f"{name} must be a finite number of at least 0, got"):
        TrainConfig(**{name: wrong})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rate": 0}, "learning_rate is 0: nothing would be learnt"),
        ({"ema": 1}, "ema is 1, expected a decay below 1 such as 0.999, or 0 for none"),
        ({"batch_size": 10, "accumulation": 4}, r"a batch of 10 cannot be cut into 4 equal parts \(accumulation\)"),
        ({"seed": 0.5}, "seed"),
    ],
)
def test_values_that_make_no_training_are_refused(changes, said):
    with pytest.raises(InvalidInputError, match=said):
        TrainConfig(**changes)


def test_what_is_none_means_the_networks_own():
    config = TrainConfig()
    assert (config.prediction, config.omission) == (None, None)
