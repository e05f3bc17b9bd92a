"""Energy and denoising error along directions: those of a network's geometry, or of the data's own second moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import GaussianMixture, Law, RankOne
from scoregrain.diffusion import GaussianMixtureScore, GaussianScore
from scoregrain.geometry import Geometry, data_geometry
from scoregrain.metrics.directions import DirectionErrors, direction_error
from scoregrain.metrics.energy import energy_along
from scoregrain.report.energy import bin_labels
from scoregrain.report.material import Material
from scoregrain.report.wording import index_ranges

if TYPE_CHECKING:
    from scoregrain.training import Run

LEADING = 64
"""Directions of the data that are measured where there are more than 1024."""

ARRAYS = 256
"""Arrays that the denoising error is measured on."""

SAME = 0.999
"""Unit vectors of this inner product are one direction."""

SHOWN = 4
"""Identifiable directions at either end of a geometry that distances are measured along."""


@dataclass(frozen=True, eq=False)
class Bins:
    """Directions, those together that are known only together (ARCHITECTURE 7, rule 2).

    Attributes:
        name: What the directions are.
        vectors: (D, K), columns.
        labels: The bin of each, int64 (K,), b of them.
    """

    name: str
    vectors: Tensor
    labels: Tensor

    @classmethod
    def of(cls, geometry: Geometry, name: str) -> Bins:
        """Clusters of a geometry, neighbouring ones joined where there are many."""
        return cls(name, geometry.eigenvectors, bin_labels(geometry.clusters, geometry.known, geometry.known))

    @property
    def names(self) -> list[str]:
        """Indices of the directions of each bin."""
        members: list[list[int]] = [[] for _ in range(int(self.labels.max()) + 1)]
        for k, label in enumerate(self.labels.tolist()):
            members[label].append(k)
        return [index_ranges(each) for each in members]

    @property
    def span(self) -> Tensor:
        """Least, mean and largest index of each bin, float64 (3, b)."""
        index = torch.arange(len(self.labels)).double()
        empty = index.new_zeros(int(self.labels.max()) + 1)
        kinds = ("amin", "mean", "amax")
        return torch.stack([empty.scatter_reduce(0, self.labels, index, k, include_self=False) for k in kinds])

    def mean(self, values: Tensor) -> Tensor:
        """Means over the bins of values (..., K). Of standard errors, an upper bound of that of the mean."""
        sizes = self.labels.bincount().double()
        return values.new_zeros(*values.shape[:-1], len(sizes)).index_add_(-1, self.labels, values) / sizes


@dataclass(frozen=True, eq=False)
class Along:
    """What samples and the network do along directions.

    Attributes:
        bins: The directions.
        energy: E (u·x)² of samples and target, by name, with its standard error (at most): float64 (b,) each.
        errors: The denoising error of the network along each single direction; None without a network.
        note: Why the Bayes error is not there, where it is not.
    """

    bins: Bins
    energy: dict[str, tuple[Tensor, Tensor]]
    errors: DirectionErrors | None
    note: str

    def denoising(self, kind: str) -> tuple[Tensor, Tensor] | None:
        """``error``, ``bayes`` or ``excess`` of each bin, mean over the levels, with its standard error (at most)."""
        found = None if self.errors is None else getattr(self.errors, kind)
        return None if found is None else (self.bins.mean(found.mean), self.bins.mean(found.mean_standard_error))

    def by_level(self, kind: str) -> tuple[Tensor, Tensor] | None:
        """The same of each noise level, mean over the directions: float64 (L,) each."""
        found = None if self.errors is None else getattr(self.errors, kind)
        return None if found is None else (found.value.mean(1), found.standard_error.mean(1))

    def summary(self) -> dict[str, Any]:
        """As JSON types."""
        result: dict[str, Any] = {"directions": self.bins.name, "indices": self.bins.names, "note": self.note}
        for name, measured in self.energy.items():
            result[f"energy of {name}"] = _listed(measured)
        if self.errors is not None:
            result |= {
                "levels": list(self.errors.levels),
                "quantity": self.errors.quantity,
                "arrays": self.errors.count,
            }
        for kind in ("error", "bayes", "excess"):
            pair, by_level = self.denoising(kind), self.by_level(kind)
            if pair is not None and by_level is not None:
                result[f"denoising {kind}"] = _listed(pair)
                result[f"denoising {kind} by level"] = _listed(by_level)
        return result


def _listed(pair: tuple[Tensor, Tensor]) -> dict[str, list[float]]:
    return {"value": pair[0].tolist(), "error": pair[1].tolist()}


def find_bins(geometry: Geometry | None, material: Material) -> Bins:
    """The directions of a network's geometry, else of the data themselves."""
    if geometry is not None:
        return Bins.of(geometry, "score anisotropy directions of the geometry")
    large = material.samples[0].numel() > 1024
    own = data_geometry(material.reference, rank=LEADING if large else None)
    return Bins.of(own, "principal directions of the data")


def named_directions(bins: Bins, law: Law | None) -> dict[str, Tensor]:
    """Directions (D,) that distances are measured along: the law's own, and those at either end that stand alone.

    What is the law's own, up to its sign, is not there twice.
    """
    own = law.direction.flatten() if isinstance(law, RankOne) else None
    sizes = bins.labels.bincount()
    alone = [k for k, label in enumerate(bins.labels.tolist()) if sizes[label] == 1]
    kind = "SAD" if bins.name.startswith("score") else "data direction"
    ends = sorted({*alone[:SHOWN], *alone[-SHOWN:]}) if kind == "SAD" else alone[:SHOWN]
    if own is None:
        return {f"{kind} {k}": bins.vectors[:, k] for k in ends}
    others = {f"{kind} {k}": bins.vectors[:, k] for k in ends if abs(float(own @ bins.vectors[:, k])) < SAME}
    return {"v of the law": own} | others


def measure_along(bins: Bins, material: Material, run: Run | None, seed: int) -> Along:
    """Measure energies, and the network's denoising error where there is one."""
    sets = {"samples": material.samples, "target": material.target}
    energy = {}
    for name, x in sets.items():
        found = energy_along(x, bins.vectors)
        energy[name] = bins.mean(found.value), bins.mean(found.error)
    if run is None:
        return Along(bins, energy, None, "")
    exact, note = _exact(material.law, run)
    clean = material.target[:ARRAYS].to(next(run.model.parameters(), material.target).device)
    errors = direction_error(run.model, run.process, clean, bins.vectors, exact, seed=seed)
    return Along(bins, energy, errors, note)


def _exact(law: Law | None, run: Run) -> tuple[GaussianScore | GaussianMixtureScore | None, str]:
    """The exact model of the law the network was trained on, or why there is none."""
    if not isinstance(law, GaussianMixture):
        what = "The law of the data is not known" if law is None else f"The law {law.name} has no exact model"
        return None, f"{what}: the error holds a part that no network avoids."
    try:
        if len(law.weights) == 1:
            return GaussianScore(law.means[0], law.covariances[0], run.process), ""
        return GaussianMixtureScore(law.weights, law.means, law.covariances, run.process), ""
    except InvalidInputError as error:
        return None, f"The exact model of the law cannot be built: {error}."
