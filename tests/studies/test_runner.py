import json
import multiprocessing
import os
import signal
import threading
import time

import pytest
import torch

from scoregrain._errors import ScoregrainError
from scoregrain.studies.runner import outcome, run_cell, run_study, source_hash
from scoregrain.studies.store import StudyFolder
from tests.studies.cases import Coins, diary


def study(tmp_path, **settings):
    return Coins.at("tiny", diary=str(tmp_path / "diary"), **settings)


def begun(coins):
    return [entry[1:] for entry in diary(coins) if entry[0] == "begin"]


def state(folder):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def test_all_cells_are_run_once_and_judged(tmp_path):
    coins = study(tmp_path)
    found = run_study(coins, tmp_path / "out", command="scoregrain study coins")
    assert (found.complete, found.ran, found.remaining) == (True, 6, 0)
    assert found.findings[0].value == pytest.approx(3.5)  # weights 2, 3; seeds 0, 1, 2
    assert sorted(begun(coins)) == sorted((str(c["seed"]), c["side"]) for c in coins.cells())
    row = found.rows[0]
    assert row.values == {"value": 2.0, "nothing": None, "list": [1.0, None]}
    assert row.provenance["command"] == "scoregrain study coins"
    assert row.provenance["torch"] == torch.__version__
    assert row.provenance["source"] == source_hash()
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["findings"][0]["word"] == "holds"
    assert not (tmp_path / "out" / "locks").exists()


def test_a_finished_study_is_left_as_it_is(tmp_path):
    coins = study(tmp_path)
    run_study(coins, tmp_path / "out")
    before = state(tmp_path / "out")
    again = run_study(coins, tmp_path / "out", workers=2)
    assert (again.ran, again.complete) == (0, True)
    assert state(tmp_path / "out") == before
    assert len(begun(coins)) == 6


def test_a_row_that_another_process_writes_while_rows_are_read_is_not_judged_without(tmp_path, monkeypatch):
    folder = StudyFolder.open(study(tmp_path), tmp_path / "out")
    for index in range(5):
        run_cell(folder, index, "")
    rows = StudyFolder.rows

    def then_the_last_one_is_written(self):
        monkeypatch.setattr(StudyFolder, "rows", rows)
        found = rows(self)
        run_cell(folder, 5, "")
        return found

    monkeypatch.setattr(StudyFolder, "rows", then_the_last_one_is_written)
    found = outcome(folder, 0)
    assert (found.complete, found.remaining, len(found.rows)) == (False, 1, 5)
    assert outcome(folder, 0).complete


def test_a_process_that_finds_all_cells_done_leaves_no_locks(tmp_path):
    coins = study(tmp_path)
    late = StudyFolder.open(coins, tmp_path / "out")
    todo = late.remaining()
    run_study(coins, tmp_path / "out")
    assert [run_cell(late, index, "") for index in todo] == [0] * 6
    assert not (tmp_path / "out" / "locks").exists()
    (tmp_path / "out" / "locks").mkdir()  # of one that was between two of its looks
    run_study(coins, tmp_path / "out")
    assert not (tmp_path / "out" / "locks").exists()


def test_several_workers_give_what_one_gives(tmp_path):
    one = run_study(study(tmp_path), tmp_path / "one")
    coins = study(tmp_path, wait=0.3)
    two = run_study(coins, tmp_path / "two", workers=2)
    assert [row.values for row in one.rows] == [row.values for row in two.rows]
    lines = (tmp_path / "diary").read_text().splitlines()[12:]
    workers = {line.split()[3] for line in lines if line.startswith("begin")}
    assert str(os.getpid()) not in workers
    assert {line.split()[4] for line in lines if line.startswith("begin")} == {"1"}


def test_cells_have_one_thread_and_the_process_gets_its_threads_back(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run_study(study(tmp_path), tmp_path / "out")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert {line.split()[4] for line in (tmp_path / "diary").read_text().splitlines() if "begin" in line} == {"1"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cell_that_fails_is_named_and_the_others_are_kept(workers, tmp_path):
    coins = study(tmp_path, broken="tail")
    with pytest.raises(ScoregrainError, match=r"side=tail failed: it rolled away; \d of 6 cells are kept in"):
        run_study(coins, tmp_path / "out", workers=workers)
    assert not (tmp_path / "out" / "result.json").exists()
    kept = [json.loads(line)["cell"]["side"] for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert set(kept) == {"head"}


def _run(coins, folder, workers=1):
    run_study(coins, folder, workers=workers)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def test_a_kill_loses_the_running_cell_and_no_more(tmp_path):
    coins = study(tmp_path, wait=0.4)
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(coins, tmp_path / "out"))
    process.start()
    wait_for(lambda: len(begun(coins)) == 3)
    process.kill()
    process.join()
    kept = (tmp_path / "out" / "rows.jsonl").read_text().count("\n")
    assert kept == len([entry for entry in diary(coins) if entry[0] == "end"]) == 2
    found = run_study(coins, tmp_path / "out")
    assert (found.ran, found.complete) == (4, True)
    assert len(begun(coins)) == 7  # the one that ran when it was killed was run again


def test_two_processes_share_a_folder(tmp_path):
    coins = study(tmp_path, wait=0.3, seeds=4)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_run, args=(coins, tmp_path / "out")) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(begun(coins)) == len(set(begun(coins))) == 8
    assert load_rows(tmp_path / "out") == 8
    assert run_study(coins, tmp_path / "out").complete


def load_rows(folder):
    return (folder / "rows.jsonl").read_text().count("\n")


def test_workers_end_when_their_parent_is_killed(tmp_path):
    coins = study(tmp_path, wait=0.5, seeds=20)
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(coins, tmp_path / "out", 2))
    process.start()
    wait_for(lambda: len(begun(coins)) >= 2)
    process.kill()
    process.join()
    time.sleep(1.5)
    before = len(begun(coins))
    time.sleep(1.5)
    assert len(begun(coins)) == before < 40


def test_ctrl_c_says_what_is_kept(tmp_path):
    coins = study(tmp_path, wait=0.2, seeds=50)
    parent = os.getpid()

    def interrupt():
        wait_for(lambda: len(begun(coins)) >= 3)
        os.kill(parent, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        said = r"interrupted; [2-9] of 100 cells are kept in .*run the same command"
        with pytest.raises(KeyboardInterrupt, match=said):
            run_study(coins, tmp_path / "out")
    finally:
        signal.signal(signal.SIGINT, before)
    assert run_study(Coins.at("tiny", diary=coins.diary, wait=0.2, seeds=50), tmp_path / "out2", workers=8).complete
