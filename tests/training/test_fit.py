import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from scoregrain.training import train
from scoregrain.training.fit import LOSSES, fit
from scoregrain.training.trainer import Trainer
from tests.training.cases import SHAPE, config, rotation


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"rotation": rotation()}, {"noise": "power-law:alpha=-0.5"}])
def test_it_gives_the_network_that_a_run_gives(changes, tmp_path):
    asked = config(**{"ema": 0.0, **changes})
    ours, run = fit(asked), train(replace(asked, out=tmp_path / "run"), progress=False)
    x, t = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 20, 49])
    assert torch.equal(ours.model(x, t), run.model(x, t))
    assert not ours.model.training
    assert not any(p.requires_grad for p in ours.model.parameters())
    assert ours.setup.law is not None
    assert math.isfinite(ours.loss)


def test_the_loss_is_the_mean_of_the_last_tenth_of_the_updates(tmp_path):
    asked = config(ema=0.0, steps=20, log_every=1)
    run = train(replace(asked, out=tmp_path / "run"), progress=False)
    assert fit(asked).loss == pytest.approx(sum(line["loss"] for line in run.history[-2:]) / 2, rel=1e-6)


def test_a_training_that_diverges_says_so():
    fitted = fit(config(ema=0.0, steps=30, learning_rate=1e30, clip=0.0))
    assert not math.isfinite(fitted.loss)


class KilledError(Exception):
    pass


def killed_at(monkeypatch, step):
    """Let the update of a step end the call; the updates that are made are told."""
    made, update = [], Trainer.update

    def counted(self, k):
        if k == step:
            raise KilledError
        made.append(k)
        return update(self, k)

    monkeypatch.setattr(Trainer, "update", counted)
    return made


def fit_until(step, asked, folder, monkeypatch):
    with monkeypatch.context() as patch:
        killed_at(patch, step)
        with pytest.raises(KilledError):
            fit(asked, folder)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_killed_training_goes_on_from_what_it_kept_to_the_same_bits(ema, tmp_path, monkeypatch):
    asked = config(ema=ema, steps=20, checkpoint_every=6)
    whole = fit(asked)
    fit_until(14, asked, tmp_path / "kept", monkeypatch)
    made = killed_at(monkeypatch, -1)
    again = fit(asked, tmp_path / "kept")
    assert made == list(range(12, 20))
    assert again.loss == whole.loss
    for mine, theirs in zip(again.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert {path.name for path in (tmp_path / "kept" / "checkpoints").iterdir()} == {"step-00000018"}


def test_losses_before_the_kill_count(tmp_path, monkeypatch):
    asked = config(ema=0.0, steps=40, checkpoint_every=39)
    fit_until(39, asked, tmp_path / "kept", monkeypatch)
    assert fit(asked, tmp_path / "kept").loss == fit(asked).loss  # of the last four updates, three made before


def test_losses_beyond_the_checkpoint_are_made_again(tmp_path, monkeypatch):
    asked = config(ema=0.0, steps=20, checkpoint_every=6)
    fit_until(14, asked, tmp_path / "kept", monkeypatch)
    file = tmp_path / "kept" / LOSSES
    more = torch.full((6,), 99.0)  # as if the kill had come between the losses and the checkpoint of step 18
    save_file({"losses": torch.cat([load_file(file)["losses"], more])}, file)
    assert fit(asked, tmp_path / "kept").loss == fit(asked).loss


def test_a_checkpoint_beside_older_losses_is_begun_anew(tmp_path, monkeypatch):
    """A power cut may keep the one and not the other: updates must not be made twice."""
    asked = config(ema=0.0, steps=8, checkpoint_every=3)
    whole = fit(asked, tmp_path / "kept")
    file = tmp_path / "kept" / LOSSES
    save_file({"losses": load_file(file)["losses"][:3]}, file)
    made = killed_at(monkeypatch, -1)
    again = fit(asked, tmp_path / "kept")
    assert made == list(range(8))
    for mine, theirs in zip(again.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("file", [LOSSES, "latest", "checkpoints/step-00000006/optimizer.safetensors"])
def test_what_is_damaged_is_begun_anew(file, tmp_path, monkeypatch):
    asked = config(ema=0.0, steps=8, checkpoint_every=3)
    whole = fit(asked, tmp_path / "kept")
    (tmp_path / "kept" / file).write_bytes(b"no")
    made = killed_at(monkeypatch, -1)
    again = fit(asked, tmp_path / "kept")
    assert made == list(range(8))
    assert again.loss == whole.loss
    for mine, theirs in zip(again.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
