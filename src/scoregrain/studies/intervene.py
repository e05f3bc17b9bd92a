"""Does quality follow G when G is changed and nothing else? The causal test of Conjecture 1 (MATH A1, C5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from scoregrain.datasets import RankOne
from scoregrain.geometry import measure_geometry
from scoregrain.studies.directions import directions, places
from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.families import study_family
from scoregrain.studies.interventions import SKIP, layer_of, moved, rotation_of, with_output
from scoregrain.studies.outcomes import law_outcomes
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Table
from scoregrain.studies.summaries import RULE, Floats, above_zero, mean_and_error, with_error, written
from scoregrain.studies.trained import TrainedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDS, PLACES = ("top", "bottom"), ("top", "middle", "bottom")
ARMS = {
    "identity": PLACES,
    "whiten": ENDS,
    "invert": ENDS,
    "permute": PLACES,
    "exchange": ENDS,
    "signs": ENDS,
    "negate": ENDS,
    "rotate": ENDS,
    "scale=1/4": ENDS,
    "scale=4": ENDS,
    "identity+x": ENDS,
    "whiten+x": ENDS,
    "invert+x": ENDS,
}
"""What is done to G, and the directions of the data that are trained on under it."""

SPECTRA = ("whiten", "invert", "permute")
"""Arms that give the eigenvectors of G other eigenvalues."""

OUTCOMES = {"sw2": ("sw2", "sampling", "SW₂"), "denoising": ("excess_along", "denoising", "E (v·(ε̂ - ε*))²")}
"""By the word that ends a claim's key: the name in the rows, what is judged, the symbol."""


