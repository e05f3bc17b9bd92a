"""Figure 2 of the first paper: quality along vectors that no network chose, against what its geometry predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from scoregrain.datasets import RankOne, probing_basis
from scoregrain.geometry import Geometry, measure_geometry
from scoregrain.studies.bases_figure import OUTCOMES, bases_figure, bases_table, vectors_table
from scoregrain.studies.directions import direction_at, haar, places
from scoregrain.studies.families import study_family
from scoregrain.studies.orders import BLOCKS_RULE, CELLS_RULE, log_worst, ordered_cells, ordered_inside
from scoregrain.studies.outcomes import law_outcomes
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Table
from scoregrain.studies.summaries import Floats
from scoregrain.studies.trained import TrainedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAD = "sad"
PAPER = "arXiv 2510.22899, Conjecture 1 and Figure 2"

OVERLAP = "vectors of several bases overlap, so p and interval are approximate"


@dataclass(frozen=True, kw_only=True)
class BasesStudy(TrainedStudy):
    """Does vᵀGv, known before training, order how well data along v are learnt, whatever basis v comes from?

    Attributes:
        network: A family by name.
        bases: Probing bases by name; ``sad`` are identifiable eigenvectors of G.
        vectors: Of each basis: in the order of vᵀGv, in even steps from its largest to its smallest. A vector that
            two bases share, such as the constant one, is left to the first of them.
        measured: Networks that the geometry is measured with.
        seeds: Paired: a seed is the initialisation, the ξ of the data, batches, levels, noise and projections.
        updates: Of each network.
        learning_rate: Of Adam.
    """

    name: ClassVar[str] = "bases"
    title: ClassVar[str] = "Does vᵀGv predict quality along the vectors of any basis?"
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {
            "network": "unet-8",
            "bases": ("hadamard", SAD),
            "vectors": 4,
            "measured": 512,
            "seeds": 2,
            "updates": 30,
            "batch_size": 32,
            "learning_rate": 1e-3,
            "samples": 128,
            "sampler": "ddim",
            "sampler_steps": 10,
        },
        "paper": {},
    }

    network: str = "iddpm-16"
    bases: tuple[str, ...] = ("canonical", "dct-ii", "dst-ii", "hadamard", "haar", SAD)
    vectors: int = 12
    measured: int = 10_000
    seeds: int = 5
    updates: int = 2000
    batch_size: int = 1000
    learning_rate: float = 1e-4
    samples: int = 10_000
    sampler: str = "ddpm"
    sampler_steps: int = 1000

    def cells(self) -> list[Cell]:
        """Seed by seed, so that an unfinished study has whole pairs."""
        return [
            {"seed": seed, "basis": basis, "vector": vector}
            for seed in range(self.seeds)
            for basis in self.bases
            for vector in range(self.vectors)
        ]

    def claims(self) -> list[Claim]:
        """The paper's claim over all vectors, inside bases and basis by basis; do seeds agree; a control."""
        claims = []
        for name, said in OUTCOMES.items():
            text = f"{said} grows with vᵀGv over the vectors of all bases"
            claims.append(Claim(f"all:{name}", text, PAPER, f"Spearman's ρ of means over seeds; {CELLS_RULE}"))
            text = f"{said} grows with vᵀGv inside every basis alike"
            claims.append(
                Claim(f"inside:{name}", text, PAPER, f"correlation of ranks inside each basis; {BLOCKS_RULE}")
            )
        for basis in self.bases:
            text = f"SW₂ grows with vᵀGv over vectors of {basis}"
            claims.append(Claim(f"basis:{basis}", text, PAPER, f"Spearman's ρ of means over seeds; {CELLS_RULE}"))
        text = "which vectors are sampled well is a property of the network's architecture, not of a seed"
        claims.append(Claim("seeds", text, PAPER, f"Spearman's ρ between SW₂ of even and of odd seeds; {CELLS_RULE}"))
        text = "SW₂ grows with vᵀG'v, G' a Haar rotation of G"
        claims.append(
            Claim("control", text, "control", f"Spearman's ρ of means over seeds; {CELLS_RULE}", control=True)
        )
        return claims

    def material(self) -> Material:
        """Vectors (B, V, C, *space); vᵀGv, its standard error and vᵀG'v of each, (B, V, 3)."""
        geometry = measure_geometry(study_family(self.network), self.measured)
        turn = haar(geometry.size, 0)
        turned = turn @ geometry.matrix() @ turn.T
        vectors = self._all_vectors(geometry)
        rows = vectors.flatten(2)
        values, errors = quadratic_form(geometry, rows.flatten(0, 1))
        control = torch.einsum("bvi,ij,bvj->bv", rows, turned, rows)
        predicted = torch.stack([values.reshape(control.shape), errors.reshape(control.shape), control], -1)
        return {"vectors": vectors, "predicted": predicted}

    def _all_vectors(self, geometry: Geometry) -> Tensor:
        """Those of all bases, (B, V, C, *space), none of them twice."""
        chosen: list[Tensor] = []
        for basis in self.bases:
            if basis == SAD:
                chosen.append(self._eigenvectors(geometry))
            else:
                chosen.append(self._of_basis(geometry, basis, chosen))
        return torch.stack(chosen)

    def _eigenvectors(self, geometry: Geometry) -> Tensor:
        return torch.stack([direction_at(geometry, place, 0) for place in places(geometry, self.vectors)])

    def _of_basis(self, geometry: Geometry, basis: str, others: list[Tensor]) -> Tensor:
        """Vectors of a basis that are none of the others, (V, C, *space), in descending order of vᵀGv."""
        rows = probing_basis(basis, geometry.shape).T
        for other in others:
            rows = rows[(rows @ other.flatten(1).T).abs().amax(1) < 1 - 1e-9]
        order = quadratic_form(geometry, rows, errors=False)[0].sort(descending=True, stable=True).indices
        steps = torch.linspace(0, len(order) - 1, self.vectors, dtype=torch.float64).round().long()
        return rows[order[steps]].reshape(self.vectors, *geometry.shape)

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Train along one vector and judge."""
        basis, vector, seed = self.bases.index(str(cell["basis"])), int(cell["vector"]), int(cell["seed"])
        law = RankOne(material["vectors"][basis, vector])
        fitted = self.trained(study_family(self.network), law, seed, self.updates, self.learning_rate)
        value, error, control = material["predicted"][basis, vector].tolist()
        outcomes = law_outcomes(fitted.model, fitted.setup.process, law, self.sampling, seed)
        where = {"predicted": value, "predicted_error": error, "control": control}
        return {**where, "loss": fitted.loss, **outcomes}

    def findings(self, rows: Rows) -> list[Finding]:
        """In the order of the claims."""
        claims = {claim.key: claim for claim in self.claims()}
        predictor = rows.array("predicted", "basis", "vector", "seed")[..., 0]
        tables = {name: rows.array(name, "basis", "vector", "seed") for name in OUTCOMES}
        blocks = np.repeat(self.bases, self.vectors).tolist()
        found = []
        for name, table in tables.items():
            outcome = _by_vector(table)
            found.append(ordered_cells(claims[f"all:{name}"], predictor.ravel(), outcome, note=OVERLAP))
            found.append(ordered_inside(claims[f"inside:{name}"], predictor.ravel(), outcome, blocks, note=OVERLAP))
        for i, basis in enumerate(self.bases):
            found.append(ordered_cells(claims[f"basis:{basis}"], predictor[i], tables["sw2"][i]))
        sw2 = _by_vector(tables["sw2"])
        found.append(_seeds_agree(claims["seeds"], sw2))
        control = rows.array("control", "basis", "vector", "seed")[..., 0]
        found.append(ordered_cells(claims["control"], control.ravel(), sw2, note=OVERLAP))
        return found

    def tables(self, rows: Rows) -> list[Table]:
        """The bases, and all vectors."""
        return [bases_table(rows), vectors_table(rows)]

    def figure(self, rows: Rows) -> Figure:
        """Both outcomes against vᵀGv, a colour for each basis."""
        return bases_figure(rows)


def quadratic_form(geometry: Geometry, rows: Tensor, *, errors: bool = True) -> tuple[Tensor, Tensor]:
    """Return vᵀGv of every row and its standard errors over groups of networks, float64 (K,) each; 0 where exact.

    Args:
        geometry: G, of all its directions.
        rows: v, (K, D).
        errors: Work them out.
    """
    values = ((rows @ geometry.matrix()) * rows).sum(1)
    if geometry.exact or not errors:
        return values, torch.zeros_like(values)
    counts = geometry.counts.double()
    means = torch.stack([geometry.contract(torch.outer(row, row)) for row in rows])
    spread = (counts * (means - values[:, None]).square()).sum(1)
    return values, (spread / ((len(counts) - 1) * counts.sum())).sqrt()


def _seeds_agree(claim: Claim, table: Floats) -> Finding:
    if table.shape[1] < 2:
        return Finding(claim.key, None, None, len(table), "undecided", "one seed agrees with itself")
    return ordered_cells(claim, log_worst(table[:, ::2]).mean(1), table[:, 1::2], note=OVERLAP)


def _by_vector(table: Floats) -> Floats:
    """(B, V, S) as (B·V, S)."""
    return table.reshape(-1, table.shape[-1])
