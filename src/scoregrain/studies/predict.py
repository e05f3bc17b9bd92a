"""Which quantity known before training orders network families and data sets? The test of ``scoregrain rank`` (C6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.datasets import Images, Split
from scoregrain.geometry import measure_geometry
from scoregrain.studies.directions import haar
from scoregrain.studies.families import study_family
from scoregrain.studies.image_outcomes import image_outcomes, image_split
from scoregrain.studies.outcomes import law_outcomes
from scoregrain.studies.predict_claims import claims_of
from scoregrain.studies.predict_judgement import Judgement
from scoregrain.studies.predict_tables import cell_table, draw_figure, predictor_table
from scoregrain.studies.predictors import KNOWN, named_law, predict
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Table
from scoregrain.studies.trained import TrainedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class PredictStudy(TrainedStudy):
    """Train several families on several data sets and correlate what was known before with what came out.

    A predictor and its sign are chosen by the largest |ρ| and judged by other families on other data sets: a constant
    of families would be a label of them on any data. α over chance, by which ``scoregrain rank`` orders, needs no
    choice; whether it tells more than which families are good at everything is judged with the means of families and
    of data sets removed.

    Attributes:
        networks: Families by name, of one size.
        learning_rates: Of Adam, the largest, one for each family.
        fold: Families that are judged by what the others choose, and the other way round: of other kinds than those.
        datasets: Laws by name (:func:`named_law`), or what :func:`load_split` takes.
        held_out: Those that judge; the others choose. Smooth and rough data are on both sides.
        measured: Networks that each geometry is measured with.
        seeds: Repeated measures inside a cell, averaged; paired over families and data sets.
        updates: Of each network.
    """

    name: ClassVar[str] = "predict"
    title: ClassVar[str] = "What is known before training that orders networks after it?"
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {
            "networks": ("dit-8/4", "vit-8/4", "mlp-8", "linear-8"),
            "learning_rates": (1e-2, 1e-2, 3e-3, 1e-2),
            "fold": ("dit-8/4", "mlp-8"),
            "datasets": ("digits", "smooth", "rough", "low"),
            "held_out": ("digits", "rough"),
            "measured": 128,
            "seeds": 1,
            "updates": 40,
            "samples": 128,
            "sampler_steps": 10,
        },
        "small": {},
    }

    networks: tuple[str, ...] = (
        "unet-8",
        "iddpm-8",
        "mlp-8",
        "linear-8",
        "dit-8/2",
        "dit-8/4",
        "vit-8/2",
        "vit-8/4",
    )
    learning_rates: tuple[float, ...] = (3e-3, 3e-3, 3e-3, 1e-2, 1e-2, 1e-2, 1e-2, 1e-2)
    fold: tuple[str, ...] = ("dit-8/2", "dit-8/4", "vit-8/2", "vit-8/4")
    datasets: tuple[str, ...] = ("digits", "smooth", "rough", "low", "high", "pixel", "mixture", "rough-mixture")
    held_out: tuple[str, ...] = ("digits", "rough", "low", "rough-mixture")
    measured: int = 1024
    seeds: int = 2
    updates: int = 1000
    batch_size: int = 32
    lr_schedule: str = "cosine"
    warmup: int = 20
    samples: int = 256
    sampler_steps: int = 25

    @property
    def size(self) -> int:
        """Of the images.

        Raises:
            InvalidInputError: The families differ in it.
        """
        sizes = {study_family(network).shape[-1] for network in self.networks}
        if len(sizes) > 1:
            raise InvalidInputError(f"the families must be of one size, got {', '.join(self.networks)}")
        return sizes.pop()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, part, whole in (
            ("held_out", self.held_out, self.datasets),
            ("fold", self.fold, self.networks),
        ):
            if not set(part) < set(whole) or not part:
                raise InvalidInputError(f"{name} must be some of {', '.join(whole)} but not all, got {', '.join(part)}")
        if len(self.learning_rates) != len(self.networks):
            raise InvalidInputError(f"give {len(self.networks)} learning rates, one for each of the networks")

    def cells(self) -> list[Cell]:
        """Seed by seed."""
        return [
            {"seed": seed, "network": network, "data": data}
            for seed in range(self.seeds)
            for data in self.datasets
            for network in self.networks
        ]

    def claims(self) -> list[Claim]:
        """What ``scoregrain rank`` says, what the best predictor says, and shuffled ones."""
        return claims_of(self.held_out, self.fold)

    def split(self, data: str) -> Split:
        """What is trained on, and what is not; the same for all families and seeds."""
        law = named_law(data, self.size)
        if law is None:
            return image_split(data, self.size, 2 * self.samples, self.arrays)
        train, fresh = (
            Images(law.sample(count, stream(0, f"study {name}")), data, law.notes)
            for name, count in (("training data", self.arrays), ("held-out data", 2 * self.samples))
        )
        return Split(train, fresh)

    def material(self) -> Material:
        """What is known of every family and data set (F, K, P); each family has its own rotation in the control."""
        images = [self.split(data).train for data in self.datasets]
        found = []
        for seed, family in enumerate(map(study_family, self.networks)):
            geometry = measure_geometry(family, self.measured)
            found.append(predict(family, geometry, images, haar(geometry.size, seed)))
        table = [[list(each.values()) for each in of_family] for of_family in found]
        return {"predictors": torch.tensor(table, dtype=torch.float64)}

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train a family on a data set and judge."""
        network, data, seed = str(cell["network"]), str(cell["data"]), int(cell["seed"])
        split, law = self.split(data), named_law(data, self.size)
        rate = self.learning_rates[self.networks.index(network)]
        fitted = self.trained(study_family(network), split, seed, self.updates, rate)
        model, process = fitted.model, fitted.setup.process
        if law is None:
            outcomes = image_outcomes(model, process, split, self.sampling, seed)
            outcomes["denoising"] = outcomes["error"]
        else:
            outcomes = law_outcomes(model, process, law, self.sampling, seed)
            outcomes["denoising"] = outcomes["excess"]
        known = material["predictors"][self.networks.index(network), self.datasets.index(data)].tolist()
        return {"loss": fitted.loss, **dict(zip(KNOWN, known, strict=True)), **outcomes}

    def findings(self, rows: Rows) -> list[Finding]:
        """In the order of the claims."""
        return Judgement(self, rows).findings()

    def tables(self, rows: Rows) -> list[Table]:
        """Correlations of all predictors, and every cell beside α over chance."""
        judgement = Judgement(self, rows)
        return [predictor_table(judgement), cell_table(judgement)]

    def figure(self, rows: Rows) -> Figure:
        """Outcomes against α over chance and against the chosen predictor, and α's correlation in each data set."""
        return draw_figure(Judgement(self, rows))
