"""Diffusers configurations as families: what is built, what is filled and cut, what is refused."""

import json

import pytest
import torch
from diffusers import DiTTransformer2DModel, UNet2DModel

from scoregrain._errors import InvalidInputError
from scoregrain.geometry import measure_geometry
from scoregrain.models import NetworkFamily, NetworkStack, evaluate, verify_laws
from scoregrain.models.presets import unet_config
from tests.configurations import AUDIO, DIT, EVERY_CLASS, EVERY_KIND, PIXART, SDXL, SIGNAL, TEXT_UNET, UNET


def family(config, **options):
    return NetworkFamily.from_config(config, **options)


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


# what is built -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", EVERY_KIND.values(), ids=EVERY_KIND)
def test_networks_under_vmap_equal_networks_one_by_one(config):
    """Also the shape of the output, and a fingerprint that is a function of the configuration alone."""
    networks = family(config)
    assert networks.shape == ((1, 16) if config["_class_name"] == "UNet1DModel" else (1, 4, 4))
    assert networks.fingerprint() == family(dict(config)).fingerprint()
    stack = NetworkStack(networks, verify_laws(networks), seed=0)
    parameters = stack.parameters(range(3))
    x, t = noise(3, 2, *networks.shape), torch.tensor([[0, 1], [10, 500], [999, 3]])
    output, _ = stack.outputs(parameters, x, t, None)
    assert stack.execution == "vmap"
    network = networks.construct(0, 0)
    for i in range(3):
        network.load_state_dict({name: value[i] for name, value in parameters.items()}, strict=False)
        torch.testing.assert_close(output[i], evaluate(network, x[i], t[i]), rtol=1e-4, atol=1e-5)


def test_the_same_unet_as_preset_json_and_function_is_one_family(tmp_path):
    """Same fingerprint, and the same geometry to the bit."""
    config = unet_config(16, 1, 3, 1, 8)
    (tmp_path / "unet.json").write_text(json.dumps(config | {"_class_name": "UNet2DModel", "_diffusers_version": "1"}))
    preset, by_file = NetworkFamily.from_preset("unet-16"), family(tmp_path / "unet.json")
    by_function = NetworkFamily(lambda: UNet2DModel(**config), (1, 16, 16))
    assert type(by_file.build()) is UNet2DModel
    geometries = [measure_geometry(networks, 32) for networks in (preset, by_file, by_function)]
    assert len({geometry.info["fingerprint"] for geometry in geometries}) == 1
    assert torch.equal(geometries[0].matrix(), geometries[1].matrix())
    assert torch.equal(geometries[0].matrix(), geometries[2].matrix())
    assert by_file.config == json.loads(json.dumps(preset.config))
    assert by_file.name == "unet"


def test_learned_variances_are_cut():
    """A class-conditional DiT with 2C outputs is called by hand with its null class."""
    networks = family(DIT)
    network = networks.construct(0, 0)
    assert isinstance(network.network, DiTTransformer2DModel)
    x, t = noise(2, 1, 4, 4), torch.tensor([3, 700])
    with torch.no_grad():
        both = network.network(x, t, class_labels=torch.tensor([3, 3])).sample
    assert both.shape == (2, 2, 4, 4)
    assert torch.equal(evaluate(network, x, t), both[:, :1])
    assert networks.config["output"] == "the first 1 of 2 channels (learned variance)"
    assert networks.config["conditioning"] == {"class_labels": "class 3: the null class"}
    assert "output" not in family(DIT | {"out_channels": None}).config


@pytest.mark.parametrize(
    "config",
    [*EVERY_CLASS.values(), pytest.param(AUDIO, marks=pytest.mark.slow)],
    ids=[*EVERY_CLASS, "audio"],
)
def test_the_closed_form_of_the_last_layer_agrees_with_outer_products(config):
    """Trace, the constant image and four random contractions, of other networks: four standard errors of each."""
    networks = family(config)
    plain = measure_geometry(networks, 544, estimator="plain")
    closed = measure_geometry(networks, 544, seed=1)
    assert closed.info["head"].endswith(("conv_out", "final_conv1d_2", "resnets.2.conv_2", "proj_out", "proj_out_2"))
    size = networks.size
    for b in (torch.eye(size), torch.ones(size, size) / size, *map(_projection, noise(4, size))):
        one, other = plain.contract(b), closed.contract(b)
        errors = [values.std() / len(values) ** 0.5 for values in (one, other)]
        assert abs(one.mean() - other.mean()) < 4 * torch.hypot(*errors)
        assert max(errors) < 0.2 * one.mean()


def _projection(v):
    return torch.outer(v, v) / v.square().sum()


# sizes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "shape", "expected"),
    [
        (UNET, None, (1, 4, 4)),
        (UNET | {"sample_size": [4, 8]}, None, (1, 4, 8)),
        (UNET | {"sample_size": None}, (1, 6, 4), (1, 6, 4)),
        (SIGNAL, (1, 32), (1, 32)),
        (DIT, (1, 8, 8), (1, 8, 8)),
    ],
)
def test_the_size_is_the_configurations_or_the_callers(config, shape, expected):
    networks = family(config, shape=shape)
    assert networks.shape == expected
    assert evaluate(networks.construct(0, 0), noise(2, *expected), torch.tensor([5, 6])).shape == (2, *expected)


def test_a_transformer_for_another_size_is_one_configured_for_it():
    asked, configured = family(DIT, shape=(1, 8, 8)), family(DIT | {"sample_size": 8})
    assert asked.fingerprint() == configured.fingerprint()
    assert asked.config == configured.config
    assert asked.config["sample_size"] == 8


