from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from matplotlib.figure import Figure

from scoregrain._errors import ScoregrainError
from scoregrain.datasets import RankOne
from scoregrain.studies import runner, store
from scoregrain.studies.families import study_family
from scoregrain.studies.runner import run_cell
from scoregrain.studies.store import StudyFolder
from scoregrain.studies.study import Claim
from scoregrain.studies.trained import TrainedStudy
from scoregrain.studies.unfinished import kept_in, next_place
from scoregrain.training.trainer import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::scoregrain._errors.TimeBlindWarning")


@dataclass(frozen=True, kw_only=True)
class Twice(TrainedStudy):
    """Trains two networks in its one cell, the first for longer than a checkpoint takes."""

    name = "twice"
    title = "Twice"
    settings: ClassVar = {"tiny": {"batch_size": 2, "arrays": 8}}

    def cells(self):
        return [{"seed": 0}]

    def claims(self):
        return [Claim("one", "none", "here", "none", control=True)]

    def run(self, cell, material):
        family = study_family("linear-4")
        law = RankOne(torch.eye(16)[0].reshape(family.shape))
        found = [self.trained(family, law, 0, updates, 1e-2) for updates in (1100, 3)]
        return {"losses": [each.loss for each in found]}

    def findings(self, rows):
        return []

    def tables(self, rows):
        return []

    def figure(self, rows):
        return Figure()


@pytest.fixture
def folder(tmp_path):
    return StudyFolder.open(Twice.at("tiny"), tmp_path / "out")


def updates_until(step, monkeypatch):
    """Let an update fail; those that are made are told."""
    made, update = [], Trainer.update

    def counted(self, k):
        if k == step:
            raise RuntimeError("killed")
        made.append(k)
        return update(self, k)

    monkeypatch.setattr(Trainer, "update", counted)
    return made


def kill(folder, monkeypatch):
    with monkeypatch.context() as patch:
        updates_until(1050, patch)
        with pytest.raises(ScoregrainError, match="killed"):
            run_cell(folder, 0, "")


def test_places_are_the_same_when_a_cell_is_run_again_and_there_are_none_outside(tmp_path):
    assert next_place() is None
    for _ in range(2):
        with kept_in(tmp_path / "a"):
            assert [next_place(), next_place()] == [tmp_path / "a" / "0", tmp_path / "a" / "1"]
    with kept_in(None):
        assert next_place() is None
    assert next_place() is None


def test_what_is_kept_goes_when_the_cell_ends_well_and_stays_when_it_does_not(tmp_path):
    for fails in (True, False):
        with pytest.raises(ValueError, match="no") if fails else kept_in(tmp_path / "b"), kept_in(tmp_path / "a"):
            next_place().mkdir(parents=True, exist_ok=True)
            if fails:
                raise ValueError("no")
        assert (tmp_path / "a").exists() is fails
    assert next_place() is None


def test_a_killed_cell_goes_on_with_its_training_and_gives_the_same_row(folder, tmp_path, monkeypatch):
    whole = StudyFolder.open(folder.study, tmp_path / "whole")
    run_cell(whole, 0, "")
    kill(folder, monkeypatch)
    assert (folder.path / "unfinished").exists()
    made = updates_until(-1, monkeypatch)
    run_cell(folder, 0, "")
    assert made == [*range(1000, 1100), 0, 1, 2]
    (mine,), (theirs,) = folder.rows(), whole.rows()
    assert mine.values == theirs.values
    assert "resumed" in mine.provenance
    assert "resumed" not in theirs.provenance
    assert not list((folder.path / "unfinished").iterdir())
    folder.clear()
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.json", "rows.jsonl"]


def test_what_another_source_has_kept_is_not_gone_on_with(folder, monkeypatch):
    kill(folder, monkeypatch)
    monkeypatch.setattr(runner, "source_hash", lambda: "another")
    made = updates_until(-1, monkeypatch)
    run_cell(folder, 0, "")
    assert made[:2] == [0, 1]


def test_nothing_is_kept_where_two_processes_cannot_be_kept_apart(folder, monkeypatch):
    monkeypatch.setattr(store, "_try_lock", lambda handle: None)
    kill(folder, monkeypatch)
    assert not (folder.path / "unfinished").exists()
    run_cell(folder, 0, "")
    assert len(folder.rows()) == 1
