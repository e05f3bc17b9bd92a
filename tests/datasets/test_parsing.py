"""Laws as strings: round trips, and one line for every mistake."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import LAWS, PROBING_BASES, RankOne, Sphere, is_law, parse_law, probing_basis, split_law

SHAPE = (3, 4, 4)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(PROBING_BASES), st.integers(0, 15))
def test_a_rank_one_law_lies_along_the_named_vector(basis, index):
    law = parse_law(f"rank-one:basis={basis},index={index}", SHAPE)
    assert isinstance(law, RankOne)
    torch.testing.assert_close(law.direction.flatten(), probing_basis(basis, SHAPE)[:, index], rtol=0, atol=1e-15)
    assert str(law) == law.name == f"rank-one:basis={basis},index={index}"
    assert str(parse_law(str(law), SHAPE)) == str(law)
    assert law.shape == SHAPE


def test_a_sphere_spans_the_named_vectors():
    law = parse_law("sphere:basis=haar,indices=1+5+2+7", SHAPE)
    assert isinstance(law, Sphere)
    assert torch.equal(law.directions, probing_basis("haar", SHAPE)[:, [1, 5, 2, 7]])
    assert str(law) == "sphere:basis=haar,indices=1+5+2+7"


def test_a_sphere_has_three_directions_by_default():
    law = parse_law("sphere:basis=dct-ii", SHAPE)
    assert str(law) == "sphere:basis=dct-ii,indices=0+1+2"
    assert str(parse_law(str(law), SHAPE)) == str(law)


def test_spaces_and_leading_zeros_do_not_matter():
    assert str(parse_law(" rank-one : index = 007 , basis = dct-ii ", SHAPE)) == "rank-one:basis=dct-ii,index=7"


def test_signals_have_laws():
    assert parse_law("rank-one:basis=dst-ii,index=4", (2, 9)).sample(3).shape == (3, 2, 9)


@pytest.mark.parametrize(
    "text", [*LAWS, "rank-one:", "rank-one:basis=haar", "sphere:x", "rnk-one:basis=haar,index=5", " sphere:basis=haar"]
)
def test_laws_are_recognised_even_with_mistakes(text):
    assert is_law(text)


@pytest.mark.parametrize(
    "text",
    [
        "digits",
        "mnist.npz",
        "./rank-one:basis=haar",
        "/data/a:b=c",
        "owner/name:configuration",
        "owner/name",
        "",
        "a:b",
        5,
    ],
)
def test_other_data_are_no_laws(text):
    assert not is_law(text)


def test_options_of_a_law_are_words():
    assert split_law("rank-one:geometry=./g,cluster=2") == ("rank-one", {"geometry": "./g", "cluster": "2"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rnk-one:basis=haar,index=5", "unknown law 'rnk-one'.*did you mean 'rank-one'.*known: rank-one, sphere"),
        ("", "unknown law ''"),
        ("rank-one", "rank-one needs basis: write rank-one:basis=dct-ii,index=3"),
        ("rank-one:basis=haar", "rank-one needs index: write"),
        ("sphere:indices=1+2", "sphere needs basis: write sphere:basis=dct-ii,indices=0"),
        ("rank-one:basis=harr,index=5", "unknown basis 'harr'.*did you mean 'haar'"),
        ("rank-one:base=haar,index=5", "rank-one has no key 'base'.*did you mean 'basis'.*its keys: basis, index"),
        ("rank-one:basis=haar,indices=5", "no key 'indices'.*did you mean 'index'"),
        ("rank-one:basis=haar,index=five", "index of rank-one must be an integer, got 'five'"),
        ("rank-one:basis=haar,index=1.5", "index of rank-one must be an integer, got '1.5'"),
        ("rank-one:basis=haar,index=16", r"index must lie in 0\.\.15"),
        ("rank-one:basis=haar,index=-1", r"index must lie in 0\.\.15"),
        ("rank-one:basis=haar,index", "expected key=value after 'rank-one:', got 'index'"),
        ("rank-one:basis=haar,,index=1", "expected key=value after 'rank-one:', got ''"),
        ("rank-one:basis=haar,index=1,index=2", "index is given twice"),
        ("sphere:basis=haar,indices=1+x", r"indices of sphere must be integers joined by \+, got 'x'"),
        ("sphere:basis=haar,indices=1", r"two or more different ones, got 1$"),
        ("sphere:basis=haar,indices=1+2+1", r"two or more different ones, got 1\+2\+1"),
        ("sphere:basis=haar,indices=1+99", r"index must lie in 0\.\.15"),
    ],
)
def test_mistakes_get_one_clear_line(text, words):
    with pytest.raises(InvalidInputError, match=words) as caught:
        parse_law(text, SHAPE)
    assert "\n" not in str(caught.value)
