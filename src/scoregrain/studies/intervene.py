"""Does quality follow G when G is changed and nothing else? The causal test of Conjecture 1 (MATH A1, C5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from scoregrain._errors import InvalidInputError, nearest
from scoregrain.datasets import RankOne
from scoregrain.geometry import measure_geometry
from scoregrain.studies.directions import directions, places
from scoregrain.studies.families import study_family
from scoregrain.studies.intervene_claims import ARMS, OUTCOMES, PLACES, declared, findings_of
from scoregrain.studies.intervene_tables import draw_figure, outcome_table
from scoregrain.studies.interventions import SKIP, layer_of, moved, rotation_of, with_output
from scoregrain.studies.outcomes import law_outcomes
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Table
from scoregrain.studies.trained import TrainedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USUAL = tuple(arm for arm in ARMS if arm not in ("signs+x", "negate+x"))
"""Arms of the published run, which is declared without the two that ask what a layer moves by itself, with x added."""


@dataclass(frozen=True, kw_only=True)
class InterveneStudy(TrainedStudy):
    """Train rank-one data along the same directions under changed geometries, everything else equal.

    Directions are eigenvectors of the unchanged G: of the largest, a middle and the smallest eigenvalue.

    Attributes:
        network: Family that is changed.
        arms: What is done to G, of :data:`ARMS`. A claim is made where all arms that it compares are run.
        measured: Networks that its geometry is measured with.
        updates: Of each network.
        learning_rate: Of Adam, its largest.
    """

    name: ClassVar[str] = "intervene"
    title: ClassVar[str] = "Does quality follow the geometry when nothing but the geometry is changed?"
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {
            "measured": 512,
            "seeds": 2,
            "updates": 6,
            "batch_size": 16,
            "lr_schedule": "constant",
            "warmup": 0,
            "samples": 64,
            "sampler_steps": 5,
        },
        "small": {},
    }

    network: str = "unet-8"
    arms: tuple[str, ...] = USUAL
    measured: int = 4000
    updates: int = 400
    learning_rate: float = 3e-3
    lr_schedule: str = "cosine"
    warmup: int = 20
    samples: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        for arm in self.arms:
            if arm not in ARMS:
                raise InvalidInputError(f"unknown arm '{arm}'{nearest(arm, ARMS)}; arms: {', '.join(ARMS)}")
        if not any(each.control for each in declared(self.arms)):
            raise InvalidInputError("these arms have no control: name identity and negate, or identity+x and negate+x")

    def cells(self) -> list[Cell]:
        """Seed by seed, so that an unfinished study has whole pairs."""
        return [
            {"seed": seed, "arm": arm, "direction": direction}
            for seed in range(self.seeds)
            for arm in self.arms
            for direction in ARMS[arm]
        ]

    def claims(self) -> list[Claim]:
        """Each for both outcomes."""
        return [each.claim(outcome) for outcome in OUTCOMES for each in declared(self.arms)]

    def material(self) -> Material:
        """G (D, D), directions (3, S, C, *space), and first indices, eigenvalues and errors (3, 3)."""
        geometry = measure_geometry(study_family(self.network), self.measured)
        chosen = places(geometry, len(PLACES))
        rows = [(place.index, place.value, place.error) for place in chosen]
        return {
            "geometry": geometry.matrix(),
            "directions": directions(geometry, chosen, self.seeds),
            "places": torch.tensor(rows, dtype=torch.float64),
        }

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train one direction under one geometry and judge."""
        arm, place, seed = str(cell["arm"]), PLACES.index(str(cell["direction"])), int(cell["seed"])
        geometry, mine = material["geometry"], material["directions"][:, seed]
        law, top, bottom = RankOne(mine[place]), mine[0], mine[-1]
        layer = layer_of(arm, geometry, top, bottom, seed)
        family = with_output(study_family(self.network), layer, arm, skip=arm.endswith(SKIP))
        turn = rotation_of(top, bottom) if arm == "rotate" else None
        fitted = self.trained(family, law, seed, self.updates, self.learning_rate, rotation=turn)
        outcomes = law_outcomes(fitted.model, fitted.setup.process, law, self.sampling, seed)
        v, changed = law.direction.flatten(), moved(arm, geometry, top, bottom, seed)
        return {
            "index": int(material["places"][place, 0]),
            "eigenvalue": float(v @ changed @ v),
            "loss": fitted.loss,
        } | outcomes

    def findings(self, rows: Rows) -> list[Finding]:
        """In the order of the claims."""
        return [finding for outcome in OUTCOMES for finding in findings_of(outcome, self.arms, rows)]

    def tables(self, rows: Rows) -> list[Table]:
        """A row for each geometry and direction."""
        return [outcome_table(rows)]

    def figure(self, rows: Rows) -> Figure:
        """The order of the two ends under each geometry, for both outcomes, and the change of SW₂ with that of λ."""
        return draw_figure(rows)