@dataclass(frozen=True, kw_only=True)
class InterveneStudy(TrainedStudy):
    """Train rank-one data along the same directions under changed geometries, everything else equal.

    Directions are eigenvectors of the unchanged G: of the largest, a middle and the smallest eigenvalue.

    Attributes:
        network: Family that is changed.
        measured: Networks that its geometry is measured with.
        updates: Of each network.
        learning_rate: Of Adam, its largest.
    """

    name: ClassVar[str] = "intervene"
    title: ClassVar[str] = "Does quality follow the geometry when nothing but the geometry is changed?"
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {
            "measured": 512,
            "seeds": 2,
            "updates": 6,
            "batch_size": 16,
            "lr_schedule": "constant",
            "warmup": 0,
            "samples": 64,
            "sampler_steps": 5,
        },
        "small": {},
    }

    network: str = "unet-8"
    measured: int = 4000
    updates: int = 400
    learning_rate: float = 3e-3
    lr_schedule: str = "cosine"
    warmup: int = 20
    samples: int = 256

    def cells(self) -> list[Cell]:
        """Seed by seed, so that an unfinished study has whole pairs."""
        return [
            {"seed": seed, "arm": arm, "direction": direction}
            for seed in range(self.seeds)
            for arm, chosen in ARMS.items()
            for direction in chosen
        ]

    def claims(self) -> list[Claim]:
        """Each for both outcomes."""
        return [claim for outcome in OUTCOMES for claim in _claims(outcome)]

    def material(self) -> Material:
        """G (D, D), directions (3, S, C, *space), and first indices, eigenvalues and errors (3, 3)."""
        geometry = measure_geometry(study_family(self.network), self.measured)
        chosen = places(geometry, len(PLACES))
        rows = [(place.index, place.value, place.error) for place in chosen]
        return {
            "geometry": geometry.matrix(),
            "directions": directions(geometry, chosen, self.seeds),
            "places": torch.tensor(rows, dtype=torch.float64),
        }

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train one direction under one geometry and judge."""
        arm, place, seed = str(cell["arm"]), PLACES.index(str(cell["direction"])), int(cell["seed"])
        geometry, mine = material["geometry"], material["directions"][:, seed]
        law, top, bottom = RankOne(mine[place]), mine[0], mine[-1]
        layer = layer_of(arm, geometry, top, bottom, seed)
        family = with_output(study_family(self.network), layer, arm, skip=arm.endswith(SKIP))
        turn = rotation_of(top, bottom) if arm == "rotate" else None
        fitted = self.trained(family, law, seed, self.updates, self.learning_rate, rotation=turn)
        outcomes = law_outcomes(fitted.model, fitted.setup.process, law, self.sampling, seed)
        v, changed = law.direction.flatten(), moved(arm, geometry, top, bottom, seed)
        return {
            "index": int(material["places"][place, 0]),
            "eigenvalue": float(v @ changed @ v),
            "loss": fitted.loss,
        } | outcomes

    def findings(self, rows: Rows) -> list[Finding]:
        """In the order of the claims."""
        return [finding for outcome in OUTCOMES for finding in _findings(outcome, rows)]

    def tables(self, rows: Rows) -> list[Table]:
        """A row for each geometry and direction."""
        return [_table(rows)]

    def figure(self, rows: Rows) -> Figure:
        """The order of the two ends under each geometry, for both outcomes, and the change of SW₂ with that of λ."""
        return _figure(rows)


def _claims(outcome: str) -> list[Claim]:
    return [*_claims_of_new_spectra(outcome), *_claims_of_other_changes(outcome)]


def _declare(outcome: str) -> Callable[..., Claim]:
    """What makes a claim for one outcome: its rule is that of all."""

    def claim(key: str, text: str, source: str, statistic: str, control: bool = False) -> Claim:
        return Claim(f"{key}-{outcome}", text, source, f"{statistic}; {RULE}", control)

    return claim


def _claims_of_new_spectra(outcome: str) -> list[Claim]:
    """Conjecture 1 where the eigenvectors keep their places and the eigenvalues do not."""
    claim, (_, judged, symbol) = _declare(outcome), OUTCOMES[outcome]
    ends = f"c = log {symbol} (top) - log {symbol} (bottom), the directions of the largest and the smallest λ of G"
    conjecture = "arXiv 2510.22899, Conjecture 1"
    return [
        claim(
            "base",
            f"{judged} along the largest eigenvalue is worse than along the smallest",
            conjecture,
            f"mean over seeds of {ends}",
        ),
        claim(
            "inverted",
            f"with the spectrum inverted by an output layer, {judged} is worse along the direction whose eigenvalue was"
            " the smallest and now is the largest",
            conjecture,
            "mean over seeds of -c under the inverted spectrum",
        ),
        claim(
            "moved",
            f"inverting the spectrum moves the order of {judged} that way, if not all the way",
            conjecture,
            "mean over seeds of c (identity) - c (invert)",
        ),
        claim(
            "whitened",
            f"with equal eigenvalues at least half of the difference of {judged} is gone, whichever end is worse",
            conjecture,
            "of σ c (identity) / 2 + c (whiten) and σ c (identity) / 2 - c (whiten), σ the sign of the mean of"
            " c (identity), the one whose interval reaches lower; undecided where there is no difference to be gone,"
            " the interval of c (identity) holding 0",
        ),
        claim(
            "dose",
            f"{judged} along a direction gets worse as its eigenvalue is raised, better as it is lowered",
            conjecture,
            f"mean over seeds of the slope of the change of log {symbol} on that of log λ, over the directions of the"
            " whitened, inverted and permuted spectra, the mean of each of these taken off",
        ),
        claim(
            "base+x",
            f"{judged} along the largest eigenvalue is worse than along the smallest also for networks to which x is"
            " added",
            conjecture,
            "mean over seeds of c (identity+x)",
        ),
        claim(
            "moved+x",
            f"inverting the spectrum moves the order of {judged} also where, with x added, the layer need not be undone"
            " off the data",
            conjecture,
            "mean over seeds of c (identity+x) - c (invert+x)",
        ),
    ]


def _claims_of_other_changes(outcome: str) -> list[Claim]:
    """What else a change of the networks does, and two controls."""
    claim, (_, judged, symbol) = _declare(outcome), OUTCOMES[outcome]
    conjecture = "arXiv 2510.22899, Conjecture 1"
    return [
        claim(
            "exchanged",
            f"exchanging the two eigenvalues by a reflection of the output alone moves the order of {judged} too",
            conjecture,
            "mean over seeds of c (identity) - c (exchange)",
        ),
        claim(
            "signs",
            f"{judged} gets worse under an output layer that leaves G as it is (random signs of its eigenvectors)",
            "here: G is not all that counts",
            f"mean over seeds and both ends of log {symbol} (signs) - log {symbol} (identity)",
        ),
        claim(
            "scale",
            f"{judged} is worse with a sixteen times larger output at initialisation",
            "here",
            f"mean over seeds and both ends of log {symbol} (scale=4) - log {symbol} (scale=1/4)",
        ),
        claim(
            "rotated",
            f"where the data are rotated so that the network meets the one direction in place of the other, {judged}"
            " follows the network's direction (a theorem for white noise: this checks the machinery)",
            "MATH C5",
            "mean over seeds of -c (identity) c (rotate)",
        ),
        claim(
            "negated",
            f"changing the sign of the output, which changes neither G nor the law of the networks, moves {judged} as"
            " inversion is claimed to",
            "control: no intervention",
            "mean over seeds of c (identity) - c (negate)",
            control=True,
        ),
    ]


def _findings(outcome: str, rows: Rows) -> list[Finding]:
    name, claims = OUTCOMES[outcome][0], {claim.key.rsplit("-", 1)[0]: claim for claim in _claims(outcome)}
    c = {arm: contrast(rows, name, arm) for arm in ARMS}
    values = {
        "base": c["identity"],
        "inverted": -c["invert"],
        "moved": c["identity"] - c["invert"],
        "dose": slopes(rows, name),
        "base+x": c["identity+x"],
        "moved+x": c["identity+x"] - c["invert+x"],
        "exchanged": c["identity"] - c["exchange"],
        "signs": level(rows, name, "signs") - level(rows, name, "identity"),
        "scale": level(rows, name, "scale=4") - level(rows, name, "scale=1/4"),
        "rotated": -c["identity"] * c["rotate"],
        "negated": c["identity"] - c["negate"],
    }
    found = {key: above_zero(claims[key], value) for key, value in values.items()}
    found["whitened"] = _halved(claims["whitened"], found["base"], c["identity"], c["whiten"])
    return [found[key] for key in claims]


def _halved(claim: Claim, base: Finding, before: Floats, after: Floats) -> Finding:
    """Judge that a contrast, of either sign, has lost at least half of its size."""
    if base.word == "undecided":
        return Finding(claim.key, None, None, base.n, "undecided", "without it there is no difference that is certain")
    half = np.sign(before.mean()) * before / 2
    both = [above_zero(claim, half + after), above_zero(claim, half - after)]
    return min(both, key=lambda each: -math.inf if each.interval is None else each.interval[0])


def contrast(rows: Rows, name: str, arm: str) -> Floats:
    """Return log outcome at the top minus at the bottom, (S,)."""
    difference: Floats = _log(rows, name, arm, "top") - _log(rows, name, arm, "bottom")
    return difference


def level(rows: Rows, name: str, arm: str) -> Floats:
    """Return the mean log outcome of both ends, (S,)."""
    mean: Floats = (_log(rows, name, arm, "top") + _log(rows, name, arm, "bottom")) / 2
    return mean


def slopes(rows: Rows, name: str) -> Floats:
    """Return by how much the log outcome changes with the log eigenvalue within the arms of new spectra, (S,)."""
    pairs = [_changes(rows, name, arm) for arm in SPECTRA]
    x, y = (np.concatenate([each - each.mean(0) for each in part]) for part in zip(*pairs, strict=True))
    found: Floats = (x * y).sum(0) / np.square(x).sum(0)
    return found


def _changes(rows: Rows, name: str, arm: str) -> tuple[Floats, Floats]:
    """Changes of the log eigenvalue and the log outcome from what they are under G, (directions, S) each."""
    found = [
        np.array([_log(rows, each, arm, place) - _log(rows, each, "identity", place) for place in ARMS[arm]])
        for each in ("eigenvalue", name)
    ]
    return found[0], found[1]


def _log(rows: Rows, name: str, arm: str, direction: str) -> Floats:
    found: Floats = np.log(rows.where(arm=arm, direction=direction).array(name, "seed"))
    return found


_COLUMNS = (
    "geometry",
    "direction",
    "λ of the direction",
    "SW₂",
    "width",
    "energy off v",
    "gap to the exact score",
    "excess along v",
    "excess along v, t = T - 1",
    "excess off v",
    "training loss",
    "SW₂ resample",
    "zeros",
    "white",
    "exact score",
)


def _table(rows: Rows) -> Table:
    names = ("sw2", "width", "off", "gap", "excess_along", "excess_along_last", "excess_off", "loss")
    trivial = ("sw2_resample", "sw2_zeros", "sw2_white", "sw2_exact")
    entries = []
    for arm, chosen in ARMS.items():
        for direction in chosen:
            mine = rows.where(arm=arm, direction=direction)
            entries.append(
                (
                    arm,
                    f"{direction} (#{mine[0]['index']})",
                    _eigenvalue(mine),
                    *(with_error(mine.array(name, "seed")) for name in names),
                    *(f"{mean_and_error(mine.array(name, 'seed'))[0]:.3g}" for name in trivial),
                )
            )
    return Table(
        "Rank-one data along the same directions under changed geometries",
        _COLUMNS,
        tuple(entries),
        "± is one standard error over seeds. λ is vᵀ A G Aᵀ v of the changed geometry (under permute the median: each "
        "seed has its own order). Width is in units of the law's, energy off v per direction (the law has none).",
    )


def _eigenvalue(rows: Rows) -> str:
    return written(float(np.median(rows.array("eigenvalue", "seed"))), math.nan)


def _figure(rows: Rows) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for axis, (name, _, symbol) in zip((left, middle), OUTCOMES.values(), strict=True):
        for i, arm in enumerate(ARMS):
            found = contrast(rows, name, arm)
            mean, error = mean_and_error(found)
            axis.plot(found, [i] * len(found), ".", color=COLOURS[0], alpha=0.4)
            axis.errorbar(mean, i, xerr=error, fmt="o", color=COLOURS[1], capsize=3)
        axis.axvline(0, color="0.4", lw=1)
        axis.set_yticks(range(len(ARMS)), list(ARMS))
        axis.invert_yaxis()
        axis.set(xlabel=f"log {symbol}, top minus bottom", title="worse along the largest λ of G →")
    _draw_dose(right, rows)
    return figure


def _draw_dose(axis: Any, rows: Rows) -> None:
    for colour, arm in zip(COLOURS, SPECTRA, strict=False):
        x, y = _changes(rows, "sw2", arm)
        axis.plot(x, y, "o", color=colour, ms=4, label=[arm] + [None] * (x.shape[1] - 1))
    axis.axhline(0, color="0.8", lw=1, zorder=0)
    slope, error = mean_and_error(slopes(rows, "sw2"))
    axis.set(xlabel="change of log λ", ylabel="change of log SW₂", title=f"slope {written(slope, error)}")
    axis.legend(frameon=False, fontsize=8)
