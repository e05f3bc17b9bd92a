"""Tables and the figure of ``rank-one``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scoregrain.studies.directions import NULL
from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.study import Rows, Table
from scoregrain.studies.summaries import (
    Floats,
    curves,
    levels_of,
    mean_and_error,
    with_error,
    written,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def outcome_table(network: str, other: str, rows: Rows) -> Table:
    """A row for each direction."""
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


def draw_figure(networks: tuple[str, ...], rows: Rows) -> Figure:
    """Both outcomes against the eigenvalue, and the error along the direction against the noise level."""
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
