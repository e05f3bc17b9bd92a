"""What the rows of ``predict`` say: correlations with their intervals, tables and the figure (MATH C6)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scoregrain.metrics.ranks import permutation_test
from scoregrain.metrics.statistics import reliability, two_level_bootstrap
from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.predictors import (
    HALVES,
    PREDICTORS,
    Statistic,
    crossed_interval,
    network_permutations,
    pooled,
    within,
)
from scoregrain.studies.study import Claim, Finding, Rows, Table, judged
from scoregrain.studies.summaries import shuffled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scoregrain.studies.predict import PredictStudy

Floats = NDArray[np.float64]

OUTCOMES = {"sw2": "log of SW₂ over that of fresh data", "denoising": "log of the denoising error"}
"""Of laws the denoising error is its excess over the exact score's, of images the whole on held-out ones."""


class Judgement:
    """The rows of the study as tables over data sets (K), families (F) and seeds (S), and what they say.

    Attributes:
        chosen_from: Which data sets choose a predictor, (K,); the others are held out.
        known: What was known before training by name, (K, F) each.
        runs: Outcomes by name, (K, F, S) each; what is no number is worse than all that is.
        means: Over seeds, (K, F).
        best: By outcome, the predictor that was chosen and its sign.
        missing: Outcomes that are no numbers.
    """

    def __init__(self, study: PredictStudy, rows: Rows) -> None:
        self.study, self.rows = study, rows
        self.datasets: list[str] = rows.levels("data")
        self.networks: list[str] = rows.levels("network")
        self.chosen_from = np.array([data not in study.held_out for data in self.datasets])
        self.known = {name: _known(rows, name) for name in (*PREDICTORS, *HALVES)}
        sw2, fresh, denoising = (_runs(rows, name) for name in ("sw2", "sw2_resample", "denoising"))
        self.missing = int(np.isnan(sw2).sum() + np.isnan(denoising).sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            self.runs = {"sw2": _filled(np.log(sw2 / fresh)), "denoising": _filled(np.log(denoising))}
        self.means = {name: runs.mean(-1) for name, runs in self.runs.items()}
        self.best = {"sw2": self._best("sw2", pooled), "denoising": self._best("denoising", within)}

    def findings(self) -> list[Finding]:
        """One for each claim, in their order."""
        claims = {claim.key: claim for claim in self.study.claims()}
        everywhere, held_out = np.full(len(self.datasets), True), ~self.chosen_from
        alpha, noise = self.known["alpha"], shuffled(self.known["alpha"])
        reliable = f"reliability of α over cells {self.reliability():.3f}"
        found = [
            self._judged(claims["rank-sw2"], within, alpha, "sw2", everywhere, reliable),
            self._judged(claims["rank-denoising"], within, alpha, "denoising", everywhere),
            self._judged(claims["pooled-sw2"], pooled, alpha, "sw2", held_out),
        ]
        for outcome, statistic in (("sw2", pooled), ("denoising", within)):
            name, sign = self.best[outcome]
            said = f"chosen: {'larger' if sign > 0 else 'smaller'} {PREDICTORS[name]}, worse outcome"
            predictor = sign * self.known[name]
            if outcome == "sw2":
                said += self._independent(predictor, held_out)
            claim = claims[f"chosen-{outcome}"]
            found.append(self._judged(claim, statistic, predictor, outcome, held_out, said))
        controls = [self._judged(claims[f"control-{name}"], within, noise, name, everywhere) for name in OUTCOMES]
        return [*found, *controls]

    def correlation(self, name: str, outcome: str, statistic: Statistic, used: NDArray[np.bool_]) -> float:
        """Of a predictor with the cell means of some data sets."""
        return float(statistic(self.known[name][used], self.means[outcome][used]))

    def reliability(self) -> float:
        """Of α over chance, by the halves of the networks that measured the geometries; NaN where all are alike."""
        first, second = (self.known[name].flatten() for name in HALVES)
        if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
            return math.nan
        return reliability(first, second)

    def _best(self, outcome: str, statistic: Statistic) -> tuple[str, float]:
        found = {name: self.correlation(name, outcome, statistic, self.chosen_from) for name in PREDICTORS}
        found = {name: value for name, value in found.items() if math.isfinite(value)} or {"alpha": 1.0}
        name = max(found, key=lambda each: abs(found[each]))
        return name, math.copysign(1.0, found[name])

    def _judged(
        self,
        claim: Claim,
        statistic: Statistic,
        predictor: Floats,
        outcome: str,
        used: NDArray[np.bool_],
        said: str = "",
    ) -> Finding:
        """A correlation above zero, by the crossed interval."""
        x, runs, means = predictor[used], self.runs[outcome][used], self.means[outcome][used]
        n = x.size if statistic is pooled else len(x)
        value = float(statistic(x, means)) if x.size else math.nan
        if not math.isfinite(value):
            return Finding(claim.key, None, None, n, "undecided", "there is no order to correlate")
        inside = _inside(x, means)
        alike = network_permutations(statistic, x, means)
        tested = f"p = {alike:.2g} by exchanging families in all data sets alike, {inside:.2g} inside each"
        lost = f"{self.missing} outcomes are no numbers and count as the worst" if self.missing else ""
        note = "; ".join(each for each in (said, tested, lost) if each)
        return judged(claim, value, crossed_interval(statistic, x, runs), n, note=note)

    def _independent(self, predictor: Floats, used: NDArray[np.bool_]) -> str:
        """The interval that takes cells for independent, in words."""
        x, runs = predictor[used], self.runs["sw2"][used]
        if x.size < 4 or np.ptp(x) == 0 or np.ptp(runs.mean(-1)) == 0:
            return ""
        low, high = two_level_bootstrap(x.flatten(), list(runs.reshape(-1, runs.shape[-1])))
        return f"; interval with cells as if independent {low:.2f} to {high:.2f}"


def _known(rows: Rows, name: str) -> Floats:
    """What was known of every data set and family (K, F), the same for all seeds."""
    known: Floats = np.nan_to_num(np.fmax.reduce(_runs(rows, name), axis=-1))
    return known


def _inside(x: Floats, means: Floats) -> float:
    """The p of "the correlation is positive" by exchanging families inside each data set (MATH C6)."""
    if not np.ptp(x, axis=1).any() or not np.ptp(means, axis=1).any():
        return math.nan
    return permutation_test(x.flatten(), means.flatten(), np.arange(x.size) // x.shape[1], draws=2000).p_greater


def _runs(rows: Rows, name: str) -> Floats:
    return rows.array(name, "data", "network", "seed")


def _filled(logs: Floats) -> Floats:
    """What is no number is worse than all that is."""
    finite = np.isfinite(logs)
    worst = float(logs[finite].max()) + 1 if finite.any() else 0.0
    filled: Floats = np.where(finite, logs, worst)
    return filled


def predictor_table(judgement: Judgement) -> Table:
    """The correlation of every predictor with both outcomes, on the data sets it was chosen by and the others."""
    everywhere, chosen = np.full(len(judgement.datasets), True), judgement.chosen_from
    entries = []
    for name, said in PREDICTORS.items():
        numbers = [
            judgement.correlation(name, outcome, statistic, used)
            for outcome in OUTCOMES
            for statistic, used in (
                (within, everywhere),
                (pooled if outcome == "sw2" else within, chosen),
                (pooled if outcome == "sw2" else within, ~chosen),
            )
        ]
        entries.append((said, *(f"{number:+.2f}" if math.isfinite(number) else "–" for number in numbers)))
    picked = "; ".join(
        f"chosen for {outcome}: {PREDICTORS[name]} ({'+' if sign > 0 else '-'})"
        for outcome, (name, sign) in judgement.best.items()
    )
    return Table(
        "Spearman's ρ of what is known before training with the outcome (larger is worse)",
        (
            "predictor",
            "SW₂: inside data sets",
            "SW₂: cells to choose by",
            "SW₂: held-out cells",
            "denoising: inside data sets",
            "denoising: data sets to choose by",
            "denoising: held-out ones",
        ),
        tuple(entries),
        f"Held out: {', '.join(judgement.study.held_out)}; {picked}. Inside data sets, and of denoising throughout, it "
        "is the mean over data sets of ρ over families; of cells one ρ over families and data sets.",
    )


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
    """Outcomes against α over chance and against the chosen predictor, and α's correlation in each data set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _scatter(left, judgement, "alpha")
    _scatter(middle, judgement, judgement.best["sw2"][0], only_held_out=True)
    middle.set_title("chosen on the other data sets; held-out data", fontsize=9)
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


def _scatter(axis: Any, judgement: Judgement, predictor: str, only_held_out: bool = False) -> None:
    """SW₂ over that of fresh data against a predictor, with the range of the seeds."""
    for i, data in enumerate(judgement.datasets):
        if only_held_out and judgement.chosen_from[i]:
            continue
        runs, mean = np.exp(judgement.runs["sw2"][i]), np.exp(judgement.means["sw2"][i])
        spread = np.maximum(0, [mean - runs.min(-1), runs.max(-1) - mean])
        marker = "o" if judgement.chosen_from[i] else "s"
        colour = COLOURS[i % len(COLOURS)]
        x = judgement.known[predictor][i]
        axis.errorbar(x, mean, spread, fmt=marker, color=colour, ms=5, label=data, mfc="none" if i > 6 else colour)
    axis.axhline(1, color="0.4", ls=":", lw=1)
    positive = bool((judgement.known[predictor] > 0).all())
    axis.set(xlabel=PREDICTORS[predictor], ylabel="SW₂ over that of fresh data", yscale="log")
    axis.set_xscale("log" if positive else "symlog")
    axis.legend(frameon=False, fontsize=7)
