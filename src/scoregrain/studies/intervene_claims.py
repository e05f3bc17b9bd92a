"""What the study ``intervene`` claims, and what its rows say of that."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from scoregrain.studies.study import Claim, Finding, Rows
from scoregrain.studies.summaries import RULE, Floats, above_zero

ENDS, PLACES = ("top", "bottom"), ("top", "middle", "bottom")
ARMS = {
    "identity": PLACES,
    "whiten": ENDS,
    "invert": ENDS,
    "permute": PLACES,
    "exchange": ENDS,
    "signs": ENDS,
    "negate": ENDS,
    "rotate": ENDS,
    "scale=1/4": ENDS,
    "scale=4": ENDS,
    "identity+x": ENDS,
    "whiten+x": ENDS,
    "invert+x": ENDS,
}
"""What is done to G, and the directions of the data that are trained on under it."""

SPECTRA = ("whiten", "invert", "permute")
"""Arms that give the eigenvectors of G other eigenvalues."""

OUTCOMES = {"sw2": ("sw2", "sampling", "SW₂"), "denoising": ("excess_along", "denoising", "E (v·(ε̂ - ε*))²")}
"""By the word that ends a claim's key: the name in the rows, what is judged, the symbol."""


def claims_of(outcome: str) -> list[Claim]:
    """Return the claims about one of :data:`OUTCOMES`."""
    return [*_claims_of_new_spectra(outcome), *_claims_of_other_changes(outcome)]


def _declare(outcome: str) -> Callable[..., Claim]:
    """What makes a claim for one outcome: its rule is that of all."""

    def claim(key: str, text: str, source: str, statistic: str, control: bool = False) -> Claim:
        return Claim(f"{key}-{outcome}", text, source, f"{statistic}; {RULE}", control)

    return claim


def _claims_of_new_spectra(outcome: str) -> list[Claim]:
    """Conjecture 1 where the eigenvectors keep their places and the eigenvalues do not."""
    claim, (_, judged, symbol) = _declare(outcome), OUTCOMES[outcome]
    ends = f"c = log {symbol} (top) - log {symbol} (bottom), the directions of the largest and the smallest λ of G"
    conjecture = "arXiv 2510.22899, Conjecture 1"
    return [
        claim(
            "base",
            f"{judged} along the largest eigenvalue is worse than along the smallest",
            conjecture,
            f"mean over seeds of {ends}",
        ),
        claim(
            "inverted",
            f"with the spectrum inverted by an output layer, {judged} is worse along the direction whose eigenvalue was"
            " the smallest and now is the largest",
            conjecture,
            "mean over seeds of -c under the inverted spectrum",
        ),
        claim(
            "moved",
            f"inverting the spectrum moves the order of {judged} that way, if not all the way",
            conjecture,
            "mean over seeds of c (identity) - c (invert)",
        ),
        claim(
            "whitened",
            f"with equal eigenvalues at least half of the difference of {judged} is gone, whichever end is worse",
            conjecture,
            "of σ c (identity) / 2 + c (whiten) and σ c (identity) / 2 - c (whiten), σ the sign of the mean of"
            " c (identity), the one whose interval reaches lower; undecided where there is no difference to be gone,"
            " the interval of c (identity) holding 0",
        ),
        claim(
            "dose",
            f"{judged} along a direction gets worse as its eigenvalue is raised, better as it is lowered",
            conjecture,
            f"mean over seeds of the slope of the change of log {symbol} on that of log λ, over the directions of the"
            " whitened, inverted and permuted spectra, the mean of each of these taken off",
        ),
        claim(
            "base+x",
            f"{judged} along the largest eigenvalue is worse than along the smallest also for networks to which x is"
            " added",
            conjecture,
            "mean over seeds of c (identity+x)",
        ),
        claim(
            "moved+x",
            f"inverting the spectrum moves the order of {judged} also where, with x added, the layer need not be undone"
            " off the data",
            conjecture,
            "mean over seeds of c (identity+x) - c (invert+x)",
        ),
    ]


