"""``scoregrain study``: what it prints, that it continues, how it refuses."""

import json
import shlex

import pytest

from scoregrain.studies import runner
from tests.studies.toy import ToyStudy, only_toys

FILES = ["README.md", "config.json", "figure.png", "result.json", "rows.jsonl"]
DEFAULT = "scoregrain-study-toy-tiny"


@pytest.fixture(autouse=True)
def toys():
    with pytest.MonkeyPatch.context() as patch:
        only_toys(patch)
        yield patch


def test_it_prints_a_verdict_for_each_claim_and_where_the_page_is(command, folder):
    lines = command.runs("study", "toy").out.splitlines()
    assert lines == [
        "toy at scale tiny: 3 cells, 0 s of one thread",
        "  above: holds: 1.1 [0.852, 1.35], n = 3 (data digits; sign-flip p = 0.25)",
        "  control: reversed: fails, as it must: -1.1 [-1.35, -0.852], n = 3 (sign-flip p = 0.25)",
        f"written to {DEFAULT}/README.md",
    ]
    assert sorted(path.name for path in (folder / DEFAULT).iterdir()) == FILES


def test_a_finished_study_is_shown_again_and_nothing_is_run(command, folder, monkeypatch):
    first = command.runs("study", "toy", "--scale", "small").out.splitlines()
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in command.files() if path.is_file()}
    monkeypatch.setattr(ToyStudy, "run", lambda self, cell, material: 1 / 0)
    again = command.runs("study", "toy", "--scale", "small").out.splitlines()
    assert again[0] == "toy at scale small: 5 cells, 0 s of one thread (finished before: nothing was run)"
    assert again[1:] == first[1:]
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in command.files() if path.is_file()} == before


def test_json_is_one_object_with_claims_and_findings(command):
    told = command.runs("study", "toy", "--seeds", "4", "--out", "a", "--json").json
    assert (told["study"], told["scale"], told["out"]) == ("toy", "tiny", "a")
    assert (told["cells"], told["remaining"], told["ran"]) == (4, 0, 4)
    assert told["settings"]["seeds"] == 4
    above, opposite = told["claims"]
    assert above["word"] == "holds"
    assert above["text"] == "The value | is above zero."
    assert above["value"] == pytest.approx(1.15)
    assert (opposite["control"], opposite["word"]) == (True, "fails, as it must")


def test_the_command_is_recorded_without_folders(command, folder, images):
    command.runs("study", "toy", "--data", str(folder / "images.npz"))
    row = json.loads((folder / DEFAULT / "rows.jsonl").read_text().splitlines()[0])
    assert row["provenance"]["command"] == "scoregrain study toy --data images.npz"
    assert str(folder) not in (folder / DEFAULT / "README.md").read_text()


def test_settings_are_set_by_name_and_the_page_tells_the_command_that_sets_them(command, folder):
    command.runs("study", "toy", "--set", "offset=-2", "fail_at=7", "--seeds", "4", "--out", "a")
    told = next(line for line in (folder / "a" / "README.md").read_text().splitlines() if line.startswith("$ "))
    words = shlex.split(told)[2:]
    assert words == ["study", "toy", "--scale", "tiny", "--seeds", "4", "--set", "offset=-2", "fail_at=7"]
    again = command.runs(*words, "--out", "a").out
    assert "nothing was run" in again


def test_ctrl_c_keeps_the_finished_cells_and_the_same_command_goes_on(command, monkeypatch):
    run = ToyStudy.run

    def stopped(self, cell, material):
        if cell["seed"] == 2:
            raise KeyboardInterrupt
        return run(self, cell, material)

    monkeypatch.setattr(ToyStudy, "run", stopped)
    outcome = command("study", "toy", "--json")
    assert (outcome.code, outcome.out) == (130, "")
    saying = f"scoregrain: interrupted; 2 of 3 cells are kept in '{DEFAULT}': run the same command again"
    assert outcome.err.splitlines()[-1] == saying
    monkeypatch.setattr(ToyStudy, "run", run)
    assert command.runs("study", "toy", "--json").json["ran"] == 1


