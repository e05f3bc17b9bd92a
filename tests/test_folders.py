"""Folders of results appear whole or not at all."""

import json
import stat
import sys
from pathlib import Path

import pytest

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain._folders import check_target, new_folder


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def write(folder, text="new", **options):
    with new_folder(folder, **options) as temporary:
        (temporary / "config.json").write_text(json.dumps({"scoregrain": "0", "text": text}))


def text(folder):
    return json.loads((folder / "config.json").read_text())["text"]


def test_a_folder_appears_at_the_end(tmp_path):
    target = tmp_path / "a" / "b" / "target"
    with new_folder(target) as temporary:
        assert temporary.parent == target.parent
        assert not target.exists()
        (temporary / "config.json").write_text("{}")
    assert everything(tmp_path) == ["a", "a/b", "a/b/target", "a/b/target/config.json"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_relative_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("target")
    write(Path("a/target"))
    assert everything(tmp_path) == ["a", "a/target", "a/target/config.json", "target", "target/config.json"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after_a_failure(tmp_path, error):
    def fail():
        with new_folder(tmp_path / "a" / "b" / "target") as temporary:
            (temporary / "file").write_text("half")
            (temporary / "below").mkdir()
            raise error

    with pytest.raises(error):
        fail()
    assert everything(tmp_path) == []


def test_folders_that_were_there_stay_after_a_failure(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(RuntimeError), new_folder(tmp_path / "a" / "b" / "target"):
        raise RuntimeError
    assert everything(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), PermissionError(13, "Permission denied")], ids=["full", "denied"]
)
def test_what_the_system_says_names_the_target(tmp_path, error):
    said = f"^cannot write '{tmp_path}/target': {error.strerror}$"
    with pytest.raises(ScoregrainError, match=said), new_folder(tmp_path / "target"):
        raise error
    assert everything(tmp_path) == []


def test_a_message_about_a_temporary_file_becomes_one_about_the_target(tmp_path):
    """A writer inside reports the path it was given."""
    said = f"^cannot write '{tmp_path}/target': No space left$"
    with pytest.raises(ScoregrainError, match=said), new_folder(tmp_path / "target") as temporary:
        raise ScoregrainError(f"cannot write '{temporary}/page.html'") from OSError(28, "No space left")


def test_other_messages_pass_through(tmp_path):
    with pytest.raises(ScoregrainError, match=r"^something else$"), new_folder(tmp_path / "target"):
        raise ScoregrainError("something else")


# what exists -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", [check_target, write])
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_exists_is_refused(tmp_path, act, kind):
    target = tmp_path / "target"
    {"folder": target.mkdir, "file": target.touch, "link": lambda: target.symlink_to("nowhere")}[kind]()
    with pytest.raises(
        InvalidInputError, match=r"target' exists; choose another --out, or replace it with --overwrite"
    ):
        act(target)
    assert everything(tmp_path) == ["target"]


@pytest.mark.parametrize("act", [check_target, write])
@pytest.mark.parametrize("content", ["", "[]", "{}", '{"_class_name": "UNet2DModel"}', "\xff"])
def test_the_folder_of_another_program_is_not_replaced(tmp_path, act, content):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "config.json").write_text(content)
    with pytest.raises(InvalidInputError, match="target' is not a folder that scoregrain wrote"):
        act(tmp_path / "target", overwrite=True)
    assert (tmp_path / "target" / "config.json").read_text() == content


def test_a_folder_of_ours_is_replaced(tmp_path):
    write(tmp_path / "target", "old")
    (tmp_path / "target" / "more").touch()
    check_target(tmp_path / "target", overwrite=True)
    assert text(tmp_path / "target") == "old"
    write(tmp_path / "target", "new", overwrite=True)
    assert text(tmp_path / "target") == "new"
    assert everything(tmp_path) == ["target", "target/config.json"]


@pytest.mark.parametrize("act", [check_target, write])
def test_a_run_is_replaced_by_a_training_alone(tmp_path, act):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "config.json").write_text('{"kind": "run", "scoregrain": "0"}')
    with pytest.raises(InvalidInputError, match="target' holds a run: only scoregrain train replaces one; choose"):
        act(tmp_path / "target", overwrite=True)
    check_target(tmp_path / "target", overwrite=True, run=True)
    assert everything(tmp_path) == ["target", "target/config.json"]


def test_an_empty_folder_is_replaced(tmp_path):
    (tmp_path / "target").mkdir()
    write(tmp_path / "target", overwrite=True)
    assert text(tmp_path / "target") == "new"


