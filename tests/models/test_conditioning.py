"""Inputs beside (x, t): the networks called by hand with neutral values, given values, and what is refused."""

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.models import NetworkFamily, evaluate
from tests.configurations import CLASS_UNET, DIT, PIXART, SDXL, SIGNAL, TEXT_UNET, UNET


def family(config, **conditioning):
    return NetworkFamily.from_config(config, conditioning=conditioning)


def inputs(networks):
    return torch.randn(2, *networks.shape, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 700])


def test_values_that_are_neutral():
    """Each network called by hand, with the inputs written out."""
    text = torch.zeros(2, 1, 5)
    size = torch.tensor([[32.0, 32.0]]).expand(2, 2)
    ids = torch.tensor([[32.0, 32.0, 0.0, 0.0, 32.0, 32.0]]).expand(2, 6)
    by_hand = {
        "class": (CLASS_UNET, {"class_labels": torch.tensor([0, 0])}),
        "text": (TEXT_UNET, {"encoder_hidden_states": text}),
        "guidance": (
            TEXT_UNET | {"time_cond_proj_dim": 7},
            {"encoder_hidden_states": text, "timestep_cond": torch.zeros(2, 7)},
        ),
        "SDXL": (
            SDXL,
            {"encoder_hidden_states": text, "added_cond_kwargs": {"text_embeds": torch.zeros(2, 6), "time_ids": ids}},
        ),
        "PixArt": (
            PIXART,
            {
                "encoder_hidden_states": text,
                "added_cond_kwargs": {"resolution": size, "aspect_ratio": torch.ones(2, 1)},
            },
        ),
        "projected text": (
            TEXT_UNET | {"encoder_hid_dim": 9, "encoder_hid_dim_type": "text_proj"},
            {"encoder_hidden_states": torch.zeros(2, 1, 9)},
        ),
    }
    for config, given in by_hand.values():
        networks = family(config)
        network = networks.construct(0, 0)
        x, t = inputs(networks)
        with torch.no_grad():
            expected = network.network(x, timestep=t, **given).sample[:, :1]
            assert torch.equal(evaluate(network, x, t), expected)


@pytest.mark.parametrize("config", [TEXT_UNET, PIXART], ids=["UNet2DConditionModel", "PixArt"])
def test_one_token_of_zeros_is_as_good_as_many(config):
    networks, many = family(config), family(config, encoder_hidden_states=torch.zeros(1, 9, 5))
    x, t = inputs(networks)
    expected = evaluate(networks.construct(0, 0), x, t)
    torch.testing.assert_close(evaluate(many.construct(0, 0), x, t), expected, rtol=1e-4, atol=1e-6)


def test_given_values_replace_neutral_ones_and_are_recorded():
    neutral, second = family(DIT), family(DIT, class_labels=torch.tensor([1]))
    x, t = inputs(neutral)
    network = second.construct(0, 0)
    with torch.no_grad():
        expected = network.network(x, t, class_labels=torch.tensor([1, 1])).sample[:, :1]
    assert torch.equal(evaluate(network, x, t), expected)
    assert not torch.allclose(evaluate(neutral.construct(0, 0), x, t), expected)
    assert neutral.fingerprint() != second.fingerprint()
    assert second.config["conditioning"]["class_labels"].startswith("given, (1,), sha256 ")
    assert second.config != family(DIT, class_labels=torch.tensor([2])).config


def test_a_mask_may_be_given_with_a_text():
    """Masked tokens are as good as absent."""
    text = torch.randn(1, 3, 5, generator=torch.Generator().manual_seed(1))
    masked = family(TEXT_UNET, encoder_hidden_states=text, encoder_attention_mask=torch.tensor([[1.0, 0.0, 0.0]]))
    short = family(TEXT_UNET, encoder_hidden_states=text[:, :1])
    x, t = inputs(masked)
    expected = evaluate(short.construct(0, 0), x, t)
    torch.testing.assert_close(evaluate(masked.construct(0, 0), x, t), expected, rtol=1e-4, atol=1e-6)


def test_conditioning_follows_the_network():
    """Its numbers change dtype with the network, its labels stay whole, and the caller's tensor is not kept."""
    text = torch.ones(1, 2, 5)
    networks = family(CLASS_UNET | TEXT_UNET, encoder_hidden_states=text)
    network = networks.construct(0, 0).double()
    text.zero_()
    assert network.encoder_hidden_states.dtype == torch.float64
    assert bool(network.encoder_hidden_states.all())
    assert network.class_labels.dtype == torch.long


