"""Figure 6 of the first paper: quality of rank-one data against their eigenvalue (MATH A7, A9, A11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import RankOne
from scoregrain.geometry import measure_geometry
from scoregrain.studies.directions import directions, places
from scoregrain.studies.families import study_family
from scoregrain.studies.outcomes import law_outcomes, sampler_outcomes
from scoregrain.studies.rank_one_claims import claims_of, findings_of
from scoregrain.studies.rank_one_tables import draw_figure, outcome_table
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Table
from scoregrain.studies.trained import TrainedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RankOneStudy(TrainedStudy):
    """Train on x = √D ξ v along directions v of the geometry, from the largest eigenvalue to the smallest.

    Attributes:
        networks: Families by name.
        places: How many clusters of each network's directions, or of all; the first has the largest eigenvalue.
        measured: Networks that each geometry is measured with.
        seeds: Paired: a seed is the initialisation, the ξ of the data, batches, levels, noise and projections. Of a
            cluster of several directions each seed takes a random one.
        updates: Of each network, or of all.
        learning_rate: Of Adam, its largest.
        learning_rates: Of each network, where they differ: transformers of this size want a larger one than U-Nets.
        other_sampler: One more, by which SW₂ alone is measured; the paper's is ``ddpm``.
    """

    name: ClassVar[str] = "rank-one"
    title: ClassVar[str] = "Does quality fall with the eigenvalue of the data's direction?"
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {
            "networks": ("unet-8",),
            "places": (3,),
            "measured": 512,
            "seeds": 3,
            "updates": (40,),
            "samples": 256,
            "sampler_steps": 10,
        },
        "small": {
            "updates": (800, 800, 800, 800),
            "batch_size": 32,
            "learning_rates": (3e-3, 3e-3, 1e-2, 1e-2),
            "lr_schedule": "cosine",
            "warmup": 20,
        },
        "paper": {
            "networks": ("iddpm-16", "unet-16", "dit-16/2", "dit-16/4"),
            "places": (9, 9, 9, 8),
            "measured": 10_000,
            "updates": (2000, 2000, 4000, 4000),
            "batch_size": 1000,
            "learning_rate": 1e-4,
            "samples": 10_000,
            "sampler": "ddpm",
            "other_sampler": "ddim",
            "sampler_steps": 1000,
        },
    }

    networks: tuple[str, ...] = ("iddpm-8", "unet-8", "dit-8/2", "dit-8/4")
    places: tuple[int, ...] = (6, 6, 6, 4)
    measured: int = 4000
    updates: tuple[int, ...] = (400, 400, 400, 400)
    learning_rate: float = 1e-3
    learning_rates: tuple[float, ...] = ()
    other_sampler: str = "ddpm"

    def __post_init__(self) -> None:
        super().__post_init__()
        count = len(self.networks)
        for name in ("places", "updates", "learning_rates"):
            given = getattr(self, name)
            if len(given) not in (1, count) and (given or name != "learning_rates"):
                raise InvalidInputError(
                    f"{name} has {len(given)} entries for {count} networks: give one for each, or one for all"
                )
        for rate in (self.learning_rate, *self.learning_rates):
            if not (isinstance(rate, int | float) and rate > 0):
                raise InvalidInputError(f"a learning rate must be a number above 0, got {rate!r}")

    def cells(self) -> list[Cell]:
        """Seed by seed, so that an unfinished study has whole pairs."""
        return [
            {"seed": seed, "network": network, "place": place}
            for seed in range(self.seeds)
            for network in self.networks
            for place in range(self._own(self.places, network))
        ]

    def claims(self) -> list[Claim]:
        """The paper's claim for both outcomes, and what may explain why they differ."""
        return [claim for network in self.networks for claim in claims_of(network, self.other_sampler)]

    def material(self) -> Material:
        """Directions (P, S, C, *space) and eigenvalues with errors, first indices and sizes (P, 4) of each network."""
        found: Material = {}
        for network in self.networks:
            geometry = measure_geometry(study_family(network), self.measured)
            chosen = places(geometry, self._own(self.places, network))
            found[f"{network} directions"] = directions(geometry, chosen, self.seeds)
            rows = [(place.value, place.error, place.index, place.size) for place in chosen]
            found[f"{network} places"] = torch.tensor(rows, dtype=torch.float64)
        return found

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train along one direction and judge."""
        network, place, seed = str(cell["network"]), int(cell["place"]), int(cell["seed"])
        value, error, index, size = material[f"{network} places"][place].tolist()
        law = RankOne(material[f"{network} directions"][place, seed])
        updates = self._own(self.updates, network)
        fitted = self.trained(study_family(network), law, seed, updates, self._rate(network))
        outcomes = law_outcomes(fitted.model, fitted.setup.process, law, self.sampling, seed)
        other = replace(self.sampling, sampler=self.other_sampler)
        outcomes |= sampler_outcomes(fitted.model, fitted.setup.process, law, other, seed)
        where = {"eigenvalue": value, "eigenvalue_error": error, "index": int(index), "multiplicity": int(size)}
        return {**where, "loss": fitted.loss, **outcomes}

    def _rate(self, network: str) -> float:
        return self._own(self.learning_rates or (self.learning_rate,), network)

    def _own(self, values: tuple[T, ...], network: str) -> T:
        """A network's entry of a setting that has one for each, or one for all."""
        return values[0] if len(values) == 1 else values[self.networks.index(network)]

    def findings(self, rows: Rows) -> list[Finding]:
        """By network, in the order of the claims."""
        return [finding for network in self.networks for finding in findings_of(network, self.other_sampler, rows)]

    def tables(self, rows: Rows) -> list[Table]:
        """One for each network, a row for each direction."""
        return [outcome_table(network, self.other_sampler, rows.where(network=network)) for network in self.networks]

    def figure(self, rows: Rows) -> Figure:
        """Both outcomes against the eigenvalue, and the error along the direction against the noise level."""
        return draw_figure(self.networks, rows)