def test_an_old_folder_survives_a_failure(tmp_path):
    write(tmp_path / "target", "old")
    with pytest.raises(ScoregrainError, match="No space"), new_folder(tmp_path / "target", overwrite=True):
        raise OSError(28, "No space left on device")
    assert text(tmp_path / "target") == "old"
    assert everything(tmp_path) == ["target", "target/config.json"]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_an_old_folder_comes_back_when_the_new_one_cannot_be_renamed(tmp_path, monkeypatch, error):
    write(tmp_path / "target", "old")
    rename = Path.rename

    def fail(self, to):
        if Path(to) == tmp_path / "target" and self.name != "old":
            raise error
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises((ScoregrainError, KeyboardInterrupt)):
        write(tmp_path / "target", "new", overwrite=True)
    assert text(tmp_path / "target") == "old"
    assert everything(tmp_path) == ["target", "target/config.json"]


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path):
    def meanwhile():
        with new_folder(tmp_path / "target"):
            (tmp_path / "target").mkdir()
            (tmp_path / "target" / "other").touch()

    with pytest.raises(ScoregrainError, match=r"cannot write .*target'"):
        meanwhile()
    assert everything(tmp_path) == ["target", "target/other"]


# what a process that was killed leaves behind --------------------------------------------------------------------


def leftover(folder, name=".target.scoregrain-abcd_123"):
    (folder / name).mkdir()
    (folder / name / "config.json").write_text("{")
    return folder / name


@pytest.mark.parametrize("overwrite", [False, True])
def test_leftovers_of_the_target_go(tmp_path, overwrite):
    leftover(tmp_path)
    if overwrite:
        write(tmp_path / "target", "old")
    check_target(tmp_path / "target", overwrite=overwrite)
    assert everything(tmp_path) == (["target", "target/config.json"] if overwrite else [])


@pytest.mark.parametrize(
    "name",
    [".other.scoregrain-abcd_123", ".target.abcd_123", ".target.scoregrain-notes", "target.scoregrain-abcd_123"],
)
def test_other_folders_are_no_leftovers(tmp_path, name):
    leftover(tmp_path, name)
    check_target(tmp_path / "target")
    assert everything(tmp_path) == [name, f"{name}/config.json"]


def test_a_link_is_no_leftover(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / ".target.scoregrain-abcd_123").symlink_to("precious")
    check_target(tmp_path / "target")
    assert everything(tmp_path) == [".target.scoregrain-abcd_123", "precious"]


@pytest.mark.skipif(sys.platform == "win32", reason="no locks")
def test_a_folder_that_is_being_written_is_no_leftover(tmp_path):
    with new_folder(tmp_path / "target") as temporary:
        (temporary / "config.json").write_text(json.dumps({"scoregrain": "0", "text": "new"}))
        check_target(tmp_path / "target")
    assert text(tmp_path / "target") == "new"


def test_an_old_result_that_was_moved_away_is_kept_until_there_is_a_new_one(tmp_path):
    """Killed between the two renames: it is the only one."""
    aside = leftover(tmp_path)
    write(aside / "old", "old")
    check_target(tmp_path / "target")
    assert text(aside / "old") == "old"
    write(tmp_path / "target", "new")
    check_target(tmp_path / "target", overwrite=True)
    assert not aside.exists()


# what cannot be written --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", [check_target, write])
@pytest.mark.parametrize("below", ["target", "a/target", "a/b/target"])
def test_a_folder_below_a_file(tmp_path, act, below):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(
        ScoregrainError, match=f"^cannot write '{tmp_path}/file/{below}': '{tmp_path}/file' is not a folder$"
    ):
        act(tmp_path / "file" / below)
    assert everything(tmp_path) == ["file"]


@pytest.mark.parametrize("act", [check_target, write])
def test_a_name_that_is_too_long(tmp_path, act):
    with pytest.raises(ScoregrainError, match=r"^cannot write .*: File name too long$"):
        act(tmp_path / "a" / ("x" * 300))
    assert everything(tmp_path) == []


def test_checking_writes_nothing(tmp_path):
    check_target(tmp_path / "a" / "b" / "target")
    assert everything(tmp_path) == []


def test_the_working_directory_cannot_be_replaced(tmp_path, monkeypatch):
    """Not even an empty one: it cannot be renamed, and says so."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScoregrainError, match=r"^cannot write '\.': "):
        write(Path(), overwrite=True)
    assert everything(tmp_path) == []
