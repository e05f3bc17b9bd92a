"""Data sets of the Hugging Face library: local tables, columns, splits; the hub itself is never asked."""

import builtins
import sys

import numpy as np
import pytest
from PIL import Image

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import data_name, load_images, load_split
from scoregrain.datasets.hub import is_hub_name

library = pytest.importorskip("datasets")

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 6, 6), dtype=np.uint8)


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path, monkeypatch):
    """No network, and no file in the user's cache."""
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    library.disable_progress_bars()
    yield
    library.enable_progress_bars()


def table(pixels, column="image", **columns):
    features = {column: library.Image(), **{name: library.Value("int64") for name in columns}}
    rows = {column: [Image.fromarray(image) for image in pixels], **columns}
    return library.Dataset.from_dict(rows, features=library.Features(features))


@pytest.fixture
def folder(tmp_path):
    """A folder for parquet files."""
    (tmp_path / "birds" / "data").mkdir(parents=True)
    return tmp_path / "birds"


def write(folder, split, dataset):
    dataset.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")


def write_paths(path, folder):
    """Rows that name a file instead of holding it."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    features = library.Features({"image": library.Image()})
    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    rows = pyarrow.array([{"bytes": None, "path": str(path)}] * 2, kind)
    parquet.write_table(pyarrow.table({"image": rows}, schema=features.arrow_schema), folder / "data" / "train.parquet")


def grey(images):
    return ((images.pixels[:, 0] + 1) * 127.5).round().byte().numpy()


@pytest.mark.parametrize("column", ["image", "img"])
def test_parquet_files_are_read_with_their_labels(folder, column):
    write(folder, "train", table(PIXELS, column, label=list(range(12))))
    images = load_images(folder)
    np.testing.assert_array_equal(grey(images), PIXELS)
    assert images.labels.tolist() == list(range(12))
    assert (images.name, images.shape, images.notes) == ("birds", (1, 6, 6), ())


def test_images_go_through_the_usual_fitting_and_choice(folder):
    write(folder, "train", table(PIXELS, label=list(range(12))))
    images, array = load_images(folder, (3, 4, 4), limit=5, seed=3), load_images(PIXELS, (3, 4, 4), limit=5, seed=3)
    np.testing.assert_array_equal(images.pixels, array.pixels)
    np.testing.assert_array_equal(grey(load_images(folder))[images.labels], PIXELS[images.labels])
    assert images.notes == array.notes


def test_colour_and_transparency_are_treated_as_in_files(folder):
    mixed = [np.stack([PIXELS[0]] * 3, -1), PIXELS[1], np.dstack([PIXELS[2]] * 3 + [np.zeros((6, 6), np.uint8)])]
    write(folder, "train", table(mixed))
    images = load_images(folder)
    assert images.shape == (3, 6, 6)
    assert images.pixels[2].min() == 1  # transparent: white
    assert images.notes == (
        "1 grey images among colour ones became RGB.",
        "1 images with transparency were laid over white.",
    )


@pytest.mark.parametrize("held_out", ["test", "validation"])
def test_the_split_of_the_data_set_is_kept(folder, held_out):
    write(folder, "train", table(PIXELS[:8], label=list(range(8))))
    write(folder, held_out, table(PIXELS[8:], label=list(range(8, 12))))
    split = load_split(folder, limit=5)
    np.testing.assert_array_equal(grey(split.train), PIXELS[split.train.labels])
    np.testing.assert_array_equal(grey(split.held_out), PIXELS[8:])
    assert split.held_out.labels.tolist() == [8, 9, 10, 11]
    assert len(load_images(folder)) == 8
    np.testing.assert_array_equal(grey(load_images(folder, part="test")), PIXELS[8:])


def test_test_wins_over_validation(folder):
    for number, split in enumerate(["train", "validation", "test"]):
        write(folder, split, table(PIXELS[4 * number :][:4]))
    np.testing.assert_array_equal(grey(load_split(folder).held_out), PIXELS[8:])


def test_without_a_held_out_part_it_is_drawn(folder):
    write(folder, "train", table(PIXELS, label=list(range(12))))
    split = load_split(folder, held_out=3)
    assert sorted(split.train.labels.tolist() + split.held_out.labels.tolist()) == list(range(12))


@pytest.mark.parametrize("parts", [True, False])
def test_what_save_to_disk_wrote_is_read(tmp_path, parts):
    whole = table(PIXELS, label=list(range(12)))
    saved = (
        library.DatasetDict({"train": whole.select(range(8)), "test": whole.select(range(8, 12))}) if parts else whole
    )
    saved.save_to_disk(tmp_path / "saved")
    np.testing.assert_array_equal(grey(load_images(tmp_path / "saved")), PIXELS[: 8 if parts else 12])


def test_a_folder_with_image_files_stays_one(folder):
    write(folder, "train", table(PIXELS))
    for name in ("a", "b"):
        Image.fromarray(PIXELS[0, :3, :3]).save(folder / f"{name}.png")
    assert load_images(folder).shape == (1, 3, 3)


def test_labels_that_are_no_integers_are_left_out(folder):
    dataset = table(PIXELS).add_column("label", [f"bird {i}" for i in range(12)])
    write(folder, "train", dataset)
    assert load_images(folder).labels is None


def test_a_path_in_a_table_is_not_followed(tmp_path, folder):
    Image.fromarray(PIXELS[0]).save(tmp_path / "secret.png")
    write_paths(tmp_path / "secret.png", folder)
    with pytest.raises(
        InvalidInputError, match=r"image 0 of .*birds cannot be read.*holds a path instead of the image"
    ):
        load_images(folder)


def test_damaged_and_missing_images_are_named(folder):
    rows = [{"bytes": b"no image", "path": None}, None]
    for number, row in enumerate(rows):
        dataset = table(PIXELS[:2])
        raw = dataset.cast_column("image", library.Image(decode=False)).to_list()
        raw[1]["image"] = row
        broken = library.Dataset.from_list(raw, features=dataset.features)
        broken.save_to_disk(folder.parent / f"broken{number}")
        with pytest.raises(InvalidInputError, match=rf"image 1 of .*broken{number} cannot be read as an image"):
            load_images(folder.parent / f"broken{number}")


def test_images_of_two_sizes_are_refused(folder):
    write(folder, "train", table([PIXELS[0], PIXELS[1, :4]]))
    with pytest.raises(InvalidInputError, match=r"one size.*image 0 of .*birds is 6×6, image 1 of .*birds is 4×6"):
        load_images(folder)


def test_tables_without_images_are_refused(folder):
    write(folder, "train", library.Dataset.from_dict({"images": [1, 2], "text": ["a", "b"]}))
    with pytest.raises(InvalidInputError, match=r"no column of images named image or img.*images \(Value\), text"):
        load_images(folder)


def test_tables_without_a_training_part_are_refused(folder):
    for split in ("test", "validation"):
        write(folder, split, table(PIXELS))
    with pytest.raises(
        InvalidInputError, match=r"birds has no split train: it has .*(test.*validation|validation.*test)"
    ):
        load_images(folder)


def test_damaged_tables_are_refused(folder):
    (folder / "data" / "train.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(
        InvalidInputError, match="birds cannot be read as a data set of the Hugging Face library"
    ) as caught:
        load_images(folder)
    assert "\n" not in str(caught.value)


def test_ranges_and_signals_are_refused(folder):
    write(folder, "train", table(PIXELS))
    with pytest.raises(InvalidInputError, match="range of image files"):
        load_images(folder, value_range=(0, 1))
    with pytest.raises(InvalidInputError, match="range of Hugging Face images"):
        load_images("owner/name", value_range=(0, 1))
    with pytest.raises(InvalidInputError, match="holds images, so shape must be"):
        load_images(folder, (1, 36))


@pytest.mark.parametrize("name", ["owner/name", "ylecun/mnist", "a/b.c-d_e", "owner/name:configuration"])
def test_names_of_the_hub(name):
    assert is_hub_name(name)


@pytest.mark.parametrize(
    "name", ["mnist", "./a/b", "../b", "/a/b", "a/b/c", "a/", "a/b:", "a b/c", "x/" + "y" * 300, ""]
)
def test_other_words_are_no_names_of_the_hub(name):
    assert not is_hub_name(name)


def test_short_names_of_data_sets():
    assert data_name("ylecun/mnist") == "mnist"
    assert data_name("owner/name:small") == "name-small"


def test_without_a_network_there_is_one_line():
    with pytest.raises(
        InvalidInputError, match=r"no such file or folder 'owner/name'.*hub gave no.*HF_HUB_OFFLINE=1"
    ) as caught:
        load_images("owner/name")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_hub_is_asked_before_the_library(monkeypatch):
    """Its answer within seconds is final: the library would try again and again."""
    asked = []

    def refuse(self, name, timeout):
        asked.append((name, timeout))
        raise OSError("Name or service not known\nmore lines")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", refuse)
    with pytest.raises(InvalidInputError, match=r"\(OSError: Name or service not known\)"):
        load_images("owner/name:small")
    assert asked == [("owner/name", 10)]


def test_a_data_set_of_the_hub_is_loaded_by_name_and_configuration(monkeypatch):
    calls = []

    def load(*words, **options):
        calls.append((words, options))
        return library.DatasetDict({"train": table(PIXELS), "test": table(PIXELS[:4])})

    monkeypatch.setattr(library, "load_dataset", load)
    np.testing.assert_array_equal(grey(load_images("owner/name")), PIXELS)
    np.testing.assert_array_equal(grey(load_split("owner/name:small").held_out), PIXELS[:4])
    # nothing that would let foreign code run is ever passed
    assert calls == [(("owner/name", None), {}), (("owner/name", "small"), {})]


@pytest.mark.parametrize("place", ["cache/downloads", "home"])
def test_of_the_hub_only_downloaded_files_are_followed(tmp_path, folder, monkeypatch, place):
    (tmp_path / place).mkdir(parents=True)
    Image.fromarray(PIXELS[0]).save(tmp_path / place / "a.png")
    write_paths(tmp_path / place / "a.png", folder)
    found = library.load_dataset("parquet", data_dir=str(folder))
    monkeypatch.setattr(library, "load_dataset", lambda *words: found)
    if place == "home":
        with pytest.raises(InvalidInputError, match=r"image 0 of owner/name.*not that of a downloaded file"):
            load_images("owner/name")
    else:
        np.testing.assert_array_equal(grey(load_images("owner/name")), PIXELS[[0, 0]])


def test_formats_that_run_other_programs_are_not_decoded(folder):
    """Pillow gives PostScript to an interpreter."""
    raw = table(PIXELS[:2]).cast_column("image", library.Image(decode=False)).to_list()
    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n%%EndComments\n6 6 moveto showpage\n%%EOF\n"
    raw[0]["image"] = {"bytes": drawing, "path": None}
    write(folder, "train", library.Dataset.from_list(raw, features=library.Features({"image": library.Image()})))
    with pytest.raises(InvalidInputError, match=r"image 0 of .*birds cannot be read as an image \(UnidentifiedImage"):
        load_images(folder)


def test_the_library_is_optional(monkeypatch, folder):
    write(folder, "train", table(PIXELS))
    plain = builtins.__import__

    def refuse(name, *rest):
        if name == "datasets":
            raise ImportError(name)
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.delitem(sys.modules, "datasets")
    for source in ("owner/name", folder):
        with pytest.raises(InvalidInputError, match=r"library datasets is needed: pip install 'scoregrain\[data\]'"):
            load_images(source)
