"""Figures of a judgement: loss, distances beside baselines, spectra."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scoregrain.metrics.baselines import RESAMPLE, ZEROS
from scoregrain.report.comparison import SAMPLES, Comparison
from scoregrain.report.drawing import BLUE, GREEN, INK, ORANGE, figure, log_axis
from scoregrain.report.evaluation import Evaluation
from scoregrain.report.evaluation_words import ORDER

_FLOOR = 1e-9  # of the largest value: nothing is drawn below
_FEW = 20  # points that are drawn one by one
_POINTS = 400  # of a loss curve: beyond, each is the mean of several


def loss_figure(history: Sequence[dict[str, Any]]) -> str | None:
    """The training loss against the step, and that of held-out arrays; None where nothing was logged."""
    curves = {name: _curve(history, name) for name in ("loss", "held_out_loss")}
    if not len(curves["loss"][0]):
        return None

    def paint(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.plot(
            *curves["loss"], "o-" if len(curves["loss"][0]) < _FEW else "-", color=BLUE, ms=3, lw=1, label="training"
        )
        if len(curves["held_out_loss"][0]):
            axes.plot(*curves["held_out_loss"], "o-", color=ORANGE, ms=3, lw=1, label="held-out arrays")
        axes.set_yscale("log")
        log_axis(axes.yaxis, *axes.get_ylim())
        axes.set_xlabel("updates")
        axes.set_ylabel("loss")
        axes.set_title("Loss while training")
        axes.legend()

    return figure(paint, height=3)


def _curve(history: Sequence[dict[str, Any]], name: str) -> tuple[Tensor, Tensor]:
    """Steps and values where there are any, joined to at most 400 means."""
    lines = [(line["step"], line[name]) for line in history if isinstance(line.get(name), int | float)]
    points = torch.tensor(lines, dtype=torch.float64).reshape(-1, 2)
    length = max(1, -(-len(points) // _POINTS))
    means = [part.mean(0) for part in torch.split(points, length) if len(part)]
    x, y = torch.stack(means).T if means else points.T
    return x, y


def distance_figure(comparisons: Sequence[Comparison]) -> str:
    """One panel for each distance: the samples and the baselines on a logarithmic axis."""

    def paint(canvas: Any) -> None:
        grid = canvas.subplots(len(comparisons), 1, squeeze=False)
        for axes, comparison in zip(grid[:, 0], comparisons, strict=True):
            _paint_distance(axes, comparison)

    return figure(paint, height=0.45 + 1.45 * len(comparisons))


def _paint_distance(axes: Any, comparison: Comparison) -> None:
    from matplotlib.ticker import LogLocator

    shown = {n: s for n, s in comparison.scores.items() if 0 < s.value < math.inf}
    axes.set_xscale("log")
    for y, name in enumerate(ORDER):
        colour, mark = (GREEN, "D") if name == SAMPLES else (INK, "o")
        if name not in shown:
            axes.annotate(
                _missing(comparison, name), (0.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=8
            )
            continue
        score = shown[name]
        error = score.error or 0.0
        axes.errorbar(
            [score.value], [y], xerr=[[min(error, 0.9 * score.value)], [error]], fmt=mark, color=colour, ms=5, capsize=2
        )
    for name, style, colour in ((RESAMPLE, ":", BLUE), (ZEROS, "--", ORANGE)):
        if name in shown:
            axes.axvline(shown[name].value, color=colour, ls=style, lw=1)
    axes.set_yticks(range(len(ORDER)), [f"{name} ({comparison.scores[name].count:,})" for name in ORDER], fontsize=8)
    axes.set_ylim(len(ORDER) - 0.5, -0.5)
    axes.margins(x=0.1)
    log_axis(axes.xaxis, *axes.get_xlim())
    if axes.get_xlim()[1] > 1e4 * axes.get_xlim()[0]:
        axes.xaxis.set_major_locator(LogLocator(numticks=7))
    counted = comparison.name.endswith(f" vs {comparison.target:,})")
    axes.set_title(comparison.name + ("" if counted else f", against {comparison.target:,}"), fontsize=9.5)


def _missing(comparison: Comparison, name: str) -> str:
    return "zero" if comparison.scores[name].value == 0 else "infinite"


def spectrum_figure(evaluation: Evaluation) -> str:
    """Radial power of samples and target, and the logarithm of their ratio below."""

    def paint(canvas: Any) -> None:
        top, bottom = canvas.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for name, colour, mark in (("target", INK, "o"), (SAMPLES, GREEN, "D")):
            s = evaluation.spectra[name]
            known = s.power > _FLOOR * s.power.max()
            low = torch.minimum(s.error, 0.9 * s.power)[known]
            label = f"{'samples' if name == SAMPLES else evaluation.what} ({s.samples:,})"
            top.errorbar(
                s.radius[known],
                s.power[known],
                torch.stack([low, s.error[known]]),
                fmt=mark + "-",
                color=colour,
                ms=2.5,
                lw=0.9,
                label=label,
            )
        top.set_yscale("log")
        log_axis(top.yaxis, *top.get_ylim())
        top.set_ylabel("power (white noise: 1)")
        top.set_title("Radial spectrum")
        top.legend()
        bottom.axhline(0, color=INK, lw=0.8, ls=":")
        for name, colour, label in ((RESAMPLE, BLUE, "fresh resample"), (SAMPLES, GREEN, "samples")):
            ratio = evaluation.ratios[name]
            fits = ratio.log_ratio.isfinite()
            bottom.errorbar(
                ratio.radius[fits],
                ratio.log_ratio[fits],
                ratio.error[fits],
                fmt="o",
                color=colour,
                ms=2.5,
                elinewidth=0.8,
                label=label,
            )
        bottom.set_xlabel("frequency, cycles per pixel")
        bottom.set_ylabel("log ratio to target")
        bottom.legend()

    return figure(paint, height=4.6)
