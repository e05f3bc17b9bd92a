"""The page of a study and the overview say what the rows give, and nothing of where they were run."""

import json

import pytest

from scoregrain._errors import InvalidInputError
from scoregrain.studies.page import compute, grid, interval, number, overview, page, question, shown_command
from scoregrain.studies.runner import load_study, run_study
from scoregrain.studies.study import Finding
from tests.studies.toy import SeveralStudy, ToyStudy, only_toys


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    only_toys(monkeypatch)


def complete(folder, scale="tiny", command="", **settings):
    return run_study(ToyStudy.at(scale, **settings), folder, command=command)


def test_the_page_has_every_claim_with_its_verdict_value_interval_and_count(tmp_path):
    text = page(complete(tmp_path / "toy"))
    # 1, 1.1, 1.2: mean 1.1, standard error 0.0577, t quantile 4.303
    assert (
        "| **above**: The value \\| is above zero. | here | **holds** | 1.1 | [0.852, 1.35] | 3 | data digits; "
        "sign-flip p = 0.25 |" in text
    )
    assert (
        "| *control:* **reversed**: Its opposite is above zero. | here | **fails, as it must** | -1.1 | [-1.35, -0.852]"
        in text
    )
    assert "- **above**: mean over seeds, 95 % t interval" in text


def test_the_page_says_what_was_asked_of_what_settings_and_shows_tables_and_figure(tmp_path):
    text = page(complete(tmp_path / "toy", seeds=4))
    assert text.startswith("# Is it above zero?\n\nIs a number above zero, and is the opposite below?\n\n")
    assert "Study `toy` at scale `tiny`" in text
    assert "| `seeds` | 4 |" in text
    assert "### Values\n\n| seed | value |\n| --- | --- |\n| 0 | 1.00 |" in text
    assert "Of nothing." in text
    assert "![Figure](figure.png)" in text


def test_the_page_counts_cells_by_code_and_adds_their_seconds(tmp_path):
    folder = tmp_path / "toy"
    complete(folder)
    lines = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    for line, source in zip(lines, ("aaa", "bbb", "aaa"), strict=True):
        line["seconds"], line["provenance"]["cpu_seconds"] = 900.0, 100.0  # other work takes the clock's time
        line["provenance"]["source"] = source
        line["provenance"]["finished"] = f"2030-01-0{1 + len(source)}T00:00:00+00:00"
    lines[1]["provenance"]["finished"] = "2030-01-01T00:00:00+00:00"
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = page(load_study(folder))
    assert "3 cells, each in one thread, 5 minutes together" in text
    assert "finished between 2030-01-01T00:00:00+00:00 and 2030-01-04T00:00:00+00:00" in text
    assert "| 2 | scoregrain" in text
    assert "source aaa" in text
    assert "| 1 | scoregrain" in text


def test_the_page_has_the_command_of_its_settings_and_no_folder_of_a_user(tmp_path):
    data = "/home/someone/secret/mnist.npz"
    command = f"scoregrain study toy --data {data} --out=/home/someone/results --scale tiny"
    text = page(complete(tmp_path / "toy", data=data, offset=2.0, command=command))
    assert "$ scoregrain study toy --scale tiny --data mnist.npz --set offset=2.0\n" in text
    assert "| `data` | mnist.npz |" in text
    assert "data mnist.npz; sign-flip" in text  # a note of the study's own
    assert "someone" not in text
    assert str(tmp_path) not in text


def test_claims_that_were_reworded_since_are_refused(tmp_path, monkeypatch):
    folder = tmp_path / "toy"
    complete(folder)
    claims = ToyStudy.claims

    def reworded(self):
        first, second = claims(self)
        return [type(first)("above", "Something easier.", "here", "another rule"), second]

    monkeypatch.setattr(ToyStudy, "claims", reworded)
    with pytest.raises(InvalidInputError, match="other cells or claims"):
        load_study(folder)


def test_verdicts_of_tiny_are_not_in_the_overview(tmp_path):
    text = overview([complete(tmp_path / "toy-tiny")])
    assert "No study is complete." in text
    assert "(studies/toy-tiny/README.md)" in text  # that it was run is told


