"""What the study ``alignment`` claims, and how it is judged (MATH A5, A9)."""

from __future__ import annotations

import math

from scoregrain.studies.alignment_tables import HAAR, IDENTITY, W_MAX, W_MIN
from scoregrain.studies.study import Claim
from scoregrain.studies.summaries import GATE, RULE, ZEROS

MARGIN = math.log(1.25)
"""Distances that differ by less than a quarter are called equal."""

FIGURE_9 = "arXiv 2510.22899, Theorem 2 and Figure 9"

PAIRS = (
    ("min-identity", "sw2", W_MIN, IDENTITY),
    ("identity-max", "sw2", IDENTITY, W_MAX),
    ("min-max", "sw2", W_MIN, W_MAX),
    ("min-haar", "sw2", W_MIN, HAAR),
    ("haar-max", "sw2", HAAR, W_MAX),
    ("denoising-min-identity", "error", W_MIN, IDENTITY),
    ("denoising-min-max", "error", W_MIN, W_MAX),
    ("denoising-min-haar", "error", W_MIN, HAAR),
    ("denoising-haar-max", "error", HAAR, W_MAX),
)
"""Key, outcome, the rotation that is claimed to be better and the other."""

_ORDER = "; identity alone keeps the order of pixels, the other rotations mix them all"

_SHORT = (
    "; before training the error along a direction holds the variance of the network's own output, λ, so that a short "
    "training has this by construction"
)


def reference(better: str, worse: str) -> str:
    """The rotation whose trainings tell whether a pair's distances mean something."""
    return HAAR if HAAR in (better, worse) else IDENTITY


def paired_claims() -> list[Claim]:
    """What the paper says of the three rotations, and whether a random one does as well."""
    said = {"sw2": ("samples are nearer to the data", "SW₂"), "error": ("denoising is better", "denoising error")}
    return [
        Claim(
            key,
            f"with {better} {said[name][0]} than with {worse}",
            _source(name, better, worse),
            f"mean over seeds of log {said[name][1]} ({worse}) - log {said[name][1]} ({better}); {RULE}"
            + (f"; {_gate(reference(better, worse))}" if name == "sw2" else "")
            + (_ORDER if IDENTITY in (better, worse) else ""),
        )
        for key, name, better, worse in PAIRS
    ]


def _gate(rotation: str) -> str:
    return GATE.format(f"the trainings with {rotation}", ZEROS)


def _source(outcome: str, better: str, worse: str) -> str:
    if HAAR in (better, worse):
        return "here: does alignment matter, or any rotation?"
    return FIGURE_9 if outcome == "sw2" else f"{FIGURE_9}, by the held-out denoising error"


def other_claims() -> list[Claim]:
    """Of equality, of nothing, of directions; and two controls."""
    return [
        Claim(
            "haar-equal",
            "a Haar rotation, another one for each seed, gives samples as near to the data as the study's one W_min",
            "here",
            "mean over seeds of log SW₂ (Haar) - log SW₂ (W_min); holds (is refuted) where Student's 95 % interval is "
            f"within (outside) ± log 1.25; {_gate(HAAR)}",
        ),
        Claim(
            "worse-than-nothing",
            "samples without a rotation are further from the data than all zeros",
            "MATH A8, as the values of Figure 9 are",
            f"mean over seeds of log SW₂ (identity) - log SW₂ of zeros; {RULE}",
        ),
        Claim(
            "quarters",
            "with data turned at random, so that they favour no direction, denoising is worse along the network's "
            "quarter of largest eigenvalues than along the smallest, each against the best linear denoiser",
            "arXiv 2510.22899, Conjecture 1 and Figure 8",
            "Haar: mean over seeds of the log of the error over that of the linear denoiser, first quarter less last; "
            f"{RULE}{_SHORT}",
        ),
        Claim(
            "control-labels",
            "with W_min and W_max exchanged in every other seed, the one called W_min is better",
            "control",
            "mean over seeds of ± (log SW₂ (W_max) - log SW₂ (W_min)), + for even seeds; must not hold",
            control=True,
        ),
        Claim(
            "control-haar",
            "of two Haar rotations the second gives samples nearer to the data",
            "control",
            "mean over seeds of log SW₂ (Haar) - log SW₂ (another Haar); must not hold",
            control=True,
        ),
    ]
