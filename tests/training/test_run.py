"""A trained network loaded from its folder: its function, its samples, its data."""

import json

import pytest
import torch

import scoregrain as sg
from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.models import evaluate
from scoregrain.training import Run, train
from tests.training.cases import ODD, PERCEPTRON, SHAPE, config, flat, rotation, unet


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return train(config(out=folder, model=ODD, rotation=rotation(), ema=0.9))


def test_what_train_returns_is_what_is_loaded(run):
    again = Run.load(run.folder, family=ODD)
    x, t = torch.randn(3, *SHAPE), torch.tensor([0, 20, 49])
    assert torch.equal(again.model(x, t), run.model(x, t))
    assert (again.step, again.finished, again.shape, again.name) == (12, True, SHAPE, run.name)
    assert again.history == run.history


def test_the_model_is_ready_to_be_used(run):
    assert not run.model.training
    assert not any(p.requires_grad for p in run.model.parameters())
    x = torch.randn(2, *SHAPE)
    assert torch.equal(run.model(x, torch.tensor([3, 3])), run.model(x, torch.tensor([3, 3])))  # no dropout


def test_the_model_sees_data_and_its_network_what_is_rotated(run):
    x, t = torch.randn(3, *SHAPE), torch.tensor([0, 20, 49])
    turned = run.rotation.inverse(run.model.model(run.rotation(x), t))
    assert torch.allclose(run.model(x, t), turned, atol=1e-6)


def test_samples_are_a_function_of_the_seed_and_their_place_alone(run):
    six = run.sample(6, steps=10, seed=3)
    assert six.shape == (6, *SHAPE)
    assert six.device.type == "cpu"
    assert torch.allclose(run.sample(6, steps=10, seed=3, batch_size=4), six, rtol=1e-5, atol=1e-5)
    assert torch.allclose(run.sample(2, steps=10, seed=3), six[:2], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(run.sample(6, steps=10, seed=4), six)
    drawn = [run.sample(4, sampler="ddpm", steps=10, batch_size=size) for size in (1, 4)]
    assert torch.allclose(*drawn, rtol=1e-5, atol=1e-5)


def test_the_samples_are_those_of_the_model_and_the_process(run):
    from scoregrain._random import stream

    generators = [stream(0, "sample", i) for i in range(3)]
    expected = sg.sample(run.model, run.process, 3, SHAPE, "heun", 7, generators)
    assert torch.equal(run.sample(3, "heun", 7), expected)


@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_a_number_of_samples_is_whole_and_positive(run, n):
    with pytest.raises(InvalidInputError, match="the number of samples"):
        run.sample(n)


def test_the_data_are_those_of_the_training_for_ever(run):
    again = Run.load(run.folder, family=ODD).data()
    assert torch.equal(again.train.pixels, run.data().train.pixels)
    assert len(again.train) == 60
    assert not torch.equal(again.held_out.pixels[:60], again.train.pixels)


def test_the_law_is_known(run):
    law = Run.load(run.folder, family=ODD).law
    assert law.name == "rank-one:basis=dct-ii,index=3"
    assert law.shape == SHAPE


def test_other_data_are_refused(tmp_path):
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    train(config(out=tmp_path / "run", model=unet(), data=images, limit=None, steps=2))
    again = Run.load(tmp_path / "run")
    with pytest.raises(InvalidInputError, match=r"data given in memory: give them again, data="):
        again.data()
    assert torch.equal(again.data(images).train.pixels, again.data(images.clone()).train.pixels)
    with pytest.raises(InvalidInputError, match=r"is not what .* was trained on \(fingerprint"):
        again.data(images.flip(0))


def test_a_diffusers_network_is_rebuilt_from_the_folder_alone(tmp_path):
    run = train(config(out=tmp_path / "run", model=unet(), data="digits", limit=40, steps=2))
    again = Run.load(tmp_path / "run")
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([1, 40])
    assert torch.equal(evaluate(again.model, x, t), evaluate(run.model, x, t))


def test_without_a_mean_the_last_weights_count(tmp_path):
    run = train(config(out=tmp_path / "run", ema=0, steps=1))
    mean = train(config(out=tmp_path / "mean", ema=0.9, steps=1))
    assert torch.equal(flat(run.model), flat(mean.model))  # after one update both are it
    assert not (run.folder / "checkpoints" / "step-00000001" / "ema.safetensors").exists()


def test_a_run_that_goes_on_is_not_finished(tmp_path):
    run = train(config(out=tmp_path / "run"))
    file = tmp_path / "run" / "config.json"
    found = json.loads(file.read_text())
    found["training"]["steps"] = 100
    file.write_text(json.dumps(found))
    again = Run.load(run.folder, family=PERCEPTRON)
    assert not again.finished
    assert repr(again).endswith("step 12 of 100)")


@pytest.mark.parametrize("name", ["ema.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_said(name, tmp_path):
    run = train(config(out=tmp_path / "run"))
    (run.folder / "checkpoints" / "step-00000012" / name).write_bytes(b"?")
    with pytest.raises(ScoregrainError, match="missing or damaged"):
        Run.load(run.folder, family=PERCEPTRON)