def test_the_overview_lists_all_claims_and_what_was_not_run(tmp_path):
    small = complete(tmp_path / "toy-small", "small")
    (tmp_path / "several-tiny").mkdir()
    text = overview([small])
    assert (
        "### Is it above zero?\n\nStatistics, tables and figure: [toy-small](studies/toy-small/README.md),"
        " by `scoregrain study toy --scale small`.\n\n"
        "| claim | verdict | value | interval | n |" in text
    )
    assert "| **above**: The value \\| is above zero. | refuted | -0.8 |" in text
    assert "| *control:* **reversed**: Its opposite is above zero. |" in text
    assert "does not fail | 0.8 |" in text
    assert "| toy | by the slow tests | [5 cells, 0 s](studies/toy-small/README.md) | not planned |" in text
    assert "| several | by the slow tests | not planned | not planned |" in text
    assert "Compute used: 0 s of one thread in 5 cells." in text


def test_the_overview_says_how_far_an_unfinished_study_is(tmp_path):
    folder = tmp_path / "toy-tiny"
    complete(folder)
    lines = (folder / "rows.jsonl").read_text().splitlines(keepends=True)
    (folder / "rows.jsonl").write_text(lines[0])
    text = overview([load_study(folder)])
    assert text.startswith("No study is complete.")
    assert "| toy | not finished: 1 of 3 cells, 0 s | not run | not planned |" in text


def test_one_study_on_two_data_sets_has_both_pages_in_the_overview(tmp_path):
    outcomes = [complete(tmp_path / f"toy-small-{data}", "small", data=data) for data in ("digits", "mnist")]
    text = overview(outcomes)
    for name in ("toy-small-digits", "toy-small-mnist"):
        assert f"### Is it above zero? ({name})\n" in text
        assert text.count(f"(studies/{name}/README.md)") == 2  # its verdicts, and what was run


def test_paths_inside_tuples_of_settings_are_file_names_too(tmp_path):
    study = SeveralStudy.at("tiny", data=("digits", "./deep/quickdraw.npz"))
    assert "| `data` | digits, quickdraw.npz |" in page(run_study(study, tmp_path / "several"))


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("scoregrain study rank-one --networks dit-8/2", "scoregrain study rank-one --networks dit-8/2"),
        ("scoregrain study a --data owner/name", "scoregrain study a --data owner/name"),
        ("scoregrain study a --out ../there/x", "scoregrain study a --out x"),
        ("scoregrain study a --data '/a b/c d.npz'", "scoregrain study a --data 'c d.npz'"),
        ("half a ' quote", "half a ' quote"),
    ],
)
def test_commands_are_shown_without_folders(command, shown):
    assert shown_command(command) == shown


def test_numbers_have_three_digits_and_no_negative_zero():
    assert [number(x) for x in (0.12345, -0.0, -1234.4, 2e6, None)] == ["0.123", "0", "-1234", "2e+06", "–"]
    assert interval((-1.0, 2.0)) == "[-1, 2]"
    assert interval(None) == ""


def test_compute_is_told_in_the_unit_that_fits():
    assert [compute(x) for x in (59.6, 600.0, 9000.0)] == ["60 s", "10 minutes", "2.5 h"]


def test_a_table_survives_bars_and_line_breaks():
    assert grid(("a", "b"), [("1|2", "x\ny")]) == "| a | b |\n| --- | --- |\n| 1\\|2 | x y |"


def test_a_study_asks_the_first_paragraph_of_its_docstring():
    assert question(ToyStudy) == "Is a number above zero, and is the opposite below?"
    assert question(SeveralStudy) == "The same of several data sets."


def test_a_finding_without_a_number_is_no_number_on_the_page(tmp_path, monkeypatch):
    findings = [Finding("above", None, None, 0, "undecided"), Finding("reversed", None, None, 0, "fails, as it must")]
    monkeypatch.setattr(ToyStudy, "findings", lambda self, rows: findings)
    assert "| **undecided** | – |  | 0 |  |" in page(complete(tmp_path / "toy"))
