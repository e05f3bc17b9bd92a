"""What samples have in common with single arrays: the modes they are in, the training arrays they copy."""

from __future__ import annotations

from scoregrain.datasets import GaussianMixture
from scoregrain.metrics import Memorisation, ModeCoverage, label_coverage, memorisation, mode_coverage
from scoregrain.metrics.copying import LEAST
from scoregrain.report.material import Material

LABELLED = 10_000
"""Labelled arrays that samples are assigned by."""


def find_modes(material: Material) -> ModeCoverage | None:
    """Coverage of the components of a mixture, or of labels; None where there are none."""
    law, split = material.law, material.split
    if isinstance(law, GaussianMixture) and len(law.weights) > 1:
        full = all(each.rank() == each.size for each in law.covariances)
        shapes = law.covariances if full else None
        return mode_coverage(material.samples, law.means, law.weights, shapes, material.target)
    if split is None or split.train.labels is None or bool((split.train.labels == split.train.labels[0]).all()):
        return None
    return label_coverage(material.samples, split.train.pixels[:LABELLED], split.train.labels[:LABELLED])


def find_copies(material: Material) -> Memorisation | None:
    """How near the samples are to what was trained on; None where that is not known, or too little."""
    split = material.split
    if split is None or min(len(split.train), len(split.held_out)) < LEAST:
        return None
    return memorisation(material.samples, split.train.pixels, split.held_out.pixels)
