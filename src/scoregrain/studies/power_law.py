"""Power-law noise against white noise: is it the colour or the amount, and on which data (MATH B2, B13).

Unnormalised gains (r + ε)^α change two things at once, the colour of the noise and its mean energy. So each is also
changed alone: ``colour`` has the gains at the energy of white noise, ``amount`` is white noise of the energy that the
gains have, ``both`` are the gains as they are, ``literal`` the paper's formula with its huge gain of the constant.

At the paper's α all this is little: on 8×8 the largest variance is 1.23 times the smallest, the energy 1.13. So its
claims are tested there, and colour is told from amount at a stronger α, where they differ by factors of 6 and 3.

Generation is compared in the distance of samples to held-out data. Denoising errors are not comparable as they are:
ε-errors have the unit of another noise, x0-errors at equal t are of another task. So both are told against the best
affine denoiser under the same noise: ε-errors over its own, and the variational bound (MATH B11) less its bound. The
bound alone would do for data with a density; images have pixels that hardly change, which every noise charges
differently, whatever the network learns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import Split
from scoregrain.datasets.images import data_name
from scoregrain.studies.equivalence import within
from scoregrain.studies.families import study_family
from scoregrain.studies.image_outcomes import Target, best_linear, image_outcomes, image_split, target_note
from scoregrain.studies.power_law_arms import KINDS, energy, noise_of
from scoregrain.studies.power_law_claims import PAIRS, TIE, last_claims, own_claim, pooled_claims
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Table
from scoregrain.studies.summaries import Floats, above_zero, gated, swapped, with_error
from scoregrain.studies.trained import TrainedStudy
from scoregrain.studies.variational_bound import variational_bound

if TYPE_CHECKING:
    from matplotlib.figure import Figure


TRIVIAL = {
    "resample": "fresh data",
    "gaussian": "a Gaussian with the data's moments",
    "zeros": "zeros",
    "white": "white noise",
}


@dataclass(frozen=True, kw_only=True)
class PowerLawStudy(TrainedStudy):
    """Trainings under power-law noise, its colour and its amount, paired with white noise by seed.

    Attributes:
        data: Names or paths of images.
        size: They are made grey and resized to this.
        network: A family of the studies, of the same size.
        alpha: The paper's α.
        strong: α at which colour and amount are told apart; the colour of -α is run too.
        sweep: Further α, of the colour alone.
        seeds: Paired trainings of each arm.
        sweep_seeds: Of further α.
        updates: Of each network.
        learning_rate: Of Adam, its largest.
    """

    name: ClassVar[str] = "power-law"
    title: ClassVar[str] = "Power-law noise: colour or amount"
    settings: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {"network": "mlp-8", "seeds": 2, "updates": 200, "samples": 128, "sampler_steps": 20},
        "small": {},
    }

    data: tuple[str, ...] = ("digits",)
    size: int = 8
    network: str = "unet-8"
    alpha: float = -0.06
    strong: float = -0.5
    sweep: tuple[float, ...] = (-0.25,)
    sweep_seeds: int = 2
    updates: int = 500
    batch_size: int = 32
    learning_rate: float = 3e-3
    lr_schedule: str = "cosine"
    warmup: int = 20
    arrays: int = 4000
    samples: int = 256
    sampler_steps: int = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.sources) < len(self.data):
            raise InvalidInputError("two data sets have one name: rename a file, or leave one out")
        if len({0.0, self.alpha, self.strong, -self.strong}) < 4:
            raise InvalidInputError(f"alpha and ±strong must differ and not be 0, got {self.alpha} and {self.strong}")

    @property
    def sources(self) -> dict[str, str]:
        """Data by their short names."""
        return {data_name(source): source for source in self.data}

    @property
    def arms(self) -> dict[str, tuple[str, float]]:
        """Kind and α of what the claims compare, by the names of :data:`PAIRS`."""
        return {
            "white": ("white", 0.0),
            "colour": ("colour", self.alpha),
            "literal": ("literal", self.alpha),
            "strong": ("colour", self.strong),
            "amount": ("amount", self.strong),
            "both": ("both", self.strong),
            "rough": ("colour", -self.strong),
        }

    def cells(self) -> list[Cell]:
        """Data set by data set; the claimed arms seed by seed, then the sweep."""
        claimed = list(self.arms.values())
        arms = [(*arm, seed) for seed in range(self.seeds) for arm in claimed]
        arms += [("colour", a, s) for a in self.sweep if ("colour", a) not in claimed for s in range(self.sweep_seeds)]
        return [{"data": d, "kind": k, "alpha": a, "seed": s} for d in self.sources for k, a, s in arms]

    def claims(self) -> list[Claim]:
        """One for each data set, those over all of them, and a control."""
        own = [own_claim(name, self.alpha) for name in self.sources]
        return [*own, *pooled_claims(self.alpha, self.strong), *last_claims(self.strong)]

    # cells -----------------------------------------------------------------------------------------------------------

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train under one noise; the outcomes of images and the variational bound of held-out ones."""
        split = _loaded(self.sources[str(cell["data"])], self.size, 2 * self.samples, self.arrays)
        seed, shape = int(cell["seed"]), (1, self.size, self.size)
        noise = noise_of(str(cell["kind"]), float(cell["alpha"]), shape)
        fitted = self.trained(study_family(self.network), split, seed, self.updates, self.learning_rate, noise=noise)
        process = fitted.setup.process
        values = image_outcomes(fitted.model, process, split, self.sampling, seed)
        held_out = Target.of(split, self.samples, seed).arrays.to(self.device)
        values["bound"] = variational_bound(fitted.model, process, held_out, seed)
        values["bound_linear"] = variational_bound(best_linear(split.train, process), process, held_out, seed)
        return values | {"energy": energy(noise, shape), "loss": fitted.loss}

    # findings --------------------------------------------------------------------------------------------------------

    def findings(self, rows: Rows) -> list[Finding]:
        """Judge the claims: first each data set's own, then those over all."""
        claims, sw2 = self.claims(), self._arms(rows, "sw2")
        log = {arm: np.log(values) for arm, values in sw2.items()}
        zeros = self._arms(rows, "sw2_zeros")["white"]
        gain = log["white"] - log["colour"]
        found = [
            gated(
                within(claim, gain[i], -TIE, TIE) if claim.key == "cifar10-tie" else above_zero(claim, gain[i]),
                zeros[i],
                sw2["white"][i],
                sw2["colour"][i],
            )
            for i, claim in enumerate(claims[: len(gain)])
        ]
        for claim in claims[len(gain) : -2]:
            worse, better = PAIRS[claim.key]
            judged = above_zero(claim, (log[worse] - log[better]).mean(0))
            found.append(gated(judged, zeros, sw2["white"], *(sw2[arm] for arm in {worse, better} - {"white"})))
        excess = self._excess_bounds(rows)
        return [
            *found,
            above_zero(claims[-2], (excess["white"] - excess["strong"]).mean(0)),
            gated(above_zero(claims[-1], swapped(gain.mean(0))), zeros, sw2["white"], sw2["colour"]),
        ]

    def _excess_bounds(self, rows: Rows) -> dict[str, Floats]:
        """The bound less that of the best affine denoiser under the same noise, by arm."""
        linear = self._arms(rows, "bound_linear")
        return {arm: values - linear[arm] for arm, values in self._arms(rows, "bound").items()}

    def _arms(self, rows: Rows, name: str) -> dict[str, Floats]:
        """A value of the claimed arms, (data sets, seeds) each."""
        return {
            arm: np.stack([_seeds(rows, name, data, kind, alpha) for data in self.sources])
            for arm, (kind, alpha) in self.arms.items()
        }

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
            "bound - linear's, bits/dim",
            "ε-error/linear",
        )
        white = np.log(_seeds(rows, "sw2", data, "white", 0.0))
        lines = []
        for kind, alpha in dict.fromkeys((row["kind"], row["alpha"]) for row in rows):
            names = ("sw2", "spectrum", "bound", "bound_linear", "error", "error_linear")
            found = {n: _seeds(rows, n, data, kind, alpha) for n in names}
            gain = "" if kind == "white" else with_error(white[: len(found["sw2"])] - np.log(found["sw2"]))
            energy = f"{_seeds(rows, 'energy', data, kind, alpha)[0]:.3f}"
            told = (found["spectrum"], found["bound"] - found["bound_linear"], found["error"] / found["error_linear"])
            lines.append((KINDS[kind], f"{alpha:g}", energy, with_error(found["sw2"]), gain, *map(with_error, told)))
        for name, said in TRIVIAL.items():
            spectrum = "" if name in ("zeros", "white") else with_error(_trivial(rows, f"spectrum_{name}"))
            lines.append((said, "", "", with_error(_trivial(rows, f"sw2_{name}")), "", spectrum, "", ""))
        note = (
            f"± is over seeds; further α have fewer. The spectrum's distance is in log power,"
            f" linear is the best affine denoiser under the same noise. {target_note(rows)}"
        )
        return Table(f"{data}, {self.size}×{self.size}", columns, tuple(lines), note)

    def figure(self, rows: Rows) -> Figure:
        """Gain over white noise by arm, distance by α, and the bound's gain by arm."""
        from scoregrain.studies.power_law_figure import power_law_figure

        logs = {arm: np.log(values) for arm, values in self._arms(rows, "sw2").items()}
        return power_law_figure(rows, list(self.sources), logs, self._excess_bounds(rows))


@cache
def _loaded(source: str, size: int, count: int, limit: int) -> Split:
    return image_split(source, size, count, limit)


def _seeds(rows: Rows, name: str, data: str, kind: str, alpha: float) -> Floats:
    """A value of one arm, (seeds,)."""
    return rows.where(data=data, kind=kind, alpha=alpha).array(name, "seed")


def _trivial(rows: Rows, name: str) -> Floats:
    """A value of trivial generators, one for each seed: the same under every noise."""
    return rows.where(kind="white").array(name, "seed")
