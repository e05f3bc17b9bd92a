"""Families: what the init policies re-draw, what a trained family is."""

import pytest
import torch
from diffusers import UNet2DModel
from torch import nn

from scoregrain._errors import InvalidInputError
from scoregrain.models import NetworkFamily, verify_laws
from tests import networks
from tests.configurations import CLASS_UNET, DIT, EVERY_KIND, UNET


def zeroed(config, *names):
    """A diffusers configuration whose layers of these names start at zero."""
    family = NetworkFamily.from_config(config)

    def build():
        network = family.build()
        for name in names:
            for parameter in network.get_submodule(name).parameters():
                nn.init.zeros_(parameter)
        return network

    return build, family.shape


def redrawn(build, shape, init):
    """Names re-drawn by a policy, checked: they differ from the constructor's parameters, and no other does."""
    family = NetworkFamily(build, shape, init=init)
    names = family.unzeroed(3)
    before = dict(NetworkFamily(build, shape).construct(3, 0).named_parameters())
    for name, value in family.construct(3, 0).named_parameters():
        assert torch.equal(value, before[name]) == (name not in names), name
        assert name not in names or not before[name].any()
    return names


ADALN = "transformer_blocks.0.norm1.linear"


@pytest.mark.parametrize(
    ("config", "zero", "head", "every"),
    [
        (UNET, ["conv_out"], ["conv_out"], ["conv_out"]),
        (UNET, ["conv_out", "conv_in"], ["conv_out"], ["conv_in", "conv_out"]),
        (UNET, ["conv_in"], [], ["conv_in"]),
        (CLASS_UNET, ["network.conv_out"], ["network.conv_out"], ["network.conv_out"]),
        (
            DIT,
            ["network.proj_out_2", f"network.{ADALN}"],
            ["network.proj_out_2"],
            [f"network.{ADALN}", "network.proj_out_2"],
        ),
    ],
)
def test_policies_redraw_zero_layers_of_diffusers_networks(config, zero, head, every):
    build, shape = zeroed(config, *zero)
    for init, layers in (("unzero-head", head), ("unzero-all", every)):
        assert redrawn(build, shape, init) == tuple(
            f"{layer}.{part}" for layer in layers for part in ("weight", "bias")
        )
    assert NetworkFamily(build, shape).unzeroed() == ()


def test_a_family_is_shown_in_a_line():
    family = NetworkFamily(lambda: nn.Linear(2, 2), (1, 2, 2), prediction="edm", name="mine", config={"key": "x" * 900})
    assert repr(family) == "NetworkFamily('mine', shape (1, 2, 2), edm)"
    family = NetworkFamily.from_preset("dit-16/8", init="unzero-all")
    assert repr(family) == "NetworkFamily('dit-16/8', shape (1, 16, 16), epsilon, init unzero-all)"


def test_policies_redraw_a_dit_that_starts_at_zero():
    """The head alone, or the adaLN modulation of all blocks with it (MATH A9)."""
    build, shape = NetworkFamily.from_preset("dit-16/8").build, (1, 16, 16)
    head, every = redrawn(build, shape, "unzero-head"), redrawn(build, shape, "unzero-all")
    start = NetworkFamily(build, shape).construct(3, 0)
    zero = [name for name, module in start.named_modules() if isinstance(module, nn.Linear) and not module.weight.any()]
    assert set(every) == {f"{name}.{part}" for name in zero for part in ("weight", "bias")}
    assert len(head) in (0, 2)
    assert set(head) < set(every)


@pytest.mark.parametrize("config", EVERY_KIND.values(), ids=EVERY_KIND)
def test_diffusers_networks_start_without_zero_layers(config):
    """So every policy leaves them as they are."""
    assert NetworkFamily.from_config(config, init="unzero-all").unzeroed() == ()


def test_redrawn_layers_follow_the_default_law():
    build, shape = zeroed(UNET, "conv_out")
    laws = verify_laws(NetworkFamily(build, shape, init="unzero-head"))
    assert laws.tensors["conv_out.weight"].variance == pytest.approx(1 / (3 * 36))


def test_a_trained_family_takes_its_parameters_as_they_are():
    family = NetworkFamily(networks.Tiny, (1, 6, 6), trained=True)
    assert family.trained
    assert not NetworkFamily(networks.Tiny, (1, 6, 6)).trained
    with pytest.raises(InvalidInputError, match="is trained: no layer is re-drawn, init must be 'as-is'"):
        NetworkFamily(networks.Tiny, (1, 6, 6), init="unzero-head", trained=True)


def test_from_config_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    family = NetworkFamily.from_config(UNET)
    assert isinstance(family.construct(0, 0), UNet2DModel)
    assert torch.equal(torch.get_rng_state(), before)
