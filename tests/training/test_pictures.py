"""Pictures of samples: pixels where they belong, the file whole."""

import numpy as np
import pytest
import torch
from PIL import Image

from scoregrain._errors import ScoregrainError
from scoregrain.training.pictures import save_grid


def test_the_range_shown_is_minus_one_to_one(tmp_path):
    """Three even images side by side, enlarged eight times to 64 pixels each."""
    samples = torch.tensor([-1.0, 0.0, 5.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
    save_grid(samples, tmp_path / "samples" / "one.png")
    picture = np.asarray(Image.open(tmp_path / "samples" / "one.png").convert("L"))
    assert [int(picture[32, column]) for column in (32, 100, 168)] == [0, 128, 255]
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["one.png"]


def test_a_picture_replaces_an_older_one(tmp_path):
    for value in (-1.0, 1.0):
        save_grid(torch.full((1, 1, 8, 8), value), tmp_path / "one.png")
    assert np.asarray(Image.open(tmp_path / "one.png").convert("L")).min() == 255


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "samples").write_text("")
    with pytest.raises(ScoregrainError, match=r"cannot write '.*one\.png'"):
        save_grid(torch.zeros(1, 1, 8, 8), tmp_path / "samples" / "one.png")
