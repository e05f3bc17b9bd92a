"""Arrays side by side: every pixel where it belongs."""

import numpy as np
import pytest
import torch

from scoregrain.datasets import tile
from scoregrain.datasets.tiles import GAP, STRIP


def levels(picture):
    return np.asarray(picture).astype(int)


def test_images_lie_row_by_row_enlarged_on_white():
    """Five images of 2×3 pixels, two in a row, four times as large."""
    arrays = torch.linspace(-1, 1, 5 * 6).view(5, 1, 2, 3)
    picture = levels(tile(arrays, columns=2, side=12))
    height, width = 8 + GAP, 12 + GAP
    assert picture.shape == (3 * height - GAP, 2 * width - GAP, 3)
    expected = np.full_like(picture, 255)
    for i, array in enumerate(arrays):
        block = ((array[0].numpy() + 1) * 127.5).round().repeat(4, 0).repeat(4, 1)
        expected[i // 2 * height :, i % 2 * width :][:8, :12] = block[..., None]
    np.testing.assert_array_equal(picture, expected)


def test_colours_stay_and_values_outside_are_clipped():
    arrays = torch.tensor([-7.0, 0.0, 7.0, torch.nan]).view(4, 1, 1, 1).expand(4, 3, 1, 1).clone()
    arrays[1] = torch.tensor([-1.0, 1.0, -1.0]).view(3, 1, 1)
    picture = levels(tile(arrays, columns=4, side=1))
    assert picture[0, :: 1 + GAP].tolist() == [[0] * 3, [0, 255, 0], [255] * 3, [128] * 3]


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_of_other_channels_the_first_is_shown(channels):
    arrays = torch.randn(3, channels, 5, 5, generator=torch.Generator().manual_seed(0)) / 4
    np.testing.assert_array_equal(levels(tile(arrays)), levels(tile(arrays[:, :1].expand(-1, 3, -1, -1))))


def test_signals_are_strips_and_of_volumes_the_middle_is_shown():
    signal, volume = torch.linspace(-1, 1, 7).expand(1, 1, 7), torch.linspace(-1, 1, 27).view(1, 1, 3, 3, 3)
    np.testing.assert_array_equal(
        levels(tile(signal, side=7)), levels(tile(signal[:, :, None].expand(-1, -1, STRIP, -1), side=7))
    )
    np.testing.assert_array_equal(levels(tile(volume)), levels(tile(volume[:, :, 1])))
