"""What the study ``power-law`` claims, and how it is judged (MATH B13)."""

from __future__ import annotations

from scoregrain.studies.study import Claim
from scoregrain.studies.summaries import GATE, RULE, ZEROS

PAPER = "arXiv 2510.09660, power law (MATH B13)"

PUBLISHED = {"mnist": "improves at α = -0.06", "quickdraw": "improves, best at α = -0.04", "cifar10": "a tie"}

PAIRS = {
    "colour": ("white", "colour"),
    "formula": ("white", "literal"),
    "strong": ("white", "strong"),
    "amount": ("white", "amount"),
    "colour-beyond-amount": ("amount", "both"),
    "smooth-not-rough": ("rough", "strong"),
}
"""Arms by the keys of claims over all data sets; the second is claimed to generate better."""

MEAN = "mean over data sets, then over seeds, which are paired"

GATED = GATE.format("the cells under white noise", ZEROS)

TIE = 0.1
"""Of log SW₂: half of what the paper's best effect, on MNIST, is in it, ½ log(0.42 / 0.28) = 0.20."""


def own_claim(name: str, alpha: float) -> Claim:
    """What the paper says of a data set, or of others like it."""
    source = f"{PAPER}: {PUBLISHED[name]}" if name in PUBLISHED else "here, after the paper's other data sets"
    ratio = f"log SW₂(white) / SW₂(α = {alpha:g}, at the energy of white noise), mean over seeds, which are paired"
    if name == "cifar10":
        return Claim(
            "cifar10-tie",
            f"On cifar10 noise of α = {alpha:g} generates as well as white noise.",
            source,
            f"{ratio}; holds (is refuted) where Student's 95 % interval lies within (outside) ±{TIE:g}; {GATED}",
        )
    text = f"On {name} noise of α = {alpha:g} generates better than white noise."
    return Claim(f"{name}-improves", text, source, f"{ratio}; {RULE}; {GATED}")


def pooled_claims(alpha: float, strong: float) -> list[Claim]:
    """The paper's α, and colour and amount told apart at a stronger one; the arms are :data:`PAIRS`."""
    weak, smooth, rough = (f"α = {each:g}" for each in (alpha, strong, -strong))
    here = "here: the paper's gains change the colour and the amount of the noise at once"
    told = [
        ("colour", f"the colour of {weak} alone generates better than white noise", "white", "colour alone", PAPER),
        (
            "formula",
            f"the formula of {weak} as printed, unnormalised and with its gain of the constant, generates better than"
            " white noise",
            "white",
            "formula as printed",
            PAPER,
        ),
        ("strong", f"the colour of {smooth} alone generates better than white noise", "white", "colour alone", here),
        (
            "amount",
            f"white noise of the energy of {smooth} generates better than white noise of energy 1",
            "white",
            "amount alone",
            here,
        ),
        (
            "colour-beyond-amount",
            f"unnormalised noise of {smooth} generates better than white noise of its energy",
            "amount alone",
            "colour and amount",
            here,
        ),
        (
            "smooth-not-rough",
            f"the colour of {smooth} alone generates better than that of {rough}",
            rough,
            smooth,
            "here, after the paper's sweep",
        ),
    ]
    return [
        Claim(
            key,
            f"On these data sets, in the mean over them, {text}.",
            source,
            f"log SW₂({worse}) / SW₂({better}), {MEAN}; {RULE}; {GATED}",
        )
        for key, text, worse, better, source in told
    ]


def last_claims(strong: float) -> list[Claim]:
    """Of the model, without a sampler; and the control."""
    return [
        Claim(
            "bound",
            f"On these data sets, in the mean over them, the colour of α = {strong:g} alone lowers the variational"
            " bound of held-out data by more than that of the best affine denoiser: the gain is one of the network,"
            " without a sampler.",
            "here, MATH B11",
            "the bound less that of the best affine denoiser under the same noise, bits per dimension, of white less"
            f" of the colour alone, {MEAN}; {RULE}",
        ),
        Claim(
            "swapped",
            "With white noise and the colour exchanged in every other seed, the one called colour generates better.",
            "control of the pairing",
            f"± log SW₂(white) / SW₂(colour alone), + for even seeds, {MEAN}; must not hold",
            control=True,
        ),
    ]
