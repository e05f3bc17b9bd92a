"""What the study ``noise-in-the-grain`` claims, and what its rows say of that (MATH C5)."""

from __future__ import annotations

import numpy as np

from scoregrain.studies.study import Claim, Finding, Rows
from scoregrain.studies.summaries import GATE, RULE, ZEROS, Floats, above_zero, gated, shuffled

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


def claims_of(outcome: str) -> list[Claim]:
    """Return the claims about one of :data:`OUTCOMES`."""
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


def findings_of(outcome: str, rows: Rows) -> list[Finding]:
    """Return the findings about one of :data:`OUTCOMES`, in the order of its claims."""
    name, claims = OUTCOMES[outcome][0], {claim.key.rsplit("-", 1)[0]: claim for claim in claims_of(outcome)}
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
