"""Figures 8 and 9 of the first paper: data turned with and against a network's grain (MATH A5, A9)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoregrain.align import Rotation, cross_fit, measure_alignment
from scoregrain.datasets import Split
from scoregrain.geometry import data_geometry, measure_geometry
from scoregrain.metrics.statistics import paired_comparison
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
from scoregrain.studies.families import study_family
from scoregrain.studies.image_outcomes import image_outcomes, image_split
from scoregrain.studies.outcomes import Sampling
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Study, Table, judged
from scoregrain.studies.summaries import above_zero
from scoregrain.training import TrainConfig
from scoregrain.training.fit import fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

MARGIN = math.log(1.25)
"""Distances that differ by less than a quarter are called equal."""

FIGURE_9 = "arXiv 2510.22899, Theorem 2 and Figure 9"


@dataclass(frozen=True, kw_only=True)
class AlignmentStudy(Study):
    """Train one network on images as they are, and turned by the rotations of least and largest alignment or at random.

    Attributes:
        data: What is loaded, made grey and resized to the network: a name, an .npz file or a folder.
        network: A family by name.
        measured: Networks that its geometry is measured with.
        seeds: Paired: a seed is the initialisation, the batches, levels, noise, projections and the choice of what
            is compared with; each has its own two Haar rotations.
        updates: Of each network.
        batch_size: Arrays in one.
        learning_rate: Of Adam.
        arrays: To train on, at most.
        samples: Drawn, and compared with as many held-out arrays.
        sampler: By name.
        sampler_steps: Of the sampler.
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
            "samples": 10_000,
            "sampler": "ddpm",
            "sampler_steps": 1000,
        },
    }

    data: str = "digits"
    network: str = "unet-16"
    measured: int = 4000
    seeds: int = 6
    updates: int = 400
    batch_size: int = 64
    learning_rate: float = 1e-3
    arrays: int = 10_000
    samples: int = 400
    sampler: str = "ddim"
    sampler_steps: int = 50

    def cells(self) -> list[Cell]:
        """Seed by seed, so that an unfinished study has whole pairs."""
        return [{"seed": seed, "rotation": rotation} for seed in range(self.seeds) for rotation in ROTATIONS]

    def claims(self) -> list[Claim]:
        """What the paper claims of the three rotations, what a random one tells of it, and two controls."""
        return [*_paired_claims(), *_other_claims()]

    def split(self) -> Split:
        """The images, held-out ones beside those to train on; the same for all cells."""
        return image_split(self.data, study_family(self.network).shape[-1], self.samples, self.arrays)

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
        matrix, alignment = self._turned(str(cell["rotation"]), seed, material)
        fitted = fit(
            TrainConfig(
                model=family,
                data=split,
                rotation=Rotation(matrix, family.shape, str(cell["rotation"])),
                steps=self.updates,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                ema=0.0,
                seed=seed,
                device=self.device,
            )
        )
        directions = matrix.T @ material["eigenvectors"]  # in data space, what the network sees along its directions
        sampling = Sampling(self.samples, self.sampler, self.sampler_steps)
        outcomes = image_outcomes(fitted.model, fitted.setup.process, split, sampling, seed, directions)
        return {"alignment": alignment, "loss": fitted.loss, **outcomes}

    def _turned(self, rotation: str, seed: int, material: Material) -> tuple[Tensor, float]:
        """W and its alignment over chance; of W_min and W_max cross-fitted, since the same networks chose them."""
        if rotation in (W_MIN, IDENTITY, W_MAX):
            i = ROTATIONS.index(rotation)
            return material["rotations"][i], float(material["alignment"][i, 0])
        g, m = material["network geometry"], material["data geometry"]
        w = haar(len(g), 2 * seed + (rotation == OTHER_HAAR))
        return w, float((g * (w @ m @ w.T)).sum() / (g.trace() * m.trace() / len(g)))

    def findings(self, rows: Rows) -> list[Finding]:
        """In the order of the claims."""
        sw2 = {rotation: _logs(rows, "sw2", rotation) for rotation in ROTATIONS}
        error = {rotation: _logs(rows, "error", rotation) for rotation in ROTATIONS}
        found = [
            above_zero(claim, (sw2 if name == "sw2" else error)[worse] - (sw2 if name == "sw2" else error)[better])
            for claim, (_, name, better, worse) in zip(_paired_claims(), _PAIRS, strict=True)
        ]
        equal, zeros, quarters, labels, random = _other_claims()
        return [
            *found,
            _equal(equal, sw2[HAAR] - sw2[W_MIN]),
            above_zero(zeros, sw2[IDENTITY] - _logs(rows, "sw2_zeros", IDENTITY)),
            above_zero(quarters, _quarters(rows.where(rotation=IDENTITY))),
            above_zero(labels, _swapped(sw2[W_MAX] - sw2[W_MIN])),
            above_zero(random, sw2[HAAR] - sw2[OTHER_HAAR]),
        ]

    def tables(self, rows: Rows) -> list[Table]:
        """Outcomes by rotation, and energy and error in quarters of the network's directions."""
        return [outcome_table(self.network, rows), quarter_table(rows)]

    def figure(self, rows: Rows) -> Figure:
        """Distances and errors by rotation beside trivial baselines, and energy along the network's directions."""
        return draw_figure(rows)


