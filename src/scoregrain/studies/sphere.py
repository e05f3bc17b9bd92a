"""Figure 1 of the first paper: spheres in the span of directions of large and of small eigenvalue (MATH A7, A9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.datasets import Sphere
from scoregrain.geometry import Geometry, measure_geometry
from scoregrain.studies.directions import Place, places
from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.families import study_family
from scoregrain.studies.sphere_outcomes import sphere_outcomes
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Table, word_for
from scoregrain.studies.summaries import RULE, Floats, above_zero, mean_and_error, with_error, worse_than_zeros
from scoregrain.studies.trained import TrainedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPAN = 3
"""Directions that a sphere lies in, as in the paper."""

ARMS = ("large", "small", "random", "other-random")
"""Where the three directions come from: the largest eigenvalue, the smallest or the null space, and twice from all."""

PAPER = "arXiv 2510.22899, Figure 1"
OUTCOMES = {
    "sw2": "SW₂",
    "radius": "error of the radius",
    "off": "energy off the span",
    "excess_along": "excess error in the span",
}


@dataclass(frozen=True, kw_only=True)
class SphereStudy(TrainedStudy):
    """Is a sphere in the span of three directions of large eigenvalue learnt worse than one of small eigenvalue?

    The network's eigenvalues are multiple, so each seed draws three random orthonormal directions inside the largest
    eigenvalue's space, and three inside the smallest's. The largest's has only four dimensions: there, seeds replicate
    initialisation and data, hardly directions.

    Attributes:
        network: A transformer by name: its geometry is known exactly.
        seeds: Paired: a seed is the initialisation, the coordinates of the data, batches, levels, noise, projections.
        updates: Of each network.
        learning_rate: Of Adam.
    """

    name: ClassVar[str] = "sphere"
    title: ClassVar[str] = "Are spheres learnt better in the span of small eigenvalues?"
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"seeds": 4, "updates": 40, "batch_size": 32, "samples": 128, "sampler_steps": 10},
        "small": {},
        "paper": {
            "network": "dit-16/2",
            "seeds": 5,
            "updates": 10_000,
            "batch_size": 1000,
            "learning_rate": 1e-4,
            "samples": 10_000,
            "sampler": "ddpm",
            "sampler_steps": 1000,
        },
    }

    network: str = "dit-8/2"
    updates: int = 800
    learning_rate: float = 1e-3

    def cells(self) -> list[Cell]:
        """Seed by seed, so that an unfinished study has whole pairs."""
        return [{"seed": seed, "arm": arm} for seed in range(self.seeds) for arm in ARMS]

    def claims(self) -> list[Claim]:
        """The paper's claim by each outcome, and a control."""
        claims = [
            Claim(
                name,
                f"{said} is larger for spheres in the span of large eigenvalues than of small ones",
                PAPER if name == "sw2" else f"{PAPER}, by another outcome",
                f"mean over seeds of log {said} (large) - the same (small); {RULE}",
            )
            for name, said in OUTCOMES.items()
        ]
        control = "holds where Student's 95 % interval over seeds does not contain 0"
        text = "SW₂ differs between spheres in two random spans"
        statistic = f"mean over seeds of log SW₂ (random) - the same (other random); {control}"
        return [*claims, Claim("control", text, "control", statistic, control=True)]

    def material(self) -> Material:
        """Directions (A, S, D, 3) of every arm and seed, and the mean vᵀGv of each (A, S)."""
        geometry = measure_geometry(study_family(self.network))
        spans = torch.stack([torch.stack([span(geometry, arm, seed) for seed in range(self.seeds)]) for arm in ARMS])
        predicted = torch.einsum("asik,ij,asjk->as", spans, geometry.matrix(), spans) / SPAN
        rounding = 1e-9 * float(geometry.eigenvalues[0])
        return {"spans": spans, "predicted": torch.where(predicted < rounding, 0.0, predicted)}

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train on one sphere and judge."""
        arm, seed = ARMS.index(str(cell["arm"])), int(cell["seed"])
        family = study_family(self.network)
        law = Sphere(material["spans"][arm, seed], family.shape)
        fitted = self.trained(family, law, seed, self.updates, self.learning_rate)
        found = sphere_outcomes(fitted.model, fitted.setup.process, law, self.sampling, seed)
        return {"predicted": float(material["predicted"][arm, seed]), "loss": fitted.loss, **found}

    def findings(self, rows: Rows) -> list[Finding]:
        """In the order of the claims."""
        *claims, control = self.claims()
        found = [above_zero(claim, difference(rows, claim.key, "large", "small")) for claim in claims]
        return [*found, differs(control, difference(rows, "sw2", "random", "other-random"))]

    def tables(self, rows: Rows) -> list[Table]:
        """A line for each arm."""
        names = (*OUTCOMES, "excess_off", "loss")
        trivial = ("sw2_resample", "sw2_zeros", "sw2_white", "sw2_exact")
        entries = []
        for arm in rows.levels("arm"):
            mine = rows.where(arm=arm)
            told = (with_error(mine.array(name, "seed")) for name in names)
            means = (f"{mean_and_error(mine.array(name, 'seed'))[0]:.3g}" for name in trivial)
            predicted = f"{mean_and_error(mine.array('predicted', 'seed'))[0]:.3g}"
            entries.append((arm, predicted, *told, *means))
        columns = ("span", "vᵀGv", *OUTCOMES.values(), "excess error off it", "loss")
        note = (
            "± is one standard error over seeds. The error of the radius is E |‖x‖/√D - 1|, the energy off the span is "
        )
        note += "per direction (the sphere has none); the last four are SW₂ of trivial generators and the exact score."
        note += f" By SW₂ {worse_than_zeros(rows)}."
        return [Table("Spheres", (*columns, "resample", "zeros", "white noise", "exact score"), tuple(entries), note)]

    def figure(self, rows: Rows) -> Figure:
        """Each outcome by arm, a line for each seed."""
        return _figure(rows)


# building blocks -----------------------------------------------------------------------------------------------------


def span(geometry: Geometry, arm: str, seed: int) -> Tensor:
    """Return three orthonormal columns (D, 3), uniform in the space that an arm names; float64."""
    if arm in ("random", "other-random"):
        place = Place(0, geometry.size, geometry.trace / geometry.size, 0.0)
    else:
        place = places(geometry, 2)[("large", "small").index(arm)]
    if place.size < SPAN:
        raise InvalidInputError(f"the {arm} eigenvalue has {place.size} directions, a sphere needs {SPAN}: take a dit")
    columns = geometry.eigenvectors[:, place.index : place.index + place.size]
    mix = torch.randn(place.size, SPAN, generator=stream(seed, f"span of a sphere: {arm}"), dtype=torch.float64)
    orthonormal: Tensor = torch.linalg.qr(columns @ mix)[0]
    return orthonormal


# from rows to findings -----------------------------------------------------------------------------------------------


def difference(rows: Rows, name: str, first: str, second: str) -> Floats:
    """Log ratio of an outcome in two arms, for each seed (S,); NaN where one has no number."""
    a, b = (rows.where(arm=arm).array(name, "seed") for arm in (first, second))
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.log(a) - np.log(b)
    return found


def differs(claim: Claim, values: Floats) -> Finding:
    """Judge that a mean over seeds is not zero, by Student's 95 % interval."""
    found = above_zero(claim, values)
    if found.interval is None:
        return found
    low, high = found.interval
    return replace(found, word=word_for(claim, low > 0 or high < 0, False))


def _figure(rows: Rows) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.4), layout="constrained")
    arms = rows.levels("arm")
    for axis, (name, said) in zip(figure.subplots(1, len(OUTCOMES)), OUTCOMES.items(), strict=True):
        table = rows.array(name, "seed", "arm")
        axis.plot(range(len(arms)), table.T, color="0.75", lw=0.8)
        for place, (colour, column) in enumerate(zip(COLOURS, np.log(table).T, strict=False)):
            middle, error = mean_and_error(column)
            bars = [[np.exp(middle) * -np.expm1(-error)], [np.exp(middle) * np.expm1(error)]]
            axis.errorbar(place, np.exp(middle), yerr=np.nan_to_num(bars), fmt="o", color=colour, capsize=4)
        axis.set(xticks=range(len(arms)), yscale="log", ylabel=said)
        axis.set_xticklabels(arms, rotation=20)
        if name == "sw2":
            for style, trivial in (("--", "zeros"), (":", "resample")):
                level = float(np.nanmean(rows.array(f"sw2_{trivial}", "seed", "arm")))
                axis.axhline(level, color="0.4", ls=style, lw=1, label=trivial)
            axis.legend(frameon=False, fontsize=8)
    return figure
