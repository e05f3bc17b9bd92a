"""Presets against the papers' parameter counts (R6), time conditioning (R7) and what they claim to be."""

import pytest
import torch
from diffusers import UNet2DModel

from scoregrain._errors import InvalidInputError, TimeBlindWarning
from scoregrain.models import NetworkFamily, evaluate, parameter_count, preset_names, timestep_sensitivity


@pytest.mark.parametrize(
    ("name", "count", "shape"),
    [
        ("iddpm-16", 381_121, (1, 16, 16)),
        ("iddpm-28", 551_713, (1, 28, 28)),
        ("iddpm-56", 718_049, (1, 56, 56)),
        ("iddpm-cifar", 719_203, (3, 32, 32)),
        ("unet-16", 381_121, (1, 16, 16)),
    ],
)
def test_parameter_counts(name, count, shape):
    """R6."""
    family = NetworkFamily.from_preset(name)
    assert parameter_count(family.build()) == count
    assert family.shape == shape


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_runs_and_keeps_the_shape(name):
    family = NetworkFamily.from_preset(name)
    network = family.construct(0, 0)
    x, t = torch.randn(2, *family.shape, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 999])
    output = evaluate(network, x, t)
    assert output.shape == x.shape
    assert output.std() > 0.01


def test_channels_can_be_overridden():
    family = NetworkFamily.from_preset("unet-32:c=1")
    assert family.shape == (1, 32, 32)
    assert evaluate(family.construct(0, 0), torch.zeros(1, 1, 32, 32), torch.tensor([0])).shape == (1, 1, 32, 32)
    assert NetworkFamily.from_preset("dit-16/4:c=3").construct(0, 0).final.out_features == 48


@pytest.mark.parametrize("name", ["iddpm-16", "iddpm-cifar"])
def test_base_32_unets_ignore_time_for_any_weights(name):
    """R7: float64, t = 0 against 999, also after every parameter is moved away from its initialisation."""
    family = NetworkFamily.from_preset(name)
    network = family.construct(0, 0).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    x = torch.randn(1, *family.shape, generator=generator, dtype=torch.float64).expand(2, -1, -1, -1)
    output = evaluate(network, x, torch.tensor([0, 999]))
    assert float((output[0] - output[1]).abs().max()) < 1e-12
    with pytest.warns(TimeBlindWarning, match="time-blind"):
        assert timestep_sensitivity(network, family.shape) < 1e-12


def test_base_64_and_fewer_groups_see_time():
    """R7: with two channels or more in a group the embedding survives; ours do."""
    config = dict(NetworkFamily.from_preset("iddpm-16").config)
    config.pop("class")
    torch.manual_seed(0)
    wide = UNet2DModel(**config | {"block_out_channels": (64, 64, 64), "attention_head_dim": 16}).eval()
    assert timestep_sensitivity(wide, (1, 16, 16)) > 1e-2
    for name in ("unet-16", "unet-28", "unet-32"):
        family = NetworkFamily.from_preset(name)
        assert timestep_sensitivity(family.construct(0, 0), family.shape) > 1e-2


def test_adaln_zero_is_not_called_time_blind():
    """At initialisation a DiT ignores t exactly, but training unlocks it: no warning, and the copy is re-drawn."""
    network = NetworkFamily.from_preset("dit-16/4").construct(0, 0)
    x = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)).expand(2, -1, -1, -1)
    output = evaluate(network, x, torch.tensor([0, 999]))
    assert torch.equal(output[0], output[1])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert timestep_sensitivity(network, (1, 16, 16)) > 1e-3
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("idpm-16", "did you mean 'iddpm-16'"),
        ("dit-16-2", "did you mean 'dit-16/2'"),
        ("unet-32:c=x", "unknown option 'c=x'"),
        ("unet-32:d=1", "unknown option 'd=1'"),
    ],
)
def test_unknown_presets_name_the_nearest(word, message):
    with pytest.raises(InvalidInputError, match=message):
        NetworkFamily.from_preset(word)


def test_a_preset_is_a_stock_diffusers_model(tmp_path):
    network = NetworkFamily.from_preset("unet-16").build()
    network.save_pretrained(tmp_path)
    again = UNet2DModel.from_pretrained(tmp_path, use_safetensors=True)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