_PAIRS = (
    ("min-identity", "sw2", W_MIN, IDENTITY),
    ("identity-max", "sw2", IDENTITY, W_MAX),
    ("min-max", "sw2", W_MIN, W_MAX),
    ("min-haar", "sw2", W_MIN, HAAR),
    ("denoising-min-identity", "error", W_MIN, IDENTITY),
    ("denoising-min-max", "error", W_MIN, W_MAX),
    ("denoising-min-haar", "error", W_MIN, HAAR),
)
"""Key, outcome, the rotation that is claimed to be better and the other."""

_RULE = "holds (is refuted) where Student's 95 % interval over seeds is above (below) 0"


def _paired_claims() -> list[Claim]:
    said = {"sw2": ("samples are nearer to the data", "SW₂"), "error": ("denoising is better", "denoising error")}
    sources = {"min-haar": "here: does alignment matter, or any rotation?"}
    return [
        Claim(
            key,
            f"with {better} {said[name][0]} than with {worse}",
            sources.get(key, FIGURE_9 if name == "sw2" else f"{FIGURE_9}, by the held-out denoising error"),
            f"mean over seeds of log {said[name][1]} ({worse}) - log {said[name][1]} ({better}); {_RULE}",
        )
        for key, name, better, worse in _PAIRS
    ]


def _other_claims() -> list[Claim]:
    return [
        Claim(
            "haar-equal",
            "a Haar rotation gives samples as near to the data as W_min: only the loss of locality counts",
            "here",
            "log 1.25 less the absolute mean over seeds of log SW₂ (Haar) - log SW₂ (W_min); holds (is refuted) where "
            "Student's 95 % interval of that mean lies within (outside) ± log 1.25",
        ),
        Claim(
            "worse-than-nothing",
            "samples without a rotation are further from the data than all zeros",
            "MATH A8, as the values of Figure 9 are",
            f"mean over seeds of log SW₂ (identity) - log SW₂ of zeros; {_RULE}",
        ),
        Claim(
            "quarters",
            "without a rotation denoising is worse along the network's quarter of largest eigenvalues than along the "
            "smallest, each against the best linear denoiser",
            "arXiv 2510.22899, Conjecture 1 and Figure 8",
            f"mean over seeds of the log of the error over that of the linear denoiser, first less last; {_RULE}",
        ),
        Claim(
            "control-labels",
            "with W_min and W_max exchanged in every other seed, the one called W_min is better",
            "control",
            f"mean over seeds of ± (log SW₂ (W_max) - log SW₂ (W_min)), + for even seeds; {_RULE}",
            control=True,
        ),
        Claim(
            "control-haar",
            "of two Haar rotations the second gives samples nearer to the data",
            "control",
            f"mean over seeds of log SW₂ (Haar) - log SW₂ (another Haar); {_RULE}",
            control=True,
        ),
    ]


def _logs(rows: Rows, name: str, rotation: str) -> Floats:
    """Logarithms of a value of every seed (S,); NaN where it is missing."""
    logs: Floats = np.log(rows.where(rotation=rotation).array(name, "seed"))
    return logs


def _swapped(differences: Floats) -> Floats:
    """Differences with the sign of every other one exchanged."""
    return differences * (-1.0) ** np.arange(len(differences))


def _equal(claim: Claim, differences: Floats) -> Finding:
    """Judge that a mean difference lies within the margin, by its interval."""
    if len(differences) < 2 or not np.isfinite(differences).all():
        return Finding(claim.key, None, None, len(differences), "undecided", "a seed gave no number")
    compared = paired_comparison(differences)
    low, high = compared.t_interval
    least = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    interval = (MARGIN - max(abs(low), abs(high)), MARGIN - least)
    note = f"mean log ratio {compared.mean:.3g}, interval {low:.3g} to {high:.3g}"
    return judged(claim, MARGIN - abs(compared.mean), interval, len(differences), note=note)


def _quarters(rows: Rows) -> Floats:
    """Log of the relative error in the first quarter of directions less that in the last, (S,)."""
    logs: Floats = np.log(relative_errors(rows))
    return logs[:, 0] - logs[:, -1]
