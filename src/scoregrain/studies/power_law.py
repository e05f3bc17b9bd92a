"""Power-law noise against white noise: is it the colour or the amount, and on which data (MATH B2, B13).

Unnormalised gains (r + ε)^α change two things at once, the colour of the noise and its mean energy. So each is also
changed alone: ``colour`` has the gains at the energy of white noise, ``amount`` is white noise of the energy that the
gains have, ``both`` are the gains as they are, ``literal`` the paper's formula with its huge gain of the constant.

Generation is compared in the distance of samples to held-out data. Denoising errors are not comparable as they are:
ε-errors have the unit of another noise, x0-errors at equal t are of another task. Two units are fair. The variational
bound, log det Σ and all, bounds one and the same likelihood of the data whatever the noise (MATH B11); and ε-errors
over those of the best affine denoiser under the same noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import Split
from scoregrain.datasets.images import data_name
from scoregrain.studies.families import study_family
from scoregrain.studies.image_outcomes import Target, image_outcomes, image_split
from scoregrain.studies.outcomes import Sampling
from scoregrain.studies.power_law_arms import KINDS, energy, noise_of
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Study, Table, word_for
from scoregrain.studies.summaries import above_zero, with_error
from scoregrain.studies.variational_bound import variational_bound
from scoregrain.training.config import TrainConfig
from scoregrain.training.fit import fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

TRIVIAL = {
    "resample": "fresh data",
    "gaussian": "a Gaussian with the data's moments",
    "zeros": "zeros",
    "white": "white noise",
}

PAPER = "arXiv 2510.09660, power law (MATH B13)"

PUBLISHED = {"mnist": "improves at α = -0.06", "quickdraw": "improves, best at α = -0.04", "cifar10": "a tie"}

TIE = 0.1
"""Of log SW₂: half of what the paper's best effect, on MNIST, is in it, ½ log(0.42 / 0.28) = 0.20."""


