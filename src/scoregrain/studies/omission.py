"""Leaving a corrupted band without noise: what is in it afterwards, and whether that beats emptying it (MATH B12, B13).

Under a noise that omits the band a process never creates anything there, so what comes out holds exactly what one put
in. The paper compares it with plain diffusion, which learns the corruption: then every generator without a corruption
is closer to clean data, and plain samples whose band is emptied afterwards are such a generator that costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor

from scoregrain.datasets import Split, corrupt_band
from scoregrain.metrics import sliced_wasserstein
from scoregrain.noise import ForwardNoise
from scoregrain.studies.families import study_family
from scoregrain.studies.image_outcomes import Target, image_split, target_note
from scoregrain.studies.omission_claims import claims_of_the_law, claims_of_trained, controls
from scoregrain.studies.omission_findings import judge
from scoregrain.studies.omission_generators import TRAINED, TRIVIAL, band_power, omitting, trained, trivial
from scoregrain.studies.omission_law import MODES, law_distances
from scoregrain.studies.outcomes import draw
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Table
from scoregrain.studies.summaries import with_error
from scoregrain.studies.trained import TrainedStudy
from scoregrain.training.fit import Fitted

if TYPE_CHECKING:
    from matplotlib.figure import Figure


LAWS = {**MODES, "resample": "fresh draws of the clean law"}

ROUNDING = 1e-9
"""Below this a ratio of powers is shown as 0."""


@dataclass(frozen=True, kw_only=True)
class OmissionStudy(TrainedStudy):
    """Omission of a corrupted band against plain diffusion, band by band, and with the exact score of a Gaussian.

    Attributes:
        data: A name or path of images.
        size: They are resized to this.
        network: A family of the studies, of the same size.
        edges: Of the bands, radii with the corner of the plane at 1. The default ones hold equal parts of the power of
            digits, but for the constant and the slowest waves, which no band has.
        strength: γ of the corruption.
        seeds: Paired trainings of each kind.
        updates: Of each network.
        learning_rate: Of Adam, its largest.
        law_count: Samples of the Gaussian law.
    """

    name: ClassVar[str] = "omission"
    title: ClassVar[str] = "A corrupted band left without noise"
    settings: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {
            "network": "mlp-8",
            "edges": (0.2, 0.45, 1.0),
            "seeds": 2,
            "updates": 200,
            "samples": 128,
            "sampler_steps": 20,
            "law_count": 1000,
        },
        "small": {},
    }

    data: str = "digits"
    size: int = 8
    network: str = "unet-8"
    edges: tuple[float, ...] = (0.2, 0.38, 0.51, 1.0)
    strength: float = 1.0
    updates: int = 800
    batch_size: int = 32
    learning_rate: float = 3e-3
    lr_schedule: str = "cosine"
    warmup: int = 20
    samples: int = 256
    sampler_steps: int = 25
    law_count: int = 4000

    @property
    def bands(self) -> list[tuple[float, float]]:
        """Lower and upper edges."""
        return list(pairwise(self.edges))

    def cells(self) -> list[Cell]:
        """The clean training of each seed, then band by band; a cell of networks holds all that are compared."""
        clean: list[Cell] = [{"part": "clean", "seed": seed} for seed in range(self.seeds)]
        pairs = [(band, seed) for seed in range(self.seeds) for band in range(len(self.bands))]
        return clean + [{"part": part, "band": b, "seed": s} for part in ("networks", "law") for b, s in pairs]

    def claims(self) -> list[Claim]:
        """The paper's two, the alternative explanations, what theory says of the band and of the rest; two controls."""
        return [*claims_of_trained(), *claims_of_the_law(), *controls()]

    # cells -----------------------------------------------------------------------------------------------------------

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train and compare all networks of a band and a seed, or the clean one, or sample the Gaussian law."""
        seed = int(cell["seed"])
        if cell["part"] == "clean":
            return self._clean(seed)
        low, high = self.bands[int(cell["band"])]
        noise = omitting((self.size, self.size), low, high)
        if cell["part"] == "law":
            return law_distances(self._split.train.pixels, noise, self.strength, self.law_count, seed)
        return self._networks(noise, low, high, seed)

    @cached_property
    def _split(self) -> Split:
        return image_split(self.data, self.size, 2 * self.samples, self.arrays)

    def _clean(self, seed: int) -> dict[str, Any]:
        fitted = self._fit(self._split, seed)
        target = Target.of(self._split, self.samples, seed).arrays
        return {"sw2_clean": _sw2(self._draw(fitted, seed), target, seed), "loss_clean": fitted.loss}

    def _networks(self, noise: ForwardNoise, low: float, high: float, seed: int) -> dict[str, Any]:
        train = corrupt_band(self._split.train, low, high, seed, self.strength)
        split = replace(self._split, train=train)
        target = Target.of(self._split, self.samples, seed)
        generated, values = trained(self._fit, self._draw, split, noise, len(target.arrays), seed)
        values |= {"count": len(target.arrays), "trained": target.trained}
        generated |= trivial(target, noise, low, high, seed, self.strength)
        power = band_power(target.arrays, noise)
        for name, samples in generated.items():
            inside = None if samples is None else noise.project(samples)
            values[f"sw2_{name}"] = _sw2(samples, target.arrays, seed)
            values[f"outside_{name}"] = _sw2(inside, noise.project(target.arrays), seed)
            values[f"power_{name}"] = None if samples is None else band_power(samples, noise) / power
        return values

    def _draw(self, fitted: Fitted, seed: int, content: Tensor | None = None) -> Tensor | None:
        return draw(fitted.model, fitted.setup.process, fitted.setup.family.shape, self.sampling, seed, content)

    def _fit(self, split: Split, seed: int, **noise: Any) -> Fitted:
        return self.trained(study_family(self.network), split, seed, self.updates, self.learning_rate, **noise)

    # findings --------------------------------------------------------------------------------------------------------

    def findings(self, rows: Rows) -> list[Finding]:
        """Judge the claims by log ratios of distances, paired by seed."""
        return judge(
            {claim.key: claim for claim in self.claims()}, rows, list(map(self._label, range(len(self.bands))))
        )

    def _label(self, band: int) -> str:
        low, high = self.bands[band]
        return f"{low:g}–{high:g}"

    # what a reader sees ----------------------------------------------------------------------------------------------

    def tables(self, rows: Rows) -> list[Table]:
        """Distances to clean data, with and without the band, what the band holds, and the exact laws."""
        networks, names = rows.where(part="networks"), {**TRAINED, **TRIVIAL}
        columns = ("generator", *(f"band {self._label(b)}" for b in networks.levels("band")))

        def table(title: str, key: str, note: str = "") -> Table:
            lines = [(names[n], *_by_band(networks, f"{key}_{n}")) for n in names]
            return Table(title, columns, tuple(lines), note)

        clean = with_error(rows.where(part="clean").array("sw2_clean", "seed"))
        note = f"Plain diffusion on clean data: {clean}. ± is over seeds. {target_note(networks)}"
        law = [(said, *_by_band(rows.where(part="law"), f"w2_{name}")) for name, said in LAWS.items()]
        law += [("conditional, m = 0, closed form", *_by_band(rows.where(part="law"), "closed"))]
        law += [("… error of its covariance", *_by_band(rows.where(part="law"), "closed_covariance"))]
        return [
            table("SW₂ to clean data", "sw2", note),
            table("SW₂ to clean data, the band removed from both", "outside"),
            table(
                "Power in the band over that of clean data",
                "power",
                "The band is never restored: 0, or what was put in.",
            ),
            Table(
                "Gaussian data, exact scores: W₂ to the clean law outside the band, over its width",
                ("mode", *columns[1:]),
                tuple(law),
                "The error of the covariance is relative, in the Frobenius norm.",
            ),
        ]

    def figure(self, rows: Rows) -> Figure:
        """SW₂ with and without the band, and the exact laws, by band."""
        from scoregrain.studies.omission_figure import omission_figure

        return omission_figure(rows, [self._label(band) for band in range(len(self.bands))])


def _sw2(samples: Tensor | None, target: Tensor, seed: int) -> float | None:
    return None if samples is None else sliced_wasserstein(samples, target, seed=seed).sw2


def _by_band(rows: Rows, name: str) -> list[str]:
    found = rows.array(name, "seed", "band")
    return [with_error(column) for column in np.where(np.abs(found) < ROUNDING, 0.0, found).T]
