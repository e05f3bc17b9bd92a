"""The picture of the study ``omission``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.study import Rows
from scoregrain.studies.summaries import mean_and_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DISTANCE = {
    "plain": "plain diffusion",
    "plain_emptied": "plain, band emptied",
    "plain_mean": "plain, band = mean",
    "emptied": "plain, trained without the band",
    "conditional": "omission, m = 0",
    "conditional_mean": "omission, m = mean",
    "corrupted_emptied": "data, band emptied",
}
OUTSIDE = {
    "plain": "plain diffusion",
    "conditional": "conditional, m = 0",
    "conditional_mean": "conditional, m = mean",
    "conditional_drawn": "conditional, m drawn",
    "marginal": "marginal",
    "emptied": "plain, trained without the band",
    "resample": "fresh clean data",
}
LAW = {
    "conditional": "conditional, m = 0",
    "drawn": "conditional, m drawn",
    "marginal": "marginal",
    "resample": "fresh clean data",
}
STYLES = dict(
    zip(
        (
            ("plain",),
            ("plain_emptied", "drawn", "conditional_drawn"),
            ("plain_mean", "marginal"),
            ("emptied",),
            ("conditional",),
            ("conditional_mean",),
            ("corrupted_emptied", "resample"),
        ),
        zip(COLOURS, "osD^v<>", strict=True),
        strict=True,
    )
)
"""Colour and marker by name; one panel has one name of each group."""


def omission_figure(rows: Rows, bands: Sequence[str]) -> Figure:
    """Three panels by band: SW₂ to clean data, the same outside the band, and W₂ of the exact laws there."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5.2), layout="constrained")
    axes = figure.subplots(1, 3)
    networks, law = rows.where(part="networks"), rows.where(part="law")
    _points(axes[0], networks, "sw2", DISTANCE)
    clean = mean_and_error(rows.where(part="clean").array("sw2_clean", "seed"))[0]
    axes[0].axhline(clean, color="0.6", linestyle="--", label="plain diffusion, clean data")
    axes[0].set(title="All frequencies", ylabel="SW₂ to clean data", yscale="log")
    _points(axes[1], networks, "outside", OUTSIDE)
    axes[1].set(title="The band removed from both", ylabel="SW₂ to clean data", yscale="log")
    _points(axes[2], law, "w2", LAW)
    closed = np.nanmean(law.array("closed", "seed", "band"), 0)
    axes[2].plot(range(len(bands)), closed, "_", color="black", markersize=30, label="conditional, m = 0, closed form")
    axes[2].set(title="Gaussian data, exact scores, outside the band", ylabel="W₂ to the clean law / its width")
    for axis in axes:
        axis.set_xticks(range(len(bands)), bands)
        axis.set_xlim(-0.5, len(bands) - 0.5)
        axis.set_xlabel("corrupted band (1 = corner of the frequency plane)")
        axis.grid(axis="y", alpha=0.3)
        axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)
    return figure


def _points(axis: Axes, rows: Rows, key: str, names: dict[str, str]) -> None:
    """Means over seeds with standard errors, side by side in each band."""
    for i, (name, label) in enumerate(names.items()):
        columns = rows.array(f"{key}_{name}", "seed", "band").T
        means, errors = np.array([mean_and_error(column) for column in columns]).T
        colour, marker = next(style for group, style in STYLES.items() if name in group)
        places = np.arange(len(means)) + 0.09 * (i - (len(names) - 1) / 2)
        errors = np.where(np.isfinite(errors), errors, 0.0)
        axis.errorbar(places, means, errors, fmt=marker, markersize=5, color=colour, label=label, capsize=2)