@dataclass(frozen=True, kw_only=True)
class PowerLawStudy(Study):
    """Trainings under power-law noise, its colour and its amount, paired with white noise by seed.

    Attributes:
        data: Names or paths of images.
        size: They are made grey and resized to this.
        limit: The largest number of training images of each.
        network: A family of the studies, of the same size.
        alpha: α of the claims; -α is run too.
        sweep: Further α, of the colour alone.
        seeds: Paired trainings of each arm.
        sweep_seeds: Of further α.
        steps: Updates.
        batch_size: Images in each.
        learning_rate: Of Adam.
        count: Samples, and held-out images they are compared with.
        sampler_steps: Of DDIM.
    """

    name: ClassVar[str] = "power-law"
    title: ClassVar[str] = "Power-law noise: colour or amount"
    settings: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {"network": "mlp-8", "sweep": (), "seeds": 2, "steps": 200, "count": 128, "sampler_steps": 20},
        "small": {},
    }

    data: tuple[str, ...] = ("digits",)
    size: int = 8
    limit: int = 4000
    network: str = "unet-8"
    alpha: float = -0.06
    sweep: tuple[float, ...] = (-0.2, 0.2)
    seeds: int = 6
    sweep_seeds: int = 2
    steps: int = 250
    batch_size: int = 64
    learning_rate: float = 3e-3
    count: int = 256
    sampler_steps: int = 25

    def __post_init__(self) -> None:
        if len(self.sources) < len(self.data):
            raise InvalidInputError("two data sets have one name: rename a file, or leave one out")

    @property
    def sources(self) -> dict[str, str]:
        """Data by their short names."""
        return {data_name(source): source for source in self.data}

    def cells(self) -> list[Cell]:
        """Data set by data set; the claimed arms seed by seed, then the sweep."""
        claimed = [("white", 0.0), *((kind, self.alpha) for kind in list(KINDS)[1:]), ("colour", -self.alpha)]
        arms = [(*arm, seed) for seed in range(self.seeds) for arm in claimed]
        arms += [("colour", a, s) for a in self.sweep if ("colour", a) not in claimed for s in range(self.sweep_seeds)]
        return [{"data": d, "kind": k, "alpha": a, "seed": s} for d in self.sources for k, a, s in arms]

    def claims(self) -> list[Claim]:
        """One for each data set, those over all of them, and a control."""
        return [
            *map(self._on, self.sources),
            self._pooled(
                "colour",
                f"The colour of α = {self.alpha:g} alone, at the energy of white noise, generates better than white.",
                "log SW₂(white) / SW₂(colour alone)",
                PAPER,
            ),
            self._pooled(
                "amount",
                "The amount of that noise alone, as white noise, generates better than white noise of energy 1.",
                "log SW₂(white) / SW₂(amount alone)",
                "here, against MATH B2",
            ),
            self._pooled(
                "colour-beyond-amount",
                "Of unnormalised power-law noise the colour helps: white noise of the same energy generates worse.",
                "log SW₂(amount alone) / SW₂(colour and amount)",
                "here, against MATH B2",
            ),
            self._pooled(
                "formula",
                "The formula as printed, unnormalised and with its gain of the constant, generates better than white.",
                "log SW₂(white) / SW₂(formula as printed)",
                PAPER,
            ),
            self._pooled(
                "smooth-not-rough",
                f"Noise of α = {self.alpha:g} generates better than noise of α = {-self.alpha:g}, both at the energy of"
                " white noise.",
                f"log SW₂(α = {-self.alpha:g}) / SW₂(α = {self.alpha:g})",
                PAPER,
            ),
            self._pooled(
                "bound",
                "The colour alone lowers the variational bound of held-out data: the gain is one of the model, not of"
                " the distance by which samples are judged.",
                "The bound under white noise less that under the colour alone, bits per dimension",
                "here, MATH B11",
            ),
            self._pooled(
                "closer-than-data",
                "Samples of the networks trained under the colour alone are closer to held-out data than fresh data are"
                " (control).",
                "log SW₂(fresh data) / SW₂(colour alone)",
                "here",
                control=True,
            ),
        ]

    def _pooled(self, key: str, text: str, statistic: str, source: str, control: bool = False) -> Claim:
        rule = "must not hold" if control else "holds if its 95 % t interval is above 0, refuted if below"
        return Claim(key, text, source, f"{statistic}, mean over data sets, paired by seed; {rule}.", control)

    def _on(self, name: str) -> Claim:
        source = f"{PAPER}: {PUBLISHED[name]}" if name in PUBLISHED else "here, after the paper's other data sets"
        ratio = f"log SW₂(white) / SW₂(α = {self.alpha:g}, energy of white noise) to held-out data, paired by seed"
        if name == "cifar10":
            return Claim(
                "cifar10-tie",
                f"On cifar10 noise of α = {self.alpha:g} generates as well as white noise.",
                source,
                f"{ratio}; holds if its 95 % t interval lies within ±{TIE:g}, refuted if it lies outside.",
            )
        text = f"On {name} noise of α = {self.alpha:g} generates better than white noise."
        return Claim(f"{name}-improves", text, source, f"{ratio}; 95 % t interval above 0.")

    # cells -----------------------------------------------------------------------------------------------------------

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train under one noise; the outcomes of images and the variational bound of held-out ones."""
        split = _loaded(self.sources[str(cell["data"])], self.size, self.count, self.limit)
        seed, shape = int(cell["seed"]), (1, self.size, self.size)
        noise = noise_of(str(cell["kind"]), float(cell["alpha"]), shape)
        fitted = fit(
            TrainConfig(
                model=study_family(self.network),
                data=split,
                noise=noise,
                steps=self.steps,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                seed=seed,
                device=self.device,
            )
        )
        process = fitted.setup.process
        sampling = Sampling(count=self.count, steps=self.sampler_steps)
        values = image_outcomes(fitted.model, process, split, sampling, seed)
        held_out = Target.of(split, self.count, seed).arrays.to(self.device)
        values["bound"] = variational_bound(fitted.model, process, held_out, seed)
        return values | {"energy": energy(noise, shape), "loss": fitted.loss}

    # findings --------------------------------------------------------------------------------------------------------

    def findings(self, rows: Rows) -> list[Finding]:
        """Judge the claims: first each data set's own, then those over all."""
        claims, sw2 = self.claims(), self._logs(rows, "sw2")
        gain = sw2["white"] - sw2["colour"]
        bound = self._arms(rows, "bound")
        pooled = {
            "colour": gain,
            "amount": sw2["white"] - sw2["amount"],
            "colour-beyond-amount": sw2["amount"] - sw2["both"],
            "formula": sw2["white"] - sw2["literal"],
            "smooth-not-rough": sw2["rough"] - sw2["colour"],
            "bound": bound["white"] - bound["colour"],
            "closer-than-data": self._logs(rows, "sw2_resample")["colour"] - sw2["colour"],
        }
        own = [
            (tie if claim.key == "cifar10-tie" else above_zero)(claim, mine)
            for claim, mine in zip(claims[: len(gain)], gain, strict=True)
        ]
        return own + [above_zero(claim, pooled[claim.key].mean(0)) for claim in claims[len(gain) :]]

    def _arms(self, rows: Rows, name: str) -> dict[str, Floats]:
        """A value of the claimed arms, (data sets, seeds) each; ``rough`` is -α."""
        arms = {"white": ("white", 0.0), "rough": ("colour", -self.alpha)}
        arms |= {kind: (kind, self.alpha) for kind in list(KINDS)[1:]}
        return {
            arm: np.stack([_seeds(rows, name, data, kind, alpha) for data in self.sources])
            for arm, (kind, alpha) in arms.items()
        }

    def _logs(self, rows: Rows, name: str) -> dict[str, Floats]:
        return {arm: np.log(values) for arm, values in self._arms(rows, name).items()}

    # what a reader sees ----------------------------------------------------------------------------------------------

    def tables(self, rows: Rows) -> list[Table]:
        """For each data set all arms and the trivial generators."""
        return [self._table(rows.where(data=data), data) for data in self.sources]

    def _table(self, rows: Rows, data: str) -> Table:
        columns = (
            "noise",
            "α",
            "E‖ε‖²/D",
            "SW₂",
            "log SW₂(white)/SW₂",
            "spectrum",
            "bound, bits/dim",
            "ε-error/linear",
        )
        white = np.log(_seeds(rows, "sw2", data, "white", 0.0))
        lines = []
        for kind, alpha in dict.fromkeys((row["kind"], row["alpha"]) for row in rows):
            found = {
                n: _seeds(rows, n, data, kind, alpha) for n in ("sw2", "spectrum", "bound", "error", "error_linear")
            }
            gain = "" if kind == "white" else with_error(white[: len(found["sw2"])] - np.log(found["sw2"]))
            energy = f"{_seeds(rows, 'energy', data, kind, alpha)[0]:.3f}"
            told = [with_error(found[n]) for n in ("spectrum", "bound")]
            told.append(with_error(found["error"] / found["error_linear"]))
            lines.append((KINDS[kind], f"{alpha:g}", energy, with_error(found["sw2"]), gain, *told))
        for name, said in TRIVIAL.items():
            spectrum = "" if name in ("zeros", "white") else with_error(_trivial(rows, f"spectrum_{name}"))
            lines.append((said, "", "", with_error(_trivial(rows, f"sw2_{name}")), "", spectrum, "", ""))
        note = (
            f"± is over seeds; α other than ±{abs(self.alpha):g} have fewer. The spectrum's distance is in log power."
        )
        return Table(f"{data}, {self.size}×{self.size}", columns, tuple(lines), note)

    def figure(self, rows: Rows) -> Figure:
        """Gain over white noise by arm, distance by α, and the bound's gain by arm."""
        from scoregrain.studies.power_law_figure import power_law_figure

        return power_law_figure(rows, list(self.sources), self._logs(rows, "sw2"), self._arms(rows, "bound"))


def tie(claim: Claim, values: Floats) -> Finding:
    """Judge that a mean over seeds is as good as zero: its interval lies within ±:data:`TIE`."""
    found = above_zero(claim, values)
    if found.value is None:
        return found
    low, high = found.interval or (found.value, found.value)
    return replace(found, word=word_for(claim, low > -TIE and high < TIE, low > TIE or high < -TIE))


@cache
def _loaded(source: str, size: int, count: int, limit: int) -> Split:
    return image_split(source, size, count, limit)


def _seeds(rows: Rows, name: str, data: str, kind: str, alpha: float) -> Floats:
    """A value of one arm, (seeds,)."""
    return rows.where(data=data, kind=kind, alpha=alpha).array(name, "seed")


def _trivial(rows: Rows, name: str) -> Floats:
    """A value of trivial generators, one for each seed: the same under every noise."""
    return rows.where(kind="white").array(name, "seed")
