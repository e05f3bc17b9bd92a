"""Folders of images: what is found, mixed, skipped and refused."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import Images, load_images


def paint(path: Path, value: int | tuple[int, ...], size: tuple[int, int] = (6, 5)) -> Path:
    """Write an image of one value; ``size`` is Pillow's (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = "L" if isinstance(value, int) else {3: "RGB", 4: "RGBA"}[len(value)]
    Image.new(mode, size, value).save(path)
    return path


def values(images: Images) -> list[list[int]]:
    """Return the colour of each image, 0..255."""
    return ((images.pixels[:, :, 0, 0] + 1) * 127.5).round().int().tolist()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my images").mkdir()
    return tmp_path / "my images"


def test_images_come_sorted_from_all_sub_folders(folder: Path) -> None:
    for name, value in (("b/2.PNG", 30), ("a.bmp", 10), ("b/1.tiff", 20), ("c/d/e.gif", 40)):
        paint(folder / name, value)
    images = load_images(folder)
    assert values(images) == [[10], [20], [30], [40]]
    assert images.shape == (1, 5, 6)
    assert images.name == "my-images"
    assert images.notes == ()
    assert torch.equal(load_images(str(folder)).pixels, images.pixels)


def test_hidden_and_other_files_are_left_out(folder: Path) -> None:
    for name in ("a.png", "b.png", ".hidden.png", ".cache/c.png", "._b.png"):
        paint(folder / name, 9)
    (folder / "notes.txt").write_text("not an image")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    assert len(load_images(folder)) == 2


def test_grey_images_join_colour_ones(folder: Path) -> None:
    paint(folder / "a.png", 50)
    paint(folder / "b.png", (10, 20, 30))
    paint(folder / "c.png", 60)
    images = load_images(folder)
    assert values(images) == [[50, 50, 50], [10, 20, 30], [60, 60, 60]]
    assert images.notes == ("2 grey images among colour ones became RGB.",)


def test_transparent_and_deep_images_are_noted(folder: Path) -> None:
    paint(folder / "a.png", (10, 20, 30, 0))
    Image.fromarray(np.full((5, 6), 65_535, np.uint16)).save(folder / "b.png")
    images = load_images(folder)
    assert values(images) == [[255, 255, 255]] * 2
    assert images.notes == (
        "1 grey images among colour ones became RGB.",
        "1 images with transparency were laid over white.",
        "1 images of 16 bits were reduced to 8 bits.",
    )


def test_only_the_drawn_images_are_read(folder: Path) -> None:
    for i in range(20):
        paint(folder / f"{i:02}.png", i)
    images = load_images(folder, limit=5, seed=1)
    assert images.notes == ("5 of 20 images were drawn at random (seed 1).",)
    chosen = {value for (value,) in values(images)}
    for i in set(range(20)) - chosen:
        (folder / f"{i:02}.png").write_text("damaged")
    assert torch.equal(load_images(folder, limit=5, seed=1).pixels, images.pixels)


def test_images_are_fitted_to_a_shape(folder: Path) -> None:
    paint(folder / "a.png", (255, 255, 255), size=(40, 30))
    paint(folder / "b.png", (0, 0, 0), size=(40, 30))
    images = load_images(folder, shape=(1, 8, 8))
    assert images.pixels.shape == (2, 1, 8, 8)
    assert values(images) == [[255], [0]]
    assert images.notes[1:] == (
        "Centre-cropped from 30×40 to 30×30 (height×width).",
        "Resized from 30×30 to 8×8 (bilinear, antialiased).",
    )


def test_links_leading_outside_are_skipped_with_a_note(folder: Path) -> None:
    outside = paint(folder.parent / "outside" / "x.png", 99)
    for name, value in (("a.png", 1), ("b.png", 2)):
        paint(folder / name, value)
    (folder / "inside.png").symlink_to(folder / "a.png")
    (folder / "outside.png").symlink_to(outside)
    (folder / "linked").symlink_to(outside.parent)
    (folder / "cycle").symlink_to(folder)
    images = load_images(folder)
    assert values(images) == [[1], [2], [1]]
    assert images.notes == ("Links to folders or to files outside were skipped: 3.",)


def test_a_linked_folder_may_be_the_source(folder: Path) -> None:
    paint(folder / "a.png", 1)
    paint(folder / "b.png", 2)
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert values(load_images(link)) == [[1], [2]]
    assert load_images(link).name == "link"


@pytest.mark.parametrize("shape", [None, (1, 4, 4)])
def test_mixed_sizes_are_refused(folder: Path, shape: tuple[int, int, int] | None) -> None:
    paint(folder / "a.png", 1, size=(8, 6))
    paint(folder / "b.png", 1, size=(6, 8))
    with pytest.raises(InvalidInputError, match=r"one size.*a.png is 6×8, .*b.png is 8×6"):
        load_images(folder, shape=shape)


def test_a_folder_without_images_is_refused(folder: Path) -> None:
    (folder / "a.txt").write_text("text")
    with pytest.raises(InvalidInputError, match=r"my images holds no images \(.png, .jpg"):
        load_images(folder)
    (folder / "a.png").symlink_to(paint(folder.parent / "x.png", 1))
    with pytest.raises(InvalidInputError, match=r"no images.*Links.*skipped: 1"):
        load_images(folder)


def test_one_image_is_too_few(folder: Path) -> None:
    paint(folder / "a.png", 1)
    with pytest.raises(InvalidInputError, match="at least 2 images are needed, found 1"):
        load_images(folder)


@pytest.mark.parametrize("target", ["missing.png", "b.png"])  # a broken link, and one to itself
def test_unreadable_images_are_named(folder: Path, target: str) -> None:
    paint(folder / "a.png", 1)
    (folder / "b.png").symlink_to(folder / target)
    with pytest.raises(InvalidInputError, match=r"b.png cannot be read as an image"):
        load_images(folder)


def test_a_damaged_image_is_named(folder: Path) -> None:
    content = paint(folder / "a.png", 1, size=(200, 100)).read_bytes()
    (folder / "b.png").write_bytes(content[:-40])
    with pytest.raises(InvalidInputError, match=r"b.png cannot be read as an image"):
        load_images(folder)


def test_a_folder_that_cannot_be_listed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InvalidInputError, match=r"my images cannot be read \(Permission denied\)"):
        load_images(folder)


def test_a_range_is_refused(folder: Path) -> None:
    paint(folder / "a.png", 1)
    with pytest.raises(InvalidInputError, match=r"image files \(0..255\).*--range"):
        load_images(folder, value_range=(0, 1))
