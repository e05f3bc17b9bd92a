"""Grey and RGB, centre crop, antialiased resize."""

from typing import Any

import pytest
import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.datasets.fitting import Shape, Step, check_shape, plan


def fit(pixels: Tensor, target: Shape) -> Tensor:
    _, channels, height, width = pixels.shape
    for step in plan((channels, height, width), target):
        pixels = step.apply(pixels)
    return pixels


def notes(source: Shape, target: Shape) -> list[str]:
    return [step.note for step in plan(source, target)]


def test_an_equal_shape_needs_no_step() -> None:
    assert plan((3, 8, 8), (3, 8, 8)) == []


def test_luma_of_the_primaries() -> None:
    primaries = torch.eye(3).view(3, 3, 1, 1)
    torch.testing.assert_close(fit(primaries, (1, 1, 1)).ravel(), torch.tensor([0.299, 0.587, 0.114]))
    assert notes((3, 1, 1), (1, 1, 1)) == ["Converted from RGB to grey (ITU-R 601 luma)."]


def test_grey_is_repeated_and_survives_the_way_back() -> None:
    grey = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    colour = fit(grey, (3, 4, 4))
    assert all(torch.equal(colour[:, [c]], grey) for c in range(3))
    torch.testing.assert_close(fit(colour, (1, 4, 4)), grey, rtol=0, atol=1e-6)
    assert notes((1, 4, 4), (3, 4, 4)) == ["Converted from grey to RGB by repetition."]


@pytest.mark.parametrize(("source", "target"), [(4, 3), (2, 1), (3, 4), (1, 2)])
def test_other_channels_are_refused(source: int, target: int) -> None:
    with pytest.raises(InvalidInputError, match=f"have {source} channels, {target} are needed.*RGB"):
        plan((source, 8, 8), (target, 8, 8))


def test_other_channels_may_stay() -> None:
    assert fit(torch.zeros(2, 5, 8, 8), (5, 4, 4)).shape == (2, 5, 4, 4)


@pytest.mark.parametrize("size", [(4, 4), (16, 16), (5, 5), (20, 20), (8, 6), (3, 40), (1, 1)])
@pytest.mark.parametrize("value", [-1.0, 0.25, 1.0])
def test_constants_stay_constant(size: tuple[int, int], value: float) -> None:
    got = fit(torch.full((2, 1, 8, 8), value), (1, *size))
    assert got.shape == (2, 1, *size)
    torch.testing.assert_close(got, torch.full_like(got, value), rtol=0, atol=2e-7)


