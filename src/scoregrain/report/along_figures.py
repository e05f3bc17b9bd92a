"""Figures over directions: energy of samples and data, denoising error of a network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scoregrain.report.along import Along
from scoregrain.report.comparison import SAMPLES
from scoregrain.report.drawing import BLUE, GREEN, INK, ORANGE, figure, log_axis

_FLOOR = 1e-9  # of the largest value: nothing is drawn below


def energy_figure(along: Along) -> str:
    """E (u·x)² of samples and target along directions."""

    def paint(canvas: Any) -> None:
        axes = canvas.subplots()
        for name, colour, mark in (("target", INK, "o"), (SAMPLES, GREEN, "D")):
            _paint_along(axes, along, along.energy[name], colour, mark, name)
        _finish_along(axes, "mean of (u·x)²", f"Energy along the {along.bins.name}")

    return figure(paint, height=3.4)


def denoising_figure(along: Along) -> str | None:
    """Denoising error along directions, and over noise levels; None without a network."""
    if along.errors is None:
        return None
    kinds = (("error", ORANGE, "s", "error"), ("bayes", INK, "o", "Bayes error"), ("excess", BLUE, "D", "excess"))
    levels = torch.tensor(along.errors.levels)

    def paint(canvas: Any) -> None:
        top, bottom = canvas.subplots(2, 1)
        for kind, colour, mark, label in kinds:
            found, by_level = along.denoising(kind), along.by_level(kind)
            if found is None or by_level is None:
                continue
            _paint_along(top, along, found, colour, mark, label)
            value, error = by_level
            bottom.errorbar(
                levels,
                value,
                torch.stack([torch.minimum(error, 0.9 * value), error]),
                fmt=mark + "-",
                color=colour,
                ms=3,
                lw=0.9,
            )
        _finish_along(top, "mean square", "Denoising error of ε along each direction, mean over noise levels")
        bottom.set_yscale("log")
        log_axis(bottom.yaxis, *bottom.get_ylim())
        bottom.set_xlabel("noise level (step t)")
        bottom.set_ylabel("mean square")
        bottom.set_title("The same for each noise level, mean over directions")

    return figure(paint, height=5.6)


def _paint_along(axes: Any, along: Along, pair: tuple[Tensor, Tensor], colour: str, mark: str, label: str) -> None:
    """Values of the bins; the horizontal bars are the directions a mean stands for."""
    value, error = pair
    shown = value > _FLOOR * value.max()
    low, x, high = along.bins.span[:, shown] + 1
    y, e = value[shown], error[shown]
    bars = {"yerr": torch.stack([torch.minimum(e, 0.9 * y), e]), "xerr": torch.stack([x - low, high - x])}
    axes.errorbar(x, y, **bars, fmt=mark, color=colour, ms=3, elinewidth=0.7, alpha=0.85, label=label)


def _finish_along(axes: Any, unit: str, title: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        log_axis(axis, *ends)
    axes.set_xlabel("direction (1 = largest eigenvalue)")
    axes.set_ylabel(unit)
    axes.set_title(title)
    axes.legend()