@pytest.mark.parametrize("sample_size", [128, 64])
def test_a_smaller_pixart_asks_for_what_its_configuration_asks_for(sample_size):
    """Without being told, a PixArt takes the size of the image at 128 latents alone."""
    config = PIXART | {"sample_size": sample_size, "use_additional_conditions": None}
    networks = family(config, shape=(1, 4, 4))
    assert ("resolution" in networks.config["conditioning"]) == (sample_size == 128)
    assert networks.construct(0, 0).network.use_additional_conditions == (sample_size == 128)


def test_legacy_transformers_are_built_by_their_new_class():
    """DiT and PixArt were published as Transformer2DModel, with arguments that are gone."""
    dit = DIT | {"_class_name": "Transformer2DModel", "norm_type": "ada_norm_zero", "use_linear_projection": False}
    assert family(dit).fingerprint() == family(DIT).fingerprint()
    pixart = PIXART | {"_class_name": "Transformer2DModel", "norm_type": "ada_norm_single", "num_vector_embeds": 3}
    assert family(pixart).fingerprint() == family(PIXART).fingerprint()


# options -----------------------------------------------------------------------------------------------------------


def test_options_reach_the_family():
    networks = family(UNET, prediction="v_prediction", init="unzero-all", name="mine")
    assert (networks.prediction, networks.init, networks.name) == ("v_prediction", "unzero-all", "mine")
    assert family(UNET).prediction == "epsilon"
    assert family(UNET).name == "UNet2DModel"
    assert not family(UNET).trained


# what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (
            UNET | {"_class_name": "UNet2D"},
            {},
            "unknown class 'UNet2D' \\(did you mean 'UNet2DModel'\\?\\); known: UNet2D",
        ),
        (UNET | {"_class_name": "FluxTransformer2DModel"}, {}, "unknown class 'FluxTransformer2DModel'; known: UNet2D"),
        (UNET | {"_class_name": "PixArtTransfomer2D"}, {}, "did you mean 'PixArtTransformer2DModel'\\?"),
        (UNET | {"_class_name": "os.system"}, {}, "unknown class 'os.system'"),
        (UNET | {"_class_name": "Transformer2DModel"}, {}, "unknown class 'Transformer2DModel'"),
        ({"sample_size": 4}, {}, "does not say '_class_name'"),
        (UNET | {"sample_size": None}, {}, "no sample_size: give the shape .*shape=\\(C, H, W\\) \\(--shape C H W\\)"),
        (SIGNAL | {"sample_size": None}, {}, "shape=\\(C, L\\)"),
        (
            UNET,
            {"shape": (3, 4, 4)},
            "shape \\(3, 4, 4\\) does not fit: this UNet2DModel takes \\(C, H, W\\) with C = 1",
        ),
        (UNET, {"shape": (1, 4)}, "shape \\(1, 4\\) does not fit"),
        (DIT, {"shape": (1, 4, 8)}, "square images, not 4 × 8"),
        (UNET | {"sample_size": "big"}, {}, "UNet2DModel cannot be built from this configuration: ValueError"),
        (UNET | {"in_channels": 9, "out_channels": 4}, {}, "5 input channels \\(a mask"),
        (UNET | {"out_channels": 3}, {}, "out_channels is 3 with in_channels 1: expected 1, or 2"),
        (UNET | {"block_out_chanels": [4]}, {}, "has 'block_out_chanels' \\(did you mean 'block_out_channels'\\?\\)"),
        (UNET | {"quantization_config": {"quant_method": "x"}}, {}, "'quantization_config'"),
        (UNET, {"prediction": "noise"}, "unknown prediction 'noise'"),
        (UNET, {"init": "zero"}, "unknown init policy 'zero'"),
    ],
)
def test_configurations_that_are_refused_say_why(config, options, message):
    with pytest.raises(InvalidInputError, match=message):
        family(config, **options)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (UNET | {"norm_num_groups": 3}, "UNet2DModel cannot be built .*: ValueError: .* must be divisible"),
        (UNET | {"down_block_types": ["Down", "Down"]}, "ValueError: Down does not exist"),
        (UNET | {"block_out_channels": [4]}, "ValueError: Must provide the same number"),
        (DIT | {"norm_type": "layer_norm"}, "DiTTransformer2DModel cannot be built .*NotImplementedError"),
    ],
)
def test_what_diffusers_refuses_is_one_line(config, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        family(config).construct(0, 0)
    assert "\n" not in str(caught.value)


def test_nothing_outside_the_known_classes_is_imported(monkeypatch):
    """The configuration's words never reach diffusers: its other classes stay out of reach, too."""
    monkeypatch.setattr("scoregrain.models.adapters._diffusers", lambda name: pytest.fail(f"imported {name}"))
    for word in ("AutoencoderKL", "DDPMScheduler", "__name__", "models"):
        with pytest.raises(InvalidInputError, match=f"unknown class '{word}'"):
            family(UNET | {"_class_name": word})


def test_every_class_states_its_conditioning_in_json():
    stated = {name: json.loads(json.dumps(family(config).config)) for name, config in EVERY_CLASS.items()}
    assert {name: sorted(config.get("conditioning", ())) for name, config in stated.items()} == {
        "UNet2DModel": ["class_labels"],
        "UNet2DConditionModel": ["encoder_hidden_states"],
        "UNet1DModel": [],
        "DiTTransformer2DModel": ["class_labels"],
        "PixArtTransformer2DModel": ["aspect_ratio", "encoder_hidden_states", "resolution"],
    }
    assert sorted(family(SDXL).config["conditioning"]) == ["encoder_hidden_states", "text_embeds", "time_ids"]
    assert stated["UNet2DConditionModel"]["class"] == "diffusers.UNet2DConditionModel"
    assert stated["UNet2DConditionModel"]["cross_attention_dim"] == TEXT_UNET["cross_attention_dim"]
