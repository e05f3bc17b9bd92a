"""Tables and the figure of ``time-blindness``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.families import AWARE_GROUPS
from scoregrain.studies.study import Rows, Table
from scoregrain.studies.summaries import (
    curves,
    levels_of,
    mean_and_error,
    with_error,
    written,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDS = ("top", "bottom")
SHAPE_OF_G = ("trace", "trace_error", "largest", "largest_error", "effective_rank", "sensitivity")
"""What is told of each geometry, in the order of the material and under these names in the rows."""


def geometry_table(rows: Rows) -> Table:
    """A row for each number of groups."""
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


def outcome_table(rows: Rows) -> Table:
    """A row for each number of groups and direction, beside the trivial baselines."""
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


def draw_figure(rows: Rows) -> Figure:
    """Both outcomes against the number of groups, and the excess against the noise level."""
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
