"""The limit theorem of the second paper: scores of noised mixtures of Gaussians as the noise vanishes (MATH B11)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from scoregrain._random import stream
from scoregrain.diffusion import DiffusionProcess, GaussianMixtureScore
from scoregrain.metrics.ranks import spearman
from scoregrain.noise import ForwardNoise
from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.equivalence import within
from scoregrain.studies.linear_statistics import numbers, slope
from scoregrain.studies.stationary_mixtures import SCALES, Rings, component_spectrum, levels, mixture
from scoregrain.studies.study import Cell, Claim, Finding, Material, Row, Rows, Study, Table
from scoregrain.studies.summaries import RULE, Floats, above_zero, with_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SMALL_SHARE = 0.01
"""The order is fitted where the noise's power is at most this share of the components' at every frequency."""

ORDER, CROSSOVER = 0.05, 0.1
"""Margins of the logarithmic slopes 2 and 1."""

LAWS = ("density", "off-support", "on-support")
"""A mixture with a density; one without, at points outside its support and at points of its own."""

NO_POWER = 1e-20
"""Of the mean: a score of less power at a frequency is rounding, and nothing is told relative to it."""


@dataclass(frozen=True, kw_only=True)
class ScoreLimitStudy(Study):
    """Exact scores, so that the only errors are the limit's own.

    Mixtures of three Gaussians with stationary covariances of power 1/(1 + (r/r_0)²) and smoother random means; the
    error of ∇log q_t is taken at points of q, level by level and frequency by frequency. The levels are those of
    x_t = x_0 + σε, where the signal is not scaled, so that noise alone changes the law.

    Attributes:
        size: Side of the images.
        noises: Of the forward process; the first one is what the others are compared with.
        seeds: Mixtures and points.
        points: At which scores are compared.
    """

    name: ClassVar[str] = "score-limit"
    title: ClassVar[str] = "The score at vanishing noise, frequency by frequency"
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {
            "seeds": 4,
            "size": 8,
            "points": 128,
            "noises": ("white", "power-law:alpha=-0.5", "power-law:alpha=0.5"),
        },
        "small": {},
    }

    size: int = 16
    noises: tuple[str, ...] = (
        *("white", "power-law:alpha=-1", "power-law:alpha=-0.5"),
        *("power-law:alpha=0.5", "power-law:alpha=1"),
    )
    seeds: int = 8
    points: int = 512

    def cells(self) -> list[Cell]:
        """Noises and seeds; the law without a density under the first noise, off its support and on it."""
        kinds = [("density", noise) for noise in self.noises] + [(law, self.noises[0]) for law in LAWS[1:]]
        return [{"law": law, "noise": noise, "seed": seed} for seed in range(self.seeds) for law, noise in kinds]

    def claims(self) -> list[Claim]:
        """Convergence, its order, and the noise level at which each frequency turns."""
        paper, ours = "second paper, limit theorem", "here"
        seeds = "Student's 95 % interval over seeds inside"
        order, turn = f"2 ± {ORDER:g}", f"1 ± {CROSSOVER:g}"
        return [
            Claim(
                "order",
                "Under white and shaped noise ∇log q_t tends to ∇log q with an error in proportion to σ_t².",
                f"{paper}; the order: here",
                f"slope of log root mean square error on log σ at small σ, mean over noises, {seeds} {order}",
            ),
            Claim(
                "order-everywhere",
                "So does its part at every single frequency.",
                ours,
                f"slope furthest from 2 over frequencies and noises, less 2, {seeds} ± {2 * ORDER:g}",
            ),
            Claim(
                "crossover",
                "At a frequency the score is that of the data once σ_t² w² falls below its share S of their power.",
                ours,
                "at σ_f the relative error at a frequency is one half; S is the power inside the components; slope of"
                f" log σ_f² on log S/w², over frequencies and noises, {seeds} {turn}",
            ),
            Claim(
                "later",
                "Where w is larger the limit comes at a smaller σ_t, in inverse proportion to w.",
                ours,
                f"slope of log σ_f² over that of the first noise on -log w² over that noise's, {seeds} {turn}",
            ),
            Claim(
                "inside",
                "The power that counts is that inside the components, not that of the whole law.",
                ours,
                "standard deviation, over frequencies and noises, of log σ_f² w²/S with the power of the whole law for"
                f" S, less that with the components'; {RULE}",
            ),
            Claim(
                "on-support",
                "On the support of a law without a density the order is 2, too.",
                ours,
                "the same mixtures without their upper half of frequencies, at points of their own, under the first"
                f" noise; slope of log error on log σ at small σ, {seeds} {order}",
            ),
            Claim(
                "off-support",
                "The error vanishes at points outside the support of a law, too.",
                ours,
                "the laws of 'on-support' at points of the mixtures with a density, against the score of the projected"
                f" points; slope of log error on log σ at small σ, {seeds} above 0",
                control=True,
            ),
            Claim(
                "reversed",
                "Reversed labels of the frequencies predict the crossovers too.",
                ours,
                f"slope of log σ_f² on log S/w², frequencies in reverse order, {seeds} {turn}",
                control=True,
            ),
        ]

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Errors at all levels, whole and by frequency."""
        shape, seed = (1, self.size, self.size), int(cell["seed"])
        law = mixture(shape, seed, singular=cell["law"] != "density")
        drawn = law if cell["law"] == "on-support" else mixture(shape, seed)
        x = drawn.sample(self.points, stream(seed, "points"), dtype=torch.float64)
        noise = ForwardNoise.parse(str(cell["noise"]))
        process = DiffusionProcess(levels(), noise, prediction="edm")
        model = GaussianMixtureScore(law.weights, law.means, law.covariances, process)
        ring = Rings(shape[1:])
        clean = model.score(x, -1)
        of_clean = ring.power(clean)
        errors = torch.stack([ring.power(model.score(x, t) - clean) for t in range(process.num_steps)], 1)
        power = ring.power_of(noise.operator(shape))
        inside = ring.mean(component_spectrum(shape)) * float(SCALES @ law.weights)
        # a ring's mean energy counts as often as the ring has frequencies
        total = (errors * ring.counts[:, None]).sum(0) / (of_clean * ring.counts).sum()
        return {
            "sigmas": process.sigma.tolist(),
            "error": total.sqrt().tolist(),
            "radii": ring.radii.tolist(),
            "noise_power": power.tolist(),
            "inside": inside.tolist(),
            "whole": (inside + ring.power(law.means - law.mean, law.weights)).tolist(),
            "errors": (errors / of_clean.where(of_clean > NO_POWER * of_clean.mean(), math.nan)[:, None])
            .sqrt()
            .tolist(),
        }

    def findings(self, rows: Rows) -> list[Finding]:
        """All statistics are one number for each seed."""
        claim = {each.key: each for each in self.claims()}
        regular = rows.where(law="density")
        seeds = [regular.where(seed=seed) for seed in regular.levels("seed")]
        fitted = [spearman(*each).value if np.isfinite(each).all() else math.nan for each in map(_turns, seeds)]
        found = {
            "order": within(claim["order"], [_mean_order(each) for each in seeds], 2 - ORDER, 2 + ORDER),
            "order-everywhere": within(
                claim["order-everywhere"], [_worst_order(each) for each in seeds], -2 * ORDER, 2 * ORDER
            ),
            "crossover": within(
                claim["crossover"],
                [log_slope(*_turns(each)) for each in seeds],
                1 - CROSSOVER,
                1 + CROSSOVER,
                note=f"Spearman's ρ {with_error(fitted)}",
            ),
            "later": within(
                claim["later"], [_later(each, self.noises[0]) for each in seeds], 1 - CROSSOVER, 1 + CROSSOVER
            ),
            "inside": above_zero(claim["inside"], [_spread(each, "whole") - _spread(each, "inside") for each in seeds]),
            "on-support": within(claim["on-support"], _orders(rows, "on-support"), 2 - ORDER, 2 + ORDER),
            "off-support": within(claim["off-support"], _orders(rows, "off-support"), 0, math.inf),
            "reversed": within(
                claim["reversed"],
                [log_slope(*_turns(each, reverse=True)) for each in seeds],
                1 - CROSSOVER,
                1 + CROSSOVER,
            ),
        }
        return [found[each.key] for each in self.claims()]

    def tables(self, rows: Rows) -> list[Table]:
        """Orders and crossovers by noise; the laws without a density last."""
        listed = []
        for law, noise in dict.fromkeys((row["law"], row["noise"]) for row in rows):
            here = rows.where(law=law, noise=noise)
            turns = [crossovers(row) for row in here]
            ends = [(with_error([each[k] for each in turns])) for k in (0, -1)] if law == "density" else ["–", "–"]
            product = [np.exp(np.mean(np.log(_scaled(row)))) if law == "density" else math.nan for row in here]
            order = f"{np.mean([order_of(row['error'], row) for row in here]):.4f}"
            listed.append((law, noise, order, *ends, with_error(product)))
        return [
            Table(
                "Error of the score as σ vanishes, mean ± standard error over seeds",
                ("law", "noise", "order in σ", "σ_f at frequency 0", "σ_f at the corner", "σ_f² w²/S, geometric mean"),
                tuple(listed),
                "σ_f: where half of the score at a frequency is wrong. Off the support the score diverges as σ⁻²; on it"
                " the limit exists.",
            )
        ]

    def figure(self, rows: Rows) -> Figure:
        """Error against σ, the same by frequency under the first noise, and crossovers against S/w²."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(12, 3.8), layout="constrained")
        whole, parts, turns = figure.subplots(1, 3)
        for colour, (law, noise) in zip(
            COLOURS, dict.fromkeys((row["law"], row["noise"]) for row in rows), strict=False
        ):
            here = rows.where(law=law, noise=noise)
            sigmas, errors = numbers(here[0], "sigmas"), np.array([numbers(row, "error") for row in here])
            label = noise if law == "density" else f"no density, {law.replace('-', ' ')}"
            whole.plot(sigmas, np.exp(np.log(errors).mean(0)), color=colour, label=label)
            whole.fill_between(sigmas, errors.min(0), errors.max(0), color=colour, alpha=0.25, lw=0)
            if law == "density":
                x, y = _turns(here)
                turns.plot(np.exp(x), np.exp(y), "o", color=colour, ms=3)
        first = rows.where(law="density", noise=self.noises[0])[0]
        chosen = np.linspace(0, len(first["radii"]) - 1, 5).round().astype(int)
        for k, colour in zip(chosen, COLOURS, strict=False):
            parts.plot(first["sigmas"], first["errors"][k], color=colour, label=f"r = {first['radii'][k]:.2f}")
            parts.plot(math.sqrt(first["inside"][k] / first["noise_power"][k]), 0.5, "v", color=colour)
        line = np.array([1e-3, 1e1])
        turns.plot(line, line, "k-", lw=0.7)
        whole.set(
            xlabel="σ",
            ylabel="relative error of the score",
            title="all frequencies (band: range over seeds)",
            ylim=(1e-8, 1e8),
        )
        parts.set(xlabel="σ", title=f"by frequency, {self.noises[0]} (▼: σ² w² = S)", ylim=(1e-8, 2))
        turns.set(xlabel="S / w²", ylabel="crossover σ_f²", title="crossovers, all frequencies and seeds")
        for axis in (whole, parts, turns):
            axis.set(xscale="log", yscale="log")
        whole.legend(frameon=False, fontsize=8)
        parts.legend(frameon=False, fontsize=8)
        return figure


def order_of(error: list[float | None], row: Row) -> float:
    """Slope of log error on log σ where noise is small against the components at every frequency."""
    limit = math.sqrt(SMALL_SHARE * float((numbers(row, "inside") / numbers(row, "noise_power")).min()))
    sigmas = numbers(row, "sigmas")
    small = sigmas <= limit
    return slope(sigmas[small], np.array([math.nan if each is None else each for each in error])[small])


def crossovers(row: Row) -> Floats:
    """σ at which the relative error of every frequency first is one half, between levels by powers, (R,)."""
    sigmas, found = np.log(numbers(row, "sigmas")), []
    for errors in row["errors"]:
        curve = np.array([math.nan if each is None else each for each in errors])
        above = np.flatnonzero(curve >= 0.5)
        if not len(above) or above[0] == 0:
            found.append(math.nan)
            continue
        k = int(above[0])
        a, b = np.log(curve[k - 1 : k + 1])
        found.append(float(np.exp(sigmas[k - 1] + (math.log(0.5) - a) / (b - a) * (sigmas[k] - sigmas[k - 1]))))
    return np.array(found)


def log_slope(x: Floats, y: Floats) -> float:
    """Slope of y on x, both logarithms already."""
    return slope(np.exp(x), np.exp(y))


def _turns(rows: Rows, *, reverse: bool = False, name: str = "inside") -> tuple[Floats, Floats]:
    """Values of log S/w² and log σ_f² of all frequencies and rows; labels may be reversed within each row."""
    predicted = [np.log(numbers(row, name) / numbers(row, "noise_power")) for row in rows]
    found = [2 * np.log(crossovers(row)) for row in rows]
    return np.concatenate([each[::-1] if reverse else each for each in predicted]), np.concatenate(found)


def _scaled(row: Row) -> Floats:
    return crossovers(row) ** 2 * numbers(row, "noise_power") / numbers(row, "inside")


def _orders(rows: Rows, law: str) -> list[float]:
    return [order_of(row["error"], row) for row in rows.where(law=law)]


def _mean_order(rows: Rows) -> float:
    return float(np.mean([order_of(row["error"], row) for row in rows]))


def _worst_order(rows: Rows) -> float:
    found = np.array([order_of(errors, row) - 2 for row in rows for errors in row["errors"]])
    return math.nan if np.isnan(found).any() else float(found[np.abs(found).argmax()])


def _later(rows: Rows, reference: str) -> float:
    first, others = rows.where(noise=reference)[0], [row for row in rows if row["noise"] != reference]
    if not others:
        return math.nan
    power = [np.log(numbers(row, "noise_power") / numbers(first, "noise_power")) for row in others]
    shift = [2 * np.log(crossovers(row) / crossovers(first)) for row in others]
    return log_slope(-np.concatenate(power), np.concatenate(shift))


def _spread(rows: Rows, name: str) -> float:
    predicted, found = _turns(rows, name=name)
    return float(np.std(found - predicted))
