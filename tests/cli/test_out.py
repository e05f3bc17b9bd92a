"""--out and --overwrite: nothing is written where it cannot be, nothing is lost where something is."""

import resource
from contextlib import contextmanager

import pytest

from scoregrain.geometry import Geometry
from tests.cli.command import TINY

EXACT = ("measure", "dit-16/8")
ANALYZE = ("analyze", "dit-16/8")


@pytest.fixture
def no_measurement(monkeypatch):
    """The folder is checked first: measuring may take hours."""

    def measured(*arguments, **options):
        raise AssertionError("measured before the folder was checked")

    monkeypatch.setattr("scoregrain.cli.measure.measure_geometry", measured)
    monkeypatch.setattr("scoregrain.report.analysis.measure_geometry", measured)


@pytest.mark.parametrize("words", [EXACT, ANALYZE])
@pytest.mark.usefixtures("no_measurement")
def test_a_folder_below_a_file_cannot_be_written(command, folder, words):
    (folder / "file").write_text("precious")
    for out in ("file/x", "file/x/y"):
        saying = (f"cannot write '{out}'", "'file' is not a folder")
        command.refuses(*words, "--out", out, code=1, saying=saying)


@pytest.mark.usefixtures("no_measurement")
def test_what_the_system_does_not_write_is_said(command):
    command.refuses(*EXACT, "--out", "/proc/x", code=1, saying="cannot write '/proc/x': ")
    command.refuses(*EXACT, "--out", "x" * 300, code=1, saying="File name too long")


@pytest.mark.parametrize("words", [EXACT, ANALYZE])
@pytest.mark.parametrize("out", ["file", "empty", "full", ".", ""])
@pytest.mark.usefixtures("no_measurement")
def test_what_exists_is_not_overwritten(command, folder, words, out):
    (folder / "file").write_text("precious")
    (folder / "empty").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "thesis.txt").write_text("precious")
    command.refuses(*words, "--out", out, code=2, saying=(f"'{out or '.'}' exists", "--out", "--overwrite"))


@pytest.mark.parametrize("out", ["file", "full", "model", "list", "link", ".", "broken"])
@pytest.mark.usefixtures("no_measurement")
def test_what_scoregrain_did_not_write_is_not_replaced(command, folder, out):
    """Other programs write a config.json too, diffusers for one."""
    (folder / "file").write_text("precious")
    for name in ("full", "model", "list"):
        (folder / name).mkdir()
    (folder / "full" / "thesis.txt").write_text("precious")
    (folder / "model" / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    (folder / "list" / "config.json").write_text('["scoregrain"]')
    (folder / "link").symlink_to(folder / "list")
    (folder / "broken").symlink_to(folder / "nowhere")
    saying = (f"'{out}' is not a folder that scoregrain wrote", "choose another --out")
    command.refuses(*EXACT, "--out", out, "--overwrite", code=2, saying=saying)


def test_its_own_folder_is_replaced(command, folder):
    command.runs("measure", *TINY, "--networks", "32", "--out", "g")
    assert not Geometry.load("g").exact
    command.runs(*EXACT, "--out", "g", "--overwrite")
    assert Geometry.load("g").exact
    command.runs(*ANALYZE, "--out", "g", "--overwrite")
    assert (folder / "g" / "report.html").is_file()
    command.runs(*EXACT, "--out", "g", "--overwrite")
    assert not (folder / "g" / "report.html").exists()
    assert [path.name for path in folder.iterdir()] == ["g"]


def test_an_empty_folder_is_replaced(command, folder):
    (folder / "empty").mkdir()
    command.runs(*EXACT, "--out", "empty", "--overwrite")
    assert Geometry.load("empty").exact


def test_missing_folders_above_are_made_and_go_again_after_a_failure(command):
    command.refuses("measure", "tests.networks:ZeroHead", *TINY[1:], "--out", "a/b/c", code=1, saying="exactly zero")
    command.runs(*EXACT, "--out", "a/b/c")
    assert Geometry.load("a/b/c").exact


# a full disk -------------------------------------------------------------------------------------------------------


@contextmanager
def file_size(limit):
    """No file of this process may become larger; Python leaves the signal that would say so ignored."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("limit", [0, 1000, 100_000])
@pytest.mark.parametrize("words", [EXACT, ANALYZE])
def test_a_full_disk_leaves_nothing(command, words, limit):
    with file_size(limit):
        command.refuses(*words, "--out", "a/full", code=1, saying=("cannot write 'a/full'", "File too large"))


def test_a_disk_that_the_report_fills(command, images):
    """Its geometry of 36 pixels fits, its page does not."""
    words = ("analyze", TINY[0], "images.npz", *TINY[1:], "--networks", "32")
    with file_size(30_000):
        command.refuses(*words, "--out", "full", code=1, saying="cannot write 'full': File too large")


@pytest.mark.parametrize("words", [EXACT, ANALYZE])
def test_an_old_result_survives_a_full_disk(command, words):
    command.runs("measure", *TINY, "--networks", "32", "--out", "g")
    with file_size(1000):
        command.refuses(*words, "--out", "g", "--overwrite", code=1, saying="cannot write 'g'")
    assert Geometry.load("g").count == 32


def test_an_old_result_survives_a_failed_measurement(command):
    command.runs("measure", *TINY, "--networks", "32", "--out", "g")
    words = ("measure", "tests.networks:NotFinite", *TINY[1:], "--out", "g", "--overwrite")
    command.refuses(*words, code=1, saying="non-finite")
    assert Geometry.load("g").count == 32
