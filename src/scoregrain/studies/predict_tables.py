"""Tables and the figure of ``predict``: correlations of all predictors, and every cell beside trivial generators."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.predict_claims import OUTCOMES
from scoregrain.studies.predict_judgement import CHOSEN, Judgement, said_choice
from scoregrain.studies.predict_statistics import interaction, within
from scoregrain.studies.predictors import PREDICTORS
from scoregrain.studies.study import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def predictor_table(judgement: Judgement) -> Table:
    """The correlation of every predictor with both outcomes: of all cells, and on data sets to choose by and others."""
    everywhere, chosen = np.full(len(judgement.datasets), True), judgement.chosen_from
    entries = []
    for name, said in PREDICTORS.items():
        numbers = [
            judgement.correlation(name, outcome, statistic, used)
            for outcome in OUTCOMES
            for statistic, used in (
                (within, everywhere),
                (interaction, everywhere),
                (CHOSEN[outcome], chosen),
                (CHOSEN[outcome], ~chosen),
            )
        ]
        entries.append((said, *(f"{number:+.2f}" if math.isfinite(number) else "–" for number in numbers)))
    names = {"sw2": "SW₂", "denoising": "denoising"}
    picked = "; ".join(
        f"for {names[outcome]} of {', '.join(_families(judgement, judges))}: {said_choice(*choice)}"
        for outcome in OUTCOMES
        for judges, choice in zip((judgement.fold, ~judgement.fold), judgement.choices(outcome), strict=True)
    )
    columns = ("inside data sets", "means removed", "data sets to choose by", "held-out data sets")
    return Table(
        "Spearman's ρ of what is known before training with the outcome (larger is worse)",
        ("predictor", *(f"{said}: {column}" for said in names.values() for column in columns)),
        tuple(entries),
        "Inside data sets, and of denoising on parts of them, it is the mean over data sets of ρ over families; of SW₂ "
        "on parts of them one ρ over their cells. Means removed: over all cells, of logarithms, less the means of "
        "families and of data sets. All families are in this table. "
        f"Held out: {', '.join(judgement.study.held_out)}. Chosen on the other data sets by other families: {picked}.",
    )


def _families(judgement: Judgement, which: Any) -> list[str]:
    return [network for network, mine in zip(judgement.networks, which, strict=True) if mine]


def cell_table(judgement: Judgement) -> Table:
    """A row for each family and data set, trivial generators beside."""
    entries = []
    for i, data in enumerate(judgement.datasets):
        mine = judgement.rows.where(data=data)
        for j, network in enumerate(judgement.networks):
            runs = judgement.runs["sw2"][i, j]
            error = float(runs.std(ddof=1)) / math.sqrt(len(runs)) if len(runs) > 1 else math.nan
            baselines = [float(np.nanmean(mine.array(f"sw2_{name}", "network", "seed"))) for name in ("zeros", "white")]
            fresh = float(np.nanmean(mine.array("sw2_resample", "network", "seed")))
            ratio = math.exp(judgement.means["sw2"][i, j])
            entries.append(
                (
                    data,
                    network,
                    f"{judgement.known['alpha'][i, j]:.3g}",
                    f"{ratio:.3g}" + (f" (± {100 * error:.0f} %)" if math.isfinite(error) else ""),
                    f"{math.exp(judgement.means['denoising'][i, j]):.3g}",
                    *(f"{each / fresh:.3g}" for each in baselines),
                )
            )
    return Table(
        "Every family and data set",
        ("data", "network", "α over chance", "SW₂ over fresh data", "denoising error", "zeros", "white noise"),
        tuple(entries),
        "Geometric means over seeds, ± one standard error; zeros and white noise are SW₂ over that of fresh data too. "
        "The denoising error is the excess over the exact score for laws and all of it for images.",
    )


def draw_figure(judgement: Judgement) -> Figure:
    """SW₂ against α over chance and, where it was not chosen, a chosen predictor, and α's correlation by data set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _scatter(left, judgement, "alpha")
    first, _ = judgement.choices("sw2")[0]
    _scatter(middle, judgement, first, only_judging=True)
    middle.set_title("chosen on other data sets and other families", fontsize=9)
    places = np.arange(len(judgement.datasets))
    for shift, colour, outcome in ((-0.2, COLOURS[0], "sw2"), (0.2, COLOURS[1], "denoising")):
        values = [
            float(within(judgement.known["alpha"][i : i + 1], judgement.means[outcome][i : i + 1])) for i in places
        ]
        right.bar(places + shift, values, 0.4, color=colour, label="SW₂" if outcome == "sw2" else outcome)
    right.axhline(0, color="0.4", lw=1)
    right.set(ylim=(-1.05, 1.05), ylabel="Spearman's ρ of α over chance, over families", xticks=places)
    right.set_xticklabels(judgement.datasets, rotation=30, ha="right", fontsize=8)
    right.legend(frameon=False, fontsize=8)
    return figure


def _scatter(axis: Any, judgement: Judgement, predictor: str, only_judging: bool = False) -> None:
    """SW₂ over that of fresh data against a predictor, with the range of the seeds; of the first fold or of all."""
    families = judgement.fold if only_judging else np.full(len(judgement.networks), True)
    for i, data in enumerate(judgement.datasets):
        if only_judging and judgement.chosen_from[i]:
            continue
        runs, mean = np.exp(judgement.runs["sw2"][i, families]), np.exp(judgement.means["sw2"][i, families])
        spread = np.maximum(0, [mean - runs.min(-1), runs.max(-1) - mean])
        marker = "o" if judgement.chosen_from[i] else "s"
        colour = COLOURS[i % len(COLOURS)]
        x = judgement.known[predictor][i, families]
        axis.errorbar(x, mean, spread, fmt=marker, color=colour, ms=5, label=data, mfc="none" if i > 6 else colour)
    axis.axhline(1, color="0.4", ls=":", lw=1)
    positive = bool((judgement.known[predictor] > 0).all())
    axis.set(xlabel=PREDICTORS[predictor], ylabel="SW₂ over that of fresh data", yscale="log")
    axis.set_xscale("log" if positive else "symlog")
    axis.legend(frameon=False, fontsize=7)
