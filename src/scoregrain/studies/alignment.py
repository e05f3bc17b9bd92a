"""Figures 8 and 9 of the first paper: data turned with and against a network's grain (MATH A5, A9)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from scoregrain.align import Rotation, cross_fit, measure_alignment
from scoregrain.datasets import Split
from scoregrain.geometry import data_geometry, measure_geometry
from scoregrain.studies.alignment_claims import MARGIN, PAIRS, other_claims, paired_claims, reference
from scoregrain.studies.alignment_tables import (
    HAAR,
    IDENTITY,
    OTHER_HAAR,
    ROTATIONS,
    W_MAX,
    W_MIN,
    draw_figure,
    outcome_table,
    quarter_table,
    relative_errors,
)
from scoregrain.studies.directions import haar
from scoregrain.studies.equivalence import within
from scoregrain.studies.families import study_family
from scoregrain.studies.image_outcomes import image_outcomes, image_split
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Table
from scoregrain.studies.summaries import Floats, above_zero, gated, swapped
from scoregrain.studies.trained import TrainedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class AlignmentStudy(TrainedStudy):
    """Train one network on images as they are, and turned by the rotations of least and largest alignment or at random.

    Attributes:
        data: What is loaded, made grey and resized to the network: a name, an .npz file or a folder.
        network: A family by name.
        measured: Networks that its geometry is measured with.
        seeds: Paired: a seed is the initialisation, the batches, levels, noise, projections and the choice of what
            is compared with; each has its own two Haar rotations.
        updates: Of each network.
        learning_rate: Of Adam, its largest.
    """

    name: ClassVar[str] = "alignment"
    title: ClassVar[str] = "Does turning the data along the network's grain help?"
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {
            "network": "dit-8/4",
            "measured": 512,
            "seeds": 2,
            "updates": 60,
            "samples": 128,
            "sampler_steps": 20,
        },
        "small": {},
        "paper": {
            "network": "iddpm-28",
            "data": "mnist.npz",
            "measured": 10_000,
            "seeds": 5,
            "updates": 100_000,
            "batch_size": 500,
            "learning_rate": 1e-3,
            "lr_schedule": "constant",
            "warmup": 0,
            "samples": 10_000,
            "sampler": "ddpm",
            "sampler_steps": 1000,
        },
    }

    data: str = "digits"
    network: str = "unet-16"
    measured: int = 4000
    updates: int = 800
    batch_size: int = 32
    learning_rate: float = 3e-3
    lr_schedule: str = "cosine"
    warmup: int = 20
    samples: int = 400
    sampler_steps: int = 25

    def cells(self) -> list[Cell]:
        """Seed by seed, so that an unfinished study has whole pairs."""
        return [{"seed": seed, "rotation": rotation} for seed in range(self.seeds) for rotation in ROTATIONS]

    def claims(self) -> list[Claim]:
        """What the paper claims of the three rotations, what a random one tells of it, and two controls."""
        return [*paired_claims(), *other_claims()]

    def split(self) -> Split:
        """The images, held-out ones beside those to train on; the same for all cells."""
        return image_split(self.data, study_family(self.network).shape[-1], 2 * self.samples, self.arrays)

    def material(self) -> Material:
        """The eigenvectors of G, W_min, identity and W_max (3, D, D), their α over chance with errors (3, 2), G, M."""
        geometry = measure_geometry(study_family(self.network), self.measured)
        data = data_geometry(self.split().train)
        natural = measure_alignment(geometry, data)
        fits = [cross_fit(geometry, data, mode) for mode in ("minimize", "maximize")]
        low, high = ((each.of_chance, each.of_chance_error) for each in fits)
        told = (low, (natural.of_chance, natural.of_chance_error), high)
        matrices = [fits[0].rotation.matrix, torch.eye(geometry.size, dtype=torch.float64), fits[1].rotation.matrix]
        return {
            "eigenvectors": geometry.eigenvectors.contiguous(),
            "rotations": torch.stack(matrices),
            "alignment": torch.tensor([(a, math.nan if e is None else e) for a, e in told], dtype=torch.float64),
            "network geometry": geometry.matrix().contiguous(),
            "data geometry": data.matrix().contiguous(),
        }

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train on the turned images, map the samples back, judge."""
        seed, family, split = int(cell["seed"]), study_family(self.network), self.split()
        matrix, alignment, error = self._turned(str(cell["rotation"]), seed, material)
        turn = Rotation(matrix, family.shape, str(cell["rotation"]))
        fitted = self.trained(family, split, seed, self.updates, self.learning_rate, rotation=turn)
        directions = matrix.T @ material["eigenvectors"]  # in data space, what the network sees along its directions
        outcomes = image_outcomes(fitted.model, fitted.setup.process, split, self.sampling, seed, directions)
        return {"alignment": alignment, "alignment_error": error, "loss": fitted.loss, **outcomes}

    def _turned(self, rotation: str, seed: int, material: Material) -> tuple[Tensor, float, float]:
        """W, its alignment over chance and the error of that, NaN where it is not known.

        α of W_min and W_max is cross-fitted, since the same networks chose them.
        """
        if rotation in (W_MIN, IDENTITY, W_MAX):
            i = ROTATIONS.index(rotation)
            over_chance, error = material["alignment"][i].tolist()
            return material["rotations"][i], over_chance, error
        g, m = material["network geometry"], material["data geometry"]
        w = haar(len(g), 2 * seed + (rotation == OTHER_HAAR))
        return w, float((g * (w @ m @ w.T)).sum() / (g.trace() * m.trace() / len(g))), math.nan

    def findings(self, rows: Rows) -> list[Finding]:
        """In the order of the claims."""
        sw2, error, zeros = ({each: _values(rows, name, each) for each in ROTATIONS} for name in _OUTCOMES)
        log = {rotation: np.log(values) for rotation, values in sw2.items()}
        found = []
        for claim, (_, name, better, worse) in zip(paired_claims(), PAIRS, strict=True):
            if name == "sw2":
                judged = above_zero(claim, log[worse] - log[better])
                found.append(_gated(judged, sw2, zeros, reference(better, worse), better, worse))
            else:
                found.append(above_zero(claim, np.log(error[worse]) - np.log(error[better])))
        equal, nothing, quarters, labels, random = other_claims()
        return [
            *found,
            _gated(within(equal, log[HAAR] - log[W_MIN], -MARGIN, MARGIN), sw2, zeros, HAAR, W_MIN),
            above_zero(nothing, log[IDENTITY] - np.log(zeros[IDENTITY])),
            above_zero(quarters, _quarters(rows.where(rotation=HAAR))),
            _gated(above_zero(labels, swapped(log[W_MAX] - log[W_MIN])), sw2, zeros, IDENTITY, W_MIN, W_MAX),
            _gated(above_zero(random, log[HAAR] - log[OTHER_HAAR]), sw2, zeros, HAAR, OTHER_HAAR),
        ]

    def tables(self, rows: Rows) -> list[Table]:
        """Outcomes by rotation, and energy and error in quarters of the network's directions."""
        return [outcome_table(self.network, rows, self.updates * self.batch_size), quarter_table(rows)]

    def figure(self, rows: Rows) -> Figure:
        """Distances and errors by rotation beside trivial baselines, and energy along the network's directions."""
        return draw_figure(rows)


_OUTCOMES = ("sw2", "error", "sw2_zeros")


def _values(rows: Rows, name: str, rotation: str) -> Floats:
    """A value of every seed (S,); NaN where it is missing."""
    return rows.where(rotation=rotation).array(name, "seed")


def _gated(finding: Finding, sw2: dict[str, Floats], zeros: dict[str, Floats], reference: str, *arms: str) -> Finding:
    """With how many cells of a claim's arms are worse than zeros; undecided where those of the reference are."""
    others = [sw2[arm] for arm in arms if arm != reference]
    return gated(finding, zeros[reference], sw2[reference], *others)


def _quarters(rows: Rows) -> Floats:
    """Log of the relative error in the first quarter of directions less that in the last, (S,)."""
    logs: Floats = np.log(relative_errors(rows))
    return logs[:, 0] - logs[:, -1]
