"""docs/results is what the stored rows give."""

import importlib.util
import json
from pathlib import Path

import pytest

from scoregrain.studies.page import page
from scoregrain.studies.runner import PAGE, RESULT, run_study
from tests.studies.toy import ToyStudy, only_toys

SCRIPT = Path(__file__).parents[1] / "docs" / "build_results.py"
specification = importlib.util.spec_from_file_location("build_results", SCRIPT)
build_results = importlib.util.module_from_spec(specification)
specification.loader.exec_module(build_results)


@pytest.fixture(scope="module")
def committed():
    return build_results.stored(build_results.RESULTS)


def test_the_committed_pages_are_what_their_rows_give(committed):
    for each in committed:
        if each.complete:
            assert (each.folder.path / PAGE).read_text() == page(each), f"{each.folder.path.name}: make results"


def test_the_committed_findings_are_what_their_rows_give(committed):
    for each in committed:
        if each.complete:
            told = json.loads((each.folder.path / RESULT).read_text())["findings"]
            assert [one["word"] for one in told] == [one.word for one in each.findings]
            assert [one["value"] for one in told] == pytest.approx([one.value for one in each.findings])


def test_the_committed_overview_is_what_the_rows_give(committed):
    text = (build_results.RESULTS / "README.md").read_text()
    assert build_results.with_overview(text, committed) == text, "make results"


def test_no_stored_study_names_a_folder_of_a_user(committed):
    for each in committed:
        for file in each.folder.path.iterdir():
            if file.suffix in (".json", ".jsonl", ".md"):
                assert not any(place in file.read_text() for place in ("/work/", "/home/", "/tmp/", "/root/")), file


def test_pages_are_written_anew_from_rows(tmp_path, monkeypatch):
    only_toys(monkeypatch)
    results = tmp_path / "results"
    readme = results / "README.md"
    for scale in ("tiny", "small"):
        run_study(ToyStudy.at(scale), results / "studies" / f"toy-{scale}")
    folder = results / "studies" / "toy-tiny"
    files = [folder / name for name in (PAGE, RESULT, "figure.png")]
    whole = [file.read_bytes() for file in files]
    for file in files:
        file.write_text("stale")
    readme.write_text(f"# Results\n\n{build_results.BEGIN}\nstale\n{build_results.END}\n\nMore.\n")
    build_results.build(results)
    assert [file.read_bytes() for file in files] == whole
    text = readme.read_text()
    assert text.startswith(f"# Results\n\n{build_results.BEGIN}\n\n### Is it above zero?\n")
    assert text.endswith(f"cells.\n\n{build_results.END}\n\nMore.\n")
    assert "stale" not in text
    assert "[toy-small](studies/toy-small/README.md)" in text
    assert "| refuted | -0.8 |" in text
    build_results.build(results)
    assert readme.read_text() == text


def test_an_unfinished_study_gets_no_page(tmp_path, monkeypatch):
    only_toys(monkeypatch)
    folder = tmp_path / "studies" / "toy-tiny"
    run_study(ToyStudy.at("tiny"), folder)
    lines = (folder / "rows.jsonl").read_text().splitlines(keepends=True)
    (folder / "rows.jsonl").write_text("".join(lines[:2]))
    (folder / PAGE).unlink()
    (tmp_path / "README.md").write_text(f"{build_results.BEGIN}\n{build_results.END}\n")
    build_results.build(tmp_path)
    assert not (folder / PAGE).exists()
    assert "not finished: 2 of 3 cells" in (tmp_path / "README.md").read_text()


def test_a_results_page_without_marks_is_not_touched():
    with pytest.raises(SystemExit, match="lost its marks"):
        build_results.with_overview("# Results\n", [])
