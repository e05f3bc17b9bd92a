import json
import multiprocessing

import numpy as np
import pytest
import torch

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.studies import Row
from scoregrain.studies.store import StudyFolder, plain, read_config
from tests.studies.cases import Coins

STUDY = Coins.at("tiny")


@pytest.fixture
def folder(tmp_path):
    return StudyFolder.open(STUDY, tmp_path / "study", "a command")


def finished(folder, *indices):
    for index in indices:
        folder.append(Row(STUDY.cells()[index], {"value": index}))


def test_what_is_declared_is_written_before_anything_is_run(folder):
    config = read_config(folder.path)
    assert config["settings"] == STUDY.declared()
    assert config["cells"] == STUDY.cells()
    assert [claim["key"] for claim in config["claims"]] == ["fall", "rise"]
    assert config["claims"][0]["statistic"] == "mean of the values"
    assert config["command"] == "a command"
    assert folder.remaining() == list(range(6))
    assert torch.equal(folder.material["weight"], torch.tensor([2.0, 3.0], dtype=torch.float64))


def test_the_same_study_goes_on_and_others_are_refused(folder):
    finished(folder, 2)
    assert StudyFolder.open(Coins.at("tiny"), folder.path).remaining() == [0, 1, 3, 4, 5]
    for other, named in (
        (Coins.at("small"), "scale 'tiny', not 'small'"),
        (Coins.at("tiny", seeds=2), "seeds 3, not 2"),
    ):
        with pytest.raises(InvalidInputError, match=named):
            StudyFolder.open(other, folder.path)


def test_other_cells_or_claims_of_another_version_are_refused(folder):
    config = read_config(folder.path)
    config["claims"][0]["key"] = "older"
    (folder.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidInputError, match="other cells or claims"):
        StudyFolder.open(STUDY, folder.path)


def test_a_declaration_by_mistake_may_be_deleted_where_no_cell_was_run(folder):
    with pytest.raises(InvalidInputError, match="no cell was run: delete the folder to declare anew"):
        StudyFolder.open(Coins.at("tiny", seeds=2), folder.path)
    finished(folder, 0)
    with pytest.raises(InvalidInputError, match="does not change; choose another --out"):
        StudyFolder.open(Coins.at("tiny", seeds=2), folder.path)


def test_settings_of_another_version_are_named(folder, monkeypatch):
    monkeypatch.setattr("scoregrain.studies.store.find_study", lambda name: Coins)
    config = read_config(folder.path)
    config["settings"]["gone"] = 3
    (folder.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidInputError, match="has the setting 'gone', which this version does not know"):
        StudyFolder.load(folder.path)


def test_numpy_values_are_json_types():
    told = plain({"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": np.array([1.0, np.nan])})
    assert told == {"a": 0.5, "b": 3, "c": True, "d": [1.0, None]}
    assert json.loads(json.dumps(told)) == told


def test_cells_that_are_the_same_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(Coins, "cells", lambda self: [{"seed": 0}, {"seed": 1}, {"seed": 0}])
    with pytest.raises(InvalidInputError, match="two cells are 'seed=0': a setting names something twice"):
        StudyFolder.open(STUDY, tmp_path / "twice")
    assert not list(tmp_path.iterdir())


def test_rows_come_in_the_order_of_the_cells(folder):
    finished(folder, 4, 0, 2)
    assert [row["value"] for row in folder.rows()] == [0, 2, 4]


@pytest.mark.parametrize("torn", ['{"cell": {"seed": 1, "si', "\n"[:0] + "{"])
def test_a_line_that_a_kill_left_unfinished_is_not_counted_and_gives_way(folder, torn):
    finished(folder, 0)
    with (folder.path / "rows.jsonl").open("a") as file:
        file.write(torn)
    assert folder.remaining() == [1, 2, 3, 4, 5]
    finished(folder, 1)
    assert [row["value"] for row in folder.rows()] == [0, 1]
    assert all(json.loads(line) for line in (folder.path / "rows.jsonl").read_text().splitlines())


def test_a_damaged_line_is_told(folder):
    (folder.path / "rows.jsonl").write_text("nonsense\n")
    with pytest.raises(ScoregrainError, match="damaged"):
        folder.rows()


def test_missing_material_is_told(folder):
    (folder.path / "material.safetensors").unlink()
    with pytest.raises(ScoregrainError, match="damaged"):
        _ = StudyFolder.open(STUDY, folder.path).material


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"kind": "run"}')
    with pytest.raises(InvalidInputError, match="holds no study"):
        StudyFolder.open(STUDY, tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(InvalidInputError, match="holds no study"):
        StudyFolder.open(STUDY, tmp_path)


def _claim(path, queue):
    folder = StudyFolder.open(STUDY, path)
    with folder.claimed(3) as mine, folder.claimed(4) as other:
        queue.put((mine, other))


def test_a_cell_belongs_to_one_process(folder):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with folder.claimed(3) as mine:
        assert mine
        process = context.Process(target=_claim, args=(folder.path, queue))
        process.start()
        assert queue.get(timeout=60) == (False, True)
        process.join()


def _append(path, start):
    folder = StudyFolder.open(Coins.at("tiny", seeds=100), path)
    for i in range(start, 200, 2):
        folder.append(Row(folder.study.cells()[i], {"value": i, "text": "x" * 3000}))


def test_rows_of_several_processes_do_not_mix(tmp_path):
    folder = StudyFolder.open(Coins.at("tiny", seeds=100), tmp_path / "many")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append, args=(folder.path, start)) for start in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [row["value"] for row in folder.rows()] == list(range(200))


def test_what_is_not_finite_is_written_as_nothing():
    assert plain({"a": float("nan"), "b": [1.0, float("inf")], "c": "word", "d": torch.ones(2)}) == {
        "a": None,
        "b": [1.0, None],
        "c": "word",
        "d": [1.0, 1.0],
    }


def test_a_setting_that_was_added_later_counts_as_its_default(folder):
    config = read_config(folder.path)
    del config["settings"]["wait"], config["settings"]["seeds"]
    (folder.path / "config.json").write_text(json.dumps(config))
    assert StudyFolder.open(STUDY, folder.path).remaining() == list(range(6))
    with pytest.raises(InvalidInputError, match=r"declares wait 0\.0, not 1\.0"):
        StudyFolder.open(Coins.at("tiny", wait=1.0), folder.path)


@pytest.mark.parametrize("part", ["text", "statistic", "control"])
def test_a_claim_does_not_change_after_it_was_declared(part, folder):
    config = read_config(folder.path)
    config["claims"][0][part] = True if part == "control" else "Something easier."
    (folder.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidInputError, match="other cells or claims"):
        StudyFolder.open(STUDY, folder.path)
