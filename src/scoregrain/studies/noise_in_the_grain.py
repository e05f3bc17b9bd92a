"""Noise along the grain, s ∝ λ^-γ: does it help a network that is not linear, as the linear theory says? (MATH C5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from scoregrain.datasets import RankOne
from scoregrain.geometry import measure_geometry
from scoregrain.studies.directions import directions, places
from scoregrain.studies.families import study_family
from scoregrain.studies.grain_noise import noise_along, theory, whitened_excess
from scoregrain.studies.noise_in_the_grain_claims import GAMMAS, HAAR, OUTCOMES, PLACES, SAD, claims_of, findings_of
from scoregrain.studies.noise_in_the_grain_tables import draw_figure, outcome_table
from scoregrain.studies.outcomes import law_outcomes
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Table
from scoregrain.studies.trained import TrainedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class NoiseInTheGrainStudy(TrainedStudy):
    """Train rank-one data along eigenvectors of G under noise of variance s ∝ λ^-γ along the eigenvectors, mean s = 1.

    γ = 0 is white; γ = 1 gives a linear network the same rate in all directions off the data. The same spectrum of the
    noise along Haar-random directions, which the network does not know, is the comparison. All are trained by Adam at
    one learning rate; the theory is of gradient descent and lets each γ take its own largest step.

    Attributes:
        network: Family.
        measured: Networks that the geometry is measured with.
        seeds: Paired: a seed is the initialisation, the ξ of data and noise, batches, levels, projections, and the Haar
            rotation.
        updates: Of each network.
        learning_rate: Of Adam, its largest.
    """

    name: ClassVar[str] = "noise-in-the-grain"
    title: ClassVar[str] = "Does noise along the grain help, as the linear theory says?"
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {
            "measured": 512,
            "seeds": 2,
            "updates": 10,
            "batch_size": 16,
            "lr_schedule": "constant",
            "warmup": 0,
            "samples": 64,
            "sampler_steps": 8,
        },
        "small": {},
    }

    network: str = "unet-8"
    measured: int = 4000
    updates: int = 800
    batch_size: int = 32
    learning_rate: float = 3e-3
    lr_schedule: str = "cosine"
    warmup: int = 20
    samples: int = 256

    def cells(self) -> list[Cell]:
        """Seed by seed, so that an unfinished study has whole pairs."""
        noises = [(SAD, gamma) for gamma in GAMMAS] + [(HAAR, 1.0)]
        return [
            {"seed": seed, "basis": basis, "gamma": gamma, "direction": direction}
            for seed in range(self.seeds)
            for basis, gamma in noises
            for direction in PLACES
        ]

    def claims(self) -> list[Claim]:
        """Each for all outcomes."""
        return [claim for outcome in OUTCOMES for claim in claims_of(outcome)]

    def material(self) -> Material:
        """G (D, D), directions (3, S, C, *space), their first indices and eigenvalues (3, 2)."""
        geometry = measure_geometry(study_family(self.network), self.measured)
        chosen = places(geometry, len(PLACES))
        return {
            "geometry": geometry.matrix(),
            "directions": directions(geometry, chosen, self.seeds),
            "places": torch.tensor([(each.index, each.value) for each in chosen], dtype=torch.float64),
        }

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train one direction under one noise and judge under that noise."""
        place, seed, gamma = PLACES.index(str(cell["direction"])), int(cell["seed"]), float(cell["gamma"])
        law = RankOne(material["directions"][place, seed])
        noise = noise_along(material["geometry"], law.shape, gamma, seed if cell["basis"] == HAAR else None)
        fitted = self.trained(study_family(self.network), law, seed, self.updates, self.learning_rate, noise=noise)
        process = fitted.setup.process
        index, value = material["places"][place].tolist()
        return {
            "index": int(index),
            "eigenvalue": value,
            "inverse": float(torch.linalg.eigvalsh(noise.operator(law.shape).to_dense()).reciprocal().mean()),
            "variance": float(law.direction.flatten() @ noise.operator(law.shape).to_dense() @ law.direction.flatten()),
            "loss": fitted.loss,
            **(theory(material["geometry"], gamma, int(index)) if cell["basis"] == SAD else {}),
            **law_outcomes(fitted.model, process, law, self.sampling, seed),
            **whitened_excess(fitted.model, process, law, seed, self.samples),
        }

    def findings(self, rows: Rows) -> list[Finding]:
        """In the order of the claims."""
        return [finding for outcome in OUTCOMES for finding in findings_of(outcome, rows)]

    def tables(self, rows: Rows) -> list[Table]:
        """A row for each noise and direction."""
        return [outcome_table(rows)]

    def figure(self, rows: Rows) -> Figure:
        """All outcomes against γ, what the linear theory says of the time of training beside them."""
        return draw_figure(rows)
