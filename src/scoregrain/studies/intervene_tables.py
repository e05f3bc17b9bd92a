"""The table and the figure of ``intervene``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.intervene_claims import ARMS, DOSE, OUTCOMES, SPECTRA, changes, contrast, slopes
from scoregrain.studies.study import Rows, Table
from scoregrain.studies.summaries import mean_and_error, with_error, written

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_COLUMNS = (
    "geometry",
    "direction",
    "λ of the direction",
    "SW₂",
    "width",
    "energy off v",
    "gap to the exact score",
    "excess along v",
    "excess along v, t = T - 1",
    "excess off v",
    "training loss",
    "SW₂ resample",
    "zeros",
    "white",
    "exact score",
)


def outcome_table(rows: Rows) -> Table:
    """A row for each geometry and direction."""
    names = ("sw2", "width", "off", "gap", "excess_along", "excess_along_last", "excess_off", "loss")
    trivial = ("sw2_resample", "sw2_zeros", "sw2_white", "sw2_exact")
    entries = []
    for arm in rows.levels("arm"):
        for direction in ARMS[arm]:
            mine = rows.where(arm=arm, direction=direction)
            entries.append(
                (
                    arm,
                    f"{direction} (#{mine[0]['index']})",
                    _eigenvalue(mine),
                    *(with_error(mine.array(name, "seed")) for name in names),
                    *(f"{mean_and_error(mine.array(name, 'seed'))[0]:.3g}" for name in trivial),
                )
            )
    return Table(
        "Rank-one data along the same directions under changed geometries",
        _COLUMNS,
        tuple(entries),
        "± is one standard error over seeds. λ is vᵀ A G Aᵀ v of the changed geometry (under permute the median: each "
        "seed has its own order). Width is in units of the law's, energy off v per direction (the law has none).",
    )


def _eigenvalue(rows: Rows) -> str:
    return written(float(np.median(rows.array("eigenvalue", "seed"))), math.nan)


def draw_figure(rows: Rows) -> Figure:
    """The order of the two ends under each geometry, for both outcomes, and what a change of λ does where it is run."""
    from matplotlib.figure import Figure

    arms: list[str] = rows.levels("arm")
    dose = set(DOSE) <= set(arms)
    figure = Figure(figsize=(13 if dose else 9, 1.6 + 0.2 * len(arms)), layout="constrained")
    axes = figure.subplots(1, 3 if dose else 2)
    for axis, (name, _, symbol) in zip(axes[:2], OUTCOMES.values(), strict=True):
        for i, arm in enumerate(arms):
            found = contrast(rows, name, arm)
            mean, error = mean_and_error(found)
            axis.plot(found, [i] * len(found), ".", color=COLOURS[0], alpha=0.4)
            axis.errorbar(mean, i, xerr=error, fmt="o", color=COLOURS[1], capsize=3)
        axis.axvline(0, color="0.4", lw=1)
        axis.set_yticks(range(len(arms)), arms)
        axis.invert_yaxis()
        axis.set(xlabel=f"log {symbol}, top minus bottom", title="worse along the largest λ of G →")
    if dose:
        _draw_dose(axes[2], rows)
    return figure


def _draw_dose(axis: Any, rows: Rows) -> None:
    for colour, arm in zip(COLOURS, SPECTRA, strict=False):
        x, y = changes(rows, "sw2", arm)
        axis.plot(x, y, "o", color=colour, ms=4, label=[arm] + [None] * (x.shape[1] - 1))
    axis.axhline(0, color="0.8", lw=1, zorder=0)
    slope, error = mean_and_error(slopes(rows, "sw2"))
    axis.set(xlabel="change of log λ", ylabel="change of log SW₂", title=f"slope {written(slope, error)}")
    axis.legend(frameon=False, fontsize=8)
