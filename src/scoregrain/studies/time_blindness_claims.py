"""What the study ``time-blindness`` claims, and what its rows say of that."""

from __future__ import annotations

import numpy as np

from scoregrain.studies.families import AWARE_GROUPS, BLIND_GROUPS
from scoregrain.studies.study import Claim, Finding, Rows
from scoregrain.studies.summaries import RULE, Floats, above_zero, curves, seed_correlations, shuffled


def all_claims() -> list[Claim]:
    """Time-blind against time-aware, paired by seed, and the trend with the number of groups."""
    pair = f"{BLIND_GROUPS} groups minus {AWARE_GROUPS} groups, averaged over both directions"

    def claim(key: str, text: str, source: str, statistic: str, control: bool = False) -> Claim:
        return Claim(key, text, source, f"{statistic}; {RULE}", control)

    return [
        claim(
            "blind-sw2",
            "samples of a time-blind U-Net are worse than those of the same U-Net that sees the time",
            "here",
            f"mean over seeds of log SW₂, {pair}",
        ),
        claim(
            "blind-denoising",
            "a time-blind U-Net denoises worse",
            "here",
            f"mean over seeds of the log of the mean excess denoising error of all directions and levels, {pair}",
        ),
        claim(
            "blind-low-noise",
            "its disadvantage in denoising is larger in the lower half of the noise levels than in the upper",
            "here",
            f"mean over seeds of the log excess at a level, {pair}, in the lower half of the levels minus the upper",
        ),
        claim(
            "blind-zeros",
            "samples of a time-blind U-Net are further from the law than all zeros",
            "MATH A8, of the published scores",
            "mean over seeds of log SW₂ - log SW₂ of zeros, averaged over both directions",
        ),
        claim(
            "aware-zeros",
            "samples of a U-Net that sees the time are closer to the law than all zeros",
            "here",
            "mean over seeds of log SW₂ of zeros - log SW₂, averaged over both directions",
        ),
        claim(
            "trend",
            "samples are worse with more groups",
            "here",
            "mean over seeds of Spearman's ρ between the number of groups and log SW₂ averaged over both directions",
        ),
        claim(
            "aware-trend",
            "that is so among U-Nets that see the time, too",
            "here",
            "mean over seeds of log SW₂ of the largest number of groups below 32 minus that of the smallest",
        ),
        claim(
            "control",
            "the number of groups in a random order predicts the samples",
            "control: shuffled labels",
            "as 'trend', the labels of each seed shuffled",
            control=True,
        ),
    ]


def findings_of(rows: Rows) -> list[Finding]:
    """In the order of the claims."""
    claims = {claim.key: claim for claim in all_claims()}
    groups, sw2, zeros = rows.levels("groups"), logs(rows, "sw2"), logs(rows, "sw2_zeros")
    blind, aware = groups.index(BLIND_GROUPS), groups.index(AWARE_GROUPS)
    seeing = [i for i, each in enumerate(groups) if each != BLIND_GROUPS]
    most, least = max(seeing, key=lambda i: groups[i]), min(seeing, key=lambda i: groups[i])
    excess, lower = logs(rows, "excess"), lower_minus_upper(rows)
    labels = np.broadcast_to(np.array(groups, dtype=np.float64), sw2.shape)
    values = {
        "blind-sw2": sw2[:, blind] - sw2[:, aware],
        "blind-denoising": excess[:, blind] - excess[:, aware],
        "blind-low-noise": lower[:, blind] - lower[:, aware],
        "blind-zeros": (sw2 - zeros)[:, blind],
        "aware-zeros": (zeros - sw2)[:, aware],
        "trend": seed_correlations(labels, sw2),
        "aware-trend": sw2[:, most] - sw2[:, least],
        "control": seed_correlations(shuffled(labels), sw2),
    }
    return [above_zero(claim, values[key], correlation=key in ("trend", "control")) for key, claim in claims.items()]


def logs(rows: Rows, name: str) -> Floats:
    """Return the log of an outcome averaged over both directions, (S, groups)."""
    found: Floats = np.log(rows.array(name, "seed", "groups", "direction")).mean(2)
    return found


def lower_minus_upper(rows: Rows) -> Floats:
    """Return the mean log excess of the lower half of the levels minus that of the upper, (S, groups)."""
    return np.array(
        [[_half_difference(rows.where(seed=s, groups=g)) for g in rows.levels("groups")] for s in rows.levels("seed")]
    )


def _half_difference(rows: Rows) -> float:
    logs = np.log(curves(rows, "excess_levels"))
    half = max(1, logs.shape[1] // 2)
    return float(logs[:, :half].mean() - logs[:, -half:].mean())
