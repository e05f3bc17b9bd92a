"""load_images: choice of the source, subset, notes, names, errors."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import Images, data_name, load_images


@pytest.fixture
def numbered() -> np.ndarray:
    """200 images of one pixel, each of its own value."""
    return np.arange(200, dtype=np.uint8).reshape(-1, 1, 1, 1)


def chosen(images: Images) -> list[int]:
    return ((images.pixels.ravel() + 1) * 127.5).round().int().tolist()


def test_an_array_becomes_float32_in_the_unit_range(numbered: np.ndarray) -> None:
    images = load_images(numbered)
    assert images.pixels.dtype == torch.float32
    assert chosen(images) == list(range(200))
    assert (images.name, images.notes, images.labels) == ("array", (), None)
    assert (len(images), images.shape) == (200, (1, 1, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_float_tensors_are_read(dtype: torch.dtype) -> None:
    pixels = torch.tensor([-1, -0.25, 0.5, 1], dtype=dtype).view(2, 1, 1, 2).requires_grad_()
    images = load_images(pixels)
    assert images.pixels.ravel().tolist() == [-1, -0.25, 0.5, 1]
    assert not images.pixels.requires_grad


def test_the_result_shares_no_memory_with_the_source() -> None:
    pixels = torch.zeros(2, 1, 2, 2)
    load_images(pixels).pixels.fill_(1)
    assert pixels.abs().sum() == 0


def test_strided_arrays_are_read(numbered: np.ndarray) -> None:
    assert chosen(load_images(numbered[::-2])) == list(range(199, -1, -2))


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.zeros(2, 1, 2, 2).to_sparse(), "sparse_coo.*cannot be read"),
        (torch.zeros(2, 1, 2, 2, device="meta"), "meta cannot be read"),
        (torch.zeros(2, 1, 2, 2, dtype=torch.complex64), "got complex64"),
        (torch.zeros(2, 1, 2, 2, dtype=torch.bool), "got bool"),
    ],
)
def test_other_tensors_are_refused(tensor: torch.Tensor, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        load_images(tensor)


def test_the_subset_is_seeded_and_in_order(numbered: np.ndarray) -> None:
    first = load_images(numbered, limit=50, seed=3)
    indices = chosen(first)
    assert len(set(indices)) == 50
    assert indices == sorted(indices)
    assert chosen(load_images(numbered, limit=50, seed=3)) == indices
    assert chosen(load_images(numbered, limit=50, seed=4)) != indices
    assert first.notes == ("50 of 200 images were drawn at random (seed 3).",)


def test_the_subset_favours_no_position(numbered: np.ndarray) -> None:
    """Over 400 draws of half the images each is drawn Binomial(400, 1/2) times, whatever its place."""
    counts = np.zeros(200)
    for seed in range(400):
        counts[chosen(load_images(numbered, limit=100, seed=seed))] += 1
    assert counts.sum() == 400 * 100
    assert np.abs(counts - 200).max() < 4.5 * 10
    assert 0.6 < counts.var() / 100 < 1.4
    assert abs(np.corrcoef(np.arange(200), counts)[0, 1]) < 4 / np.sqrt(200)


@pytest.mark.parametrize("limit", [None, 200, 1000])
def test_no_subset_when_the_limit_is_not_reached(numbered: np.ndarray, limit: int | None) -> None:
    images = load_images(numbered, limit=limit)
    assert len(images) == 200
    assert images.notes == ()


@pytest.mark.parametrize("limit", [1, 0, -5])
def test_a_limit_below_two_is_refused(numbered: np.ndarray, limit: int) -> None:
    with pytest.raises(InvalidInputError, match=f"limit must be at least 2.*got {limit}"):
        load_images(numbered, limit=limit)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_are_refused(count: int) -> None:
    with pytest.raises(InvalidInputError, match=r"at least 2 images are needed, found 1|no pixels"):
        load_images(np.zeros((count, 1, 4, 4), np.uint8))


def test_an_npz_file_with_labels(tmp_path: Path, numbered: np.ndarray) -> None:
    path = tmp_path / "numbers.npz"
    np.savez(path, train=numbered, train_labels=np.arange(200, dtype=np.uint8))
    images = load_images(path, limit=20)
    assert images.name == "numbers"
    assert images.labels is not None
    assert images.labels.dtype == torch.int64
    assert images.labels.tolist() == chosen(images)
    assert chosen(load_images(str(path), limit=20)) == chosen(images)


def test_errors_in_an_npz_file_name_it(tmp_path: Path) -> None:
    path = tmp_path / "floats.npz"
    np.savez(path, train=np.full((2, 1, 4, 4), 7.0))
    with pytest.raises(InvalidInputError, match=r"floats.npz: float pixels.*found 7.0 to 7.0"):
        load_images(path)
    assert load_images(path, value_range=(0, 14)).pixels.abs().max() == 0


def test_notes_come_in_the_order_of_the_changes() -> None:
    pixels = np.zeros((30, 1, 4, 6), np.float32)
    images = load_images(pixels, shape=(3, 2, 2), value_range=(0, 1), limit=10)
    assert images.pixels.shape == (10, 3, 2, 2)
    assert images.notes == (
        "10 of 30 images were drawn at random (seed 0).",
        "Pixel values were mapped from [0, 1] to [-1, 1].",
        "Centre-cropped from 4×6 to 4×4 (height×width).",
        "Resized from 4×4 to 2×2 (bilinear, antialiased).",
        "Converted from grey to RGB by repetition.",
    )


def test_rounding_never_leaves_the_unit_range() -> None:
    generator = np.random.default_rng(0)
    extremes = generator.choice(np.array([0, 255], np.uint8), (50, 3, 9, 9))
    extremes[:10] = 255
    for shape in ((1, 9, 9), (3, 7, 7), (1, 20, 20)):
        assert load_images(extremes, shape).pixels.abs().max() <= 1
    assert load_images(np.full((2, 1, 1, 1), 1.0000001, np.float32)).pixels.max() == 1


def test_bad_arguments_are_refused(numbered: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match="two space dimensions"):
        load_images(numbered, shape=(64,))
    with pytest.raises(InvalidInputError, match=r"part must be train or test, got 'tset' .*did you mean 'test'"):
        load_images(numbered, part="tset")
    with pytest.raises(InvalidInputError, match="array has no part 'test', only train: load_split"):
        load_images(numbered, part="test")
    with pytest.raises(InvalidInputError, match="1×1 are smaller than the model's 2×2"):
        load_images(numbered, shape=(1, 2, 2), enlarge=False)
    with pytest.raises(InvalidInputError, match="channels"):
        load_images(numbered, shape=(4, 1, 1))
    with pytest.raises(InvalidInputError, match="LO < HI"):
        load_images(numbered, value_range=(1, 0))


@pytest.mark.parametrize("source", [["a.png"], None, 5, b"digits"])
def test_other_sources_are_refused(source: Any) -> None:
    with pytest.raises(InvalidInputError, match="a name, a path, an array or a tensor, got"):
        load_images(source)


def test_a_misspelt_name_gets_the_nearest_one() -> None:
    with pytest.raises(InvalidInputError, match=r"'digit'.*did you mean 'digits'.*\.npz.*folder.*Hugging Face"):
        load_images("digit")


@pytest.mark.parametrize("source", ["", "a/b/c", "../up", "no\0path", "x" * 5000, "missing.npz"])
def test_unknown_names_say_what_is_accepted(source: str) -> None:
    with pytest.raises(InvalidInputError, match=r"expected digits, an .npz file or a folder of images"):
        load_images(source)


def test_other_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "broken.npz").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(InvalidInputError, match=r"folder.npz is a folder, although its name ends in .npz"):
        load_images(tmp_path / "folder.npz")
    for name in ("notes.txt", "pipe.npz"):
        with pytest.raises(InvalidInputError, match=f"{name} is neither an .npz file nor a folder"):
            load_images(tmp_path / name)
    for name in ("broken.npz", "notes.txt/below.npz", "missing"):
        with pytest.raises(InvalidInputError, match=f"{name}.*no such file or folder"):
            load_images(tmp_path / name)


def test_digits_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    for name in ("a", "b"):
        Image.new("L", (5, 5)).save(tmp_path / "digits" / f"{name}.png")
    assert len(load_images("digits")) == 1797
    assert len(load_images("./digits")) == len(load_images(Path("digits"))) == 2


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("digits", "digits"),
        ("mnist.npz", "mnist"),
        (Path("/data/v1.2/CIFAR 10.NPZ"), "CIFAR-10"),
        ("/data/my photos/", "my-photos"),
        ("..//odd:*name?", "odd-name"),
        ("/", "images"),
        ("/data/.hidden", "hidden"),
        ("x" * 200, "x" * 60),
        (np.zeros(1), "array"),
        (torch.zeros(1), "array"),
    ],
)
def test_short_names(source: Any, name: str) -> None:
    assert data_name(source) == name


def test_the_name_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "birds").mkdir()
    monkeypatch.chdir(tmp_path / "birds")
    assert data_name(".") == "birds"


@pytest.mark.parametrize("array", [np.zeros((5, 2, 9), np.float32), np.zeros((5, 9), np.float32)])
def test_arrays_are_signals_when_the_shape_is(array: np.ndarray) -> None:
    """An array (5, 2, 9) would be images of 2×9 pixels otherwise."""
    array[3] = 0.5
    channels = array.shape[1] if array.ndim == 3 else 1
    signals = load_images(array, shape=(channels, 9))
    assert (signals.pixels.shape, signals.shape) == ((5, channels, 9), (channels, 9))
    np.testing.assert_array_equal(signals.pixels.flatten(1).numpy(), array.reshape(5, -1))
    assert signals.notes == (
        "No value is negative and [-1, 1] was assumed: if they lie in [0, 1], give the true range"
        " with value_range=(lo, hi), --range LO HI on the command line.",
    )


def test_signals_of_an_npz_file_are_resampled_and_keep_their_labels(tmp_path: Path) -> None:
    path = tmp_path / "waves.npz"
    phase = np.arange(50) / 50 * 2 * np.pi
    np.savez(path, train=3 * np.sin(phase)[None] * np.ones((6, 1)), train_labels=np.arange(6))
    signals = load_images(path, shape=(1, 25), value_range=(-3, 3))
    assert signals.labels is not None
    assert signals.labels.tolist() == list(range(6))
    assert signals.notes == (
        "Values were mapped from [-3, 3] to [-1, 1].",
        "Resampled from 50 to 25 values (linear, antialiased).",
    )
    expected = torch.sin(torch.from_numpy(phase).view(25, 2).mean(1)).float()
    torch.testing.assert_close(signals.pixels[2, 0, 1:-1], expected[1:-1], rtol=0, atol=0.02)


def test_bad_signals_are_refused() -> None:
    for array in (np.zeros((5, 1, 9, 9)), np.zeros(5)):
        with pytest.raises(InvalidInputError, match=r"signals, of a shape \(C, L\), must be \(N, C, L\) or \(N, L\)"):
            load_images(array, shape=(1, 9))
    with pytest.raises(InvalidInputError, match="float values must lie in"):
        load_images(np.full((5, 9), 2.0), shape=(1, 9))
    with pytest.raises(InvalidInputError, match="9 values are NaN or infinite, the first in signal 0"):
        load_images(np.concatenate([np.full((1, 9), np.nan), np.zeros((2, 9))]), shape=(1, 9))
    with pytest.raises(InvalidInputError, match=r"'digits' holds images, so shape must be \(C, H, W\)"):
        load_images("digits", shape=(1, 64))


def test_a_law_is_no_source() -> None:
    with pytest.raises(InvalidInputError, match=r"is a law, which is sampled, not read: use parse_law"):
        load_images("rank-one:basis=haar,index=5")


def test_the_part_test_of_an_npz_file(tmp_path: Path, numbered: np.ndarray) -> None:
    path = tmp_path / "parts.npz"
    np.savez(path, train=numbered[:150], test=numbered[150:], test_labels=np.arange(50))
    assert chosen(load_images(path, part="test")) == list(range(150, 200))
    assert load_images(path).labels is None