def test_cells_that_another_process_runs_are_waited_for_by_the_user(command, monkeypatch):
    monkeypatch.setattr(runner, "run_cell", lambda folder, index, command: 0)
    out = command.runs("study", "toy").out
    assert out.startswith("toy at scale tiny: 0 cells, 0 s of one thread; 3 are being run by another process")


def test_a_failing_cell_is_named_and_the_others_are_kept(command, monkeypatch):
    monkeypatch.setitem(ToyStudy.settings, "tiny", {"fail_at": 1})
    outcome = command("study", "toy")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[-1] == (
        f"scoregrain: the cell seed=1 failed: the seed is unlucky; 1 of 3 cells are kept in '{DEFAULT}'"
    )


@pytest.mark.parametrize("words", [(), ("list",)])
def test_without_a_name_the_studies_are_listed_with_what_they_ask(command, words):
    lines = command.runs("study", *words).out.splitlines()
    assert lines[1:] == ["  toy      Is it above zero?", "  several  Are they above zero?"]
    assert command.runs("study", *words, "--json").json == {
        "toy": "Is it above zero?",
        "several": "Are they above zero?",
    }
    assert command.files() == []


def test_data_of_one_word_or_several(command):
    told = command.runs("study", "several", "--data", "digits", "quickdraw", "--json").json
    assert told["settings"]["data"] == ["digits", "quickdraw"]
    assert command.runs("study", "toy", "--data", "mnist", "--json").json["settings"]["data"] == "mnist"


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (("toi",), ("unknown study 'toi'", "did you mean 'toy'?", "toy, several")),
        (("toy", "--scale", "smal"), ("unknown scale 'smal'", "did you mean 'small'?")),
        (("toy", "--scale", "paper"), ("unknown scale 'paper'", "'toy' has: tiny, small")),
        (("toy", "--seed", "3"), "--seed"),
        (("toy", "--seeds", "0"), "--seeds must be at least 1"),
        (("toy", "--seeds", "x"), "--seeds is 'x', expected an integer"),
        (("toy", "--workers", "0"), "--workers must be at least 1"),
        (("toy", "--device", "tpu"), "tpu"),
        (("toy", "--data", "a", "b"), "takes one DATA, got 2"),
        (("toy", "--data", "missing.npz"), "missing.npz"),
        (("toy", "--set", "offset"), "--set takes NAME=VALUE"),
        (("toy", "--set", "seeds=4"), "of another setting than options give, got 'seeds=4'"),
        (("toy", "--set", "ofset=1"), ("no setting 'ofset'", "did you mean 'offset'?")),
        (("toy", "--set", "offset=far"), "--set offset is 'far', expected something like 1.0"),
        (("toy", "tiny"), "unexpected argument 'tiny': scoregrain study NAME"),
    ],
)
def test_refusals(command, words, saying):
    command.refuses("study", *words, code=2, saying=saying)


def test_a_study_without_data_takes_none(command, toys):
    toys.undo()
    saying = ("the study 'rank-one' has no setting 'data'",)
    command.refuses("study", "rank-one", "--data", "digits", code=2, saying=saying)


def test_other_settings_than_declared_are_refused_by_name(command):
    command.runs("study", "toy")
    saying = (f"'{DEFAULT}' declares seeds 3, not 4", "choose another --out")
    command.refuses("study", "toy", "--seeds", "4", code=2, saying=saying)


def test_a_folder_of_something_else_is_refused(command, folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "letter.txt").write_text("dear")
    command.refuses("study", "toy", "--out", "mine", code=2, saying="'mine' holds no study")


def test_help_names_all_studies(command, toys):
    toys.undo()
    out = " ".join(command.runs("study", "--help").out.split())
    for name in ("rank-one", "intervene", "noise-in-the-grain", "sphere"):
        assert name in out
