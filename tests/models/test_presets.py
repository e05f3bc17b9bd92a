"""Presets against the papers' parameter counts (R6), time conditioning (R7) and what they claim to be."""

import math

import pytest
import torch
from diffusers import UNet1DModel, UNet2DModel
from diffusers.models.unets import unet_1d_blocks as blocks

from scoregrain._errors import InvalidInputError, TimeBlindWarning
from scoregrain.geometry import GaussianProbe, measure_geometry
from scoregrain.models import (
    NetworkFamily,
    NetworkStack,
    evaluate,
    parameter_count,
    preset_names,
    timestep_sensitivity,
    verify_laws,
)

OMEGA = 32.05434524985
OTHERS = ("vit-16/4", "mlp-16", "linear-16", "unet1d-64")


@pytest.mark.parametrize(
    ("name", "count", "shape"),
    [
        ("iddpm-16", 381_121, (1, 16, 16)),
        ("iddpm-28", 551_713, (1, 28, 28)),
        ("iddpm-56", 718_049, (1, 56, 56)),
        ("iddpm-cifar", 719_203, (3, 32, 32)),
        ("unet-16", 381_121, (1, 16, 16)),
        ("vit-16/4", 168_832, (1, 16, 16)),
        ("mlp-16", 328_960, (1, 16, 16)),
        ("linear-16", 65_792, (1, 16, 16)),
        ("unet1d-64", 205_601, (1, 64)),
        ("vit-16/4:c=3", 171_936, (3, 16, 16)),
        ("mlp-16:c=3", 591_616, (3, 16, 16)),
        ("linear-16:c=2", 512 * 513, (2, 16, 16)),
        ("unet1d-64:c=2", 205_826, (2, 64)),
    ],
)
def test_parameter_counts(name, count, shape):
    """R6; the other presets' are documented here."""
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


# other families --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vit-16/4", "mlp-16", "unet1d-64"])
def test_other_families_see_time(name):
    family = NetworkFamily.from_preset(name)
    assert timestep_sensitivity(family.construct(0, 0), family.shape) > 1e-2


def test_the_linear_map_is_time_blind_and_warned_about():
    with pytest.warns(TimeBlindWarning):
        assert timestep_sensitivity(NetworkFamily.from_preset("linear-16").construct(0, 0), (1, 16, 16)) == 0


def test_only_the_blocks_of_our_one_dimensional_unet_see_time():
    """diffusers' other 1-D blocks take an embedding and leave it."""
    h = torch.randn(1, 32, 16, generator=torch.Generator().manual_seed(0))

    def change(block, *inputs):
        """How much the first output moves between two embeddings."""
        outputs = [block(*inputs, temb) for temb in (torch.zeros(1, 32), torch.ones(1, 32))]
        first, second = (o[0] if isinstance(o, tuple) else o for o in outputs)
        return float((first - second).detach().abs().max())

    for kind in (blocks.DownBlock1D, blocks.AttnDownBlock1D, blocks.UNetMidBlock1D):
        assert change(kind(in_channels=32, mid_channels=32, out_channels=32), h) == 0
    for kind in (blocks.UpBlock1D, blocks.AttnUpBlock1D, blocks.UpBlock1DNoSkip):
        assert change(kind(in_channels=32, mid_channels=32, out_channels=32), h, (h,)) == 0
    network = NetworkFamily.from_preset("unet1d-64").build()
    assert isinstance(network, UNet1DModel)
    assert change(network.down_blocks[0], h[:, :1]) > 1e-2
    assert all(change(block, h) > 1e-2 for block in (*network.down_blocks[1:], network.mid_block))
    assert all(change(block, h, (h,)) > 1e-2 for block in network.up_blocks)


@pytest.mark.parametrize("name", OTHERS)
def test_other_families_run_by_vmap_as_one_by_one(name):
    family = NetworkFamily.from_preset(name)
    stack = NetworkStack(family, verify_laws(family), seed=0)
    parameters = stack.parameters(range(3))
    generator = torch.Generator().manual_seed(0)
    x, t = torch.randn(3, 1, *family.shape, generator=generator), torch.randint(0, 1000, (3, 1), generator=generator)
    output, _ = stack.outputs(parameters, x, t, None)
    assert stack.execution == "vmap"
    network = family.construct(0, 0)
    for i in range(3):
        network.load_state_dict({n: value[i] for n, value in parameters.items()}, strict=False)
        torch.testing.assert_close(output[i], evaluate(network, x[i], t[i]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "head", "structure", "networks"),
    [
        ("vit-16/4", "final", "token", 256),
        ("mlp-16", "final", "token", 512),
        ("unet1d-64", "out_block.final_conv1d_2", "channel", 256),
    ],
)
def test_plain_outer_products_agree_with_the_closed_form_head(name, head, structure, networks):
    """Trace, a random subspace and the leading eigenspace of the closed form: four standard errors."""
    family = NetworkFamily.from_preset(name)
    closed = measure_geometry(family, 64)
    plain = measure_geometry(family, networks, seed=1, estimator="plain")
    assert (closed.info["head"], closed.info["structure"]) == (head, structure)
    assert (plain.info["head"], plain.info["draw"], plain.info["execution"]) == ("", "in-place", "vmap")
    subspace = torch.randn(closed.size, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for basis in (
        torch.eye(closed.size, dtype=torch.float64),
        torch.linalg.qr(subspace).Q,
        closed.eigenvectors[:, :16],
    ):
        (a, error_a), (b, error_b) = (contraction(g, basis @ basis.T) for g in (closed, plain))
        assert abs(a - b) < 4 * math.hypot(error_a, error_b)
        assert error_b < 0.1 * b


def contraction(geometry, b):
    """tr(G B) and its standard error, from the groups."""
    values = geometry.contract(b)
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_the_linear_map_is_proposition_1_exactly():
    """P1 with a zero-mean linear head: G = α I, α = mean ω (s² D + 1)/(3 D) for the probe x = s z; s = 0 is exact."""
    family = NetworkFamily.from_preset("linear-16")
    zero = measure_geometry(family)
    assert zero.exact
    assert (zero.info["head"], zero.info["structure"]) == ("linear", "token")
    eye = torch.eye(256, dtype=torch.float64)
    torch.testing.assert_close(zero.matrix(), OMEGA / 768 * eye, rtol=1e-9, atol=1e-12)
    gaussian = measure_geometry(family, 512, probe=GaussianProbe(family.shape, 0.5))
    trace, error = contraction(gaussian, eye)
    expected = OMEGA * (0.25 * 256 + 1) / 3
    assert abs(trace - expected) < 4 * error < 0.05 * expected
    torch.testing.assert_close(gaussian.matrix(), trace / 256 * eye, rtol=1e-9, atol=1e-9)


def test_the_mlp_is_proposition_1():
    """All eigenvalues of the closed form are one; the constant direction, where β would show, is no exception."""
    family = NetworkFamily.from_preset("mlp-16")
    closed = measure_geometry(family, 128)
    assert float(closed.eigenvalues.min()) == pytest.approx(float(closed.eigenvalues.max()), rel=1e-12)
    constant = torch.full((256, 256), 1 / 256, dtype=torch.float64)
    value, error = contraction(measure_geometry(family, 1024, seed=1, estimator="plain"), constant)
    assert abs(value - float(closed.eigenvalues[0])) < 4 * error
    assert error < 0.1 * value


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("vit-16", "did you mean 'vit-16/4'"),
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
