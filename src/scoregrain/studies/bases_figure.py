"""The tables and the figure of the study ``bases``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.orders import correlation, log_worst
from scoregrain.studies.study import Rows, Table
from scoregrain.studies.summaries import mean_and_error, with_error, worse_than_zeros, written

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUTCOMES = {"sw2": "SW₂", "excess_along": "excess denoising error along v"}

_TRIVIAL = ("sw2_resample", "sw2_zeros", "sw2_white", "sw2_exact")


def bases_table(rows: Rows) -> Table:
    """A line for each basis: ranges, correlations, trivial baselines."""
    entries = []
    for basis in rows.levels("basis"):
        mine = rows.where(basis=basis)
        predicted = mine.array("predicted", "vector", "seed")[:, 0]
        tables = {name: mine.array(name, "vector", "seed") for name in (*OUTCOMES, *_TRIVIAL)}
        rhos = [f"{correlation(predicted, tables[name]):.2f}" for name in OUTCOMES]
        sw2 = np.exp(log_worst(tables["sw2"]).mean(1))
        trivial = (f"{mean_and_error(tables[name].ravel())[0]:.3g}" for name in _TRIVIAL)
        spans = (f"{low:.3g} to {high:.3g}" for low, high in ((min(x), max(x)) for x in (predicted, sw2)))
        entries.append((basis, *spans, *rhos, *trivial))
    columns = ("basis", "vᵀGv", "SW₂", "ρ with SW₂", "ρ with excess along v", "resample", "zeros", "white noise")
    note = "SW₂ of each vector is the geometric mean over seeds; the last four are SW₂ of trivial generators and of the"
    note += f" sampler with the exact score. By SW₂ {worse_than_zeros(rows)}."
    return Table("Bases", (*columns, "exact score"), tuple(entries), note)


def vectors_table(rows: Rows) -> Table:
    """A line for each vector."""
    entries = []
    for basis in rows.levels("basis"):
        for vector in rows.levels("vector"):
            mine = rows.where(basis=basis, vector=vector)
            predicted = written(mine[0]["predicted"], mine[0]["predicted_error"])
            names = ("sw2", "excess_along", "width", "off", "gap")
            told = (with_error(mine.array(name, "seed")) for name in names)
            entries.append((basis, predicted, f"{mine[0]['control']:.3g}", *told))
    columns = ("basis", "vᵀGv", "vᵀG'v", "SW₂", "excess along v", "width", "energy off v", "gap to the exact score")
    note = "± is one standard error over seeds, that of vᵀGv its measurement's. G' is G, turned by a Haar rotation."
    return Table("Vectors", columns, tuple(entries), note)


def bases_figure(rows: Rows) -> Figure:
    """Both outcomes against vᵀGv, a colour for each basis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axis, (name, said) in zip(figure.subplots(1, 2), OUTCOMES.items(), strict=True):
        for colour, marker, basis in zip(COLOURS, "osv^D*P", rows.levels("basis"), strict=False):
            mine = rows.where(basis=basis)
            x = mine.array("predicted", "vector", "seed")[:, 0]
            errors = mine.array("predicted_error", "vector", "seed")[:, 0]
            logs = np.log(mine.array(name, "vector", "seed"))
            y, spread = np.array([mean_and_error(row) for row in logs]).T
            middle = np.exp(y)
            bars = (middle - np.exp(y - spread), np.exp(y + spread) - middle)
            style = {"fmt": marker, "color": colour, "ms": 5, "alpha": 0.8, "elinewidth": 0.8, "label": basis}
            axis.errorbar(x, middle, yerr=np.nan_to_num(bars), xerr=errors, **style)
        axis.set(xscale="log", yscale="log", xlabel="vᵀGv, before training", ylabel=said)
    for dashes, trivial in (("--", "zeros"), (":", "resample")):
        level = float(np.nanmean(rows.array(f"sw2_{trivial}", "basis", "vector", "seed")))
        figure.axes[0].axhline(level, color="0.4", ls=dashes, lw=1, label=trivial)
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure
