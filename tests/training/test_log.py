"""The log of a run: lines survive kills, and are cut back to the checkpoint."""

import json
import math

import pytest

from scoregrain._errors import ScoregrainError
from scoregrain.training import log


def test_lines_come_back_in_order(tmp_path):
    lines = [{"step": k, "loss": 1 / k} for k in (1, 2, 3)]
    for line in lines:
        log.append(tmp_path, line)
    assert log.read(tmp_path) == lines


def test_a_run_without_a_log_has_no_lines(tmp_path):
    assert log.read(tmp_path) == []


def test_a_line_that_a_kill_left_half_written_is_dropped(tmp_path):
    log.append(tmp_path, {"step": 1, "loss": 0.5})
    with (tmp_path / log.NAME).open("a") as file:
        file.write('{"step": 2, "lo')
    assert log.read(tmp_path) == [{"step": 1, "loss": 0.5}]


def test_bytes_that_are_no_text_and_json_that_is_no_line_are_dropped(tmp_path):
    (tmp_path / log.NAME).write_bytes(b'\xff\xfe\n3\n{"loss": 1}\n{"step": "one"}\n{"step": 4}\n')
    assert log.read(tmp_path) == [{"step": 4}]


def test_cutting_drops_what_comes_after_the_checkpoint_and_half_lines(tmp_path):
    for k in (1, 2, 3):
        log.append(tmp_path, {"step": k})
    with (tmp_path / log.NAME).open("a") as file:
        file.write('{"step"')
    log.cut(tmp_path, 2)
    assert [line["step"] for line in log.read(tmp_path)] == [1, 2]
    log.append(tmp_path, {"step": 3})
    assert [line["step"] for line in log.read(tmp_path)] == [1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == [log.NAME]


def test_what_json_does_not_hold_becomes_null(tmp_path):
    log.append(tmp_path, {"step": 1, "loss": math.nan, "norm": math.inf})
    assert json.loads((tmp_path / log.NAME).read_text(), parse_constant=lambda word: pytest.fail(word)) == {
        "step": 1,
        "loss": None,
        "norm": None,
    }


def test_a_folder_that_is_gone_is_said_in_one_line(tmp_path):
    with pytest.raises(ScoregrainError, match=r"cannot write '.*metrics.jsonl': No such file"):
        log.append(tmp_path / "gone", {"step": 1})
