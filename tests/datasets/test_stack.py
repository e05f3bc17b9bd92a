"""Checks of arrays, and the map of their values to [-1, 1]."""

import re
from typing import Any

import numpy as np
import pytest
import torch

import scoregrain.datasets.stack as module
from scoregrain._errors import InvalidInputError
from scoregrain.datasets.stack import Range, Stack, array_stack, check_range


def make(array: np.ndarray, value_range: Range | None = None) -> Stack:
    return array_stack(array, "the array", value_range, np.arange)


def unit(array: np.ndarray, value_range: Range | None = None) -> torch.Tensor:
    return torch.cat(list(make(array, value_range).blocks()))


def column(values: Any, dtype: Any) -> np.ndarray:
    return np.asarray(values, dtype=dtype).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.uint64, ">i4"])
def test_integers_map_255_to_one(dtype: Any) -> None:
    values = np.arange(256)
    got = unit(column(values, dtype))
    assert got.dtype == torch.float32
    np.testing.assert_array_equal(got.numpy().ravel(), ((2 * values - 255) / 255).astype(np.float32))
    assert got[0] == -1
    assert got[255] == 1
    torch.testing.assert_close(got.ravel(), torch.arange(256) / 127.5 - 1, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", np.longdouble])
def test_floats_in_the_unit_range_are_untouched(dtype: Any) -> None:
    values = column([-1, -1e-3, 1e-4, 0.3, 1], dtype)
    np.testing.assert_array_equal(unit(values).numpy(), values.astype(np.float32))


@pytest.mark.parametrize(("value_range", "middle"), [((0, 1), 0.5), ((0, 255), 127.5), ((-3, 5), 1)])
def test_a_range_is_mapped_to_minus_one_and_one(value_range: Range, middle: float) -> None:
    values = column([value_range[0], middle, value_range[1]], np.float32)
    assert unit(values, value_range).ravel().tolist() == [-1, 0, 1]


def test_a_range_holds_for_integers_too() -> None:
    assert unit(column([0, 4095], np.uint16), (0, 4095)).ravel().tolist() == [-1, 1]


def test_a_range_is_noted() -> None:
    notes = make(column([0, 1], np.float32), (0, 1)).notes
    assert notes == ("Pixel values were mapped from [0, 1] to [-1, 1].",)


def test_rounding_beyond_the_range_is_let_pass() -> None:
    beyond = np.nextafter(np.float32(1), np.float32(2))
    assert make(column([-1, beyond], np.float32)).bounds == (-1, 1)
    assert make(column([0, 0.1], np.float32), (0, 0.1)).bounds == (0, 0.1)


def test_blocks_join_to_the_chosen_images_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_VALUES", 50)  # four images of 12 values
    pixels = np.random.default_rng(0).integers(0, 256, (11, 3, 2, 2), dtype=np.uint8)
    stack = array_stack(pixels, "the array", None, lambda count: np.arange(0, count, 2))
    blocks = list(stack.blocks())
    assert [len(block) for block in blocks] == [4, 2]
    np.testing.assert_array_equal(torch.cat(blocks).numpy(), unit(pixels)[::2].numpy())


def test_three_dimensions_are_one_channel() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert make(pixels).shape == (1, 4, 3)
    np.testing.assert_array_equal(unit(pixels).numpy(), unit(pixels[:, None]).numpy())


@pytest.mark.parametrize("shape", [(5, 32, 32, 3), (5, 32, 32, 1), (5, 32, 32, 4), (32, 32, 3)])
def test_channel_last_is_refused_with_the_remedy(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match=r"channel-last.*\(N, C, H, W\).*transpose\(0, 3, 1, 2\)"):
        make(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (5, 1, 16, 4), (5, 4, 4), (5, 3, 8, 1)])
def test_narrow_images_are_not_mistaken_for_channel_last(shape: tuple[int, ...]) -> None:
    assert make(np.full(shape, 200, np.uint8)).notes == ()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 1, 4, 4), bool), "integers or floats, got bool"),
        (np.zeros((2, 1, 4, 4), complex), "integers or floats, got complex128"),
        (np.zeros((2, 1, 4, 4), object), "integers or floats, got object"),
        (np.full((2, 1, 4, 4), "a"), "integers or floats, got <U1"),
        (np.zeros((2, 1, 4, 4), "datetime64[s]"), "integers or floats, got datetime64"),
        (np.zeros((2, 1, 4, 4), [("r", "u1")]), "integers or floats, got"),
        (np.zeros((2, 16), np.uint8), r"\(N, C, H, W\) or \(N, H, W\), got shape \(2, 16\)"),
        (np.zeros((2, 1, 1, 4, 4), np.uint8), r"got shape \(2, 1, 1, 4, 4\)"),
        (np.zeros((2, 1, 0, 4), np.uint8), r"no pixels.*\(2, 1, 0, 4\)"),
        (column([0, 256], np.int32), r"integer pixels must lie in \[0, 255\], found 0 to 256.*--range LO HI"),
        (column([-1, 7], np.int8), r"\[0, 255\], found -1 to 7"),
        (column([0, 2**63], np.uint64), r"found 0 to 9223372036854775808"),
        (column([0, 255], np.float32), r"float pixels must .* \[-1, 1\], found 0.0 to 255.0.*--range LO HI"),
        (column([-1.5, 0], np.float16), r"\[-1, 1\], found -1.5 to 0.0"),
    ],
)  # fmt: skip
def test_what_is_not_an_image_is_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(InvalidInputError, match=f"the array: .*{words}"):
        make(array)


def test_values_outside_a_given_range_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"\[0, 1\], found 0 to 255"):
        make(column([0, 255], np.uint8), (0, 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted(bad: float) -> None:
    pixels = np.zeros((6, 1, 4, 4), np.float32)
    pixels[3, 0, 1, 1] = pixels[3, 0, 2, 2] = pixels[5, 0, 0, 0] = bad
    with pytest.raises(InvalidInputError, match=r"3 pixels are NaN or infinite, the first in image 3"):
        make(pixels, (0, 1))


def test_all_values_are_checked_not_only_the_chosen_ones() -> None:
    with pytest.raises(InvalidInputError, match="found 0 to 999"):
        array_stack(column([0, 1, 999], np.int32), "the array", None, lambda count: np.arange(2))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (column([0, 16], np.uint8), "No pixel exceeds 16 and 0..255 was assumed.*--range"),
        (column([0, 1], np.float32), r"No pixel is negative.*\[0, 1\].*--range"),
    ],
)
def test_a_range_that_looks_smaller_is_noted(array: np.ndarray, words: str) -> None:
    (note,) = make(array).notes
    assert re.search(words, note)


@pytest.mark.parametrize(
    "bad",
    [(1, 0), (1, 1), (0,), (0, 1, 2), (0, float("nan")), (0, float("inf")), "ab", 5, (-1.7e308, 1.7e308)],
)
def test_a_range_must_be_two_finite_numbers_in_order(bad: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"must be two numbers with LO < HI"):
        check_range(bad)


def test_a_range_may_be_a_list_or_absent() -> None:
    assert check_range([0, 1]) == (0.0, 1.0)  # type: ignore[arg-type]
    assert check_range(None) is None
