"""What the study ``omission`` claims, and how it is judged (MATH B12, B13)."""

from __future__ import annotations

from scoregrain.studies.study import Claim
from scoregrain.studies.summaries import GATE, RULE, ZEROS

PAPER = "arXiv 2510.09660, selective omission (MATH B13)"

EXACT = 1e-5
"""Of the data's root mean square: how far rounding may move what the band holds."""

MARGIN = 0.01
"""Of the law's width: a smaller distance of exact laws is not told from an error of the sampler's steps."""

_GATED = GATE.format("the trainings of plain diffusion on clean data", ZEROS)
_MEAN = f"mean over bands, then over seeds, which are paired; {RULE}; {_GATED}"
_TREND = f"for each seed Spearman's ρ over bands of the band's frequency with {{}}; mean over seeds; {RULE}; {_GATED}"


def claims_of_trained() -> list[Claim]:
    """What the paper claims of trained networks, and what else could explain it."""
    return [
        Claim(
            "every-band",
            "With any one band corrupted, omission (conditional, m = 0) generates clean data better than plain"
            " diffusion trained on the corrupted data.",
            PAPER,
            "log SW₂(plain) / SW₂(omission) to clean held-out data, mean over seeds, which are paired, in one band: the"
            " one whose 95 % t interval ends lowest where one ends below 0, else the one whose interval begins lowest;"
            " holds (is refuted) where all of it is above (below) 0, which the worst of several intervals is below by"
            f" chance more often than once in forty times; {_GATED}; told beside: the same of corrupted data"
            " against their emptied band, without a network",
        ),
        Claim(
            "higher-bands",
            "The gain of omission over plain diffusion grows with the frequency of the band (and with the power of the"
            " corruption: higher bands hold more waves, each of which is corrupted alike).",
            PAPER,
            _TREND.format("the gain, as in every-band") + "; told beside: the same without a network",
        ),
        Claim(
            "beyond-emptying",
            "Omission generates clean data better than the samples of plain diffusion whose band is emptied"
            " afterwards: its gain is more than an empty band.",
            "here, against MATH B12",
            f"log SW₂(plain, emptied) / SW₂(omission, m = 0), {_MEAN}",
        ),
        Claim(
            "higher-bands-beyond-emptying",
            "The gain of omission over emptying the band of plain samples grows with the frequency of the band.",
            "here, against MATH B12",
            _TREND.format("the gain, as in beyond-emptying"),
        ),
        Claim(
            "beyond-emptied-data",
            "Marginal omission generates clean data better than plain diffusion trained on data whose band is"
            " emptied: what helps is the noise, not that the network is spared the corruption.",
            "here, against MATH B12",
            f"log SW₂(trained on emptied data, samples emptied) / SW₂(marginal, m = 0), {_MEAN}",
        ),
        Claim(
            "better-outside",
            "Outside the band marginal omission generates clean data better than plain diffusion does.",
            "here",
            f"log ratio of SW₂ with the band removed from samples and data, plain over marginal, {_MEAN}",
        ),
    ]


def claims_of_the_law() -> list[Claim]:
    """What the band holds and what exact scores say, with the control of the latter."""
    return [
        Claim(
            "band-is-exact",
            "The band of samples holds exactly what was put in, in both modes.",
            "here: a check of the sampler, which sets the band as its last act",
            f"the largest deviation over all samples, of the data's root mean square; holds up to {EXACT:g}",
        ),
        Claim(
            "conditional-is-not-marginal",
            "With the exact score of corrupted Gaussian data, conditional omission with m = 0 ends further from the"
            " clean law outside the band than marginal omission.",
            "MATH B12",
            "W₂ (of moments) to the clean law outside the band over that law's width, conditional less marginal less"
            f" {MARGIN:g}, mean over bands, then over seeds, which are paired; {RULE}; seeds are draws of samples of"
            " one law, so that the interval is of the sampling alone",
        ),
        Claim(
            "drawn-content",
            "The same with m drawn from corrupted data, which reproduces the corrupted law.",
            "control",
            "as conditional-is-not-marginal, m drawn instead of 0; must not hold",
            control=True,
        ),
    ]


def controls() -> list[Claim]:
    """Names that mean nothing."""
    return [
        Claim(
            "swapped",
            "With plain diffusion and omission exchanged in every other seed, the one called omission generates clean"
            " data better.",
            "control of the pairing",
            "± log SW₂(plain) / SW₂(omission, m = 0), + for even seeds, mean over bands and seeds; must not hold",
            control=True,
        ),
    ]
