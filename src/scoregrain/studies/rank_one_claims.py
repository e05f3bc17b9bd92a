"""What the study ``rank-one`` claims, and what its rows say of that (MATH A7, A9, A11)."""

from __future__ import annotations

import numpy as np

from scoregrain._random import stream_seed
from scoregrain.studies.study import Claim, Finding, Rows
from scoregrain.studies.summaries import RULE, above_zero, ordered_by_seed, seed_correlations, shuffled, trend_note

FIRST_PAPER = "arXiv 2510.22899, Conjecture 1 and Figure 6"


def claims_of(network: str, other: str) -> list[Claim]:
    """Return the claims about a network; ``other`` is the second sampler."""
    per_seed = "mean over seeds of Spearman's ρ over directions between λ and"

    def claim(key: str, text: str, source: str, statistic: str, control: bool = False) -> Claim:
        return Claim(f"{key}:{network}", f"{network}: {text}", source, f"{statistic}; {RULE}", control)

    return [
        claim("trend-sw2", "samples are worse along larger eigenvalues", FIRST_PAPER, f"{per_seed} SW₂"),
        claim(
            "ends-sw2",
            "samples along the largest eigenvalue are worse than along the smallest",
            FIRST_PAPER,
            "mean over seeds of log SW₂ (largest) - log SW₂ (smallest)",
        ),
        claim(
            "ends-other",
            f"the same with the sampler {other}",
            FIRST_PAPER,
            f"mean over seeds of log SW₂ (largest) - log SW₂ (smallest), by {other}",
        ),
        claim(
            "trend-denoising",
            "denoising along the direction is worse for larger eigenvalues",
            FIRST_PAPER + ", by the excess denoising error",
            f"{per_seed} E (v·(ε̂ - ε*))²",
        ),
        claim(
            "outcomes-agree",
            "directions along which denoising is worse are those along which samples are worse",
            "here",
            "mean over seeds of Spearman's ρ over directions between E (v·(ε̂ - ε*))² and SW₂",
        ),
        claim(
            "last-level",
            "the error along the direction at the last noise level alone orders the samples",
            "here",
            "mean over seeds of Spearman's ρ over directions between E (v·(ε̂ - ε*))² at t = T - 1 and SW₂",
        ),
        claim(
            "first-order",
            "denoising errors, carried to the end by the exact flow to first order, order the samples",
            "here",
            "mean over seeds of Spearman's ρ over directions between ∫ √E (v·(ε̂ - ε*))² d asinh(r/√D), r the ratio of "
            "noise to signal, and SW₂",
        ),
        claim(
            "worse-than-nothing",
            "samples are further from the law than all zeros",
            "MATH A8",
            "mean over seeds of log SW₂ - log SW₂ of zeros, averaged over directions",
        ),
        claim(
            "control",
            "eigenvalues in a random order predict the samples",
            "control",
            f"{per_seed} SW₂, the labels of each seed shuffled",
            control=True,
        ),
    ]


def findings_of(network: str, other: str, rows: Rows) -> list[Finding]:
    """Return what the rows of all cells say about a network, in the order of its claims."""
    claims = {claim.key.split(":")[0]: claim for claim in claims_of(network, other)}
    rows = rows.where(network=network)
    value = rows.array("eigenvalue", "seed", "place")
    sw2 = rows.array("sw2", "seed", "place")
    names = ("excess_along", "excess_along_last", "gap_first_order")
    along, last, first_order = (rows.array(name, "seed", "place") for name in names)
    by_other = np.log(rows.array(f"sw2_{other}", "seed", "place"))
    logs, zeros = np.log(sw2), np.log(rows.array("sw2_zeros", "seed", "place"))
    mixed = shuffled(value, stream_seed(0, network))
    growing = sw2[:, ::-1]  # from the smallest eigenvalue to the largest, the order that is claimed
    return [
        ordered_by_seed(claims["trend-sw2"], value, sw2, note=trend_note(growing)),
        above_zero(claims["ends-sw2"], logs[:, 0] - logs[:, -1]),
        above_zero(claims["ends-other"], by_other[:, 0] - by_other[:, -1]),
        ordered_by_seed(claims["trend-denoising"], value, along, note=trend_note(along[:, ::-1])),
        ordered_by_seed(claims["outcomes-agree"], along, sw2),
        ordered_by_seed(claims["last-level"], last, sw2),
        ordered_by_seed(claims["first-order"], first_order, sw2),
        above_zero(claims["worse-than-nothing"], (logs - zeros).mean(1)),
        above_zero(claims["control"], seed_correlations(mixed, sw2), correlation=True),
    ]