@pytest.mark.parametrize("size", [4, 8, 32, 64])
@pytest.mark.parametrize("axis", [2, 3])
def test_ramps_stay_ramps_away_from_the_border(size: int, axis: int) -> None:
    def ramp(n: int) -> Tensor:
        centres = (torch.arange(n) + 0.5) * 2 / n - 1
        return centres.expand(1, 1, n, n).transpose(3, axis)

    margin = max(1, size // 8)
    inner = slice(margin, size - margin)
    got, expected = fit(ramp(16), (1, size, size)), ramp(size)
    torch.testing.assert_close(got[..., inner, inner], expected[..., inner, inner], rtol=0, atol=1e-6)


def checkerboard(size: int) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (1.0 - 2.0 * ((rows + columns) % 2)).view(1, 1, size, size)


@pytest.mark.parametrize("size", [8, 4, 2])
def test_a_checkerboard_becomes_grey_when_reduced(size: int) -> None:
    got = fit(checkerboard(16), (1, size, size))
    assert got[..., 1:-1, :].abs().sum() + got[..., 1:-1].abs().sum() < 1e-5
    assert got.abs().max() < 0.03  # a corner keeps (1/7)² at most


@pytest.mark.parametrize(("source", "target"), [(15, 5), (15, 3), (18, 6)])
def test_a_checkerboard_does_not_alias(source: int, target: int) -> None:
    """By an odd factor each new pixel lies on an old one: without antialiasing it would be -1 or 1."""
    assert fit(checkerboard(source), (1, target, target)).abs().max() < 0.05


def test_resizing_does_not_overshoot_an_edge() -> None:
    edge = torch.ones(1, 1, 8, 8)
    edge[..., :4] = -1
    for size in (3, 4, 5, 16, 19):
        assert fit(edge, (1, size, size)).abs().max() <= 1 + 1e-6


def test_resize_is_noted() -> None:
    assert notes((1, 8, 8), (1, 16, 16)) == ["Resized from 8×8 to 16×16 (bilinear, antialiased)."]


def test_a_tall_image_loses_top_and_bottom() -> None:
    pixels = torch.arange(10.0).view(1, 1, 10, 1).expand(1, 1, 10, 4)
    assert fit(pixels, (1, 4, 4))[0, 0, :, 0].tolist() == [3, 4, 5, 6]
    assert notes((1, 10, 4), (1, 4, 4)) == ["Centre-cropped from 10×4 to 4×4 (height×width)."]


def test_a_wide_image_loses_left_and_right() -> None:
    pixels = torch.arange(9.0).view(1, 1, 1, 9).expand(1, 1, 4, 9)
    assert fit(pixels, (1, 4, 4))[0, 0, 0].tolist() == [2, 3, 4, 5]


def test_all_steps_in_order() -> None:
    assert notes((3, 218, 178), (1, 64, 64)) == [
        "Converted from RGB to grey (ITU-R 601 luma).",
        "Centre-cropped from 218×178 to 178×178 (height×width).",
        "Resized from 178×178 to 64×64 (bilinear, antialiased).",
    ]
    assert fit(torch.zeros(2, 3, 218, 178), (1, 64, 64)).shape == (2, 1, 64, 64)


def test_a_crop_keeps_at_least_one_pixel() -> None:
    assert fit(torch.zeros(1, 1, 1, 3), (1, 50, 1)).shape == (1, 1, 50, 1)


@pytest.mark.parametrize("bad", [(64,), (1, 8, 8, 8), ()])
def test_a_shape_has_two_space_dimensions(bad: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match=rf"two space dimensions.*got \({', '.join(map(str, bad))}"):
        check_shape(bad)


@pytest.mark.parametrize("bad", [(1, 0, 8), (1, 8, -8), (1, 8.0, 8), "abc", 5])
def test_a_shape_is_positive_integers(bad: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"positive integers \(C, H, W\)"):
        check_shape(bad)


def test_a_shape_may_be_a_list_or_a_torch_size() -> None:
    assert check_shape([1, 2, 3]) == check_shape(torch.Size([1, 2, 3])) == (1, 2, 3)
    assert check_shape([2, 64]) == (2, 64)


@pytest.mark.parametrize("length", [4, 9, 16, 64])
def test_a_signal_is_resampled_like_an_image_of_equal_rows(length: int) -> None:
    signals = torch.rand(3, 2, 16, generator=torch.Generator().manual_seed(0))
    (step,) = plan((2, 16), (2, length)) if length != 16 else [Step("", lambda x: x)]
    square = plan((2, 16, 16), (2, length, length))
    images = signals[:, :, None].expand(-1, -1, 16, -1)
    expected = square[0].apply(images)[:, :, 0] if square else signals
    assert step.apply(signals).shape == (3, 2, length)
    torch.testing.assert_close(step.apply(signals), expected, rtol=0, atol=1e-6)
    assert step.note in ("", f"Resampled from 16 to {length} values (linear, antialiased).")


def test_an_alternating_signal_does_not_alias() -> None:
    (step,) = plan((1, 15), (1, 5))
    assert step.apply((1.0 - 2.0 * (torch.arange(15) % 2)).view(1, 1, 15)).abs().max() < 0.25
    assert plan((1, 15), (1, 15)) == []


def test_signals_keep_their_channels() -> None:
    with pytest.raises(InvalidInputError, match="signals have 3 channels, 1 are needed"):
        plan((3, 8), (1, 8))


@pytest.mark.parametrize(("source", "target"), [((1, 8, 8), (1, 16, 16)), ((1, 30, 20), (1, 28, 28)), ((1, 8), (1, 9))])
def test_enlarging_can_be_refused(source: Shape, target: Shape) -> None:
    assert plan(source, target)
    with pytest.raises(
        InvalidInputError, match=r"of \S+ are smaller than the model's \S+: pass enlarge=True \(--enlarge\)"
    ):
        plan(source, target, enlarge=False)


@pytest.mark.parametrize(("source", "target"), [((1, 8, 8), (3, 8, 8)), ((1, 40, 28), (1, 28, 28)), ((1, 9), (1, 8))])
def test_what_is_not_enlarged_is_not_refused(source: Shape, target: Shape) -> None:
    assert notes(source, target) == [step.note for step in plan(source, target, enlarge=False)]
