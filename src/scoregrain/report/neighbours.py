"""What samples have in common with single arrays: the modes they are in, the training arrays they copy."""

from __future__ import annotations

from scoregrain.datasets import GaussianMixture
from scoregrain.metrics import Memorisation, ModeCoverage, label_coverage, memorisation, mode_coverage
from scoregrain.metrics.copying import LEAST
from scoregrain.report.material import Material, some

LABELLED = 10_000
"""Labelled arrays that samples are assigned by."""


def find_modes(material: Material) -> tuple[ModeCoverage, ModeCoverage] | None:
    """Coverage of the components of a mixture, or of labels, by the samples and by the target; None without them.

    The target's own is the floor: nearest neighbours in pixels give some classes far more than their share.
    """
    law, split = material.law, material.split
    pair = material.samples, material.target
    if isinstance(law, GaussianMixture) and len(law.weights) > 1:
        full = all(each.rank() == each.size for each in law.covariances)
        shapes = law.covariances if full else None
        ours, theirs = (mode_coverage(x, law.means, law.weights, shapes, material.resample) for x in pair)
        return ours, theirs
    if split is None or split.train.labels is None:
        return None
    pixels, labels = (some(each, LABELLED, 0) for each in (split.train.pixels, split.train.labels))
    if bool((labels == labels[0]).all()):
        return None
    ours, theirs = (label_coverage(x, pixels, labels) for x in pair)
    return ours, theirs


def find_copies(material: Material) -> Memorisation | None:
    """How near the samples are to what was trained on; None where that is not known, or too little."""
    split = material.split
    if split is None or min(len(split.train), len(split.held_out)) < LEAST:
        return None
    return memorisation(material.samples, split.train.pixels, split.held_out.pixels)
