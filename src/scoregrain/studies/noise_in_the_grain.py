"""Noise along the grain, s ∝ λ^-γ: does it help a network that is not linear, as the linear theory says? (MATH C5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.datasets import RankOne
from scoregrain.diffusion import DiffusionProcess, GaussianScore
from scoregrain.diffusion.infer import infer_device
from scoregrain.diffusion.process import Model
from scoregrain.geometry import measure_geometry
from scoregrain.metrics import direction_error
from scoregrain.noise import ForwardNoise
from scoregrain.noise.linear_theory import decay_rates, gradient_noise
from scoregrain.operators import DenseOperator
from scoregrain.studies.directions import directions, haar, places
from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.families import study_family
from scoregrain.studies.outcomes import law_outcomes
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Table
from scoregrain.studies.summaries import (
    GATE,
    RULE,
    ZEROS,
    Floats,
    above_zero,
    gated,
    mean_and_error,
    shuffled,
    with_error,
)
from scoregrain.studies.trained import TrainedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACES = ("top", "middle", "bottom")
SAD, HAAR = "sad", "haar"
GAMMAS = (-0.5, 0.0, 0.5, 1.0)

OUTCOMES = {
    "sw2": ("sw2", "samples", "SW₂"),
    "sampling": ("gap", "the network's part in sampling", "rms difference of samples from the exact score's"),
    "denoising": ("excess", "denoising in the data's units", "E ‖ε̂ - ε*‖²/D"),
    "whitened": ("excess_white", "denoising in units of the noise", "E ‖T⁻¹(ε̂ - ε*)‖²/D"),
}
"""By the word that ends a claim's key: the name in the rows, what is judged, the symbol.

SW₂ holds what the sampler itself loses, with the exact score too: where noise is weak along the data (large λ, γ = 1)
its start lacks a share of them. The difference from the exact score's samples, drawn from the same ξ, does not.

At one level ‖ε̂ - ε*‖² is, up to a factor of the schedule, ‖x̂0 - x0*‖² under every noise. The whitened error is what
the divergence of the learned chain from the true one adds up (MATH B6), whatever Σ is; it charges an error of one size
in all directions with the mean of 1/s, which is above 1 for every noise but white.
"""

SAMPLED = ("sw2", "sampling")
"""Outcomes of samples, which mean nothing of networks whose samples are worse than zeros."""

EQUAL = 1.0
"""σ of the linear theory: the level at which data and white noise have the same energy along the data's direction."""


