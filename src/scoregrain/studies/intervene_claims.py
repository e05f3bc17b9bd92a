"""What the study ``intervene`` claims, and what its rows say of that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    "signs+x": ENDS,
    "negate+x": ENDS,
}
"""What is done to G, and the directions of the data that are trained on under it."""

SPECTRA = ("whiten", "invert", "permute")
"""Arms that give the eigenvectors of G other eigenvalues."""

DOSE = ("identity", *SPECTRA)
"""Arms of :func:`slopes`."""

OUTCOMES = {"sw2": ("sw2", "sampling", "SW₂"), "denoising": ("excess_along", "denoising", "E (v·(ε̂ - ε*))²")}
"""By the word that ends a claim's key: the name in the rows, what is judged, the symbol."""


# what rows say ----------------------------------------------------------------------------------------------------


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


# how claims are judged --------------------------------------------------------------------------------------------

Judge = Callable[[Claim, Rows, str], Finding]
"""The finding of (claim, rows, the outcome's name in them)."""


def _mean(values: Callable[[Rows, str], Floats]) -> Judge:
    """The claim that values, one for each seed, are above zero."""
    return lambda claim, rows, name: above_zero(claim, values(rows, name))


def _difference(of: Callable[[Rows, str, str], Floats], first: str, second: str) -> Judge:
    """The claim that :func:`contrast` or :func:`level` is larger under the first arm than under the second."""
    return _mean(lambda rows, name: of(rows, name, first) - of(rows, name, second))


def _halved(claim: Claim, rows: Rows, name: str) -> Finding:
    """The claim that whitening takes at least half of a contrast, of either sign."""
    before, after = contrast(rows, name, "identity"), contrast(rows, name, "whiten")
    base = above_zero(claim, before)
    if base.word == "undecided":
        return Finding(claim.key, None, None, base.n, "undecided", "without it there is no difference that is certain")
    half = np.sign(before.mean()) * before / 2
    both = [above_zero(claim, half + after), above_zero(claim, half - after)]
    return min(both, key=lambda each: -math.inf if each.interval is None else each.interval[0])


# claims -----------------------------------------------------------------------------------------------------------

CONJECTURE = "arXiv 2510.22899, Conjecture 1"
NOT_ALL = "here: G is not all that counts"
NO_INTERVENTION = "control: no intervention"


@dataclass(frozen=True)
class Declared:
    """A claim for either outcome: ``{judged}`` and ``{symbol}`` stand for what :data:`OUTCOMES` says.

    Attributes:
        key: Of the claim, without the outcome.
        text: As of :class:`Claim`.
        source: As of :class:`Claim`.
        statistic: As of :class:`Claim`, without the rule, which is that of all.
        arms: It compares; where one is not run the claim is not made.
        judge: What the rows say of it.
        control: Must it fail?
    """

    key: str
    text: str
    source: str
    statistic: str
    arms: tuple[str, ...]
    judge: Judge
    control: bool = False

    def claim(self, outcome: str) -> Claim:
        """The claim about one of :data:`OUTCOMES`."""
        _, judged, symbol = OUTCOMES[outcome]
        text, statistic = (each.format(judged=judged, symbol=symbol) for each in (self.text, self.statistic))
        return Claim(f"{self.key}-{outcome}", text, self.source, f"{statistic}; {RULE}", self.control)


NEW_SPECTRA = (
    Declared(
        "base",
        "{judged} along the largest eigenvalue is worse than along the smallest",
        CONJECTURE,
        "mean over seeds of c = log {symbol} (top) - log {symbol} (bottom), the directions of the largest and the"
        " smallest λ of G",
        ("identity",),
        _mean(lambda rows, name: contrast(rows, name, "identity")),
    ),
    Declared(
        "inverted",
        "with the spectrum inverted by an output layer, {judged} is worse along the direction whose eigenvalue was"
        " the smallest and now is the largest",
        CONJECTURE,
        "mean over seeds of -c under the inverted spectrum",
        ("invert",),
        _mean(lambda rows, name: -contrast(rows, name, "invert")),
    ),
    Declared(
        "moved",
        "inverting the spectrum moves the order of {judged} that way, if not all the way",
        CONJECTURE,
        "mean over seeds of c (identity) - c (invert)",
        ("identity", "invert"),
        _difference(contrast, "identity", "invert"),
    ),
    Declared(
        "whitened",
        "with equal eigenvalues at least half of the difference of {judged} is gone, whichever end is worse",
        CONJECTURE,
        "of σ c (identity) / 2 + c (whiten) and σ c (identity) / 2 - c (whiten), σ the sign of the mean of"
        " c (identity), the one whose interval reaches lower; undecided where there is no difference to be gone,"
        " the interval of c (identity) holding 0",
        ("identity", "whiten"),
        _halved,
    ),
    Declared(
        "dose",
        "{judged} along a direction gets worse as its eigenvalue is raised, better as it is lowered",
        CONJECTURE,
        "mean over seeds of the slope of the change of log {symbol} on that of log λ, over the directions of the"
        " whitened, inverted and permuted spectra, the mean of each of these taken off",
        DOSE,
        _mean(slopes),
    ),
    Declared(
        "base+x",
        "{judged} along the largest eigenvalue is worse than along the smallest also for networks to which x is added",
        CONJECTURE,
        "mean over seeds of c (identity+x)",
        ("identity+x",),
        _mean(lambda rows, name: contrast(rows, name, "identity+x")),
    ),
    Declared(
        "moved+x",
        "inverting the spectrum moves the order of {judged} also where, with x added, the layer need not be undone"
        " off the data",
        CONJECTURE,
        "mean over seeds of c (identity+x) - c (invert+x)",
        ("identity+x", "invert+x"),
        _difference(contrast, "identity+x", "invert+x"),
    ),
)
"""Conjecture 1 where the eigenvectors keep their places and the eigenvalues do not."""

