"""From a configuration to the parts of a training, every disagreement between them found before any work."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.align import Rotation
from scoregrain.datasets import Images, Law, Split, is_law, load_split, parse_law, split_images
from scoregrain.datasets.images import check_limit
from scoregrain.diffusion import DiffusionProcess
from scoregrain.models import NetworkFamily
from scoregrain.models.family import tensor_bytes
from scoregrain.noise import EqualSNR
from scoregrain.noise.parsing import FITTED, names_folder, parse_noise
from scoregrain.noise.parsing import split as split_noise
from scoregrain.schedules import named_schedule
from scoregrain.training.config import TrainConfig
from scoregrain.training.laws import stored_law

DRAWN = 10_000
"""Arrays drawn from a law to train on (MATH A7)."""


@dataclass(frozen=True, eq=False)
class Setup:
    """The parts of a training.

    Attributes:
        config: Where they come from.
        family: The networks, one of which is trained.
        process: The law that is learnt to be reversed.
        rotation: W, if the network is to see W x.
        split: What is trained on, and what is not.
        law: Where the data come from, where that is known.
    """

    config: TrainConfig
    family: NetworkFamily
    process: DiffusionProcess
    rotation: Rotation | None
    split: Split
    law: Law | None

    @property
    def data_name(self) -> str:
        """What folders and reports call the data."""
        return self.split.train.name


def prepare(config: TrainConfig) -> Setup:
    """Return the parts of a training.

    Raises:
        InvalidInputError: A part cannot be had, or two of them disagree.
    """
    family, rotation = find_family(config), find_rotation(config)
    if not is_fitted(config.noise):  # loading data takes longer than finding out that the noise does not fit
        _check_fit(family, find_process(config, family), rotation)
    law = find_law(config, family.shape)
    split = find_split(config, family.shape, law)
    process = find_process(config, family, split.train.pixels)
    _check_fit(family, process, rotation)
    if len(split.train) < config.batch_size:
        raise InvalidInputError(
            f"too few arrays: {len(split.train)} of '{split.train.name}' to train on, batches take {config.batch_size};"
            " choose a smaller batch (--batch-size) or more data"
        )
    return Setup(config, family, process, rotation, split, law)


def find_family(config: TrainConfig) -> NetworkFamily:
    """Return the networks that a configuration names."""
    if isinstance(config.model, NetworkFamily):
        return config.model
    if not isinstance(config.model, str):
        raise InvalidInputError(f"model must be a preset's name or a NetworkFamily, got {type(config.model).__name__}")
    return NetworkFamily.from_preset(config.model)


def find_rotation(config: TrainConfig) -> Rotation | None:
    """Return the rotation that a configuration names, if any."""
    if config.rotation is None or isinstance(config.rotation, Rotation):
        return config.rotation
    return Rotation.load(config.rotation)


def find_process(config: TrainConfig, family: NetworkFamily, pixels: Tensor | None = None) -> DiffusionProcess:
    """Return the process of a configuration; ``pixels`` are what a noise such as ``equal-snr`` is fitted to."""
    noise = config.noise
    if isinstance(noise, str) and is_fitted(noise) and pixels is not None:
        noise = parse_noise(noise, EqualSNR.fit(pixels).power)
    schedule = named_schedule(config.schedule, config.timesteps)
    return DiffusionProcess(schedule, noise, config.prediction or family.prediction, config.omission)


def is_fitted(noise: object) -> bool:
    """Is it the name of a noise that is fitted to data?"""
    if not isinstance(noise, str) or names_folder(noise):
        return False
    return FITTED in [factor.name for factor in split_noise(noise)[0]]


def find_law(config: TrainConfig, shape: tuple[int, ...]) -> Law | None:
    """Return the law that the data are drawn from, where a configuration has one."""
    if isinstance(config.data, Law):
        return stored_law(config.data)
    return parse_law(config.data, shape) if isinstance(config.data, str) and is_law(config.data) else None


def find_split(config: TrainConfig, shape: tuple[int, ...], law: Law | None) -> Split:
    """Return what is trained on and what is held out, arrays of ``shape`` = (C, *space) each.

    Raises:
        InvalidInputError: There are no data, or they do not fit the shape.
    """
    data = config.data
    if law is not None:
        return _drawn(law, shape, config)
    if data is None:
        raise InvalidInputError("this run was trained on data given in memory: give them again, data=...")
    if isinstance(data, Split | Images):
        split = data if isinstance(data, Split) else split_images(data, config.held_out, config.seed)
        for part in (split.train, split.held_out):
            if part.shape != shape:
                raise InvalidInputError(
                    f"'{part.name}' holds arrays {part.shape}, the network takes {shape}:"
                    " load_split(source, shape=...) fits them"
                )
        if not len(split.held_out):
            raise InvalidInputError(f"nothing of '{split.held_out.name}' is held out: the loss is measured on it")
        return split
    assert not isinstance(data, Law)
    return load_split(
        Path(data) if isinstance(data, os.PathLike) else data,
        shape=shape,
        value_range=config.value_range,
        limit=config.limit,
        seed=config.seed,
        held_out=config.held_out,
        enlarge=config.enlarge or source_word(config) == "digits",  # they are there to try things out
    )


def _drawn(law: Law, shape: tuple[int, ...], config: TrainConfig) -> Split:
    """Arrays of a law to train on, and fresh ones."""
    check_limit(config.limit)
    if law.shape != shape:
        raise InvalidInputError(f"the law '{law.name}' is of arrays {law.shape}, the network takes {shape}")
    counts = {"data": config.limit or DRAWN, "held-out data": DRAWN}
    train, fresh = (
        Images(law.sample(count, generator=stream(config.seed, name)), law.name, law.notes)
        for name, count in counts.items()
    )
    return Split(train, fresh)


def _check_fit(family: NetworkFamily, process: DiffusionProcess, rotation: Rotation | None) -> None:
    """Fail where the noise or the rotation is for arrays of another shape than the network's."""
    process.check_shape(family.shape)
    if rotation is not None and rotation.shape != family.shape:
        raise InvalidInputError(
            f"the rotation is of arrays {rotation.shape}, the network '{family.name}' takes {family.shape}"
        )


def fingerprint(pixels: Tensor) -> str:
    """Return a hash of arrays: equal data, equal hash."""
    digest = hashlib.sha256(repr((tuple(pixels.shape), pixels.dtype)).encode())
    for start in range(0, len(pixels), 4096):  # a copy of a block at a time
        digest.update(tensor_bytes(pixels[start : start + 4096]))
    return digest.hexdigest()[:16]


def source_word(config: TrainConfig) -> str | None:
    """Return the words that name the data, None for data in memory."""
    data = config.data
    return os.fspath(data) if isinstance(data, str | os.PathLike) else None
