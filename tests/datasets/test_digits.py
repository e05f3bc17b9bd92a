"""The embedded digits are those of scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import scoregrain.datasets.images
from scoregrain._errors import InvalidInputError
from scoregrain.datasets import load_images

FOLDER = Path(scoregrain.datasets.images.__file__).parent


def test_file_holds_scikit_learns_digits_unchanged() -> None:
    expected = load_digits()
    with np.load(FOLDER / "digits.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == ["train", "train_labels"]
        assert archive["train"].dtype == archive["train_labels"].dtype == np.uint8
        np.testing.assert_array_equal(archive["train"], expected.images[:, None])
        np.testing.assert_array_equal(archive["train_labels"], expected.target)


def test_file_is_small_and_its_notice_names_source_and_licence() -> None:
    assert (FOLDER / "digits.npz").stat().st_size < 65_536
    notice = (FOLDER / "DIGITS-NOTICE.txt").read_text(encoding="utf-8")
    for words in (
        "Alpaydin",
        "Kaynak",
        "UCI",
        "CC BY 4.0",
        "scikit-learn",
        "BSD 3-Clause",
        "none but the container",
    ):
        assert words in notice


def test_pixels_are_sixteen_steps_from_minus_one_to_one() -> None:
    images = load_images("digits")
    expected = torch.from_numpy(load_digits().images / 8 - 1).float()[:, None]
    assert images.pixels.dtype == torch.float32
    torch.testing.assert_close(images.pixels, expected, rtol=0, atol=0)
    assert images.labels is not None
    assert images.labels.tolist() == load_digits().target.tolist()
    assert images.notes == ("Pixel values were mapped from [0, 16] to [-1, 1].",)


def test_a_range_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"digits.*known.*--range"):
        load_images("digits", value_range=(0, 255))
