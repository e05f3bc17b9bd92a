import math
from dataclasses import replace

import pytest
import torch

from scoregrain.training import train
from scoregrain.training.fit import fit
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
