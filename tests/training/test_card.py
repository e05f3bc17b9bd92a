"""The model card: what it says is so, and what it shows runs."""

import re

import numpy as np
import pytest
import torch

from scoregrain.datasets import Images, Split
from scoregrain.training import log, train
from scoregrain.training.card import model_card
from scoregrain.training.setup import prepare
from tests.training.cases import ODD, config, rotation, unet


def card_of(run):
    return (run.folder / "README.md").read_text()


def facts(text):
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", text, flags=re.MULTILINE)
    return dict(rows)


def snippets(text):
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def small(folder, **changes):
    return config(out=folder, model=unet(), data="digits", limit=40, steps=3, **changes)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "changes",
    [{}, {"noise": "pink"}, {"rotation": rotation((1, 8, 8))}, {"prediction": "flow"}],
    ids=["white", "shaped", "rotated", "no pipeline"],
)
def test_what_it_shows_runs(changes, tmp_path, monkeypatch, capfd):
    run = train(small(tmp_path / "a run", **changes))
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = snippets(card_of(run))
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert len(blocks) == (1 if "prediction" in changes else 2)
    assert torch.equal(names["samples"], run.sample(4, steps=50))
    if "prediction" not in changes:
        assert [image.size for image in names["images"]] == [(8, 8)] * 4
        assert ("import scoregrain" in blocks[0]) == bool(changes)


def test_the_facts_are_those_of_the_training(tmp_path):
    changes = {
        "noise": "power-law:alpha=-0.5",
        "rotation": rotation((1, 8, 8), rank=3),
        "optimizer": "adamw",
        "lr_schedule": "cosine",
        "warmup": 2,
        "mixed_precision": "bf16",
        "seed": 7,
        "weighting": "whitened",
    }
    run = train(small(tmp_path / "run", **changes))
    last = run.history[-1]
    assert facts(card_of(run)) == {
        "network": "tiny-unet, 1 × 8 × 8, predicts epsilon",
        "data": "digits: 40 arrays; 180 more held out",
        "noise": "power-law:alpha=-0.5",
        "rotation": "the network sees W x; W is to minimize the alignment, rank 3",
        "noise schedule": "linear, 50 steps",
        "updates": "3 of 3, 8 arrays each",
        "optimizer": "adamw, learning rate 0.001 (cosine), warm-up of 2 updates, weight decay 0.01, gradient norm at"
        " most 1, whitened loss",
        "weights": "running mean (EMA), decay 0.999",
        "precision": "bf16 in the network",
        "seed": "7",
        "final loss": f"{last['loss']:.4g}, on held-out arrays {last['held_out_loss']:.4g}",
    } | {"---": "---"}


def test_it_claims_no_licence_and_no_quality(tmp_path):
    text = card_of(train(small(tmp_path / "run")))
    front = text.split("---\n")[1].splitlines()
    assert front == [
        "library_name: diffusers",
        "pipeline_tag: unconditional-image-generation",
        "tags:",
        "- diffusion",
        "- scoregrain",
    ]
    assert "licen" not in text.lower()
    assert "Nobody has judged the samples yet: `scoregrain evaluate`" in text


def test_what_was_done_to_the_data_is_told_and_where_they_lay_is_not(tmp_path):
    images = (torch.rand(30, 8, 8, generator=torch.Generator().manual_seed(0)) * 255).byte().numpy()
    np.savez(tmp_path / "mine.npz", train=images)
    data = str(tmp_path / "mine.npz")
    text = card_of(train(config(out=tmp_path / "run", model=unet(), data=data, limit=None, steps=2)))
    assert "# tiny-unet on mine\n" in text
    assert "- 3 of 30 images, drawn at random (seed 0), are held out." in text
    assert str(tmp_path) not in text


def test_data_that_leave_the_range_of_a_pipeline_are_told(tmp_path):
    law = "rank-one:basis=dct-ii,index=3"
    cut = "The pipeline cuts samples to [-1, 1], which these data leave"
    assert cut in card_of(train(config(out=tmp_path / "law", model=unet(), data=law, steps=2)))
    assert cut not in card_of(train(small(tmp_path / "digits")))


def test_a_network_of_the_author_s_own_code_asks_for_its_family(tmp_path):
    run = train(config(out=tmp_path / "run", model=ODD))
    assert "run = sg.Run.load('run', family=family)" in card_of(run)
    assert "diffusers cannot load this folder: its network is no diffusers UNet2DModel." in card_of(run)
    assert "library_name: scoregrain" in card_of(run)


def test_names_cannot_break_the_table(tmp_path):
    pixels = torch.rand(20, 1, 8, 8)
    images = Images(pixels, "one | two\n# three", ("a note\nof two lines",))
    setup = prepare(config(out=tmp_path, model=unet(), data=Split(images, images), limit=None, steps=2))
    text = model_card(tmp_path, setup, log.read(tmp_path), 0, None)
    assert facts(text)["data"].startswith("one \\| two # three: 20 arrays")
    assert "\n# three" not in text
    assert "- a note of two lines\n" in text
    assert facts(text)["final loss"] == "unknown"
