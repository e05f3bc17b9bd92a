"""DATA: what is refused, before any network is measured."""

import numpy as np
import pytest
from PIL import Image

GREY = np.random.default_rng(0).integers(0, 256, (20, 1, 6, 6), dtype=np.uint8)
UNIT = GREY.astype(np.float32) / 255


@pytest.fixture(autouse=True)
def no_measurement(monkeypatch):
    """Data are checked first: measuring may take hours."""

    def measured(*arguments, **options):
        raise AssertionError("measured before the data were checked")

    monkeypatch.setattr("scoregrain.report.analysis.measure_geometry", measured)


def with_pixel(value):
    changed = UNIT.copy()
    changed[3, 0, 2, 2] = value
    return changed


@pytest.mark.parametrize(
    ("arrays", "saying"),
    [
        ({"train": GREY.astype(object)}, ("pickled objects", "one array of numbers")),
        ({"train": GREY.reshape(20, 36)}, ("(N, C, H, W) or (N, H, W)", "(20, 36)")),
        ({"train": GREY[..., None]}, "(20, 1, 6, 6, 1)"),
        ({"train": GREY.transpose(0, 2, 3, 1)}, ("looks channel-last", "transpose(0, 3, 1, 2)")),
        ({"train": GREY.repeat(4, axis=1)}, ("4 channels, 1 are needed", "grey (1) and RGB (3)")),
        ({"train": GREY.astype(str)}, "pixels must be integers or floats, got <U3"),
        ({"train": GREY.astype(complex)}, "got complex128"),
        ({"train": GREY > 9}, "got bool"),
        ({"train": UNIT * 255}, ("float pixels must lie in [-1, 1], found 0", "--range LO HI")),
        ({"train": GREY.astype(np.int16) * 9}, ("integer pixels must lie in [0, 255]", "--range LO HI")),
        ({"train": with_pixel(np.nan)}, ("1 pixels are NaN or infinite", "image 3")),
        ({"train": with_pixel(np.inf)}, ("1 pixels are NaN or infinite", "image 3")),
        ({"train": GREY[:1]}, ("at least 2 images are needed", "found 1")),
        ({"train": GREY[:0]}, "no pixels in an array of shape (0, 1, 6, 6)"),
        ({"train": UNIT * 0}, "all zero"),
        ({}, "found no arrays"),
        ({"a": GREY, "b": GREY}, ("Name it train", "a (20, 1, 6, 6), b (20, 1, 6, 6)")),
    ],
)
def test_arrays_that_are_no_images(command, folder, arrays, saying):
    np.savez(folder / "odd.npz", **arrays)
    line = command.refuses("analyze", "dit-16/8", "odd.npz", code=2, saying=saying)
    assert "odd" in line or "channels" in line or "at least 2" in line


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["images.npz", "--range", "0", "100"], ("integer pixels must lie in [0, 100]", "found 0 to 255")),
        (["images.npz", "--range", "1", "0"], ("--range LO HI", "two numbers with LO < HI", "(1.0, 0.0)")),
        (["images.npz", "--range", "nan", "1"], ("two numbers", "(nan, 1.0)")),
        (["digits", "--range", "0", "1"], ("embedded digits (0..16) is known", "--range")),
        (["images.npz", "--images", "1"], "--images is 1, expected at least 2"),
        (["images.npz", "--images", "-3"], "--images is -3, expected at least 2"),
    ],
)
def test_ranges_and_limits(command, folder, words, saying):
    pixels = GREY.copy()
    pixels[0, 0, 0, :2] = 0, 255
    np.savez(folder / "images.npz", train=pixels)
    command.refuses("analyze", "dit-16/8", *words, code=2, saying=saying)


@pytest.mark.parametrize(
    ("word", "saying"),
    [
        ("mnist", "no data named 'mnist'"),
        ("digts", ("no data named 'digts'", "did you mean 'digits'?")),
        ("", "no data named ''"),
        ("missing.npz", "no data named 'missing.npz'"),
        ("missing/images", "no such file or folder"),
        ("text.npz", "text.npz cannot be read as an .npz file"),
        ("empty.npz", "empty.npz cannot be read as an .npz file"),
        ("truncated.npz", "truncated.npz cannot be read as an .npz file"),
        ("array.npy", "array.npy is neither an .npz file nor a folder"),
        ("empty", ("empty holds no images", ".png")),
        ("texts", "texts holds no images"),
        ("one", ("at least 2 images are needed", "found 1")),
        ("mixed", ("one size", "0.png is 6×6", "1.png is 6×5")),
        ("damaged", ("1.png cannot be read as an image",)),
    ],
)
def test_data_that_are_not_there_or_not_readable(command, folder, word, saying):
    for name in ("empty", "texts", "one", "mixed", "damaged"):
        (folder / name).mkdir()
    (folder / "texts" / "readme.txt").write_text("text")
    (folder / "text.npz").write_text("text")
    (folder / "empty.npz").touch()
    np.save(folder / "array.npy", GREY)
    np.savez(folder / "images.npz", train=GREY)
    content = (folder / "images.npz").read_bytes()
    (folder / "truncated.npz").write_bytes(content[: len(content) // 2])
    for name in ("one", "mixed", "damaged"):
        Image.fromarray(GREY[0, 0]).save(folder / name / "0.png")
    Image.fromarray(GREY[1, 0, :, :5]).save(folder / "mixed" / "1.png")
    (folder / "damaged" / "1.png").write_bytes((folder / "one" / "0.png").read_bytes()[:40])
    command.refuses("analyze", "dit-16/8", word, code=2, saying=saying)


@pytest.mark.parametrize("shape", [["2", "6", "6"], ["1", "6"], ["1", "6", "6", "6"]])
def test_networks_that_take_no_images(command, folder, shape):
    np.savez(folder / "images.npz", train=GREY)
    words = ("tests.networks:Tiny", "images.npz", "--shape", *shape)
    command.refuses("analyze", *words, code=2, saying="channels" if len(shape) == 3 else "(C, H, W)")
