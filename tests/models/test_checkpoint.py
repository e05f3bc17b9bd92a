"""Trained checkpoints: read from safetensors of a local folder, and nothing else."""

import json
import socket

import pytest
import torch
from diffusers import DiTTransformer2DModel, UNet2DModel
from safetensors.torch import load_file, save_file

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.models import NetworkFamily, evaluate
from scoregrain.models.checkpoint import INDEX, WEIGHTS
from tests.configurations import CLASS_UNET, DIT, UNET


def network(config=UNET):
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return UNet2DModel.from_config({k: v for k, v in config.items() if k != "_class_name"}).eval()


@pytest.fixture
def folder(tmp_path):
    """A model folder with its weights."""
    network().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def equal(one, other):
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(v, states[1][k]) for k, v in states[0].items())


def test_weights_are_those_of_the_folder_whatever_the_seed(folder):
    family = NetworkFamily.from_pretrained(folder)
    assert family.trained
    assert family.shape == (1, 4, 4)
    one, other = family.construct(0, 0), family.construct(5, 3)
    assert equal(one, network())
    assert equal(other, network())
    one.double()
    assert other.dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in one.parameters())
    assert not one.training
    assert family.fingerprint() != NetworkFamily.from_config(folder).fingerprint()


def test_a_configuration_is_never_trained(folder):
    """from_config draws afresh, although weights lie beside the configuration."""
    family = NetworkFamily.from_config(folder)
    assert not family.trained
    assert not torch.equal(family.construct(0, 0).conv_in.weight, family.construct(0, 1).conv_in.weight)


def test_a_pipeline_says_what_its_network_predicts(folder):
    pipeline = folder.parent / "pipeline"
    (pipeline / "scheduler").mkdir(parents=True)
    folder.rename(pipeline / "unet")
    (pipeline / "model_index.json").write_text("{}")
    (pipeline / "scheduler" / "scheduler_config.json").write_text('{"prediction_type": "v_prediction"}')
    family = NetworkFamily.from_pretrained(pipeline)
    assert (family.name, family.prediction) == ("pipeline", "v_prediction")
    assert equal(family.construct(0, 0), network())


def test_conditioning_is_filled_as_for_untrained_networks(tmp_path):
    trained = network(CLASS_UNET)
    trained.save_pretrained(tmp_path / "model")
    family = NetworkFamily.from_pretrained(tmp_path / "model", conditioning={"class_labels": torch.tensor([2])})
    x, t = torch.ones(2, 1, 4, 4), torch.tensor([1, 900])
    with torch.no_grad():
        expected = trained(x, t, class_labels=torch.tensor([2, 2])).sample
    torch.testing.assert_close(evaluate(family.construct(0, 0), x, t), expected, rtol=1e-4, atol=1e-5)


def test_a_trained_transformer_runs_at_another_size_as_diffusers_runs_it(tmp_path):
    """Its positions are stretched; an untrained one would be built for that size."""
    DiTTransformer2DModel.from_config({k: v for k, v in DIT.items() if k != "_class_name"}).save_pretrained(tmp_path)
    x, t = torch.ones(1, 1, 8, 8), torch.tensor([5])
    trained = NetworkFamily.from_pretrained(tmp_path, shape=(1, 8, 8)).construct(0, 0)
    with torch.no_grad():
        expected = trained.network(x, t, class_labels=torch.tensor([3])).sample[:, :1]
        resized = NetworkFamily.from_config(tmp_path, shape=(1, 8, 8)).construct(0, 0)
        resized.load_state_dict(trained.state_dict())
    assert torch.equal(evaluate(trained, x, t), expected)
    assert trained.network.config.sample_size == 4
    assert not torch.allclose(evaluate(resized, x, t), expected, rtol=1e-3)


