"""What the study ``predict`` claims, and how it is judged (MATH A5, C6)."""

from __future__ import annotations

from scoregrain.studies.study import Claim
from scoregrain.studies.summaries import GATE

OUTCOMES = {
    "sw2": "log of SW₂ over that of fresh data",
    "denoising": "log of the denoising error (of laws its excess over the exact score's, of images all of it)",
}

TRIVIAL = "the nearer of zeros and white noise"
"""What samples must be nearer than: the energy of the laws is that of white noise, which is often nearer than zeros."""

CONSTANTS = 8
"""Random constants of families among which one is chosen, as many as there are predictors."""

DRAWS = 1000
"""Choices among random constants."""

_RULE = (
    "holds (is refuted) where the 95 % interval, by resampling data sets, families and seeds, is above (below) 0; told "
    "beside: p by exchanging families in all data sets alike"
)
_GATE = (
    "; " + GATE.format("the trainings of each data set's best family", TRIVIAL) + "; families beyond that "
    "are ordered by how far their sampler drifts"
)
_ISOTROPIC = (
    "; families with an isotropic geometry have α = 1 on all data, so that ρ is far from 1 where they are worst"
)
_CONTRASTS = (
    "; networks of one kind have nearly the same α, which leaves little but the contrast of convolutions and "
    "transformers on smooth and rough data, with which any other difference of the two is confounded"
)
_ALPHA = "α over chance"
_BETTER = {"sw2": "give samples nearer to the data", "denoising": "denoise better"}
_NOUN = {"sw2": "samples", "denoising": "denoising"}


def claims_of(held_out: tuple[str, ...], fold: tuple[str, ...]) -> list[Claim]:
    """What ``scoregrain rank`` says, what a chosen predictor says, and controls.

    Args:
        held_out: Data sets that judge what was chosen on the others.
        fold: Families of the one fold; the others are the other.
    """
    return [
        *(_rank(outcome) for outcome in OUTCOMES),
        *(_anisotropic(outcome) for outcome in OUTCOMES),
        *(_interaction(outcome) for outcome in OUTCOMES),
        Claim(
            "pooled-sw2",
            "alignment over chance orders families and data sets together by their samples",
            "here",
            f"Spearman's ρ over all cells between {_ALPHA} and the {OUTCOMES['sw2']}; {_RULE}, and inside each{_GATE}",
        ),
        *(_chosen(outcome, held_out, fold) for outcome in OUTCOMES),
        *(_turned(outcome) for outcome in OUTCOMES),
        *(_constants(outcome) for outcome in OUTCOMES),
    ]


def _gate(outcome: str) -> str:
    return _GATE if outcome == "sw2" else ""


def _rank(outcome: str) -> Claim:
    return Claim(
        f"rank-{outcome}",
        f"in a data set, families of smaller alignment over chance {_BETTER[outcome]}",
        "what `scoregrain rank` orders by; arXiv 2510.22899, Conjecture 1",
        f"mean over data sets of Spearman's ρ over families between {_ALPHA} and the {OUTCOMES[outcome]}; {_RULE}, and "
        f"inside each{_gate(outcome)}{_ISOTROPIC}",
    )


def _anisotropic(outcome: str) -> Claim:
    return Claim(
        f"anisotropic-{outcome}",
        f"in a data set, of families that have a grain those of smaller alignment over chance {_BETTER[outcome]}",
        "what `scoregrain rank` orders by; arXiv 2510.22899, Conjecture 1",
        f"as rank-{outcome}, over families whose {_ALPHA} is not the same on all data; {_RULE}, and inside each"
        f"{_gate(outcome)}",
    )


def _interaction(outcome: str) -> Claim:
    return Claim(
        f"interaction-{outcome}",
        f"families {_BETTER[outcome]} on those data along which they are less aligned, beyond what a family can do on "
        "all data and how hard data are for all families",
        "here, against families that are good or bad at everything; arXiv 2510.22899, Conjecture 1",
        f"Spearman's ρ over all cells between log {_ALPHA} and the {OUTCOMES[outcome]}, the means of families and of "
        f"data sets removed from both, in each resample anew; {_RULE}{_gate(outcome)}{_CONTRASTS}",
    )


def _chosen(outcome: str, held_out: tuple[str, ...], fold: tuple[str, ...]) -> Claim:
    statistic = "Spearman's ρ over cells" if outcome == "sw2" else "mean over data sets of Spearman's ρ over families"
    return Claim(
        f"chosen-{outcome}",
        f"the quantity that predicts {_NOUN[outcome]} best of some families on some data sets predicts it of other "
        "families on other data sets",
        "here",
        f"{statistic} with the {OUTCOMES[outcome]}, on {', '.join(held_out)}, mean over two folds of families "
        f"({', '.join(fold)}, and the others): each is judged by the predictor, and its sign, of largest |ρ| on the "
        "other data sets and the other fold; holds (is refuted) where the 95 % interval, by resampling data sets, "
        "families and seeds, is above (below) 0; told beside: p by choices among random constants, as in "
        f"control-constants-{outcome}{_gate(outcome)}",
    )


def _turned(outcome: str) -> Claim:
    return Claim(
        f"control-{outcome}",
        f"alignment over chance with a geometry of the same eigenvalues in random directions predicts {_NOUN[outcome]}",
        "control: Haar rotations",
        f"as anisotropic-{outcome}, the eigenvectors of each family's G turned by a Haar rotation; must not hold",
        control=True,
    )


def _constants(outcome: str) -> Claim:
    return Claim(
        f"control-constants-{outcome}",
        f"the best of {CONSTANTS} random numbers for each family, the same on all data, predicts {_NOUN[outcome]} of "
        "other families on other data sets",
        "control",
        f"as chosen-{outcome}, mean over {DRAWS} sets of random numbers; must not hold, that is the interval that has "
        "95 % of them must not be above 0; a check that the folds leak nothing",
        control=True,
    )
