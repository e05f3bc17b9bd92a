"""The picture of the study ``power-law``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scoregrain.metrics.statistics import student_quantile
from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.study import Rows
from scoregrain.studies.summaries import mean_and_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARMS = {
    "colour": "weak:\ncolour alone",
    "literal": "weak: formula\nas printed",
    "strong": "strong:\ncolour alone",
    "amount": "strong:\namount alone",
    "both": "strong:\nboth",
    "rough": "strong, rough:\ncolour alone",
}
Values = Mapping[str, NDArray[np.float64]]


def power_law_figure(rows: Rows, data: Sequence[str], sw2: Values, bound: Values) -> Figure:
    """Three panels: gain over white noise by arm with 95 % intervals, SW₂ against α, gain of the bound by arm.

    Args:
        rows: Of all cells.
        data: Names of the data sets.
        sw2: log SW₂ of the arms, (data sets, seeds) each.
        bound: Above the best affine denoiser's, bits per dimension, likewise.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(18, 4.6), layout="constrained")
    axes = figure.subplots(1, 3)
    _gains(axes[0], data, sw2)
    axes[0].set(title="Generation (up is better)", ylabel="log SW₂(white) / SW₂")
    for i, name in enumerate(data):
        _sweep(axes[1], rows.where(data=name), name, COLOURS[i % len(COLOURS)])
    axes[1].set(
        title="Colour alone", xlabel="α (negative is smooth; 0 is white)", ylabel="SW₂ to held-out data", yscale="log"
    )
    axes[1].legend(fontsize=8)
    _gains(axes[2], data, bound)
    axes[2].set(title="Bound beyond the affine denoiser's (up is better)", ylabel="white less arm, bits per dimension")
    for axis in axes:
        axis.grid(axis="y", alpha=0.3)
    return figure


def _gains(axis: Axes, data: Sequence[str], values: Values) -> None:
    """White less each arm, mean over seeds with its 95 % t interval, data sets side by side."""
    for i, name in enumerate(data):
        gains = [values["white"][i] - values[arm][i] for arm in ARMS]
        means, errors = np.array([mean_and_error(gain) for gain in gains]).T
        counts = [max(2, int(np.isfinite(gain).sum())) for gain in gains]
        half = errors * np.array([student_quantile(0.975, count - 1) for count in counts])
        places = np.arange(len(ARMS)) + 0.12 * (i - (len(data) - 1) / 2)
        half = np.where(np.isfinite(half), half, 0.0)
        colour = COLOURS[i % len(COLOURS)]
        axis.errorbar(places, means, half, fmt="osD^v<>"[i % 7], markersize=5, color=colour, label=name, capsize=2)
    axis.axhline(0, color="0.5", linewidth=0.8)
    axis.set_xticks(range(len(ARMS)), list(ARMS.values()), fontsize=7)
    axis.legend(fontsize=8, title="95 % t intervals", title_fontsize=7)


def _sweep(axis: Axes, rows: Rows, name: str, colour: str) -> None:
    """SW₂ of the colour alone against α, with standard errors, and a fresh resample's."""
    chosen = [row.cell["alpha"] for row in rows if row["kind"] in ("white", "colour")]
    alphas = sorted({float(alpha) for alpha in chosen})
    groups = [rows.where(kind="colour" if a else "white", alpha=a).array("sw2", "seed") for a in alphas]
    means, errors = np.array([mean_and_error(group) for group in groups]).T
    axis.errorbar(
        alphas, means, np.where(np.isfinite(errors), errors, 0.0), fmt="o-", color=colour, label=name, capsize=2
    )
    fresh = mean_and_error(rows.where(kind="white").array("sw2_resample", "seed"))[0]
    axis.axhline(fresh, color=colour, linestyle=":", label=f"{name}, fresh data")
