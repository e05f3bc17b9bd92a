"""The table and the figure of ``noise-in-the-grain``."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.noise_in_the_grain_claims import HAAR, OUTCOMES, PLACES, SAD
from scoregrain.studies.study import Rows, Table
from scoregrain.studies.summaries import Floats, mean_and_error, with_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def outcome_table(rows: Rows) -> Table:
    """A row for each noise and direction."""
    names = ("sw2", "width", "off", "gap", "excess", "excess_white", "loss")
    trivial = ("sw2_exact", "sw2_resample", "sw2_zeros", "sw2_white")
    entries = [
        (
            "eigenvectors" if basis == SAD else "random",
            f"{gamma:g}",
            f"{direction} (#{mine[0]['index']})",
            f"{mine.array('variance', 'seed').mean():.3g}",
            f"{mine[0]['inverse']:.3g}",
            f"{mine[0]['theory_time']:.3g}" if basis == SAD else "–",
            f"{mine[0]['theory_noise']:.3g}" if basis == SAD else "–",
            *(with_error(mine.array(name, "seed")) for name in names),
            *(f"{mean_and_error(mine.array(name, 'seed'))[0]:.3g}" for name in trivial),
        )
        for basis in rows.levels("basis")
        for gamma in rows.where(basis=basis).levels("gamma")
        for direction in PLACES
        for mine in [rows.where(basis=basis, gamma=gamma, direction=direction)]
    ]
    return Table(
        "Rank-one data under noise of variance s ∝ λ^-γ",
        (
            "basis of the noise",
            "γ",
            "direction",
            "vᵀΣv",
            "mean 1/s",
            "theory: time",
            "theory: gradient noise",
            "SW₂",
            "width",
            "energy off v",
            "gap to the exact score",
            "excess",
            "whitened excess",
            "training loss",
            "SW₂ exact score",
            "resample",
            "zeros",
            "white",
        ),
        tuple(entries),
        "± is one standard error over seeds. Training losses are in units of Σ: compare them within a noise only. SW₂ "
        "of the exact score says what the sampler itself loses: where noise is weak along the data (large λ, γ = 1), "
        "the last level still holds a share of the data, which samples that begin with pure noise lack.",
    )


def draw_figure(rows: Rows) -> Figure:
    """All outcomes against γ, what the linear theory says of the time of training beside them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.5), layout="constrained")
    *judged, right, unused = figure.subplots(2, 3).flat
    unused.remove()
    sad = rows.where(basis=SAD)
    gammas = sad.levels("gamma")
    for axis, (name, _, symbol) in zip(judged, OUTCOMES.values(), strict=True):
        for i, direction in enumerate(PLACES):
            _draw(axis, gammas, sad.where(direction=direction).array(name, "seed", "gamma"), i, "o-", direction)
            apart = rows.where(basis=HAAR, direction=direction)
            x = [apart[0]["gamma"] + 0.15]
            _draw(axis, x, apart.array(name, "seed", "gamma"), i, "s", "random basis" if i == 0 else None)
        axis.set(xlabel="γ  (0: white)", ylabel=fill(symbol, 32), yscale="log")
    zeros = float(np.mean([row["sw2_zeros"] for row in rows]))
    judged[0].axhline(zeros, color="0.4", ls="--", lw=1, label="all zeros")
    judged[0].legend(frameon=False, fontsize=8)
    for i, direction in enumerate(PLACES):
        right.plot(
            gammas, sad.where(direction=direction).array("theory_time", "seed", "gamma")[0], "o-", color=COLOURS[i]
        )
    right.set(xlabel="γ  (0: white)", ylabel="time of training, linear theory", yscale="log")
    return figure


def _draw(axis: Any, x: Any, table: Floats, i: int, style: str, label: str | None) -> None:
    """Mean and error over seeds, and the seeds, slightly apart by direction."""
    at = np.asarray(x, dtype=np.float64) + 0.02 * (i - 1)
    mean, error = np.array([mean_and_error(column) for column in table.T]).T
    axis.plot(np.broadcast_to(at, table.shape).T, table.T, ".", color=COLOURS[i], alpha=0.4)
    axis.errorbar(at, mean, error, fmt=style, color=COLOURS[i], capsize=3, label=label)