OTHER_CHANGES = (
    Declared(
        "exchanged",
        "exchanging the two eigenvalues by a reflection of the output alone moves the order of {judged} too",
        CONJECTURE,
        "mean over seeds of c (identity) - c (exchange)",
        ("identity", "exchange"),
        _difference(contrast, "identity", "exchange"),
    ),
    Declared(
        "signs",
        "{judged} gets worse under an output layer that leaves G as it is (random signs of its eigenvectors)",
        NOT_ALL,
        "mean over seeds and both ends of log {symbol} (signs) - log {symbol} (identity)",
        ("signs", "identity"),
        _difference(level, "signs", "identity"),
    ),
    Declared(
        "scale",
        "{judged} is worse with a sixteen times larger output at initialisation",
        "here",
        "mean over seeds and both ends of log {symbol} (scale=4) - log {symbol} (scale=1/4)",
        ("scale=4", "scale=1/4"),
        _difference(level, "scale=4", "scale=1/4"),
    ),
    Declared(
        "rotated",
        "where the data are rotated so that the network meets the one direction in place of the other, {judged}"
        " follows the network's direction (a theorem for white noise: this checks the machinery)",
        "MATH C5",
        "mean over seeds of -c (identity) c (rotate)",
        ("identity", "rotate"),
        _mean(lambda rows, name: -contrast(rows, name, "identity") * contrast(rows, name, "rotate")),
    ),
    Declared(
        "negated",
        "changing the sign of the output, which changes neither G nor the law of the networks, moves {judged} as"
        " inversion is claimed to",
        NO_INTERVENTION,
        "mean over seeds of c (identity) - c (negate)",
        ("identity", "negate"),
        _difference(contrast, "identity", "negate"),
        control=True,
    ),
)
"""What else a change of the networks does, and the control."""

BEYOND_THE_LAYER = (
    Declared(
        "signs+x",
        "with x added {judged} gets worse under an output layer that leaves G as it is (random signs of its"
        " eigenvectors)",
        NOT_ALL,
        "mean over seeds and both ends of log {symbol} (signs+x) - log {symbol} (identity+x)",
        ("signs+x", "identity+x"),
        _difference(level, "signs+x", "identity+x"),
    ),
    Declared(
        "signs-moved+x",
        "with x added a layer that leaves G as it is moves the order of {judged} as inverting the spectrum is claimed"
        " to",
        NOT_ALL,
        "mean over seeds of c (identity+x) - c (signs+x)",
        ("identity+x", "signs+x"),
        _difference(contrast, "identity+x", "signs+x"),
    ),
    Declared(
        "beyond+x",
        "with x added inverting the spectrum moves the order of {judged} further than a layer that leaves G as it is",
        CONJECTURE,
        "mean over seeds of c (signs+x) - c (invert+x)",
        ("signs+x", "invert+x"),
        _difference(contrast, "signs+x", "invert+x"),
    ),
    Declared(
        "negated+x",
        "changing the sign of the output to which x is added, which changes neither G nor the law of the networks,"
        " moves {judged} as inversion is claimed to",
        NO_INTERVENTION,
        "mean over seeds of c (identity+x) - c (negate+x)",
        ("identity+x", "negate+x"),
        _difference(contrast, "identity+x", "negate+x"),
        control=True,
    ),
)
"""Does the order move because of the new eigenvalues, or because there is a layer at all?"""


def declared(arms: Sequence[str]) -> list[Declared]:
    """Return what is claimed where these of :data:`ARMS` are run."""
    return [each for each in (*NEW_SPECTRA, *OTHER_CHANGES, *BEYOND_THE_LAYER) if set(each.arms) <= set(arms)]


def findings_of(outcome: str, arms: Sequence[str], rows: Rows) -> list[Finding]:
    """Return the findings about one of :data:`OUTCOMES`, in the order of its claims."""
    return [each.judge(each.claim(outcome), rows, OUTCOMES[outcome][0]) for each in declared(arms)]