@pytest.mark.parametrize(
    ("config", "needed"),
    [
        (UNET | {"class_embed_type": "timestep"}, "class_labels"),
        (TEXT_UNET | {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 4}, "class_labels"),
        (TEXT_UNET | {"addition_embed_type": "image", "encoder_hid_dim": 5}, "image_embeds"),
        (TEXT_UNET | {"addition_embed_type": "image_hint", "encoder_hid_dim": 5}, "image_embeds"),
        (TEXT_UNET | {"addition_embed_type": "text_image"}, "image_embeds"),
        (TEXT_UNET | {"encoder_hid_dim": 5, "encoder_hid_dim_type": "image_proj"}, "image_embeds"),
        (TEXT_UNET | {"encoder_hid_dim": 5, "encoder_hid_dim_type": "text_image_proj"}, "image_embeds"),
        (TEXT_UNET | {"cross_attention_dim": [5, 6]}, "encoder_hidden_states"),
        (SDXL | {"projection_class_embeddings_input_dim": 3}, "text_embeds"),
    ],
)
def test_an_input_without_a_neutral_value_is_named(config, needed):
    with pytest.raises(InvalidInputError, match=f"needs the input '{needed}', .*conditioning={{'{needed}': tensor}}"):
        family(config)


def test_kandinsky_takes_a_pooled_text_beside_the_image():
    """As wide as the attention, whatever the width of the tokens; zeros by default."""
    config = TEXT_UNET | {
        "addition_embed_type": "text_image",
        "addition_embed_type_num_heads": 1,
        "encoder_hid_dim": 9,
        "encoder_hid_dim_type": "text_image_proj",
        "cross_attention_dim": 8,
    }
    image = torch.ones(1, 8)
    networks = family(config, image_embeds=image)
    x, t = inputs(networks)
    network = networks.construct(0, 0)
    given = {"text_embeds": torch.zeros(2, 8), "image_embeds": image.expand(2, 8)}
    with torch.no_grad():
        expected = network.network(x, t, encoder_hidden_states=torch.zeros(2, 1, 9), added_cond_kwargs=given).sample
    assert torch.equal(evaluate(network, x, t), expected)
    other = family(config, image_embeds=image, text_embeds=torch.ones(1, 8)).construct(0, 0)
    assert not torch.allclose(evaluate(other, x, t), expected)


def test_the_refiner_of_sdxl_is_told_five_numbers():
    """Its 2,560 entries are 1,280 of the pooled text and 5 · 256, not 1,024 and 6 · 256."""
    refiner = SDXL | {"projection_class_embeddings_input_dim": 2560, "addition_time_embed_dim": 256}
    words = family(refiner).config["conditioning"]
    assert words["text_embeds"] == "zeros (1, 1280)"
    assert words["time_ids"].startswith("(32, 32, 0, 0, 6): ")
    base = family(refiner | {"projection_class_embeddings_input_dim": 2816}).config["conditioning"]
    assert base["text_embeds"] == "zeros (1, 1280)"
    assert base["time_ids"].startswith("(32, 32, 0, 0, 32, 32): ")


def test_such_an_input_can_be_given():
    config = TEXT_UNET | {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 4}
    network = family(config, class_labels=torch.ones(1, 4)).construct(0, 0)
    x, t = inputs(family(TEXT_UNET))
    with torch.no_grad():
        expected = network.network(
            x, t, encoder_hidden_states=torch.zeros(2, 1, 5), class_labels=torch.ones(2, 4)
        ).sample
    assert torch.equal(evaluate(network, x, t), expected)


@pytest.mark.parametrize(
    ("config", "given", "message"),
    [
        (UNET | {"time_embedding_type": "fourier"}, {}, "noise level sigma as its timestep"),
        (SIGNAL | {"time_embedding_type": "fourier"}, {}, "takes a time in \\[0, 1\\] as its timestep"),
        (TEXT_UNET | {"attention_type": "gated"}, {}, "cross_attention_kwargs\\['gligen'\\]"),
        (UNET, {"class_labels": torch.tensor([0])}, "takes no input 'class_labels'; it takes none"),
        (SIGNAL, {"text": torch.tensor([0])}, "takes no input 'text'"),
        (DIT, {"class_label": torch.tensor([0])}, "'class_label' \\(did you mean 'class_labels'\\?\\)"),
        (DIT, {"class_labels": 1}, "must be one tensor \\(1, ...\\) for all samples: torch.tensor\\(\\[1\\]\\)"),
        (DIT, {"class_labels": torch.tensor([1, 2])}, "must be one tensor"),
        (DIT | {"num_embeds_ada_norm": "many"}, {}, "DiTTransformer2DModel cannot be built .*ValueError"),
    ],
)
def test_conditioning_that_is_refused_says_why(config, given, message):
    with pytest.raises(InvalidInputError, match=message):
        family(config, **given)
