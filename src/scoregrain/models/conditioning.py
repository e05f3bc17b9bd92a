"""What diffusers networks ask for beside ``(x, t)``: neutral values, and the module that holds them fixed.

An input without a neutral value must be given; where it is not, the configuration is refused by that input's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scoregrain._errors import InvalidInputError, nearest
from scoregrain.models.family import tensor_bytes

ADDED = ("text_embeds", "time_ids", "image_embeds", "hint", "resolution", "aspect_ratio")
"""Inputs that diffusers takes together, as ``added_cond_kwargs``."""

POOLED, AESTHETIC = 1280, 6  # width of SDXL's pooled text; the score that its refiner is told by default
PIXELS = 8  # diffusers' latent pipelines state sizes in pixels of an autoencoder that shrinks images so many times


@dataclass(frozen=True)
class Neutral:
    """A value ``(1, ...)`` for an input, the same for every sample, and why it is neutral."""

    value: Tensor
    words: str


Inputs = dict[str, Neutral | None]
"""Inputs by name; None for one that is needed and has no neutral value."""


def unet1d_inputs(config: Mapping[str, Any], space: tuple[int, ...]) -> Inputs:
    """``UNet1DModel`` takes a sample and a time step alone."""
    if config["time_embedding_type"] == "fourier":
        raise InvalidInputError(
            "with time_embedding_type 'fourier' a UNet1DModel takes a time in [0, 1] as its timestep: the adapter, "
            "which gives integer steps from 0 on, does not know that input; wrap the network in scoregrain.TimeNetwork"
        )
    return {}


def unet_inputs(config: Mapping[str, Any], space: tuple[int, ...]) -> Inputs:
    """``UNet2DModel``: class labels where it embeds them."""
    if config["time_embedding_type"] == "fourier":
        raise InvalidInputError(
            "with time_embedding_type 'fourier' a UNet2DModel takes the noise level sigma as its timestep and divides "
            "by it: the adapter, which gives integer steps from 0 on, does not know that input"
        )
    return _labels(config)


def dit_inputs(config: Mapping[str, Any], space: tuple[int, ...]) -> Inputs:
    """``DiTTransformer2DModel``: the label of its own null class."""
    null = int(config["num_embeds_ada_norm"])
    return {"class_labels": Neutral(torch.tensor([null]), f"class {null}: the null class")}


def pixart_inputs(config: Mapping[str, Any], space: tuple[int, ...]) -> Inputs:
    """``PixArtTransformer2DModel``: an empty text, and the size of the image where it asks for it."""
    width = config["cross_attention_dim"] if config["caption_channels"] is None else config["caption_channels"]
    inputs: Inputs = {} if width is None else {"encoder_hidden_states": _text(int(width))}
    if asks_for_size(config):
        height, width = PIXELS * space[0], PIXELS * space[1]
        inputs["resolution"] = Neutral(torch.tensor([[height, width]]).float(), f"{height} × {width} pixels")
        inputs["aspect_ratio"] = Neutral(torch.tensor([[height / width]]), f"{height / width:g}")
    return inputs


def asks_for_size(config: Mapping[str, Any]) -> bool:
    """Does a PixArt take resolution and aspect ratio? It decides by its size when the configuration does not say."""
    asked = config["use_additional_conditions"]
    return bool(config["sample_size"] == 128 if asked is None else asked)


def unet_condition_inputs(config: Mapping[str, Any], space: tuple[int, ...]) -> Inputs:
    """``UNet2DConditionModel``: an empty text, class labels, and what its additional embeddings need."""
    if str(config["attention_type"]).startswith("gated"):
        raise InvalidInputError(
            f"attention_type '{config['attention_type']}' needs the input cross_attention_kwargs['gligen'] (boxes and "
            "their texts), which the adapter does not know"
        )
    inputs = _labels(config)
    widths = config["cross_attention_dim"]
    widths = set(widths) if isinstance(widths, list | tuple) else {widths}
    entering = {config["encoder_hid_dim"]} if config["encoder_hid_dim"] else widths
    inputs["encoder_hidden_states"] = _text(int(*entering)) if len(entering) == 1 else None
    if guidance := config["time_cond_proj_dim"]:
        inputs["timestep_cond"] = _zeros(int(guidance))
    if "image" in str(config["encoder_hid_dim_type"]) or "image" in str(config["addition_embed_type"]):
        inputs["image_embeds"] = None
    if config["addition_embed_type"] == "image_hint":
        inputs["hint"] = None
    if config["addition_embed_type"] == "text_image" and len(widths) == 1:
        inputs["text_embeds"] = _zeros(int(*widths))
    if config["addition_embed_type"] == "text_time":
        inputs |= _text_and_size(config, space)
    return inputs


def _zeros(width: int) -> Neutral:
    return Neutral(torch.zeros(1, width), f"zeros (1, {width})")


def _text(width: int) -> Neutral:
    return Neutral(torch.zeros(1, 1, width), f"zeros (1, 1, {width}); more tokens of zeros attend as one")


def _labels(config: Mapping[str, Any]) -> Inputs:
    """Class labels: class 0 of an embedding, whose classes are exchangeable at initialisation."""
    count = config["num_class_embeds"]
    if config["class_embed_type"] is not None:
        return {"class_labels": None}
    if count is None:
        return {}
    return {"class_labels": Neutral(torch.tensor([0]), f"class 0 of {count}; none of them is the null class")}


def _text_and_size(config: Mapping[str, Any], space: tuple[int, ...]) -> Inputs:
    """SDXL's pooled text and its numbers: six, or five where those leave the width of SDXL's text (its refiner)."""
    height, width = PIXELS * space[0], PIXELS * space[1]
    total, each = (
        int(config[key] or 0) for key in ("projection_class_embeddings_input_dim", "addition_time_embed_dim")
    )
    ids: tuple[int, ...] = (height, width, 0, 0, height, width)
    words = "original size, crop, target size in pixels"
    if total - 5 * each == POOLED:
        ids, words = (height, width, 0, 0, AESTHETIC), "original size, crop in pixels, aesthetic score"
    left = total - len(ids) * each
    if left <= 0:
        return {"text_embeds": None, "time_ids": None}
    return {"text_embeds": _zeros(left), "time_ids": Neutral(torch.tensor([ids]).float(), f"{ids}: {words}")}


def fill(inputs: Inputs, given: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Values of all inputs, given ones first, and what to record of each.

    Raises:
        InvalidInputError: an input that the network does not take, that is no tensor ``(1, ...)``, or that is missing.
    """
    known = (*inputs, "encoder_attention_mask") if "encoder_hidden_states" in inputs else tuple(inputs)
    for name, value in given.items():
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise InvalidInputError(f"the network takes no input '{name}'{nearest(name, known)}; {takes}")
        if not isinstance(value, Tensor) or value.ndim < 1 or len(value) != 1:
            example = f": torch.tensor([{value}])" if isinstance(value, int | float) else ""
            raise InvalidInputError(f"conditioning['{name}'] must be one tensor (1, ...) for all samples{example}")
    filled = {name: neutral for name, neutral in inputs.items() if neutral is not None and name not in given}
    if missing := [name for name in inputs if name not in filled and name not in given]:
        raise InvalidInputError(
            f"this configuration needs the input '{missing[0]}', for which the adapter knows no neutral value; give "
            f"one with conditioning={{'{missing[0]}': tensor}}"
        )
    values = {name: neutral.value for name, neutral in filled.items()}
    words = {name: neutral.words for name, neutral in filled.items()}
    for name, value in given.items():
        digest = hashlib.sha256(tensor_bytes(value)).hexdigest()[:16]
        values[name], words[name] = value.detach(), f"given, {tuple(value.shape)}, sha256 {digest}"
    return values, words


class Conditioned(nn.Module):
    """A diffusers network called as ``f(x, t)``: other inputs are buffers, the output is cut to the input's channels.

    Args:
        network: the diffusers network.
        conditioning: its other inputs, ``(1, ...)`` each, the same for every sample.
    """

    def __init__(self, network: nn.Module, conditioning: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.network = network
        self.inputs = tuple(conditioning)
        for name, value in conditioning.items():
            self.register_buffer(name, value.clone())

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Inputs ``(N, C, *space)``, steps ``(N,)``; returns ``(N, C, *space)``."""
        given: dict[str, Any] = {}
        for name in self.inputs:
            value = self.get_buffer(name)
            given[name] = value.expand(len(x), *value.shape[1:])
        if added := {name: given.pop(name) for name in self.inputs if name in ADDED}:
            given["added_cond_kwargs"] = added
        output: Tensor = self.network(x, timestep=t, **given, return_dict=False)[0]
        return output[:, : x.shape[1]]
