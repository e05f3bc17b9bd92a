"""Tables and the figure of ``alignment``: outcomes by rotation, energy and error along the network's directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.image_outcomes import GROUPS, target_note
from scoregrain.studies.study import Rows, Table
from scoregrain.studies.summaries import Floats, mean_and_error, with_error, written

if TYPE_CHECKING:
    from matplotlib.figure import Figure


W_MIN, IDENTITY, W_MAX, HAAR, OTHER_HAAR = "W_min", "identity", "W_max", "Haar", "another Haar"
ROTATIONS = (W_MIN, IDENTITY, W_MAX, HAAR, OTHER_HAAR)


def relative_errors(rows: Rows) -> Floats:
    """Denoising error over that of the linear denoiser, by seed and quarter (S, 4); NaN where missing."""
    missing = [math.nan] * GROUPS
    own, linear = ([row[name] or missing for row in rows] for name in ("error_groups", "error_linear_groups"))
    ratio: Floats = np.array(own, dtype=np.float64) / np.array(linear, dtype=np.float64)
    return ratio


_OUTCOMES = {
    "alignment": "α over chance",
    "sw2": "SW₂",
    "msw2": "MSW₂",
    "spectrum": "log-spectral distance",
    "fd": "FD-random-conv",
    "error": "denoising error",
    "loss": "training loss",
    "labels_off": "label shares off by",
    "labels_outside": "samples outside all data",
}


def outcome_table(network: str, rows: Rows, seen: int) -> Table:
    """A row for each rotation and each trivial generator; ``seen`` images went into each training."""
    names = [name for name in _OUTCOMES if rows and name in rows[0].values]
    entries = [
        (rotation, *(_entry(rows.where(rotation=rotation), name) for name in names))
        for rotation in ROTATIONS
        if len(rows.where(rotation=rotation))
    ]
    return Table(
        f"{network}, trained on {seen:,} images: outcomes by rotation, and of trivial generators",
        ("", *(_OUTCOMES[name] for name in names)),
        (*entries, *_baseline_entries(names, rows.where(rotation=IDENTITY))),
        "± is one standard error over seeds, but of α of W_min, identity and W_max, one each, that of its measurement; "
        "α of the first and the last is cross-fitted. The Gaussian has the moments of the training images; its "
        "denoiser is the best linear one. Label shares: total variation to those of the data. " + target_note(rows),
    )


def _entry(rows: Rows, name: str) -> str:
    """A value over seeds; α of a rotation that all seeds share with the error of its measurement."""
    found, error = rows.array(name, "seed"), rows.array("alignment_error", "seed")
    if name == "alignment" and np.isfinite(error).all():
        return written(float(found[0]), float(error[0]))
    return with_error(found)


_BASELINES = {
    "fresh images": {"sw2": "sw2_resample", "spectrum": "spectrum_resample", "fd": "fd_resample"}
    | {"labels_off": "labels_off_held_out", "labels_outside": "labels_outside_held_out"},
    "Gaussian": {"sw2": "sw2_gaussian", "spectrum": "spectrum_gaussian", "fd": "fd_gaussian", "error": "error_linear"},
    "zeros": {"sw2": "sw2_zeros"},
    "white noise": {"sw2": "sw2_white"},
}


def _baseline_entries(names: list[str], rows: Rows) -> list[tuple[str, ...]]:
    return [
        (said, *(with_error(rows.array(values[name], "seed")) if name in values else "–" for name in names))
        for said, values in _BASELINES.items()
    ]


def quarter_table(rows: Rows) -> Table:
    """A row for each rotation, a column for each quarter of the network's directions."""
    entries = []
    for rotation in rows.levels("rotation"):
        mine = rows.where(rotation=rotation)
        shares = _data_shares(mine).T
        energy = _table_of(mine, "energy_groups").T
        error = relative_errors(mine).T
        entries.append((rotation, *(_three(*each) for each in zip(shares, energy, error, strict=True))))
    return Table(
        "Energy and error along the network's directions, from the largest eigenvalues to the smallest",
        ("", "first quarter", "second", "third", "last quarter"),
        tuple(entries),
        "In each entry: share of the data's energy; energy of the samples over the data's; denoising error over that "
        "of the best linear denoiser. Means over seeds, ± one standard error.",
    )


def _three(share: Floats, energy: Floats, error: Floats) -> str:
    return f"{100 * mean_and_error(share)[0]:.2g} %; {with_error(energy)}; {with_error(error)}"


def _table_of(rows: Rows, name: str) -> Floats:
    """A value in quarters of every seed (S, 4); NaN where missing."""
    found: Floats = np.array([row[name] or [math.nan] * GROUPS for row in rows], dtype=np.float64)
    return found


def _data_shares(rows: Rows) -> Floats:
    energy = _table_of(rows, "energy_groups_data")
    shares: Floats = energy / energy.sum(1, keepdims=True)
    return shares


def draw_figure(rows: Rows) -> Figure:
    """Distances and errors by rotation beside trivial baselines, and energy along the network's directions."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    distances, errors, quarters = figure.subplots(1, 3)
    lines = {"sw2_zeros": "all zeros", "sw2_gaussian": "Gaussian", "sw2_resample": "fresh images"}
    _draw_rotations(distances, rows, "sw2", "SW₂ to held-out images", lines)
    _draw_rotations(errors, rows, "error", "denoising error", {"error_linear": "best linear denoiser"})
    for i, (colour, rotation) in enumerate(zip(COLOURS, ROTATIONS, strict=False)):
        table = _table_of(rows.where(rotation=rotation), "energy_groups")
        means, spread = zip(*(mean_and_error(column) for column in table.T), strict=True)
        at = np.arange(1, GROUPS + 1) + 0.05 * (i - 2)  # side by side: two Haar rotations are as good as one
        quarters.errorbar(at, means, spread, marker="o", capsize=3, color=colour, label=rotation)
    quarters.axhline(1, color="0.4", ls=":", lw=1)
    quarters.set(xlabel="quarter of the network's directions, largest λ first", yscale="log")
    quarters.set(ylabel="energy of samples over data", xticks=range(1, GROUPS + 1))
    quarters.legend(frameon=False, fontsize=8)
    return figure


def _draw_rotations(axis: Any, rows: Rows, name: str, said: str, lines: Mapping[str, str]) -> None:
    """A value by rotation, a point for each seed and the mean with its error; baselines as lines."""
    for i, rotation in enumerate(ROTATIONS):
        found = rows.where(rotation=rotation).array(name, "seed")
        axis.plot(np.full(len(found), i), found, ".", color=COLOURS[0], alpha=0.4)
        mean, error = mean_and_error(found)
        axis.errorbar([i], [mean], [error], fmt="o", color=COLOURS[1], capsize=3)
    for colour, (key, what) in zip(("0.3", "0.5", "0.7"), lines.items(), strict=False):
        level = mean_and_error(rows.where(rotation=IDENTITY).array(key, "seed"))[0]
        axis.axhline(level, color=colour, ls="--", lw=1, label=what)
    axis.set(xticks=range(len(ROTATIONS)), ylabel=said, yscale="log" if name == "sw2" else "linear")
    axis.set_xticklabels(["another\nHaar" if each == OTHER_HAAR else each for each in ROTATIONS], fontsize=8)
    axis.legend(frameon=False, fontsize=8)
