"""Decoding of single image files: modes, transparency, depth, rotation, damage."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scoregrain._errors import InvalidInputError
from scoregrain.datasets.decode import Header, decode, read_header

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
RGB = np.stack([GREY, GREY + 5, 255 - GREY], axis=-1)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "webp"])
def test_grey_and_colour_are_read_exactly(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    grey = save(tmp_path / f"grey.{suffix}", Image.fromarray(GREY), **options)
    colour = save(tmp_path / f"colour.{suffix}", Image.fromarray(RGB), **options)
    np.testing.assert_array_equal(decode(grey, colour=False), GREY[None])
    np.testing.assert_array_equal(decode(grey, colour=True), np.stack([GREY] * 3))
    if suffix != "gif":  # a palette may move colours
        np.testing.assert_array_equal(decode(colour, colour=True), RGB.transpose(2, 0, 1))
    assert decode(colour, colour=True).dtype == np.uint8


def test_jpeg(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("RGB", (16, 8), (200, 100, 50)), quality=95)
    got = decode(path, colour=True)
    assert got.shape == (3, 8, 16)
    assert np.abs(got.mean(axis=(1, 2)) - [200, 100, 50]).max() < 3


@pytest.mark.parametrize(
    ("mode", "header"),
    [
        ("1", Header(colour=False, deep=False, transparent=False)),
        ("L", Header(colour=False, deep=False, transparent=False)),
        ("LA", Header(colour=False, deep=False, transparent=True)),
        ("RGB", Header(colour=True, deep=False, transparent=False)),
        ("RGBA", Header(colour=True, deep=False, transparent=True)),
        ("I;16", Header(colour=False, deep=True, transparent=False)),
    ],
)
def test_headers(tmp_path: Path, mode: str, header: Header) -> None:
    assert read_header(save(tmp_path / "a.png", Image.new(mode, (4, 4)))) == header


def test_a_palette_is_colour_unless_it_is_grey(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpixel((1, 0), 1)
    for blue, colour in ((7, False), (8, True)):
        image.putpalette([200, 200, 200, 7, 7, blue])
        path = save(tmp_path / f"{blue}.png", image)
        assert read_header(path).colour is colour
    assert decode(tmp_path / "7.png", colour=False).tolist() == [[[200, 7]]]


def test_one_bit_images_are_black_and_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(GREY > 100))
    np.testing.assert_array_equal(decode(path, colour=False)[0], np.where(GREY > 100, 255, 0))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_rounded_to_eight(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 128, 129, 257, 300, 40_000, 65_406, 65_407, 65_535]], np.uint16)
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(deep))
    np.testing.assert_array_equal(decode(path, colour=False)[0], np.round(deep / 257))
    assert decode(path, colour=True).shape == (3, 1, 9)


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 128]]], np.uint8)
    got = decode(save(tmp_path / "a.png", Image.fromarray(pixels)), colour=True)
    assert got[:, 0, 0].tolist() == [10, 20, 30]
    assert got[:, 0, 1].tolist() == [255, 255, 255]
    np.testing.assert_allclose(got[:, 0, 2], [127, 177, 227], atol=1)


def test_transparency_of_grey_images(tmp_path: Path) -> None:
    pixels = np.array([[[10, 255], [10, 0]]], np.uint8)
    path = save(tmp_path / "a.png", Image.fromarray(pixels))
    assert decode(path, colour=False).tolist() == [[[10, 255]]]


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_transparent_palette_entry_is_white(tmp_path: Path, suffix: str) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putpixel((1, 0), 1)
    path = save(tmp_path / f"a.{suffix}", image, transparency=0)
    assert decode(path, colour=True).transpose(1, 2, 0).tolist() == [[[255, 255, 255], [0, 0, 200]]]


def test_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    path = save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode(path, colour=False)[0], GREY)


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_exif_rotation_is_applied(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(GREY), exif=exif, **options)
    np.testing.assert_array_equal(decode(path, colour=False)[0], np.rot90(GREY, -1))


@pytest.mark.parametrize(
    ("pixels", "words"),
    [(GREY / np.float32(255), "32-bit floats"), (GREY.astype(np.int32) - 100, "32-bit integers")],
)
def test_deeper_pixels_are_refused(tmp_path: Path, pixels: np.ndarray, words: str) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(pixels))
    with pytest.raises(InvalidInputError, match=rf"a.tif cannot be read as an image.*{words}.*\.npz"):
        decode(path, colour=False)


def test_damaged_files_are_named_in_one_line(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.png", Image.fromarray(RGB)).read_bytes()
    contents = {"empty": b"", "text": b"some\ntext", "cut": whole[:50], "header": whole[:20]}
    for name, content in contents.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(content)
        with pytest.raises(InvalidInputError, match=f"{name}.png cannot be read as an image") as caught:
            decode(path, colour=True)
        assert "\n" not in str(caught.value)


def test_formats_outside_the_list_are_refused_whatever_their_name(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path, format="PPM")
    with pytest.raises(InvalidInputError, match=r"a.png cannot be read as an image"):
        decode(path, colour=True)


@pytest.mark.parametrize("bound", [9, 5])  # Pillow warns above its bound and refuses above twice that
def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(GREY))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", bound)
    with pytest.raises(InvalidInputError, match=r"a.png.*DecompressionBomb"):
        read_header(path)
