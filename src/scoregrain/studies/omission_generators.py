"""What the study ``omission`` compares with clean data: trained generators and trivial ones, by name (MATH B12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from scoregrain._random import stream
from scoregrain.datasets import Split, corrupt_band
from scoregrain.noise import Custom, ForwardNoise
from scoregrain.operators import FrequencyGrid
from scoregrain.studies.image_outcomes import Target
from scoregrain.training.fit import Fitted

TRAINED = {
    "plain": "plain diffusion on the corrupted data",
    "plain_emptied": "… its samples' band emptied",
    "plain_mean": "… its samples' band set to the data's mean",
    "emptied": "plain diffusion on data with the band emptied, and their samples' too",
    "conditional": "omission, conditional, m = 0 (as published)",
    "conditional_mean": "… m = the data's mean",
    "conditional_drawn": "… m drawn from corrupted data",
    "marginal": "omission, marginal, m = 0",
    "marginal_mean": "… m = the data's mean",
}
TRIVIAL = {
    "corrupted": "the corrupted data themselves",
    "corrupted_emptied": "… their band emptied",
    "resample": "fresh clean data",
    "zeros": "zeros",
    "white": "white noise",
}
"""Generators compared with clean data, by the names in a row's values."""

MODES = {"conditional": ("", "_mean", "_drawn"), "marginal": ("", "_mean")}
"""Kinds of omission, and with which contents of the band each is sampled."""


def trained(
    fit: Callable[..., Fitted],
    draw: Callable[..., Tensor | None],
    split: Split,
    noise: ForwardNoise,
    count: int,
    seed: int,
) -> tuple[dict[str, Tensor | None], dict[str, Any]]:
    """Train on a split whose band is corrupted; return samples by the names of :data:`TRAINED`, and what else is known.

    Values: the ``loss_`` of each training, and ``deviation``, the largest distance of what the band of omission's
    samples holds from what it should hold, in the training data's root mean square; None where no samples are finite.

    Args:
        fit: Of a split, a seed and keywords of a configuration.
        draw: Of a fitted network, a seed and the content of an omitted band.
        split: Corrupted.
        noise: It omits the band.
        count: Samples.
        seed: Of all.
    """
    emptied = replace(split, train=replace(split.train, pixels=noise.project(split.train.pixels)))
    contents = _contents(split.train.pixels, noise, count, seed)
    fits = {"plain": fit(split, seed), "emptied": fit(emptied, seed)}
    samples, without = (draw(each, seed) for each in fits.values())
    found = {
        "plain": samples,
        "plain_emptied": _filled(samples, noise, contents[""]),
        "plain_mean": _filled(samples, noise, contents["_mean"]),
        "emptied": _filled(without, noise, contents[""]),
    }
    deviations = []
    for mode, suffixes in MODES.items():
        fits[mode] = fit(split, seed, noise=noise, omission=mode)
        for suffix in suffixes:
            drawn = found[mode + suffix] = draw(fits[mode], seed, contents[suffix])
            if drawn is not None:
                off = (drawn - noise.project(drawn) - contents[suffix]).abs().max()
                deviations.append(float(off / split.train.pixels.square().mean().sqrt()))
    losses = {f"loss_{name}": each.loss for name, each in fits.items()}
    return found, {**losses, "deviation": max(deviations, default=None)}


def omitting(size: tuple[int, ...], low: float, high: float) -> ForwardNoise:
    """White noise without the frequencies low ≤ r < high: elsewhere exactly as much as plain diffusion has."""
    return ForwardNoise(Custom((~FrequencyGrid(size).band(low, high)).double()), normalize="none")


def trivial(
    target: Target, noise: ForwardNoise, low: float, high: float, seed: int, strength: float
) -> dict[str, Tensor | None]:
    """Generators that learn nothing, by the names of :data:`TRIVIAL`."""
    corrupted = corrupt_band(target.resample, low, high, seed + 1, strength)
    white = torch.randn(target.arrays.shape, generator=stream(seed, "study white noise"))
    made = (corrupted, noise.project(corrupted), target.resample, torch.zeros_like(target.arrays), white)
    return dict(zip(TRIVIAL, made, strict=True))


def band_power(x: Tensor, noise: ForwardNoise) -> float:
    """Mean square of what the noise omits, per array."""
    return float((x - noise.project(x)).double().square().flatten(1).sum(1).mean())


def _contents(pixels: Tensor, noise: ForwardNoise, count: int, seed: int) -> dict[str, Tensor]:
    """What a band is made to hold, (count, C, *space): nothing, the mean of the data, draws of them."""
    chosen = torch.randperm(len(pixels), generator=stream(seed, "omitted content"))[:count]
    mean, drawn = (x - noise.project(x) for x in (pixels.mean(0, keepdim=True), pixels[chosen]))
    return {"": torch.zeros_like(drawn), "_mean": mean.expand_as(drawn), "_drawn": drawn}


def _filled(samples: Tensor | None, noise: ForwardNoise, content: Tensor) -> Tensor | None:
    return None if samples is None else noise.project(samples) + content
