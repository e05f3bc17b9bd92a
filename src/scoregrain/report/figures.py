"""Figures of a report: spectrum, energy along the directions, place of the alignment in its range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from scoregrain.align.alignment import ROUNDING
from scoregrain.geometry import Geometry
from scoregrain.report.drawing import BLUE, GREEN, GREY, INK, ORANGE, figure, log_axis
from scoregrain.report.energy import Energy
from scoregrain.report.subject import subject
from scoregrain.report.wording import kind_of, number

_MARKS = {"identifiable": ("o", BLUE), "cluster": ("s", ORANGE), "null": ("x", GREY), "unknown": ("o", GREY)}
_LOWEST = 1e-6  # alignments over chance below this are off the figure's axis
_DENSE = 1500  # points beyond which they are drawn as pixels: the file stays small
_FLOOR = 1e-9  # of the largest value: nothing is drawn below


@dataclass(frozen=True)
class Place:
    """One row of the alignment figure, in units of chance."""

    label: str
    value: float
    error: float | None
    minimum: float
    maximum: float


def spectrum_figure(geometry: Geometry) -> str:
    """Eigenvalues against their index with one standard error, and that error in percent below."""
    errors = geometry.eigenvalue_errors
    values = geometry.eigenvalues

    def paint(canvas: Any) -> None:
        if errors is not None and not geometry.exact:
            top, bottom = canvas.subplots(2, 1, sharex=True, height_ratios=(3, 1))
            _paint_percent(bottom, values, errors)
        else:
            top = bottom = canvas.subplots()
        _paint_spectrum(top, geometry)
        bottom.set_xlabel("index of the direction (0 = largest eigenvalue)")

    return figure(paint, height=3.4 if errors is None or geometry.exact else 4.2)


def _paint_spectrum(axes: Any, geometry: Geometry) -> None:
    values, errors = geometry.eigenvalues, geometry.eigenvalue_errors
    index = torch.arange(geometry.known)
    positive = values > _FLOOR * values[0]
    if errors is not None and not geometry.exact:
        low = (values - errors).clamp_min(_FLOOR * float(values[0]))
        axes.fill_between(index, low, values + errors, where=positive, color=INK, alpha=0.18, lw=0, step="mid")
    for kind, (marker, colour) in _MARKS.items():
        members = _members(geometry, kind)
        if not len(members):
            continue
        if kind == "null":
            axes.axvspan(int(members.min()) - 0.5, geometry.known - 0.5, color=GREY, alpha=0.15, lw=0)
        shown, size = members[positive[members]], 3.2 if geometry.known <= 300 else 1.8
        label, raster = _label(geometry, kind, len(members)), geometry.known > _DENSE
        axes.plot(shown, values[shown], marker, color=colour, ms=size, mew=0.6, label=label, rasterized=raster)
    axes.set_yscale("log")
    log_axis(axes.yaxis, float(values[positive].min()), float(values[0]))
    axes.set_ylabel("eigenvalue")
    axes.set_title("Spectrum of the network's geometry")
    axes.legend(loc="upper right", markerscale=1.5)


def _label(geometry: Geometry, kind: str, count: int) -> str:
    """Legend text of one kind of direction."""
    size = geometry.structure.multiplicity
    many = f"{count}" if size == 1 else f"{count // size} eigenspace{'s' if count > size else ''} of {size}"
    return {
        "identifiable": f"identifiable: {many}",
        "cluster": f"known only together with others (cluster): {many}",
        "null": f"{'zero' if geometry.exact else 'zero within accuracy'}: {many}",
        "unknown": f"no error bars: fewer than 16 groups of {subject(geometry).units}",
    }[kind]


def _members(geometry: Geometry, kind: str) -> torch.Tensor:
    """Indices of all directions of one kind, ascending."""
    multiplicity = geometry.structure.multiplicity
    found = [k for c in geometry.clusters if kind_of(c, multiplicity) == kind for k in c.indices]
    return torch.tensor(sorted(found), dtype=torch.long)


def _paint_percent(axes: Any, values: torch.Tensor, errors: torch.Tensor) -> None:
    positive = values > 3 * errors
    index = torch.arange(len(values))[positive]
    percent = 100 * errors[positive] / values[positive]
    axes.vlines(index, 0, percent, color=GREY, lw=0.8 if len(values) <= 300 else 0.3, rasterized=len(values) > _DENSE)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("± %")
    axes.set_title("One standard error, in percent of the eigenvalue", fontsize=9.5)


def energy_figure(whole: Energy, centred: Energy | None) -> str:
    """The data's mean square along the directions, mean of all directions = 1."""

    def paint(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.axhline(1, color=INK, lw=0.8, ls=":", label="data alike in all directions: 1")
        _paint_energy(axes, whole, BLUE, "o", "the data as they are")
        if centred is not None:
            _paint_energy(axes, centred, ORANGE, "s", "mean image removed")
        axes.set_yscale("log")
        log_axis(axes.yaxis, *axes.get_ylim())
        known, last = len(whole.values), float(whole.span[2].max())
        if last >= known:  # the directions that are not known are one bin, far wider than all others
            axes.set_xscale("symlog", linthresh=known)
        axes.set_xlim(-0.03 * known, 1.03 * (last + 1))
        axes.set_xlabel("index of the direction (0 = largest eigenvalue)")
        axes.set_ylabel("energy (even: 1)")
        axes.set_title("Energy of the data along the network's directions")
        axes.legend(loc="best", markerscale=1.5)

    return figure(paint, height=3.6)


def _paint_energy(axes: Any, energy: Energy, colour: str, marker: str, label: str) -> None:
    shown = energy.relative > _FLOOR * energy.relative.max()
    if not shown.all():
        label += " (where it is not zero)"
    (low, x, high), y, error = energy.span[:, shown], energy.relative[shown], energy.errors[shown]
    below = torch.minimum(error, 0.9 * y)  # a bar to zero has no place on a logarithmic axis
    up, across = torch.stack([below, error]), torch.stack([x - low, high - x])
    axes.errorbar(x, y, up, across, fmt=marker, color=colour, ms=2.4, elinewidth=0.8, label=label)


def alignment_figure(places: Sequence[Place]) -> str:
    """Where alignments lie between their smallest and largest possible value, in units of chance."""
    return figure(_scale_painter(places), height=0.9 + 0.85 * len(places))


def _scale_painter(places: Sequence[Place]) -> Callable[[Any], None]:
    lowest = min(p.minimum for p in places)
    left = lowest / 1.5 if lowest > _LOWEST else 1e-3 * min([1.0, *(p.value for p in places if p.value > _LOWEST)])
    right = 1.5 * max(p.maximum for p in places)

    def paint(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.set_xscale("log")
        axes.set_xlim(left, right)
        log_axis(axes.xaxis, left, right)
        axes.axvline(1, color=INK, lw=1, ls=":")
        for row, place in enumerate(places):
            _paint_place(axes, len(places) - 1 - row, place, left)
        axes.set_ylim(-0.5, len(places) - 0.3)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("alignment over chance (left of 1: with the grain, right: against it)")
        axes.set_title("Where these data lie in what is possible")

    return paint


def _paint_place(axes: Any, y: int, place: Place, left: float) -> None:
    """A grey bar from the minimum to the maximum, the value with its error on it."""
    start = max(place.minimum, left)
    clear = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # the line at chance crosses no words
    axes.annotate(place.label, (left, y), (2, 20), textcoords="offset points", va="bottom", color=INK, bbox=clear)
    axes.plot([start, place.maximum], [y, y], color=GREY, lw=7, alpha=0.3, solid_capstyle="butt")
    smallest = number(place.minimum if place.minimum > ROUNDING else 0.0, 2)
    if place.minimum < left:
        smallest = f"← {smallest}"
    for end, text, side in ((start, smallest, "left"), (place.maximum, number(place.maximum), "right")):
        axes.annotate(text, (end, y), (0, -7), textcoords="offset points", ha=side, va="top", color=INK, fontsize=8)
    x, error = max(place.value, left), place.error or 0.0
    text = number(place.value if place.value > ROUNDING else 0.0)
    axes.errorbar([x], [y], xerr=[[min(error, 0.9 * x)], [error]], fmt="D", color=GREEN, ms=6, capsize=3)
    axes.annotate(text, (x, y), (0, 7), textcoords="offset points", ha="center", color=GREEN, bbox=clear)
