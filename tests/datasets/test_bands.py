"""Band-limited and band-corrupted images: exact Fourier supports."""

import math
from itertools import pairwise

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import Images, corrupt_band, limit_band
from scoregrain.operators import FrequencyGrid

SPACES = [(8, 8), (7, 10), (9,), (16,), (1, 6), (4, 3, 5)]


def white(n, *shape, dtype=torch.float64):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def spectrum(x, space):
    return torch.fft.fftn(x, dim=tuple(range(-len(space), 0)), norm="ortho")


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("band", [(0, 0.5), (0.3, 0.7), (0.5, 1.0)])
def test_only_the_band_is_kept_and_kept_exactly(space, band):
    x = white(4, 3, *space)
    mask = FrequencyGrid(space).band(*band)
    before, after = spectrum(x, space), spectrum(limit_band(x, *band), space)
    assert after[..., ~mask].numel() == 0 or after[..., ~mask].abs().max() < 1e-13
    torch.testing.assert_close(after[..., mask], before[..., mask], rtol=0, atol=1e-13)


@pytest.mark.parametrize("space", [(8, 8), (7, 10), (16,)], ids=str)
def test_bands_that_tile_add_up(space):
    x = white(4, 2, *space)
    edges = [0, 0.25, 0.5, 0.75, 1]
    parts = sum(limit_band(x, low, high) for low, high in pairwise(edges))
    torch.testing.assert_close(parts, x, rtol=0, atol=1e-13)


def test_without_low_frequencies_the_mean_is_gone():
    x = white(4, 1, 8, 8) + 3
    assert limit_band(x, 0.01, 1).mean((1, 2, 3)).abs().max() < 1e-14
    torch.testing.assert_close(limit_band(x, 0, 0.01), x.mean((2, 3), keepdim=True).expand_as(x))


@pytest.mark.parametrize("space", [(8, 8), (7, 10), (16,)], ids=str)
def test_corruption_leaves_the_other_frequencies_untouched(space):
    x = white(4, 3, *space)
    mask = FrequencyGrid(space).band(0.3, 0.7)
    change = spectrum(corrupt_band(x, 0.3, 0.7) - x, space)
    assert change[..., ~mask].abs().max() < 1e-14
    assert change[..., mask].abs().min() > 0


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.0])
def test_the_noise_has_the_power_of_its_strength_at_each_frequency(strength):
    """Power γ² on average: 5,000 images give 5 standard errors of √(2/N) (a real coefficient's, the largest)."""
    n = 5000
    x = torch.zeros(n, 1, 6, 6, dtype=torch.float64)
    power = spectrum(corrupt_band(x, 0.4, 0.9, strength=strength), (6, 6)).abs().square().mean((0, 1))
    mask = FrequencyGrid((6, 6)).band(0.4, 0.9)
    torch.testing.assert_close(
        power[mask], torch.full_like(power[mask], strength**2), rtol=5 * math.sqrt(2 / n), atol=1e-15
    )


def test_every_image_and_channel_has_noise_of_its_own():
    noise = corrupt_band(torch.zeros(3, 2, 16, 16), 0.2, 0.8).reshape(6, 256)
    correlation = torch.corrcoef(noise) - torch.eye(6)
    assert correlation.abs().max() < 5 / math.sqrt(FrequencyGrid((16, 16)).band(0.2, 0.8).sum())


def test_the_noise_is_a_function_of_the_seed():
    x = white(3, 1, 8, 8)
    assert torch.equal(corrupt_band(x, 0, 0.5, seed=1), corrupt_band(x, 0, 0.5, seed=1))
    assert not torch.equal(corrupt_band(x, 0, 0.5, seed=1), corrupt_band(x, 0, 0.5, seed=2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("change", [limit_band, corrupt_band])
def test_tensors_keep_their_dtype_and_are_not_changed(dtype, change):
    x = white(3, 1, 8, 8, dtype=dtype)
    before = x.clone()
    changed = change(x, 0, 0.5)
    assert (changed.dtype, changed.shape) == (dtype, x.shape)
    assert torch.equal(x, before)
    assert change(x[:0], 0, 0.5).shape == (0, 1, 8, 8)


def test_images_stay_images_with_a_note():
    images = Images(white(5, 1, 8, 8, dtype=torch.float32), "waves", ("First.",), torch.arange(5))
    limited, corrupted = limit_band(images, 0.25, 1), corrupt_band(images, 0, 0.5, seed=3, strength=0.5, radius="raw")
    for changed, pixels in (
        (limited, limit_band(images.pixels, 0.25, 1)),
        (corrupted, corrupt_band(images.pixels, 0, 0.5, seed=3, strength=0.5, radius="raw")),
    ):
        assert torch.equal(changed.pixels, pixels)
        assert (changed.name, changed.labels.tolist()) == ("waves", [0, 1, 2, 3, 4])
    assert limited.notes == (
        "First.",
        "Only the band of frequencies [0.25, 1) (corner radius) was kept; values may leave [-1, 1].",
    )
    assert corrupted.notes[1] == (
        "The band of frequencies [0, 0.5) (raw radius) got noise of strength 0.5 (seed 3); values may leave [-1, 1]."
    )
    assert images.notes == ("First.",)


def test_the_unit_of_the_radius_counts():
    x = white(2, 1, 8, 8)
    torch.testing.assert_close(limit_band(x, 0, 0.25, "raw"), limit_band(x, 0, 0.5, "nyquist"))
    assert not torch.allclose(limit_band(x, 0, 0.25, "raw"), limit_band(x, 0, 0.25, "corner"))


@pytest.mark.parametrize("change", [limit_band, corrupt_band])
@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        (torch.zeros(2, 1, 8, 8), {"low": 0.5, "high": 0.5}, "0 <= low < high"),
        (
            torch.zeros(2, 1, 8, 8),
            {"low": 0.3, "high": 0.31},
            r"\[0.3, 0.31\).*holds no frequency of 8×8 pixels: widen",
        ),
        (torch.zeros(2, 1, 8, 8), {"low": 0, "high": 1, "radius": "pixel"}, "unknown radius unit 'pixel'"),
        (torch.zeros(8, 8), {"low": 0, "high": 1}, r"\(N, C, \*space\), got torch.float32 of shape \(8, 8\)"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.int64), {"low": 0, "high": 1}, "floating-point"),
        ([0.0], {"low": 0, "high": 1}, "images must be of type Images or Tensor, got list"),
    ],
)
def test_what_has_no_band_is_refused(change, images, options, words):
    with pytest.raises(InvalidInputError, match=words):
        change(images, **options)


@pytest.mark.parametrize("strength", [-1.0, math.inf, math.nan])
def test_a_bad_strength_is_refused(strength):
    with pytest.raises(InvalidInputError, match="strength must be finite and at least 0"):
        corrupt_band(torch.zeros(2, 1, 8, 8), 0, 1, strength=strength)
