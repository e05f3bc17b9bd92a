"""What a report is about: untrained networks that are drawn anew, or one trained network at drawn inputs."""

from __future__ import annotations

from dataclasses import dataclass

from scoregrain.geometry import Geometry


@dataclass(frozen=True)
class Subject:
    """The words that differ between the two, plain text.

    Attributes:
        units: what is drawn, in one word.
        draws: the same in full.
        drawn: what is said of them beside their number.
        caption: title of the table of the geometry.
        finding: why a geometry tells anything.
        mean: what the geometry is a mean of.
        comparison: what to compare an alignment with.
        conjecture: what the papers do and do not say about it.
    """

    units: str
    draws: str
    drawn: str
    caption: str
    finding: str
    mean: str
    comparison: str
    conjecture: str


UNTRAINED = Subject(
    units="networks",
    draws="networks",
    drawn="untrained, each drawn anew",
    caption="The untrained networks",
    finding=(
        "Before training, a network already answers more strongly along some directions of image space than along "
        "others."
    ),
    mean="the mean outer product of its outputs over random initialisations",
    comparison=(
        "Images usually lie above chance, for smooth images and untrained convolutions favour the same arrays: compare "
        "the number between data sets for one network, or between rotations of the data, rather than with 1."
    ),
    conjecture=(
        "That trained networks model directions with small eigenvalues better is Conjecture 1 of the first paper "
        "below. It is a conjecture, supported by its experiments and proved only for linear networks; this page "
        "measures the alignment, not the quality of a trained model."
    ),
)

TRAINED = Subject(
    units="draws",
    draws="draws of data and noise level",
    drawn="of which each is one input of the trained network",
    caption="The trained network",
    finding="At its data a trained network answers more strongly along some directions of image space than others.",
    mean="the mean outer product of its score over images with noise, at all noise levels",
    comparison=(
        "Compare the number between data sets or trained networks that were measured in the same way, rather than "
        "with 1 or with that of networks before training."
    ),
    conjecture=(
        "This page measures the alignment, not the quality of the network. What the papers below expect of a geometry "
        "is about networks before training and is not said of this one."
    ),
)


def subject(geometry: Geometry) -> Subject:
    """Which of the two a geometry was measured on."""
    return TRAINED if geometry.info.get("trained") else UNTRAINED
