"""A trained network with everything needed to sample from it and to judge it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scoregrain._arguments import whole
from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.align import Rotation
from scoregrain.datasets import Law, Split
from scoregrain.diffusion import DiffusionProcess, sample
from scoregrain.diffusion.sampler import Sampler
from scoregrain.models import NetworkFamily
from scoregrain.training import log
from scoregrain.training.average import Average
from scoregrain.training.checkpoint import latest, load_weights, read_state
from scoregrain.training.config import TrainConfig
from scoregrain.training.record import read_config, read_record
from scoregrain.training.setup import find_family, find_law, find_process, find_rotation, find_split, fingerprint

BATCH = 250
"""Samples drawn at a time."""


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A training that has at least one checkpoint.

    Attributes:
        folder: Where it lies.
        config: What was trained; its ``data`` are None where they were given in memory.
        record: What ``config.json`` says.
        step: Updates made up to the checkpoint that is loaded.
        model: The network whose samples count, f(x_t, t) in the space of the data, in evaluation mode: the running
            mean of the parameters where there is one, wrapped in its rotation where there is one.
        family: The networks it is one of.
        process: The law it was trained to reverse.
        rotation: W, if the network sees W x.
        history: The lines of ``metrics.jsonl``.
    """

    folder: Path
    config: TrainConfig
    record: dict[str, Any]
    step: int
    model: nn.Module
    family: NetworkFamily
    process: DiffusionProcess
    rotation: Rotation | None
    history: list[dict[str, Any]]
    _split: Split | None = None

    def __repr__(self) -> str:
        return f"Run('{self.folder}', {self.name}, step {self.step} of {self.config.steps})"

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        *,
        family: NetworkFamily | None = None,
        data: Split | None = None,
        device: torch.device | str | None = None,
    ) -> Run:
        """Load a run from its folder, at its newest checkpoint; no code that the folder names is run.

        Args:
            folder: What :func:`train` or ``scoregrain train`` wrote.
            family: Its networks; needed where they were built by code of your own.
            data: What it was trained on, if at hand.
            device: Where the network is put; the CPU when None.

        Raises:
            InvalidInputError: There is no run of this format, it has no checkpoint yet, or its networks or data are
                needed and not given.
            ScoregrainError: It is damaged.
        """
        folder = Path(folder)
        found = read_record(folder)
        checkpoint = latest(folder)
        if checkpoint is None:
            raise InvalidInputError(
                f"the run '{folder}' has no checkpoint yet: let scoregrain train go on, or continue it with --resume"
            )
        config = read_config(folder, found, family)
        family = find_family(config)
        network = _load_network(config, family, checkpoint).to(device or "cpu")
        rotation = find_rotation(config)
        return cls(
            folder=folder,
            config=config,
            record=found,
            step=int(read_state(checkpoint)["step"]),
            model=network if rotation is None else rotation.wrap(network).eval(),
            family=family,
            process=find_process(config, family),
            rotation=rotation,
            history=log.read(folder),
            _split=data,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, *space) of one sample."""
        return self.family.shape

    @property
    def name(self) -> str:
        """Network, data and noise in a few words."""
        return f"{self.family.name} on {self.record['data']['name']}, {self.process.noise} noise"

    @property
    def finished(self) -> bool:
        """Were all updates made?"""
        return self.step >= self.config.steps

    @property
    def law(self) -> Law | None:
        """Where the data come from, where that is known."""
        return find_law(self.config, self.shape)

    def data(self, source: Any = None) -> Split:
        """Return what the network was trained on, and what was held out; of a law, fresh arrays.

        Args:
            source: The data, where the run does not say where they are or they have moved.

        Raises:
            InvalidInputError: They are not to be found, or are others than those of the training.
        """
        if source is None and self._split is not None:
            return self._split
        config = self.config if source is None else replace(self.config, data=source)
        split = find_split(config, self.shape, find_law(config, self.shape))
        expected = self.record["data"]["fingerprint"]
        if (found := fingerprint(split.train.pixels)) != expected:
            raise InvalidInputError(
                f"'{split.train.name}' is not what '{self.folder}' was trained on (fingerprint {found}, expected"
                f" {expected})"
            )
        return split

    def sample(
        self,
        n: int,
        sampler: str | Sampler = "ddim",
        steps: int = 50,
        seed: int = 0,
        batch_size: int = BATCH,
        progress: bool = False,
        **options: Any,
    ) -> Tensor:
        """Draw ``n`` samples, (n, C, *space), on the CPU, in the coordinates of the data.

        Sample i is a function of the run, ``sampler``, ``steps``, ``seed`` and i, up to rounding.

        Args:
            n: How many.
            sampler: See :func:`scoregrain.sample`.
            steps: Of the sampler.
            seed: Of the draws.
            batch_size: How many at a time.
            progress: Show a bar, on a terminal only.
            **options: Passed to :func:`scoregrain.sample`.

        Raises:
            InvalidInputError: An argument is wrong.
            ScoregrainError: The network's output is not finite.
        """
        generators = [stream(seed, "sample", i) for i in range(whole(n, "the number of samples", least=1))]
        return sample(
            self.model,
            self.process,
            n,
            self.shape,
            sampler=sampler,
            steps=steps,
            generator=generators,
            batch_size=batch_size,
            progress=progress,
            **options,
        ).cpu()


def _load_network(config: TrainConfig, family: NetworkFamily, checkpoint: Path) -> nn.Module:
    """The network whose samples count, without gradients and in evaluation mode."""
    network = family.construct(config.seed, 0)
    if not config.ema:
        load_weights(network, checkpoint / "model.safetensors")
        return network
    average = Average(network, config.ema)
    load_weights(average, checkpoint / "ema.safetensors")
    module: nn.Module = average.module
    return module
