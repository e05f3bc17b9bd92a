"""Before the first update: what cannot be trained, where it would run, and the folder it would go to."""

import errno

import accelerate.tracking
import pytest
import torch
from accelerate.utils import LoggerType
from torch import nn

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain._folders import locked, refuse_busy
from scoregrain.models import MLP, NetworkFamily, SigmaNetwork
from scoregrain.schedules import linear_schedule
from scoregrain.training import Run, launch, train
from scoregrain.training.trainer import Trainer
from tests.training.cases import PERCEPTRON, SHAPE, config


class Table(nn.Module):
    """It knows 1000 steps."""

    def __init__(self):
        super().__init__()
        self.levels, self.map = nn.Embedding(1000, 16), nn.Linear(16, 16)

    def forward(self, x, t):
        return (self.map(x.flatten(1)) + self.levels(t)).view_as(x)


REFUSED = {
    "a batch that cannot be cut": ({"batch_size": 61}, "too few arrays: 60 of .* to train on, batches take 61"),
    "a table of another schedule": (
        {
            "model": NetworkFamily(
                lambda: SigmaNetwork(MLP(SHAPE, width=8), linear_schedule(1000).sigmas), SHAPE, "edm", name="table"
            )
        },
        "the network 'table' holds the levels of 1000 steps: timesteps must be 1000, not 50",
    ),
    "a table of fewer steps": (
        {"model": NetworkFamily(Table, SHAPE, name="table"), "timesteps": 1200},
        r"the network failed .* IndexError: .* out of range",
    ),
    "nothing to learn": (
        {"model": NetworkFamily(lambda: MLP(SHAPE, width=8).requires_grad_(False), SHAPE, name="fixed")},
        "all parameters of the network 'fixed' are frozen",
    ),
    "a device of another name": ({"device": "gpu"}, "device is 'gpu', expected cpu or cuda"),
    "a schedule of too few steps": ({"timesteps": 20}, "more than 20 steps"),
}


@pytest.mark.parametrize(("changes", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trained_is_refused(changes, said, tmp_path):
    with pytest.raises(ScoregrainError, match=said):
        train(config(out=tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["tensorboard", "all"])
def test_a_tracker_that_is_not_installed_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(accelerate.tracking, "get_available_trackers", list)
    with pytest.raises(InvalidInputError, match=f"the tracker '{name}' is not installed.*; installed: none$"):
        train(config(out=tmp_path / "run", tracker=name))
    assert not (tmp_path / "run").exists()


def test_a_tracker_gets_every_line_and_writes_into_the_run_wherever_that_lies(tmp_path, monkeypatch):
    seen = []

    class Recorder(accelerate.tracking.GeneralTracker):
        name, requires_logging_directory, tracker, main_process_only = "tensorboard", True, None, True

        def __init__(self, project, folder, **options):
            super().__init__()
            seen.append(folder)

        def log(self, values, step, **options):
            seen.append({"step": step} | values)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(accelerate.tracking, "get_available_trackers", lambda: [LoggerType.TENSORBOARD])
    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "tensorboard", Recorder)
    run = train(config(out=None, tracker="tensorboard"))
    assert seen == [str(run.folder), *run.history]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_a_card_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InvalidInputError, match="device 'cuda' cannot be used"):
        train(config(out=tmp_path / "run", device="cuda"))
    assert not (tmp_path / "run").exists()


def test_a_process_that_has_trained_elsewhere_says_so_instead_of_training_there(tmp_path, monkeypatch):
    train(config(out=tmp_path / "before"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(InvalidInputError, match=r"this process has trained on cpu: .* on cuda needs one of its own"):
        train(config(out=tmp_path / "run", device="cuda"))


def test_a_run_is_not_replaced_unasked(tmp_path):
    train(config(out=tmp_path / "run"))
    with pytest.raises(InvalidInputError, match="holds a run: continue it with --resume, or replace it with --over"):
        train(config(out=tmp_path / "run"))
    with pytest.raises(InvalidInputError, match=r"continues a run, overwrite .* starts it again: give one"):
        train(config(out=tmp_path / "run"), resume=True, overwrite=True)
    other = train(config(out=tmp_path / "run", seed=1), overwrite=True)
    assert other.config.seed == 1


def test_a_run_stays_where_its_replacement_cannot_be_written(tmp_path, monkeypatch):
    train(config(out=tmp_path / "run"))

    def full(setup, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(launch, "write_run", full)
    with pytest.raises(ScoregrainError, match=r"cannot write '.*run': No space left"):
        train(config(out=tmp_path / "run"), overwrite=True)
    assert Run.load(tmp_path / "run", family=PERCEPTRON).finished


def test_a_folder_of_someone_else_is_never_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InvalidInputError, match="not a folder that scoregrain wrote"):
        train(config(out=tmp_path), overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_run_at_work_is_left_alone(tmp_path):
    train(config(out=tmp_path / "run"))
    with locked(tmp_path / "run"):
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(InvalidInputError, match="another process is working in"):
                train(config(out=tmp_path / "run"), **options)


def test_a_training_has_its_folder_to_itself(tmp_path, monkeypatch):
    update, seen = Trainer.update, []

    def watched(trainer, k):
        with pytest.raises(InvalidInputError, match="another process is working in"):
            refuse_busy(trainer.folder)
        seen.append(k)
        return update(trainer, k)

    monkeypatch.setattr(Trainer, "update", watched)
    train(config(out=tmp_path / "run"))
    assert seen == list(range(12))


def test_resuming_nothing_is_said(tmp_path):
    with pytest.raises(InvalidInputError, match="is not a run: it does not exist"):
        train(config(out=tmp_path / "run"), resume=True)
