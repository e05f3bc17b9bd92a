"""What the rows of ``predict`` say: correlations over crossed families and data sets, with intervals (MATH C6)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scoregrain._random import stream_seed
from scoregrain.metrics.statistics import reliability
from scoregrain.studies.predict_claims import CONSTANTS, DRAWS, TRIVIAL
from scoregrain.studies.predict_statistics import (
    Part,
    Statistic,
    crossed_interval,
    inside_permutations,
    interaction,
    mean_correlation,
    network_permutations,
    pooled,
    within,
)
from scoregrain.studies.predictors import HALVES, KNOWN, PREDICTORS, TURNED
from scoregrain.studies.study import Claim, Finding, Rows, judged
from scoregrain.studies.summaries import Floats, gated

if TYPE_CHECKING:
    from scoregrain.studies.predict import PredictStudy


CHOSEN: Mapping[str, Statistic] = {"sw2": pooled, "denoising": within}
"""By which a predictor is chosen and judged, by outcome."""


class Judgement:
    """The rows of the study as tables over data sets (K), families (F) and seeds (S), and what they say.

    Attributes:
        chosen_from: Which data sets choose a predictor, (K,); the others are held out.
        fold: Which families are of the first fold, (F,).
        known: What was known before training by name, (K, F) each.
        runs: Outcomes by name, (K, F, S) each; what is no number is worse than all that is.
        means: Over seeds, (K, F).
        missing: Outcomes that are no numbers.
    """

    def __init__(self, study: PredictStudy, rows: Rows) -> None:
        self.study, self.rows = study, rows
        self.datasets: list[str] = rows.levels("data")
        self.networks: list[str] = rows.levels("network")
        self.chosen_from = np.array([data not in study.held_out for data in self.datasets])
        self.fold = np.array([network in study.fold for network in self.networks])
        self.known = {name: _known(rows, name) for name in KNOWN}
        sw2, fresh, denoising = (_runs(rows, name) for name in ("sw2", "sw2_resample", "denoising"))
        self.missing = int(np.isnan(sw2).sum() + np.isnan(denoising).sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            self.runs = {"sw2": _filled(np.log(sw2 / fresh)), "denoising": _filled(np.log(denoising))}
        self.means = {name: runs.mean(-1) for name, runs in self.runs.items()}
        self._candidates = np.stack([self.known[name] for name in PREDICTORS])
        self._random: dict[str, Floats] = {}

    def findings(self) -> list[Finding]:
        """One for each claim, in their order."""
        found: dict[str, Finding] = {}
        for claim in self.study.claims():
            kind, _, outcome = claim.key.rpartition("-")
            finding = self._found(claim, kind, outcome)
            found[claim.key] = self._gated(finding) if outcome == "sw2" else finding
        return list(found.values())

    def _found(self, claim: Claim, kind: str, outcome: str) -> Finding:
        alpha = self.known["alpha"]
        if kind == "rank":
            return self._judged(claim, within, alpha, outcome, f"reliability of α over cells {self.reliability():.3f}")
        if kind == "anisotropic":
            return self._judged(claim, within, alpha, outcome, families=np.ptp(alpha, axis=0) > 0)
        if kind == "interaction":
            return self._judged(claim, interaction, logs(alpha), outcome)
        if kind == "pooled":
            return self._judged(claim, pooled, alpha, outcome)
        if kind == "control":
            return self._judged(claim, within, self.known[TURNED], outcome, families=np.ptp(alpha, axis=0) > 0)
        if kind == "chosen":
            return self._judged_choice(claim, outcome)
        return self._judged_constants(claim, outcome)

    def correlation(self, name: str, outcome: str, statistic: Statistic, used: NDArray[np.bool_]) -> float:
        """Of a predictor with the cell means of some data sets; of its logarithm where means are removed."""
        x = logs(self.known[name]) if statistic is interaction else self.known[name]
        return float(statistic(x[used], self.means[outcome][used]))

    def reliability(self) -> float:
        """Of α over chance, by the halves of the networks that measured the geometries; NaN where all are alike."""
        first, second = (self.known[name].flatten() for name in HALVES)
        if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
            return math.nan
        return reliability(first, second)

    def choices(self, outcome: str) -> list[tuple[str, float]]:
        """The predictor and its sign for the families of either fold, chosen by the others on the data sets for it."""
        return [(list(PREDICTORS)[i], sign) for i, sign, _ in self._choose(self._candidates, outcome)]

    def _choose(self, candidates: Floats, outcome: str) -> list[tuple[int, float, Part]]:
        """For either fold which candidate (P, K, F) is chosen, its sign, and what judges it."""
        found = []
        for judges in (self.fold, ~self.fold):
            x, y = candidates[:, self.chosen_from][..., ~judges], self.means[outcome][self.chosen_from][:, ~judges]
            correlations = np.nan_to_num(CHOSEN[outcome](x, y[None]))
            best = int(np.abs(correlations).argmax())
            sign = math.copysign(1.0, correlations[best])
            held_out = np.ix_(~self.chosen_from, judges)
            found.append((best, sign, (sign * candidates[best][held_out], self.runs[outcome][held_out])))
        return found

    def _judged(
        self,
        claim: Claim,
        statistic: Statistic,
        x: Floats,
        outcome: str,
        said: str = "",
        families: NDArray[np.bool_] | None = None,
    ) -> Finding:
        """A correlation over all cells, or those of some families, above zero, by the crossed interval."""
        used = np.full(x.shape[1], True) if families is None else families
        x, runs, means = x[:, used], self.runs[outcome][:, used], self.means[outcome][:, used]
        value, n = float(statistic(x, means)), len(x) if statistic is within else min(x.shape)
        if not math.isfinite(value):
            return Finding(claim.key, None, None, n, "undecided", "there is no order to correlate")
        tested = f"p = {network_permutations(statistic, x, means):.2g} by exchanging families in all data sets alike"
        if statistic is not interaction:
            tested += f", {inside_permutations(statistic, x, means):.2g} inside each"
        return judged(claim, value, crossed_interval(statistic, [(x, runs)]), n, note=self._note(said, tested))

    def _judged_choice(self, claim: Claim, outcome: str) -> Finding:
        """What the chosen predictors say of the fold and the data sets that did not choose them."""
        statistic, parts = CHOSEN[outcome], [part for *_, part in self._choose(self._candidates, outcome)]
        value, n = mean_correlation(statistic, parts), sum(x.size for x, _ in parts)
        if not math.isfinite(value):
            return Finding(claim.key, None, None, n, "undecided", "there is no order to correlate")
        said = "chosen: " + "; ".join(said_choice(*choice) for choice in self.choices(outcome))
        others = self._random_choices(outcome)
        p = (1 + int((others >= value - 1e-12).sum())) / (1 + len(others))
        note = self._note(said, f"p = {p:.2g} by choices among random constants")
        return judged(claim, value, crossed_interval(statistic, parts), n, note=note)

    def _judged_constants(self, claim: Claim, outcome: str) -> Finding:
        """The control of what was chosen: random constants of families have no business with other families."""
        found = self._random_choices(outcome)
        n = int((~self.chosen_from).sum()) * len(self.networks)
        if not len(found):
            return Finding(claim.key, None, None, n, "undecided", "there is no order to correlate")
        low, high = np.quantile(found, [0.025, 0.975])
        return judged(claim, float(found.mean()), (float(low), float(high)), n, note=self._note())

    def _random_choices(self, outcome: str) -> Floats:
        """What the best of random constants of families gives, (draws,); those that give a number."""
        if outcome not in self._random:
            self._random[outcome] = self._draw_choices(outcome)
        return self._random[outcome]

    def _draw_choices(self, outcome: str) -> Floats:
        rng = np.random.default_rng(stream_seed(0, "random constants"))
        size = (len(self.datasets), len(self.networks))
        found = []
        for _ in range(DRAWS):
            constants = np.broadcast_to(rng.normal(size=(CONSTANTS, 1, size[1])), (CONSTANTS, *size))
            parts = [part for *_, part in self._choose(constants, outcome)]
            found.append(mean_correlation(CHOSEN[outcome], parts))
        values = np.array(found)
        finite: Floats = values[np.isfinite(values)]
        return finite

    def _gated(self, finding: Finding) -> Finding:
        """With how many cells are trivial or worse; undecided where the best family of half of the data sets is."""
        sw2, zeros, white = (_runs(self.rows, name) for name in ("sw2", "sw2_zeros", "sw2_white"))
        order = self.means["sw2"].argsort(1)[..., None]
        best, *others = np.split(np.take_along_axis(sw2, order, 1), sw2.shape[1], axis=1)
        return gated(finding, np.fmin(zeros, white)[:, :1], best, *others, trivial=TRIVIAL)

    def _note(self, *said: str) -> str:
        lost = f"{self.missing} outcomes are no numbers and count as the worst" if self.missing else ""
        return "; ".join(each for each in (*said, lost) if each)


def said_choice(name: str, sign: float) -> str:
    """A predictor and its sign in words."""
    return f"{'larger' if sign > 0 else 'smaller'} {PREDICTORS[name]}, worse outcome"


def logs(x: Floats) -> Floats:
    """Logarithms of what is positive, else what is given."""
    return np.log(x) if (x > 0).all() else x


def _known(rows: Rows, name: str) -> Floats:
    """What was known of every data set and family (K, F), the same for all seeds."""
    known: Floats = np.nan_to_num(np.fmax.reduce(_runs(rows, name), axis=-1))
    return known


def _runs(rows: Rows, name: str) -> Floats:
    return rows.array(name, "data", "network", "seed")


def _filled(values: Floats) -> Floats:
    """What is no number is worse than all that is."""
    finite = np.isfinite(values)
    worst = float(values[finite].max()) + 1 if finite.any() else 0.0
    filled: Floats = np.where(finite, values, worst)
    return filled
