"""GroupNorm groups of a U-Net: does it see the time, and what of its geometry, its samples? (MATH A11)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from scoregrain._errors import TimeBlindWarning
from scoregrain.datasets import RankOne
from scoregrain.geometry import Geometry, measure_geometry
from scoregrain.models import NetworkFamily, timestep_sensitivity
from scoregrain.studies.directions import directions, places
from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.families import AWARE_GROUPS, BLIND_GROUPS, study_family
from scoregrain.studies.outcomes import law_outcomes
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Table
from scoregrain.studies.summaries import (
    RULE,
    Floats,
    above_zero,
    curves,
    levels_of,
    mean_and_error,
    seed_correlations,
    shuffled,
    with_error,
    written,
)
from scoregrain.studies.trained import TrainedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDS = ("top", "bottom")
SHAPE_OF_G = ("trace", "trace_error", "largest", "largest_error", "effective_rank", "sensitivity")
"""What is told of each geometry, in the order of the material and under these names in the rows."""


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
        return _claims()

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
        return _findings(rows)

    def tables(self, rows: Rows) -> list[Table]:
        """The geometries, and the outcomes beside the trivial baselines."""
        return [_geometries(rows), _outcomes(rows)]

    def figure(self, rows: Rows) -> Figure:
        """Both outcomes against the number of groups, and the excess against the noise level."""
        return _figure(rows)


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


def _claims() -> list[Claim]:
    pair = f"{BLIND_GROUPS} groups minus {AWARE_GROUPS} groups, averaged over both directions"

    def claim(key: str, text: str, source: str, statistic: str, control: bool = False) -> Claim:
        return Claim(key, text, source, f"{statistic}; {RULE}", control)

    return [
        claim(
            "blind-sw2",
            "samples of a time-blind U-Net are worse than those of the same U-Net that sees the time",
            "here",
            f"mean over seeds of log SW₂, {pair}",
        ),
        claim(
            "blind-denoising",
            "a time-blind U-Net denoises worse",
            "here",
            f"mean over seeds of the log of the mean excess denoising error of all directions and levels, {pair}",
        ),
        claim(
            "blind-low-noise",
            "its disadvantage in denoising is larger in the lower half of the noise levels than in the upper",
            "here",
            f"mean over seeds of the log excess at a level, {pair}, in the lower half of the levels minus the upper",
        ),
        claim(
            "blind-zeros",
            "samples of a time-blind U-Net are further from the law than all zeros",
            "MATH A8, of the published scores",
            "mean over seeds of log SW₂ - log SW₂ of zeros, averaged over both directions",
        ),
        claim(
            "aware-zeros",
            "samples of a U-Net that sees the time are closer to the law than all zeros",
            "here",
            "mean over seeds of log SW₂ of zeros - log SW₂, averaged over both directions",
        ),
        claim(
            "trend",
            "samples are worse with more groups",
            "here",
            "mean over seeds of Spearman's ρ between the number of groups and log SW₂ averaged over both directions",
        ),
        claim(
            "aware-trend",
            "that is so among U-Nets that see the time, too",
            "here",
            "mean over seeds of log SW₂ of the largest number of groups below 32 minus that of the smallest",
        ),
        claim(
            "control",
            "the number of groups in a random order predicts the samples",
            "control: shuffled labels",
            "as 'trend', the labels of each seed shuffled",
            control=True,
        ),
    ]


def _findings(rows: Rows) -> list[Finding]:
    claims = {claim.key: claim for claim in _claims()}
    groups, sw2, zeros = rows.levels("groups"), logs(rows, "sw2"), logs(rows, "sw2_zeros")
    blind, aware = groups.index(BLIND_GROUPS), groups.index(AWARE_GROUPS)
    seeing = [i for i, each in enumerate(groups) if each != BLIND_GROUPS]
    most, least = max(seeing, key=lambda i: groups[i]), min(seeing, key=lambda i: groups[i])
    excess, lower = logs(rows, "excess"), lower_minus_upper(rows)
    labels = np.broadcast_to(np.array(groups, dtype=np.float64), sw2.shape)
    values = {
        "blind-sw2": sw2[:, blind] - sw2[:, aware],
        "blind-denoising": excess[:, blind] - excess[:, aware],
        "blind-low-noise": lower[:, blind] - lower[:, aware],
        "blind-zeros": (sw2 - zeros)[:, blind],
        "aware-zeros": (zeros - sw2)[:, aware],
        "trend": seed_correlations(labels, sw2),
        "aware-trend": sw2[:, most] - sw2[:, least],
        "control": seed_correlations(shuffled(labels), sw2),
    }
    return [above_zero(claim, values[key], correlation=key in ("trend", "control")) for key, claim in claims.items()]


def logs(rows: Rows, name: str) -> Floats:
    """Return the log of an outcome averaged over both directions, (S, groups)."""
    found: Floats = np.log(rows.array(name, "seed", "groups", "direction")).mean(2)
    return found


def lower_minus_upper(rows: Rows) -> Floats:
    """Return the mean log excess of the lower half of the levels minus that of the upper, (S, groups)."""
    return np.array(
        [[_half_difference(rows.where(seed=s, groups=g)) for g in rows.levels("groups")] for s in rows.levels("seed")]
    )


def _half_difference(rows: Rows) -> float:
    logs = np.log(curves(rows, "excess_levels"))
    half = max(1, logs.shape[1] // 2)
    return float(logs[:, :half].mean() - logs[:, -half:].mean())


def _geometries(rows: Rows) -> Table:
    entries = []
    for groups in rows.levels("groups"):
        first = rows.where(groups=groups)[0]
        trace, largest = (first["trace"], first["trace_error"]), (first["largest"], first["largest_error"])
        relative = math.hypot(trace[1] / trace[0], largest[1] / largest[0])
        rank = first["effective_rank"]
        entries.append(
            (
                f"{groups}",
                f"{first['sensitivity']:.2g}",
                with_error(rows.where(groups=groups).array("trained_sensitivity", "seed", "direction").mean(1)),
                written(*trace),
                written(*largest),
                written(rank, rank * relative),
                *(_eigenvalue(rows, groups, direction) for direction in ENDS),
            )
        )
    return Table(
        "Geometry by the number of groups",
        (
            "groups",
            "sensitivity to the time, untrained",
            "trained",
            "trace of G",
            "λ_max",
            "trace / λ_max",
            "vᵀGv, top",
            "vᵀGv, bottom",
        ),
        tuple(entries),
        "± is one standard error: of the measurement for the geometry (for the ratio an upper bound), over seeds for "
        "trained networks. Sensitivity is the deviation of the output over noise levels relative to its size. "
        f"v are eigenvectors of the geometry with {AWARE_GROUPS} groups.",
    )


def _eigenvalue(rows: Rows, groups: int, direction: str) -> str:
    return f"{rows.where(groups=groups, direction=direction).array('eigenvalue', 'seed').mean():.3g}"


def _outcomes(rows: Rows) -> Table:
    names = ("sw2", "width", "off", "gap", "excess", "excess_along", "excess_last", "loss")
    trivial = ("sw2_resample", "sw2_zeros", "sw2_white", "sw2_exact")
    entries = [
        (
            f"{groups}",
            direction,
            *(with_error(mine.array(name, "seed")) for name in names),
            *(f"{mean_and_error(mine.array(name, 'seed'))[0]:.3g}" for name in trivial),
        )
        for groups in rows.levels("groups")
        for direction in ENDS
        for mine in [rows.where(groups=groups, direction=direction)]
    ]
    return Table(
        "Rank-one data by the number of groups",
        (
            "groups",
            "direction",
            "SW₂",
            "width",
            "energy off v",
            "gap to the exact score",
            "excess",
            "excess along v",
            "excess, t = T - 1",
            "training loss",
            "SW₂ resample",
            "zeros",
            "white",
            "exact score",
        ),
        tuple(entries),
        "± is one standard error over seeds. Width is in units of the law's, energy off v per direction (it has none).",
    )


def _figure(rows: Rows) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.6, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    groups = rows.levels("groups")
    for axis, name, said in ((left, "sw2", "SW₂"), (middle, "excess", "excess denoising error")):
        for i, direction in enumerate(ENDS):
            table = rows.where(direction=direction).array(name, "seed", "groups")
            x = np.arange(len(groups)) + 0.1 * i
            axis.plot(np.broadcast_to(x, table.shape).T, table.T, ".", color=COLOURS[i], alpha=0.4)
            mean, error = np.array([mean_and_error(column) for column in table.T]).T
            axis.errorbar(x, mean, error, fmt="o-", color=COLOURS[i], capsize=3, label=f"{direction} direction")
        axis.set_xticks(range(len(groups)), [f"{each}" for each in groups])
        axis.set(xlabel="GroupNorm groups (32: time-blind)", ylabel=said, yscale="log")
    left.axhline(
        rows.array("sw2_zeros", "seed", "groups", "direction").mean(), color="0.4", ls="--", lw=1, label="all zeros"
    )
    left.legend(frameon=False, fontsize=8)
    for colour, each in zip(COLOURS, groups, strict=False):
        mine = rows.where(groups=each)
        found = np.exp(np.log(curves(mine, "excess_levels")).mean(0))
        right.plot(levels_of(mine), found, "o-", color=colour, label=f"{each} groups")
    right.set(xlabel="noise level t", ylabel="excess denoising error", yscale="log")
    right.legend(frameon=False, fontsize=8)
    return figure