def _claims_of_other_changes(outcome: str) -> list[Claim]:
    """What else a change of the networks does, and two controls."""
    claim, (_, judged, symbol) = _declare(outcome), OUTCOMES[outcome]
    conjecture = "arXiv 2510.22899, Conjecture 1"
    return [
        claim(
            "exchanged",
            f"exchanging the two eigenvalues by a reflection of the output alone moves the order of {judged} too",
            conjecture,
            "mean over seeds of c (identity) - c (exchange)",
        ),
        claim(
            "signs",
            f"{judged} gets worse under an output layer that leaves G as it is (random signs of its eigenvectors)",
            "here: G is not all that counts",
            f"mean over seeds and both ends of log {symbol} (signs) - log {symbol} (identity)",
        ),
        claim(
            "scale",
            f"{judged} is worse with a sixteen times larger output at initialisation",
            "here",
            f"mean over seeds and both ends of log {symbol} (scale=4) - log {symbol} (scale=1/4)",
        ),
        claim(
            "rotated",
            f"where the data are rotated so that the network meets the one direction in place of the other, {judged}"
            " follows the network's direction (a theorem for white noise: this checks the machinery)",
            "MATH C5",
            "mean over seeds of -c (identity) c (rotate)",
        ),
        claim(
            "negated",
            f"changing the sign of the output, which changes neither G nor the law of the networks, moves {judged} as"
            " inversion is claimed to",
            "control: no intervention",
            "mean over seeds of c (identity) - c (negate)",
            control=True,
        ),
    ]


def findings_of(outcome: str, rows: Rows) -> list[Finding]:
    """Return the findings about one of :data:`OUTCOMES`, in the order of its claims."""
    name, claims = OUTCOMES[outcome][0], {claim.key.rsplit("-", 1)[0]: claim for claim in claims_of(outcome)}
    c = {arm: contrast(rows, name, arm) for arm in ARMS}
    values = {
        "base": c["identity"],
        "inverted": -c["invert"],
        "moved": c["identity"] - c["invert"],
        "dose": slopes(rows, name),
        "base+x": c["identity+x"],
        "moved+x": c["identity+x"] - c["invert+x"],
        "exchanged": c["identity"] - c["exchange"],
        "signs": level(rows, name, "signs") - level(rows, name, "identity"),
        "scale": level(rows, name, "scale=4") - level(rows, name, "scale=1/4"),
        "rotated": -c["identity"] * c["rotate"],
        "negated": c["identity"] - c["negate"],
    }
    found = {key: above_zero(claims[key], value) for key, value in values.items()}
    found["whitened"] = _halved(claims["whitened"], found["base"], c["identity"], c["whiten"])
    return [found[key] for key in claims]


def _halved(claim: Claim, base: Finding, before: Floats, after: Floats) -> Finding:
    """Judge that a contrast, of either sign, has lost at least half of its size."""
    if base.word == "undecided":
        return Finding(claim.key, None, None, base.n, "undecided", "without it there is no difference that is certain")
    half = np.sign(before.mean()) * before / 2
    both = [above_zero(claim, half + after), above_zero(claim, half - after)]
    return min(both, key=lambda each: -math.inf if each.interval is None else each.interval[0])


def contrast(rows: Rows, name: str, arm: str) -> Floats:
    """Return log outcome at the top minus at the bottom, (S,)."""
    difference: Floats = _log(rows, name, arm, "top") - _log(rows, name, arm, "bottom")
    return difference


def level(rows: Rows, name: str, arm: str) -> Floats:
    """Return the mean log outcome of both ends, (S,)."""
    mean: Floats = (_log(rows, name, arm, "top") + _log(rows, name, arm, "bottom")) / 2
    return mean


def slopes(rows: Rows, name: str) -> Floats:
    """Return by how much the log outcome changes with the log eigenvalue within the arms of new spectra, (S,)."""
    pairs = [changes(rows, name, arm) for arm in SPECTRA]
    x, y = (np.concatenate([each - each.mean(0) for each in part]) for part in zip(*pairs, strict=True))
    found: Floats = (x * y).sum(0) / np.square(x).sum(0)
    return found


def changes(rows: Rows, name: str, arm: str) -> tuple[Floats, Floats]:
    """Changes of the log eigenvalue and the log outcome from what they are under G, (directions, S) each."""
    found = [
        np.array([_log(rows, each, arm, place) - _log(rows, each, "identity", place) for place in ARMS[arm]])
        for each in ("eigenvalue", name)
    ]
    return found[0], found[1]


def _log(rows: Rows, name: str, arm: str, direction: str) -> Floats:
    found: Floats = np.log(rows.where(arm=arm, direction=direction).array(name, "seed"))
    return found
