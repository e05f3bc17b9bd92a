"""Figure 6 of the first paper: quality of rank-one data against their eigenvalue (MATH A7, A9, A11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from scoregrain._random import stream_seed
from scoregrain.datasets import RankOne
from scoregrain.geometry import measure_geometry
from scoregrain.studies.directions import NULL, directions, places
from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.families import study_family
from scoregrain.studies.outcomes import law_outcomes, sampler_outcomes
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Table
from scoregrain.studies.summaries import (
    Floats,
    above_zero,
    curves,
    levels_of,
    mean_and_error,
    ordered,
    shuffled,
    trend_note,
    with_error,
    written,
)
from scoregrain.studies.trained import TrainedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST_PAPER = "arXiv 2510.22899, Conjecture 1 and Figure 6"


@dataclass(frozen=True, kw_only=True)
class RankOneStudy(TrainedStudy):
    """Train on x = √D ξ v along directions v of the geometry, from the largest eigenvalue to the smallest.

    Attributes:
        networks: Families by name.
        places: How many clusters of each network's directions; the first has the largest eigenvalue.
        measured: Networks that each geometry is measured with.
        seeds: Paired: a seed is the initialisation, the ξ of the data, batches, levels, noise and projections. Of a
            cluster of several directions each seed takes a random one.
        updates: Of each network.
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

    def cells(self) -> list[Cell]:
        """Seed by seed, so that an unfinished study has whole pairs."""
        return [
            {"seed": seed, "network": network, "place": place}
            for seed in range(self.seeds)
            for network, count in zip(self.networks, self.places, strict=True)
            for place in range(count)
        ]

    def claims(self) -> list[Claim]:
        """The paper's claim for both outcomes, and what may explain why they differ."""
        return [claim for network in self.networks for claim in _claims(network, self.other_sampler)]

    def material(self) -> Material:
        """Directions (P, S, C, *space) and eigenvalues with errors, first indices and sizes (P, 4) of each network."""
        found: Material = {}
        for network, count in zip(self.networks, self.places, strict=True):
            geometry = measure_geometry(study_family(network), self.measured)
            chosen = places(geometry, count)
            found[f"{network} directions"] = directions(geometry, chosen, self.seeds)
            rows = [(place.value, place.error, place.index, place.size) for place in chosen]
            found[f"{network} places"] = torch.tensor(rows, dtype=torch.float64)
        return found

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train along one direction and judge."""
        network, place, seed = str(cell["network"]), int(cell["place"]), int(cell["seed"])
        value, error, index, size = material[f"{network} places"][place].tolist()
        law = RankOne(material[f"{network} directions"][place, seed])
        updates = self.updates[self.networks.index(network)]
        fitted = self.trained(study_family(network), law, seed, updates, self._rate(network))
        outcomes = law_outcomes(fitted.model, fitted.setup.process, law, self.sampling, seed)
        other = replace(self.sampling, sampler=self.other_sampler)
        outcomes |= sampler_outcomes(fitted.model, fitted.setup.process, law, other, seed)
        where = {"eigenvalue": value, "eigenvalue_error": error, "index": int(index), "multiplicity": int(size)}
        return {**where, "loss": fitted.loss, **outcomes}

    def _rate(self, network: str) -> float:
        return self.learning_rates[self.networks.index(network)] if self.learning_rates else self.learning_rate

    def findings(self, rows: Rows) -> list[Finding]:
        """By network, in the order of the claims."""
        return [finding for network in self.networks for finding in self._findings(network, rows)]

    def _findings(self, network: str, rows: Rows) -> list[Finding]:
        claims = {claim.key.split(":")[0]: claim for claim in _claims(network, self.other_sampler)}
        rows = rows.where(network=network)
        value = rows.array("eigenvalue", "seed", "place")
        sw2 = rows.array("sw2", "seed", "place")
        names = ("excess_along", "excess_along_last", "gap_first_order")
        along, last, first_order = (rows.array(name, "seed", "place") for name in names)
        other = np.log(rows.array(f"sw2_{self.other_sampler}", "seed", "place"))
        logs, zeros = np.log(sw2), np.log(rows.array("sw2_zeros", "seed", "place"))
        growing = sw2[:, ::-1]  # from the smallest eigenvalue to the largest, the order that is claimed
        return [
            ordered(claims["trend-sw2"], value, sw2, note=trend_note(growing)),
            above_zero(claims["ends-sw2"], logs[:, 0] - logs[:, -1]),
            above_zero(claims["ends-other"], other[:, 0] - other[:, -1]),
            ordered(claims["trend-denoising"], value, along, note=trend_note(along[:, ::-1])),
            ordered(claims["outcomes-agree"], along, sw2),
            ordered(claims["last-level"], last, sw2),
            ordered(claims["first-order"], first_order, sw2),
            above_zero(claims["worse-than-nothing"], (logs - zeros).mean(1)),
            ordered(claims["control"], shuffled(value, stream_seed(0, network)), sw2),
        ]

    def tables(self, rows: Rows) -> list[Table]:
        """One for each network, a row for each direction."""
        return [_table(network, self.other_sampler, rows.where(network=network)) for network in self.networks]

    def figure(self, rows: Rows) -> Figure:
        """Both outcomes against the eigenvalue, and the error along the direction against the noise level."""
        return _figure(self.networks, rows)


def _claims(network: str, other: str) -> list[Claim]:
    per_seed = "mean over seeds of Spearman's ρ over directions between λ and"
    rule = "holds (is refuted) where Student's 95 % interval over seeds is above (below) 0"

    def claim(key: str, text: str, source: str, statistic: str, control: bool = False) -> Claim:
        return Claim(f"{key}:{network}", f"{network}: {text}", source, f"{statistic}; {rule}", control)

    return [
        claim("trend-sw2", "samples are worse along larger eigenvalues", FIRST_PAPER, f"{per_seed} SW₂"),
        claim(
            "ends-sw2",
            "samples along the largest eigenvalue are worse than along the smallest",
            FIRST_PAPER,
            "mean over seeds of log SW₂ (largest) - log SW₂ (smallest)",
        ),
        claim(
            "ends-other",
            f"the same with the sampler {other}",
            FIRST_PAPER,
            f"mean over seeds of log SW₂ (largest) - log SW₂ (smallest), by {other}",
        ),
        claim(
            "trend-denoising",
            "denoising along the direction is worse for larger eigenvalues",
            FIRST_PAPER + ", by the excess denoising error",
            f"{per_seed} E (v·(ε̂ - ε*))²",
        ),
        claim(
            "outcomes-agree",
            "directions along which denoising is worse are those along which samples are worse",
            "here",
            "mean over seeds of Spearman's ρ over directions between E (v·(ε̂ - ε*))² and SW₂",
        ),
        claim(
            "last-level",
            "the error along the direction at the last noise level alone orders the samples",
            "here",
            "mean over seeds of Spearman's ρ over directions between E (v·(ε̂ - ε*))² at t = T - 1 and SW₂",
        ),
        claim(
            "first-order",
            "denoising errors, carried to the end by the exact flow to first order, order the samples",
            "here",
            "mean over seeds of Spearman's ρ over directions between ∫ √E (v·(ε̂ - ε*))² d asinh(r/√D), r the ratio of "
            "noise to signal, and SW₂",
        ),
        claim(
            "worse-than-nothing",
            "samples are further from the law than all zeros",
            "MATH A8",
            "mean over seeds of log SW₂ - log SW₂ of zeros, averaged over directions",
        ),
        claim(
            "control",
            "eigenvalues in a random order predict the samples",
            "control",
            f"{per_seed} SW₂, the labels of each seed shuffled",
            control=True,
        ),
    ]


_EXCESS = ("excess_along", "excess_along_last", "excess_off")
_COLUMNS = (
    "index",
    "λ",
    "SW₂",
    "MSW₂",
    "width",
    "energy off v",
    "gap to the exact score",
    "gap along v",
    "gap along v, first order",
    "excess along v",
    "excess along v, t = T - 1",
    "excess off v",
    "SW₂ resample",
    "zeros",
    "white",
    "exact score",
)


def _table(network: str, other: str, rows: Rows) -> Table:
    entries = []
    for place in rows.levels("place"):
        mine = rows.where(place=place)
        first, size = mine[0]["index"], mine[0]["multiplicity"]
        index = f"{first}" if size == 1 else f"{first} to {first + size - 1}"
        names = ("sw2", f"sw2_{other}", "msw2", "width", "off", "gap", "gap_along", "gap_first_order", *_EXCESS)
        trivial = ("sw2_resample", "sw2_zeros", "sw2_white", "sw2_exact")
        entries.append(
            (
                index,
                written(mine[0]["eigenvalue"], mine[0]["eigenvalue_error"]),
                *(with_error(mine.array(name, "seed")) for name in names),
                *(f"{mean_and_error(mine.array(name, 'seed'))[0]:.3g}" for name in trivial),
            )
        )
    return Table(
        f"Rank-one data along directions of {network}",
        (*_COLUMNS[:3], f"SW₂ by {other}", *_COLUMNS[3:]),
        tuple(entries),
        "± is one standard error over seeds, that of λ is its measurement's. Width is in units of the law's, energy "
        "off v per direction (the law has none), the gap is the root mean square per coordinate between samples of the "
        "network and of the exact score from the same noise.",
    )


def _figure(networks: tuple[str, ...], rows: Rows) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * 3, 3.6 * len(networks)), layout="constrained")
    axes = figure.subplots(len(networks), 3, squeeze=False)
    for (left, middle, right), network in zip(axes, networks, strict=True):
        mine = rows.where(network=network)
        values = mine.array("eigenvalue", "seed", "place")[0]
        values = np.where(values > NULL * values.max(), values, 0.0)
        x = np.where(values > 0, values, values[values > 0].min() / 10)  # a log axis has no place for the null space
        for axis, name, said in ((left, "sw2", "SW₂"), (middle, "excess_along", "excess error along v")):
            table = mine.array(name, "seed", "place")
            axis.loglog(np.broadcast_to(x, table.shape).T, table.T, ".", color=COLOURS[0], alpha=0.4)
            axis.loglog(x, np.exp(_mean_log(table)), "o-", color=COLOURS[1])
            axis.set(xlabel="eigenvalue λ" + (" (left end: null space)" if values.min() <= 0 else ""), ylabel=said)
        left.axhline(mine.array("sw2_zeros", "seed", "place").mean(), color="0.4", ls="--", lw=1, label="all zeros")
        left.axhline(mine.array("sw2_resample", "seed", "place").mean(), color="0.4", ls=":", lw=1, label="resample")
        left.legend(frameon=False, fontsize=8)
        left.set_title(network)
        _draw_levels(right, mine)
    return figure


def _mean_log(table: Floats) -> Floats:
    """Mean over seeds of the logarithm, of what is a number."""
    logs = np.log(np.where(np.isfinite(table), np.maximum(table, 1e-12), np.nan))
    mean: Floats = np.nanmean(logs, axis=0)
    return mean


def _draw_levels(axis: Any, rows: Rows) -> None:
    """The error along the direction over noise levels: the first, the middle and the last direction."""
    found, largest = rows.levels("place"), max(row["eigenvalue"] for row in rows)
    for colour, place in zip(COLOURS, (found[0], found[len(found) // 2], found[-1]), strict=False):
        mine = rows.where(place=place)
        mean, error = np.array([mean_and_error(level) for level in curves(mine, "excess_along_levels").T]).T
        axis.errorbar(levels_of(mine), mean, error, color=colour, label=_named(mine[0]["eigenvalue"], largest))
    axis.set(xlabel="noise level t", ylabel="excess error along v", yscale="log")
    axis.legend(frameon=False, fontsize=8)


def _named(value: float, largest: float) -> str:
    return f"λ = {value:.3g}" if value > NULL * largest else "null space"
