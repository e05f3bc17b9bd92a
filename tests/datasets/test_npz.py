"""Which array is read from an .npz file, and what is refused."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scoregrain._errors import InvalidInputError
from scoregrain.datasets.npz import npz_parts, read_npz

PIXELS = np.arange(3 * 16, dtype=np.uint8).reshape(3, 1, 4, 4)
LABELS = np.array([5, 6, 7], np.uint8)


def write(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.npz"


def test_train_wins_over_other_arrays(file: Path) -> None:
    found = read_npz(write(file, test=PIXELS + 1, train=PIXELS, train_labels=LABELS))
    np.testing.assert_array_equal(found.images, PIXELS)
    assert found.labels is not None
    assert found.labels.tolist() == [5, 6, 7]
    assert found.notes == ()


def test_the_part_test_has_its_own_images_and_labels(file: Path) -> None:
    write(file, test=PIXELS[:2] + 1, test_labels=LABELS[:2], train=PIXELS, train_labels=LABELS)
    found = read_npz(file, "test")
    np.testing.assert_array_equal(found.images, PIXELS[:2] + 1)
    assert found.labels is not None
    assert found.labels.tolist() == [5, 6]
    assert npz_parts(file) == ("train", "test")


@pytest.mark.parametrize("arrays", [{"train": PIXELS}, {"test": PIXELS}, {"x": PIXELS}, {"train": PIXELS, "y": LABELS}])
def test_without_both_names_there_is_one_part(file: Path, arrays: dict[str, np.ndarray]) -> None:
    assert npz_parts(write(file, **arrays)) == ("train",)
    np.testing.assert_array_equal(read_npz(file).images, PIXELS)


def test_signals_are_the_only_array_of_two_or_three_dimensions(file: Path) -> None:
    signals = np.zeros((3, 16))
    np.testing.assert_array_equal(read_npz(write(file, x=signals, y=LABELS, z=PIXELS), signals=True).images, signals)
    with pytest.raises(InvalidInputError, match=r"which array holds the signals\? .* 2 or 3 dimensions"):
        read_npz(write(file, x=signals, y=PIXELS[0]), signals=True)


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[:, 0]])
def test_the_only_array_of_three_or_four_dimensions_is_read(file: Path, pixels: np.ndarray) -> None:
    found = read_npz(write(file, x=pixels, y=LABELS, table=np.zeros((3, 2)), scalar=1.0))
    np.testing.assert_array_equal(found.images, pixels)
    assert found.labels is None


@pytest.mark.parametrize("labels", [LABELS / 2, LABELS.astype(str), LABELS.astype(object)])
def test_labels_that_are_no_integers_are_left_out_with_a_note(file: Path, labels: np.ndarray) -> None:
    found = read_npz(write(file, train=PIXELS, train_labels=labels))
    np.testing.assert_array_equal(found.images, PIXELS)
    assert found.labels is None
    assert found.notes == (f"train_labels was left out: its values are of type {labels.dtype}, not integers.",)


@pytest.mark.parametrize("labels", [LABELS[:2], LABELS[:, None], np.array(5), np.append(LABELS, 1.5)])
@pytest.mark.parametrize("part", ["train", "test"])
def test_labels_of_another_number_are_refused(file: Path, part: str, labels: np.ndarray) -> None:
    arrays = {"train": PIXELS, "test": PIXELS, "train_labels": LABELS, "test_labels": LABELS}
    write(file, **{**arrays, f"{part}_labels": labels})
    words = rf"data.npz: {part}_labels must hold one integer for each image of {part}, shape \(3,\), got shape"
    with pytest.raises(InvalidInputError, match=words):
        read_npz(file, part)


def test_compressed_and_fortran_ordered_arrays_are_read(file: Path) -> None:
    np.savez_compressed(file, train=np.asfortranarray(PIXELS))
    np.testing.assert_array_equal(read_npz(file).images, PIXELS)


def test_two_candidates_are_listed(file: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"data.npz.*Name it train.*x_a \(3, 1, 4, 4\), x_b \(3, 4, 4\)"):
        read_npz(write(file, x_a=PIXELS, x_b=PIXELS[:, 0]))


def test_a_long_list_is_cut(file: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"and 4 more$"):
        read_npz(write(file, **{f"a{i}": PIXELS for i in range(12)}))


def test_no_candidate(file: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"which array.*found y \(3,\)$"):
        read_npz(write(file, y=LABELS))


def test_an_empty_archive(file: Path) -> None:
    with pytest.raises(InvalidInputError, match="found no arrays"):
        read_npz(write(file))


@pytest.mark.parametrize("name", ["train", "x"])
def test_pickled_images_are_never_loaded(file: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"data.npz: {name} holds pickled objects"):
        read_npz(write(file, **{name: PIXELS.astype(object)}))


def test_a_pickled_list_of_images_is_named(file: Path) -> None:
    ragged = np.empty(2, object)
    ragged[:] = [PIXELS[0], PIXELS[0, 0]]
    with pytest.raises(InvalidInputError, match=r"x \(2,\) of pickled objects"):
        read_npz(write(file, x=ragged))


def unreadable(path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"cannot be read as an .npz file") as caught:
        read_npz(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"just text\nof two lines", b"\x80\x04N.", b"PK\x03\x04broken"])
def test_other_content(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    unreadable(file)


def test_a_single_array_under_the_name_of_an_archive(file: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, PIXELS)
    file.write_bytes(buffer.getvalue())
    unreadable(file)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_truncated_file(file: Path, part: float) -> None:
    content = write(file, train=PIXELS).read_bytes()
    file.write_bytes(content[: int(part * len(content))])
    unreadable(file)


def test_a_damaged_member(file: Path) -> None:
    content = bytearray(write(file, train=PIXELS).read_bytes())
    start = content.index(PIXELS.tobytes())
    content[start : start + 4] = b"\xff" * 4
    file.write_bytes(content)
    unreadable(file)


@pytest.mark.parametrize("member", [b"", b"not an array", b"\x93NUMPY\x01\x00\x04\x00oops"])
def test_a_member_that_is_no_array(file: Path, member: bytes) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("train.npy", member)
    unreadable(file)


def test_a_member_that_promises_too_much(file: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**50, 1, 4, 4)})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("train.npy", header.getvalue())
    unreadable(file)


def test_unreadable_paths(tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("text")
    dangling = tmp_path / "dangling.npz"
    dangling.symlink_to(tmp_path / "nowhere.npz")
    for path in (plain / "below.npz", dangling, tmp_path / "missing.npz", tmp_path):
        unreadable(path)
