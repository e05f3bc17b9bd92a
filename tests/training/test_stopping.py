"""Ctrl-C and SIGTERM wait for the update at work; a second one does not."""

import os
import signal
import threading

import pytest

from scoregrain.training.stopping import deferred_stop
from tests.training.cases import PERCEPTRON, config, left

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_remembered(number):
    with deferred_stop() as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.asked


@pytest.mark.parametrize("number", NUMBERS)
def test_a_second_signal_interrupts_at_once(number):
    with deferred_stop(), pytest.raises(KeyboardInterrupt, match="nothing was saved since the last checkpoint"):  # noqa: PT012
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)


def test_the_handlers_are_given_back_whatever_happens():
    before = [signal.getsignal(number) for number in NUMBERS]
    with pytest.raises(ZeroDivisionError), deferred_stop():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_signals_are_left_alone_when_it_is_told_so_and_outside_the_main_thread():
    before = [signal.getsignal(number) for number in NUMBERS]
    seen = []

    def look(active=True):
        with deferred_stop(active):
            seen.append([signal.getsignal(number) for number in NUMBERS])

    look(active=False)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before, before]


class Signals:
    """Sends the process a signal in the middle of update k, as a user or a batch system would."""

    def __init__(self, trainer_class, monkeypatch, k, number):
        loss = trainer_class._loss

        def interrupted(trainer, model, batch):
            if trainer.step == k and model is trainer.model:
                os.kill(os.getpid(), number)
            return loss(trainer, model, batch)

        monkeypatch.setattr(trainer_class, "_loss", interrupted)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_training_finishes_its_update_keeps_it_and_goes_on_bit_for_bit(number, tmp_path, monkeypatch):
    from scoregrain.training import Run, train
    from scoregrain.training.trainer import Trainer

    whole = train(config(out=tmp_path / "whole"))
    with monkeypatch.context() as patch:
        Signals(Trainer, patch, k=6, number=number)
        with pytest.raises(KeyboardInterrupt, match=r"interrupted; step 7 is kept in '.*stopped', continue with --res"):
            train(config(out=tmp_path / "stopped"))
    stopped = Run.load(tmp_path / "stopped", family=PERCEPTRON)
    assert stopped.step == 7
    assert not stopped.finished
    resumed = train(config(out=tmp_path / "stopped"), resume=True)
    ours, theirs = left(resumed), left(whole)
    assert [line for line in ours.pop("lines") if line["step"] != 7][-1]["step"] == 12  # one line more, at the stop
    del theirs["lines"]
    assert ours == theirs


def test_a_signal_while_the_log_is_written_stops_after_the_next_update(tmp_path, monkeypatch):
    """It comes too late for a checkpoint of this one, so none must be claimed."""
    from scoregrain.training import Run, log, train

    append = log.append

    def interrupted(folder, line):
        append(folder, line)
        if line["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(log, "append", interrupted)
    with pytest.raises(KeyboardInterrupt, match="step 4 is kept"):
        train(config(out=tmp_path / "run"))
    assert Run.load(tmp_path / "run", family=PERCEPTRON).step == 4
