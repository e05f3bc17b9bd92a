"""GroupNorm groups of a U-Net: does it see the time, and what of its geometry, its samples? (MATH A11)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from scoregrain._errors import TimeBlindWarning
from scoregrain.datasets import RankOne
from scoregrain.geometry import Geometry, measure_geometry
from scoregrain.models import NetworkFamily, timestep_sensitivity
from scoregrain.studies.directions import directions, places
from scoregrain.studies.families import AWARE_GROUPS, study_family
from scoregrain.studies.outcomes import law_outcomes
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Table
from scoregrain.studies.time_blindness_claims import all_claims, findings_of
from scoregrain.studies.time_blindness_tables import ENDS, SHAPE_OF_G, draw_figure, geometry_table, outcome_table
from scoregrain.studies.trained import TrainedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class TimeBlindnessStudy(TrainedStudy):
    """Train the same U-Net with different numbers of groups on the same rank-one data.

    Members of a pair have the same parameters at initialisation and differ only in which channels are normalised
    together; with one channel in a group (32 groups) the network cannot see the time. Directions are those of the
    largest and the smallest eigenvalue of the time-aware default's geometry (8 groups), the same data for all.

    Attributes:
        network: Family whose groups are changed.
        groups: GroupNorm groups; 32 and 8 are among them.
        measured: Networks that each geometry is measured with.
        updates: Of each network.
        learning_rate: Of Adam, its largest.
    """

    name: ClassVar[str] = "time-blindness"
    title: ClassVar[str] = "What does a U-Net lose that cannot see the time?"
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {
            "groups": (32, 8, 4),
            "measured": 512,
            "seeds": 2,
            "updates": 12,
            "batch_size": 16,
            "lr_schedule": "constant",
            "warmup": 0,
            "samples": 64,
            "sampler_steps": 8,
        },
        "small": {},
    }

    network: str = "unet-8"
    groups: tuple[int, ...] = (32, 16, 8, 4)
    measured: int = 4000
    updates: int = 500
    learning_rate: float = 3e-3
    lr_schedule: str = "cosine"
    warmup: int = 20
    samples: int = 256

    def cells(self) -> list[Cell]:
        """Seed by seed, so that an unfinished study has whole pairs."""
        return [
            {"seed": seed, "groups": groups, "direction": direction}
            for seed in range(self.seeds)
            for groups in self.groups
            for direction in ENDS
        ]

    def claims(self) -> list[Claim]:
        """Time-blind against time-aware, paired by seed, and the trend with the number of groups."""
        return all_claims()

    def material(self) -> Material:
        """Directions (2, S, C, *space), and by number of groups what :data:`SHAPE_OF_G` names and G (D, D)."""
        with _blind_on_purpose():
            found = {groups: measure_geometry(self.family(groups), self.measured) for groups in self.groups}
            shapes = {groups: _shape_of(each, self.family(groups)) for groups, each in found.items()}
        aware = found[AWARE_GROUPS]
        return {
            "directions": directions(aware, places(aware, 2), self.seeds),
            **{f"groups {groups}": shape for groups, shape in shapes.items()},
            **{f"geometry {groups}": each.matrix() for groups, each in found.items()},
        }

    def family(self, groups: int) -> NetworkFamily:
        """The networks with so many groups."""
        return study_family(f"{self.network}:groups={groups}")

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train along one direction with one number of groups and judge."""
        groups, seed = int(cell["groups"]), int(cell["seed"])
        law = RankOne(material["directions"][ENDS.index(str(cell["direction"])), seed])
        with _blind_on_purpose():
            fitted = self.trained(self.family(groups), law, seed, self.updates, self.learning_rate)
            trained = timestep_sensitivity(fitted.model, law.shape)
        outcomes = law_outcomes(fitted.model, fitted.setup.process, law, self.sampling, seed)
        v = law.direction.flatten()
        shape = dict(zip(SHAPE_OF_G, material[f"groups {groups}"].tolist(), strict=True))
        eigenvalue = float(v @ material[f"geometry {groups}"] @ v)
        return {"loss": fitted.loss, "trained_sensitivity": trained, "eigenvalue": eigenvalue, **shape, **outcomes}

    def findings(self, rows: Rows) -> list[Finding]:
        """In the order of the claims."""
        return findings_of(rows)

    def tables(self, rows: Rows) -> list[Table]:
        """The geometries, and the outcomes beside the trivial baselines."""
        return [geometry_table(rows), outcome_table(rows)]

    def figure(self, rows: Rows) -> Figure:
        """Both outcomes against the number of groups, and the excess against the noise level."""
        return draw_figure(rows)


class _blind_on_purpose(warnings.catch_warnings):  # noqa: N801 - used as a function
    """Time-blind networks are what is studied: no warning."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", TimeBlindWarning)


def _shape_of(geometry: Geometry, family: NetworkFamily) -> torch.Tensor:
    """Trace and largest eigenvalue with errors, effective rank, and the sensitivity of network 0 to the time."""
    errors = geometry.eigenvalue_errors
    assert errors is not None
    assert geometry.trace_error is not None
    sensitivity = timestep_sensitivity(family.construct(0, 0), family.shape)
    largest = float(geometry.eigenvalues[0]), float(errors[0])
    found = [geometry.trace, geometry.trace_error, *largest, geometry.effective_rank, sensitivity]
    return torch.tensor(found, dtype=torch.float64)
