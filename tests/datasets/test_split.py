"""load_split: disjoint, seeded, complete; what a file says wins."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import Images, Split, load_images, load_split, split_images


@pytest.fixture
def numbered():
    """200 images of one pixel, each of its own value."""
    return np.arange(200, dtype=np.uint8).reshape(-1, 1, 1, 1)


def chosen(images: Images) -> list[int]:
    return ((images.pixels.ravel() + 1) * 127.5).round().int().tolist()


def both(split: Split) -> list[int]:
    return sorted(chosen(split.train) + chosen(split.held_out))


@settings(deadline=None, max_examples=40)
@given(st.integers(4, 200), st.one_of(st.integers(2, 198), st.floats(0.01, 0.99)), st.integers(0, 2**40))
def test_every_image_is_in_exactly_one_part(count, held_out, seed):
    array = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1)
    number = held_out if isinstance(held_out, int) else round(held_out * count)
    if not 2 <= number <= count - 2:
        with pytest.raises(InvalidInputError, match=f"{count} images cannot be split with held_out="):
            load_split(array, held_out=held_out, seed=seed)
        return
    split = load_split(array, held_out=held_out, seed=seed)
    assert (len(split.train), len(split.held_out)) == (count - number, number)
    assert both(split) == list(range(count))
    assert chosen(split.train) == sorted(chosen(split.train))


def test_the_split_is_a_function_of_the_seed(numbered):
    first, again, other = (load_split(numbered, seed=seed) for seed in (3, 3, 4))
    assert chosen(first.held_out) == chosen(again.held_out)
    assert chosen(first.train) == chosen(again.train)
    assert chosen(first.held_out) != chosen(other.held_out)


def test_no_place_is_favoured(numbered):
    """In 300 splits in halves each image is held out Binomial(300, 1/2) times."""
    counts = np.zeros(200)
    for seed in range(300):
        counts[chosen(load_split(numbered, held_out=0.5, seed=seed).held_out)] += 1
    assert np.abs(counts - 150).max() < 4.5 * np.sqrt(75)
    assert abs(np.corrcoef(np.arange(200), counts)[0, 1]) < 4 / np.sqrt(200)


def test_the_limit_takes_from_the_training_part_alone(numbered):
    split, whole = load_split(numbered, limit=50), load_split(numbered)
    assert chosen(split.held_out) == chosen(whole.held_out)
    assert len(split.train) == 50
    assert set(chosen(split.train)) < set(chosen(whole.train))
    # drawn anywhere, not from the beginning
    assert max(chosen(split.train)) > 150


def test_both_parts_say_how_they_were_split(numbered):
    split = load_split(numbered, limit=50, seed=7)
    held_out = "20 of 200 images, drawn at random (seed 7), are held out."
    assert split.held_out.notes == (held_out,)
    assert split.train.notes == (held_out, "50 of 180 images to train on were drawn at random (seed 7).")


def test_labels_follow_the_digits():
    whole, split = load_images("digits"), load_split("digits", (1, 16, 16))
    assert (len(split.train), len(split.held_out)) == (1617, 180)
    assert split.train.shape == split.held_out.shape == (1, 16, 16)
    unfitted = load_split("digits")
    for part in (unfitted.train, unfitted.held_out):
        matches = (part.pixels.flatten(1)[:, None] == whole.pixels.flatten(1)).all(-1)
        assert matches.any(1).all()
        assert torch.equal(whole.labels[matches.int().argmax(1)], part.labels)


@pytest.fixture
def parts(tmp_path, numbered):
    path = tmp_path / "parts.npz"
    labels = np.arange(200)
    np.savez(path, train=numbered[:150], test=numbered[150:], train_labels=labels[:150], test_labels=labels[150:])
    return path


def test_a_file_with_a_part_test_is_split_as_it_says(parts):
    split = load_split(parts, held_out=0.5)
    assert chosen(split.train) == split.train.labels.tolist() == list(range(150))
    assert chosen(split.held_out) == split.held_out.labels.tolist() == list(range(150, 200))
    told = "The source itself says what is to train on and what is held out."
    assert split.train.notes == split.held_out.notes == (told,)


def test_the_limit_of_a_file_with_parts(parts):
    split = load_split(parts, limit=30, seed=2)
    assert len(split.held_out) == 50
    assert set(chosen(split.train)) < set(range(150))
    assert split.train.notes[1] == "30 of 150 images to train on were drawn at random (seed 2)."
    assert split.train.labels.tolist() == chosen(split.train)


def test_parts_of_two_shapes_are_refused_unless_one_is_asked_for(tmp_path):
    np.savez(tmp_path / "two.npz", train=np.zeros((9, 8, 8), np.uint8), test=np.zeros((9, 8, 6), np.uint8))
    with pytest.raises(InvalidInputError, match=r"'two' has arrays \(1, 8, 8\) to train on and \(1, 8, 6\) held out"):
        load_split(tmp_path / "two.npz")
    assert load_split(tmp_path / "two.npz", shape=(1, 8, 8)).held_out.shape == (1, 8, 8)


def test_a_file_with_an_array_test_alone_is_split_at_random(tmp_path, numbered):
    np.savez(tmp_path / "odd.npz", test=numbered)
    split = load_split(tmp_path / "odd.npz")
    assert both(split) == list(range(200))
    assert len(split.held_out) == 20


def test_labels_of_another_number_are_refused_in_either_part(tmp_path, numbered):
    for part in ("train", "test"):
        path = tmp_path / f"{part}.npz"
        np.savez(path, train=numbered[:150], test=numbered[150:], **{f"{part}_labels": np.arange(7)})
        with pytest.raises(InvalidInputError, match=rf"{part}_labels must hold one integer.*got shape \(7,\)"):
            load_split(path)


def test_signals_are_split(numbered):
    split = load_split(np.zeros((20, 2, 8)), shape=(2, 4), held_out=5)
    assert (split.train.pixels.shape, split.held_out.pixels.shape) == ((15, 2, 4), (5, 2, 4))


@pytest.mark.parametrize("held_out", [0, 1, -3, 0.0, 1.0, 1.5, float("nan"), True, None, "0.1"])
def test_a_bad_share_is_refused(numbered, held_out):
    with pytest.raises(InvalidInputError, match="held_out must be a share between 0 and 1, or a number"):
        load_split(numbered, held_out=held_out)


def test_other_bad_arguments_are_refused(numbered):
    with pytest.raises(InvalidInputError, match="limit must be at least 2"):
        load_split(numbered, limit=1)
    with pytest.raises(InvalidInputError, match="8×8 are smaller than the model's 28×28"):
        load_split("digits", (1, 28, 28), enlarge=False)
    with pytest.raises(InvalidInputError, match=r"^3 images cannot be split with held_out=2 \(--held-out\): "):
        load_split(numbered[:3], held_out=2)


@pytest.mark.parametrize("held_out", [0.1, 37])
def test_loaded_images_are_split_as_their_source_is(numbered, held_out):
    images = load_images(numbered)
    labelled = Images(images.pixels, "numbers", ("First.",), torch.arange(200))
    loaded, split = load_split(numbered, held_out=held_out, seed=5), split_images(labelled, held_out, seed=5)
    for part, expected in ((split.train, loaded.train), (split.held_out, loaded.held_out)):
        assert torch.equal(part.pixels, expected.pixels)
        assert part.labels.tolist() == chosen(part)
        assert part.notes == ("First.", *expected.notes)
        assert part.name == "numbers"


def test_one_image_is_one_image(numbered):
    with pytest.raises(InvalidInputError, match=r"^1 image cannot be split"):
        load_split(numbered[:1])


def test_too_few_loaded_images_are_refused(numbered):
    with pytest.raises(InvalidInputError, match="3 images cannot be split with held_out=2"):
        split_images(load_images(numbered[:3]), 2)
