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
from scoregrain.studies.families import study_family
from scoregrain.studies.image_outcomes import image_outcomes, image_split
from scoregrain.studies.outcomes import Sampling, law_outcomes
from scoregrain.studies.predict_judgement import OUTCOMES, Judgement, cell_table, draw_figure, predictor_table
from scoregrain.studies.predictors import HALVES, PREDICTORS, named_law, predict
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Study, Table
from scoregrain.training import TrainConfig
from scoregrain.training.fit import fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class PredictStudy(Study):
    """Train several families on several data sets and correlate what was known before with what came out.

    Half of the data sets are held out, chosen by a seed before the first run. On the others the predictor with the
    largest |ρ| is chosen, and its sign; the held-out ones judge it. α over chance, by which ``scoregrain rank`` orders,
    needs no choice.

    Attributes:
        networks: Families by name, of one size.
        datasets: Laws by name (:func:`named_law`), or what :func:`load_split` takes.
        measured: Networks that each geometry is measured with.
        seeds: Repeated measures inside a cell, averaged; paired over families and data sets.
        updates: Of each network.
        batch_size: Arrays in one.
        learning_rate: Of Adam.
        arrays: To train on, at most.
        samples: Drawn, and compared with as many.
        sampler: By name.
        sampler_steps: Of the sampler.
    """

    name: ClassVar[str] = "predict"
    title: ClassVar[str] = "What is known before training that orders networks after it?"
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {
            "networks": ("dit-8/4", "vit-8/4", "mlp-8", "linear-8"),
            "datasets": ("digits", "smooth", "rough", "low"),
            "measured": 128,
            "seeds": 1,
            "updates": 40,
            "samples": 128,
            "sampler_steps": 10,
        },
        "small": {},
    }

    networks: tuple[str, ...] = ("unet-8", "iddpm-8", "dit-8/2", "dit-8/4", "vit-8/4", "mlp-8", "linear-8")
    datasets: tuple[str, ...] = ("digits", "smooth", "rough", "low", "high", "pixel", "mixture", "rough-mixture")
    measured: int = 1024
    seeds: int = 3
    updates: int = 300
    batch_size: int = 64
    learning_rate: float = 1e-3
    arrays: int = 10_000
    samples: int = 256
    sampler: str = "ddim"
    sampler_steps: int = 50

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

    @property
    def held_out(self) -> tuple[str, ...]:
        """The data sets that judge: half of them, a function of their number alone."""
        order = torch.randperm(len(self.datasets), generator=stream(0, "held-out data sets")).tolist()
        return tuple(self.datasets[i] for i in sorted(order[: len(self.datasets) // 2]))

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
        return _claims(self.held_out)

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
        """All predictors of every family and data set (F, K, P)."""
        names, images = (*PREDICTORS, *HALVES), {data: self.split(data).train for data in self.datasets}
        table = []
        for network in self.networks:
            family = study_family(network)
            geometry = measure_geometry(family, self.measured)
            found = [predict(family, geometry, images[data]) for data in self.datasets]
            table.append([[each[name] for name in names] for each in found])
        return {"predictors": torch.tensor(table, dtype=torch.float64)}

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train a family on a data set and judge."""
        network, data, seed = str(cell["network"]), str(cell["data"]), int(cell["seed"])
        split, law = self.split(data), named_law(data, self.size)
        fitted = fit(
            TrainConfig(
                model=study_family(network),
                data=split,
                steps=self.updates,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                ema=0.0,
                seed=seed,
                device=self.device,
            )
        )
        model, process = fitted.model, fitted.setup.process
        sampling = Sampling(self.samples, self.sampler, self.sampler_steps)
        if law is None:
            outcomes = image_outcomes(model, process, split, sampling, seed)
            outcomes["denoising"] = outcomes["error"]
        else:
            outcomes = law_outcomes(model, process, law, sampling, seed)
            outcomes["denoising"] = outcomes["excess"]
        known = material["predictors"][self.networks.index(network), self.datasets.index(data)].tolist()
        return {"loss": fitted.loss, **dict(zip((*PREDICTORS, *HALVES), known, strict=True)), **outcomes}

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


def _claims(held_out: tuple[str, ...]) -> list[Claim]:
    rule = (
        "holds (is refuted) where the 95 % interval, by resampling data sets, families and seeds, is above (below) 0; "
        "told beside: p by exchanging families in all data sets alike, and inside each"
    )
    inside = "mean over all data sets of Spearman's ρ over families between α over chance and the"
    others = f"held-out data sets ({', '.join(held_out)})"
    chosen = "the predictor, and its sign, of the largest |ρ| on the other data sets"
    return [
        Claim(
            "rank-sw2",
            "in a data set, families of smaller alignment over chance give samples nearer to the data",
            "what `scoregrain rank` orders by; arXiv 2510.22899, Conjecture 1",
            f"{inside} {OUTCOMES['sw2']}; {rule}",
        ),
        Claim(
            "rank-denoising",
            "in a data set, families of smaller alignment over chance denoise better",
            "here",
            f"{inside} {OUTCOMES['denoising']}; {rule}",
        ),
        Claim(
            "pooled-sw2",
            "alignment over chance orders families and data sets together by their samples",
            "here",
            f"Spearman's ρ over the cells of the {others} between α over chance and the {OUTCOMES['sw2']}; {rule}",
        ),
        Claim(
            "chosen-sw2",
            "the quantity that predicts samples best on some data sets predicts them on others",
            "here",
            f"Spearman's ρ over the cells of the {others} between {chosen}, and the {OUTCOMES['sw2']}; {rule}, and the "
            "interval that resamples cells as if independent",
        ),
        Claim(
            "chosen-denoising",
            "the quantity that predicts denoising best on some data sets predicts it on others",
            "here",
            f"mean over the {others} of Spearman's ρ over families between {chosen}, and the {OUTCOMES['denoising']}; "
            f"{rule}",
        ),
        *(
            Claim(
                f"control-{name}",
                f"alignment over chance with the families shuffled in each data set predicts {what}",
                "control",
                f"mean over all data sets of Spearman's ρ over families; {rule}",
                control=True,
            )
            for name, what in (("sw2", "samples"), ("denoising", "denoising"))
        ),
    ]