def test_shards_are_put_together(tmp_path):
    network().save_pretrained(tmp_path / "model", max_shard_size="6KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 1
    assert equal(NetworkFamily.from_pretrained(tmp_path / "model").construct(0, 0), network())


def test_nothing_is_asked_of_a_network(folder, monkeypatch):
    def refuse(*_):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    NetworkFamily.from_pretrained(folder)
    with pytest.raises(InvalidInputError, match="does not exist \\(models on a hub are not looked up\\)"):
        NetworkFamily.from_pretrained("google/ddpm-cifar10-32")


# what is refused ---------------------------------------------------------------------------------------------------


class Planted:
    """Unpickling it fails the test."""

    def __reduce__(self):
        return pytest.fail, ("pickled code ran",)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "model.pt", "last.ckpt", "ema.pth"])
def test_pickled_weights_are_named_and_never_read(folder, name):
    (folder / WEIGHTS).unlink()
    torch.save({"conv_in.weight": Planted()}, folder / name)
    with pytest.raises(InvalidInputError, match=f"model/{name}' holds pickled weights.*convert them to safetensors"):
        NetworkFamily.from_pretrained(folder)
    with pytest.raises(InvalidInputError, match=f"model/{name}' holds pickled weights"):
        NetworkFamily.from_pretrained(folder / name)


def test_pickled_weights_beside_safetensors_are_left_alone(folder):
    torch.save({"conv_in.weight": Planted()}, folder / "diffusion_pytorch_model.bin")
    assert equal(NetworkFamily.from_pretrained(folder).construct(0, 0), network())


def test_a_folder_without_weights_says_what_it_expects(folder):
    (folder / WEIGHTS).rename(folder / "diffusion_pytorch_model.fp16.safetensors")
    with pytest.raises(InvalidInputError, match=f"expected {WEIGHTS}, found 'diffusion_pytorch_model.fp16.safe"):
        NetworkFamily.from_pretrained(folder)
    (folder / "diffusion_pytorch_model.fp16.safetensors").unlink()
    with pytest.raises(InvalidInputError, match=f"expected {WEIGHTS}, found no weights"):
        NetworkFamily.from_pretrained(folder)


def test_files_and_dictionaries_hold_no_checkpoint(folder):
    with pytest.raises(InvalidInputError, match="is a file; expected the local folder"):
        NetworkFamily.from_pretrained(folder / "config.json")
    with pytest.raises(InvalidInputError, match="a dictionary holds no trained weights"):
        NetworkFamily.from_pretrained(UNET)


def test_weights_of_another_network_are_refused(folder):
    weights = load_file(folder / WEIGHTS)
    name = "conv_out.bias"
    save_file({key: value for key, value in weights.items() if key != name}, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(ScoregrainError, match=f"lack '{name}': they are not those of its config.json"):
        NetworkFamily.from_pretrained(folder)
    save_file(weights | {"extra": torch.zeros(1)}, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(ScoregrainError, match="hold the unknown 'extra'"):
        NetworkFamily.from_pretrained(folder)
    save_file(weights | {name: torch.zeros(2)}, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(ScoregrainError, match=r"are not those of its config\.json: ") as caught:
        NetworkFamily.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_weights_cut_short_are_refused(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(ScoregrainError, match=r"the weights in '.*model' cannot be loaded"):
        NetworkFamily.from_pretrained(folder)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"conv_in.weight": "../outside.safetensors"}}, "names '../outside.safetensors', expected"),
        ({"weight_map": {"conv_in.weight": "shard.bin"}}, "names 'shard.bin'"),
        ({"weight_map": {"conv_in.weight": "shard.safetensors"}}, "lacks the shard 'shard.safetensors'"),
        ({}, "has no weight_map"),
        ([], "expected an object"),
    ],
)
def test_an_index_may_name_shards_of_its_own_folder_only(folder, index, message):
    (folder / WEIGHTS).rename(folder.parent / "outside.safetensors")
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(InvalidInputError, match=message):
        NetworkFamily.from_pretrained(folder)