@dataclass(frozen=True, kw_only=True)
class NoiseInTheGrainStudy(TrainedStudy):
    """Train rank-one data along eigenvectors of G under noise of variance s ∝ λ^-γ along the eigenvectors, mean s = 1.

    γ = 0 is white; γ = 1 gives a linear network the same rate in all directions off the data. The same spectrum of the
    noise along Haar-random directions, which the network does not know, is the comparison. All are trained by Adam at
    one learning rate; the theory is of gradient descent and lets each γ take its own largest step.

    Attributes:
        network: Family.
        measured: Networks that the geometry is measured with.
        seeds: Paired: a seed is the initialisation, the ξ of data and noise, batches, levels, projections, and the Haar
            rotation.
        updates: Of each network.
        learning_rate: Of Adam, its largest.
    """

    name: ClassVar[str] = "noise-in-the-grain"
    title: ClassVar[str] = "Does noise along the grain help, as the linear theory says?"
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {
            "measured": 512,
            "seeds": 2,
            "updates": 10,
            "batch_size": 16,
            "lr_schedule": "constant",
            "warmup": 0,
            "samples": 64,
            "sampler_steps": 8,
        },
        "small": {},
    }

    network: str = "unet-8"
    measured: int = 4000
    updates: int = 800
    batch_size: int = 32
    learning_rate: float = 3e-3
    lr_schedule: str = "cosine"
    warmup: int = 20
    samples: int = 256

    def cells(self) -> list[Cell]:
        """Seed by seed, so that an unfinished study has whole pairs."""
        noises = [(SAD, gamma) for gamma in GAMMAS] + [(HAAR, 1.0)]
        return [
            {"seed": seed, "basis": basis, "gamma": gamma, "direction": direction}
            for seed in range(self.seeds)
            for basis, gamma in noises
            for direction in PLACES
        ]

    def claims(self) -> list[Claim]:
        """Each for all outcomes."""
        return [claim for outcome in OUTCOMES for claim in _claims(outcome)]

    def material(self) -> Material:
        """G (D, D), directions (3, S, C, *space), their first indices and eigenvalues (3, 2)."""
        geometry = measure_geometry(study_family(self.network), self.measured)
        chosen = places(geometry, len(PLACES))
        return {
            "geometry": geometry.matrix(),
            "directions": directions(geometry, chosen, self.seeds),
            "places": torch.tensor([(each.index, each.value) for each in chosen], dtype=torch.float64),
        }

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train one direction under one noise and judge under that noise."""
        place, seed, gamma = PLACES.index(str(cell["direction"])), int(cell["seed"]), float(cell["gamma"])
        law = RankOne(material["directions"][place, seed])
        noise = noise_along(material["geometry"], law.shape, gamma, seed if cell["basis"] == HAAR else None)
        fitted = self.trained(study_family(self.network), law, seed, self.updates, self.learning_rate, noise=noise)
        process = fitted.setup.process
        index, value = material["places"][place].tolist()
        return {
            "index": int(index),
            "eigenvalue": value,
            "inverse": float(torch.linalg.eigvalsh(noise.operator(law.shape).to_dense()).reciprocal().mean()),
            "variance": float(law.direction.flatten() @ noise.operator(law.shape).to_dense() @ law.direction.flatten()),
            "loss": fitted.loss,
            **(theory(material["geometry"], gamma, int(index)) if cell["basis"] == SAD else {}),
            **law_outcomes(fitted.model, process, law, self.sampling, seed),
            **whitened_excess(fitted.model, process, law, seed, self.samples),
        }

    def findings(self, rows: Rows) -> list[Finding]:
        """In the order of the claims."""
        return [finding for outcome in OUTCOMES for finding in _findings(outcome, rows)]

    def tables(self, rows: Rows) -> list[Table]:
        """A row for each noise and direction."""
        return [_table(rows)]

    def figure(self, rows: Rows) -> Figure:
        """All outcomes against γ, what the linear theory says of the time of training beside them."""
        return _figure(rows)


# what is compared -----------------------------------------------------------------------------------------------


def noise_along(geometry: Tensor, shape: tuple[int, ...], gamma: float, seed: int | None = None) -> ForwardNoise:
    """Return noise of variance s ∝ λ^-γ, mean s = 1, along the eigenvectors of G, or along Haar-random directions.

    Args:
        geometry: G (D, D).
        shape: (C, *space).
        gamma: γ.
        seed: Of the random directions; None for the eigenvectors.
    """
    if seed is not None:
        basis = haar(len(geometry), seed)
        geometry = basis @ geometry @ basis.T
    return ForwardNoise.in_basis(DenseOperator.from_matrix(shape, geometry), gamma)


def theory(geometry: Tensor, gamma: float, index: int) -> dict[str, float]:
    """Return what the linear theory says of data along eigenvector ``index`` under noise along the eigenvectors.

    ``theory_time`` is the largest over the smallest rate at which gradient descent forgets an error: the steps that the
    slowest direction takes at the largest stable step size. ``theory_noise`` is the trace of one example's gradient
    covariance at the optimum over the square of that rate's largest: the noise at that step size.
    """
    values = torch.linalg.eigvalsh(geometry).flip(0).clamp_min(0)
    variances = ForwardNoise.in_basis(DenseOperator.from_matrix((1, len(values)), values.diag()), gamma)
    s = variances.operator((1, len(values))).to_dense().diagonal()
    rates = decay_rates(values, s, EQUAL, index)
    noise = gradient_noise(values, s, EQUAL, "epsilon")[index]
    return {"theory_time": float(rates.max() / rates.min()), "theory_noise": float(noise / rates.max() ** 2)}


def whitened_excess(model: Model, process: DiffusionProcess, law: RankOne, seed: int, count: int) -> dict[str, Any]:
    """Return the excess of T⁻¹ε̂: ``excess_white``, the mean over levels and directions, and by level."""
    exact = GaussianScore(law.mean, law.covariance, process)
    x0 = law.sample(count, stream(seed, "study denoising")).to(infer_device(model, None))
    columns = torch.eye(law.size, dtype=torch.float64)
    try:
        found = direction_error(model, process, x0, columns, exact, quantity="whitened", seed=seed).excess
    except InvalidInputError:  # the network's output is not finite: a training that diverged
        return {"excess_white": None, "excess_white_levels": None}
    assert found is not None
    levels = found.value.mean(1)
    return {"excess_white": float(levels.mean()), "excess_white_levels": levels.tolist()}


# claims ---------------------------------------------------------------------------------------------------------


def _claims(outcome: str) -> list[Claim]:
    _, judged, symbol = OUTCOMES[outcome]
    linear = "here: of linear networks under gradient descent equal rates are proved, not that they help"
    gate = f"; {GATE.format('the cells under white noise', ZEROS)}" if outcome in SAMPLED else ""

    def claim(key: str, text: str, source: str, statistic: str, control: bool = False) -> Claim:
        return Claim(f"{key}-{outcome}", text, source, f"{statistic}; {RULE}{gate}", control)

    def against_white(gamma: str) -> str:
        return f"mean over seeds of log {symbol} under white noise minus under {gamma}, averaged over three directions"

    return [
        claim(
            "equal", f"noise of variance ∝ 1/λ (γ = 1) makes {judged} better than white", linear, against_white("γ = 1")
        ),
        claim("half", f"noise of variance ∝ λ^-½ makes {judged} better than white", linear, against_white("γ = ½")),
        claim(
            "against",
            f"noise of variance ∝ λ^½, against the rule, makes {judged} worse than white",
            linear,
            f"mean over seeds of log {symbol} under γ = -½ minus under white noise, averaged over three directions",
        ),
        claim(
            "theory",
            f"as γ changes, {judged} gets better and worse with the linear theory's time of training",
            linear,
            f"mean over seeds of the slope of log {symbol} on the log of the theory's time, both minus those of white"
            " noise, over γ and directions, through the origin",
        ),
        claim(
            "grain",
            f"γ = 1 makes {judged} better along the eigenvectors of G than along random directions",
            linear,
            f"mean over seeds of log {symbol} (Haar) - log {symbol} (eigenvectors) under γ = 1, over three directions",
        ),
        claim(
            "haar",
            f"the same spectrum of noise along random directions makes {judged} better than white",
            "here: is it any colour that helps?",
            against_white("γ = 1 along Haar-random directions"),
        ),
        claim(
            "shuffled",
            f"the theory's times in a random order predict {judged}",
            "control: shuffled labels",
            "as 'theory', the changes of the log time of each seed in a random order, without their mean",
            control=True,
        ),
    ]


def _findings(outcome: str, rows: Rows) -> list[Finding]:
    name, claims = OUTCOMES[outcome][0], {claim.key.rsplit("-", 1)[0]: claim for claim in _claims(outcome)}
    sad = rows.where(basis=SAD)
    logs = {gamma: _logs(sad.where(gamma=gamma), name) for gamma in sad.levels("gamma")}
    random = _logs(rows.where(basis=HAAR), name)
    differences = {
        "equal": logs[0.0] - logs[1.0],
        "half": logs[0.0] - logs[0.5],
        "against": logs[-0.5] - logs[0.0],
        "grain": random - logs[1.0],
        "haar": logs[0.0] - random,
    }
    slopes = {"theory": theory_slopes(sad, name), "shuffled": theory_slopes(sad, name, shuffle=True)}
    found = [
        above_zero(claim, differences[key].mean(1), note=_by_direction(differences[key]))
        if key in differences
        else above_zero(claim, slopes[key])
        for key, claim in claims.items()
    ]
    return [_gated(each, rows) for each in found] if outcome in SAMPLED else found


def _gated(finding: Finding, rows: Rows) -> Finding:
    noises = [(SAD, gamma) for gamma in GAMMAS] + [(HAAR, 1.0)]
    found = {each: rows.where(basis=each[0], gamma=each[1]) for each in noises}
    zeros, white = (found[SAD, 0.0].array(name, "seed", "direction") for name in ("sw2_zeros", "sw2"))
    others = (each.array("sw2", "seed", "direction") for noise, each in found.items() if noise != (SAD, 0.0))
    return gated(finding, zeros, white, *others)


def _logs(rows: Rows, name: str) -> Floats:
    """The log of an outcome, (S, directions)."""
    found: Floats = np.log(rows.array(name, "seed", "direction"))
    return found


def _by_direction(differences: Floats) -> str:
    """Means over seeds of what a claim averages over directions."""
    return ", ".join(f"{place} {mean:+.2f}" for place, mean in zip(PLACES, differences.mean(0), strict=True))


def theory_slopes(rows: Rows, name: str, *, shuffle: bool = False) -> Floats:
    """Return the slope of the change of an outcome's log on that of the theory's time, from white noise, (S,).

    Shuffled, the times lose their mean too: what all γ have in common is no order.
    """
    x, y = (_changes(rows, each) for each in ("theory_time", name))
    if shuffle:
        x = shuffled(x - x.mean(1, keepdims=True))
    slopes: Floats = (x * y).sum(1) / np.square(x).sum(1)
    return slopes


def _changes(rows: Rows, name: str) -> Floats:
    """Log of a value minus that under white noise, (S, directions x γ)."""
    found = np.log(rows.array(name, "seed", "direction", "gamma"))
    white = rows.levels("gamma").index(0.0)
    return np.delete(found - found[..., white, None], white, axis=2).reshape(len(found), -1)


# table and figure -----------------------------------------------------------------------------------------------


def _table(rows: Rows) -> Table:
    names = ("sw2", "width", "off", "gap", "excess", "excess_white", "loss")
    trivial = ("sw2_exact", "sw2_resample", "sw2_zeros", "sw2_white")
    entries = [
        (
            "eigenvectors" if basis == SAD else "random",
            f"{gamma:g}",
            f"{direction} (#{mine[0]['index']})",
            f"{mine.array('variance', 'seed').mean():.3g}",
            f"{mine[0]['inverse']:.3g}",
            f"{mine[0]['theory_time']:.3g}" if basis == SAD else "–",
            f"{mine[0]['theory_noise']:.3g}" if basis == SAD else "–",
            *(with_error(mine.array(name, "seed")) for name in names),
            *(f"{mean_and_error(mine.array(name, 'seed'))[0]:.3g}" for name in trivial),
        )
        for basis in rows.levels("basis")
        for gamma in rows.where(basis=basis).levels("gamma")
        for direction in PLACES
        for mine in [rows.where(basis=basis, gamma=gamma, direction=direction)]
    ]
    return Table(
        "Rank-one data under noise of variance s ∝ λ^-γ",
        (
            "basis of the noise",
            "γ",
            "direction",
            "vᵀΣv",
            "mean 1/s",
            "theory: time",
            "theory: gradient noise",
            "SW₂",
            "width",
            "energy off v",
            "gap to the exact score",
            "excess",
            "whitened excess",
            "training loss",
            "SW₂ exact score",
            "resample",
            "zeros",
            "white",
        ),
        tuple(entries),
        "± is one standard error over seeds. Training losses are in units of Σ: compare them within a noise only. SW₂ "
        "of the exact score says what the sampler itself loses: where noise is weak along the data (large λ, γ = 1), "
        "the last level still holds a share of the data, which samples that begin with pure noise lack.",
    )


def _figure(rows: Rows) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.5), layout="constrained")
    *judged, right, unused = figure.subplots(2, 3).flat
    unused.remove()
    sad = rows.where(basis=SAD)
    gammas = sad.levels("gamma")
    for axis, (name, _, symbol) in zip(judged, OUTCOMES.values(), strict=True):
        for i, direction in enumerate(PLACES):
            _draw(axis, gammas, sad.where(direction=direction).array(name, "seed", "gamma"), i, "o-", direction)
            apart = rows.where(basis=HAAR, direction=direction)
            x = [apart[0]["gamma"] + 0.15]
            _draw(axis, x, apart.array(name, "seed", "gamma"), i, "s", "random basis" if i == 0 else None)
        axis.set(xlabel="γ  (0: white)", ylabel=fill(symbol, 32), yscale="log")
    zeros = float(np.mean([row["sw2_zeros"] for row in rows]))
    judged[0].axhline(zeros, color="0.4", ls="--", lw=1, label="all zeros")
    judged[0].legend(frameon=False, fontsize=8)
    for i, direction in enumerate(PLACES):
        right.plot(
            gammas, sad.where(direction=direction).array("theory_time", "seed", "gamma")[0], "o-", color=COLOURS[i]
        )
    right.set(xlabel="γ  (0: white)", ylabel="time of training, linear theory", yscale="log")
    return figure


def _draw(axis: Any, x: Any, table: Floats, i: int, style: str, label: str | None) -> None:
    """Mean and error over seeds, and the seeds, slightly apart by direction."""
    at = np.asarray(x, dtype=np.float64) + 0.02 * (i - 1)
    mean, error = np.array([mean_and_error(column) for column in table.T]).T
    axis.plot(np.broadcast_to(at, table.shape).T, table.T, ".", color=COLOURS[i], alpha=0.4)
    axis.errorbar(at, mean, error, fmt=style, color=COLOURS[i], capsize=3, label=label)
