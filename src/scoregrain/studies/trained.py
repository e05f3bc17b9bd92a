"""What studies share whose cells train networks: settings of a training and of its samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scoregrain._arguments import whole
from scoregrain.datasets import Law, Split
from scoregrain.models import NetworkFamily
from scoregrain.studies.families import study_family
from scoregrain.studies.outcomes import Sampling
from scoregrain.studies.study import Study
from scoregrain.studies.unfinished import next_place
from scoregrain.training import TrainConfig
from scoregrain.training.fit import Fitted, fit


@dataclass(frozen=True, kw_only=True)
class TrainedStudy(Study):
    """A study whose cells train networks and draw from them; a long training goes on where a kill stopped it.

    How many updates there are, and at what learning rate, is each study's: some set them by network.

    Attributes:
        seeds: Paired: a seed is the initialisation, the data's draws, batches, levels, noise and projections.
        batch_size: Arrays in one.
        lr_schedule: How the learning rate falls; at a ``constant`` rate, as the first paper's, samples are much worse
            after as few updates as two cores allow.
        warmup: Updates over which it rises.
        arrays: To train on, at most.
        samples: Drawn, compared with as many, and denoised.
        sampler: By name.
        sampler_steps: Of the sampler.
    """

    seeds: int = 6
    batch_size: int = 64
    lr_schedule: str = "constant"
    warmup: int = 0
    arrays: int = 10_000
    samples: int = 512
    sampler: str = "ddim"
    sampler_steps: int = 50

    def __post_init__(self) -> None:
        """Refuse what no cell could be run with, before it is declared for good."""
        for name in ("seeds", "batch_size", "arrays", "samples", "sampler_steps"):
            whole(getattr(self, name), name, least=1)
        given = getattr(self, "updates", ())
        for count in given if isinstance(given, tuple) else (given,):
            whole(count, "updates", least=1)
        for network in (*getattr(self, "networks", ()), *filter(None, [getattr(self, "network", None)])):
            study_family(network)

    @property
    def sampling(self) -> Sampling:
        """How samples are drawn and compared."""
        return Sampling(self.samples, self.sampler, self.sampler_steps)

    def trained(
        self, family: NetworkFamily, data: Law | Split, seed: int, updates: int, learning_rate: float, **other: Any
    ) -> Fitted:
        """Return a network of the family trained on the data, by Adam, without a running mean.

        Args:
            family: Of networks.
            data: A law, of which ``arrays`` are drawn, or arrays.
            seed: Of everything random.
            updates: Of the network.
            learning_rate: The largest.
            other: Of :class:`TrainConfig`: the noise, the rotation.
        """
        config = TrainConfig(
            model=family,
            data=data,
            limit=self.arrays,
            steps=updates,
            batch_size=self.batch_size,
            learning_rate=learning_rate,
            lr_schedule=self.lr_schedule,
            warmup=self.warmup,
            ema=0.0,
            seed=seed,
            device=self.device,
            **other,
        )
        return fit(config, next_place())
