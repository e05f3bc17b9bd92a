"""The result of a measurement: a geometry with its error bars, saved and loaded (ARCHITECTURE 4)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.geometry import spectrum as spectra
from scoregrain.geometry.moments import Group, Moments
from scoregrain.geometry.structure import Structure
from scoregrain.geometry.symmetry import Symmetry
from scoregrain.operators import Operator


@dataclass(frozen=True)
class Cluster:
    """Directions that can only be reported together (MATH C3, recommended procedure 4–5).

    Attributes:
        indices: columns of ``eigenvectors``, ascending.
        value: mean eigenvalue.
        error: standard error of ``value``; 0 when exact, None below 16 groups.
        overlap: mean cos² between the subspaces found from two halves of the draws; None below 16 groups.
        chance: what ``overlap`` is for unrelated subspaces.
        identifiable: the subspace is determined by the measurement; a cluster of one is a single direction.
        null: the eigenvalue is zero within its error.
    """

    indices: tuple[int, ...]
    value: float
    error: float | None
    overlap: float | None
    chance: float
    identifiable: bool
    null: bool = False


class Geometry:
    """A second moment over directions, measured: of networks (``kind="network"``) or of data (``kind="data"``).

    Args:
        kind: ``network`` or ``data``.
        structure: how the stored reduced matrix expands to D × D.
        moments: sums over groups of draws.
        symmetry: verified symmetry whose sectors are decomposed separately, None without one.
        exact: closed form, without sampling error.
        info: how it was measured: names, numbers and versions, JSON types only.
    """

    def __init__(
        self,
        kind: str,
        structure: Structure,
        moments: Moments,
        *,
        symmetry: Symmetry | None = None,
        exact: bool = False,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        if structure.layout is None:
            symmetry = None
        self.kind, self.structure, self.moments, self.symmetry = kind, structure, moments, symmetry
        self.exact, self.info = exact, dict(info or {})

    def __repr__(self) -> str:
        known = self.relative_error is not None
        error = "exact" if self.exact else f"relative error {self.relative_error:.2%}" if known else "error unknown"
        return f"Geometry(kind={self.kind!r}, shape={self.shape}, count={self.count}, {error})"

    # what was measured -------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *space)`` of one direction."""
        return self.structure.shape

    @property
    def size(self) -> int:
        """The dimension D."""
        return self.structure.size

    @property
    def count(self) -> int:
        """Number of draws: networks, or images."""
        return self.moments.count

    @property
    def groups(self) -> list[Group]:
        """The sums over groups of draws that carry the error bars."""
        return self.moments.groups

    @cached_property
    def counts(self) -> Tensor:
        """Draws in each group, float64 ``(g,)``."""
        return torch.tensor([group.count for group in self.groups], dtype=torch.float64)

    @property
    def has_errors(self) -> bool:
        """At least 16 groups, or exact."""
        return self.exact or len(self.groups) >= spectra.MIN_GROUPS

    def _average(self, a: Tensor) -> Tensor:
        layout = self.structure.layout
        return a if self.symmetry is None or layout is None else self.symmetry.average(a, layout)

    @cached_property
    def reduced(self) -> Tensor:
        """The reduced matrix A, symmetry averaged, float64 ``(r, r)``."""
        return self._average(self.moments.mean())

    @cached_property
    def _totals(self) -> list[Tensor]:
        return [self._average(group.total) for group in self.groups]

    @cached_property
    def _bases(self) -> list[Tensor] | None:
        layout = self.structure.layout
        return None if self.symmetry is None or layout is None else self.symmetry.sectors(layout)

    @cached_property
    def spectrum(self) -> spectra.Spectrum:
        """Eigen-decomposition of :attr:`reduced`, sector by sector."""
        return spectra.decompose(self.reduced, self._bases)

    @cached_property
    def _errors(self) -> spectra.SpectrumErrors | None:
        if self.exact or not self.has_errors:
            return None
        return spectra.spectrum_errors(self.spectrum, self._totals, self.counts)

    # the geometry ------------------------------------------------------------------------------------------------

    @cached_property
    def eigenvalues(self) -> Tensor:
        """Float64 ``(D,)``, descending."""
        return self.spectrum.values.repeat_interleave(self.structure.multiplicity)

    @cached_property
    def eigenvectors(self) -> Tensor:
        """Float64 ``(D, D)``, columns in the order of :attr:`eigenvalues`: the SADs of a network."""
        return self.structure.vectors(self.spectrum.vectors)

    @property
    def eigenvalue_errors(self) -> Tensor | None:
        """Standard errors ``(D,)`` of the eigenvalues; zeros when exact, None below 16 groups."""
        if self.exact:
            return torch.zeros(self.size, dtype=torch.float64)
        if self._errors is None:
            return None
        return self._errors.values.repeat_interleave(self.structure.multiplicity)

    def direction(self, k: int) -> Tensor:
        """Eigenvector k as an array ``(C, *space)``; ``k = 0`` has the largest eigenvalue."""
        return self.eigenvectors[:, k].reshape(self.shape)

    def matrix(self) -> Tensor:
        """The full geometry, float64 ``(D, D)``."""
        return self.structure.matrix(self.reduced)

    @property
    def operator(self) -> Operator:
        """The geometry as an operator on arrays ``(C, *space)``."""
        return self.structure.operator(self.spectrum.values.clamp_min(0), self.spectrum.vectors)

    @property
    def trace(self) -> float:
        """Tr G."""
        return float(self.reduced.diagonal().sum()) * self.structure.multiplicity

    @property
    def effective_rank(self) -> float:
        """Tr G / λ_max."""
        return self.trace / float(self.spectrum.values[0])

    def contract(self, b: Tensor) -> Tensor:
        """``tr(X̄_j B)`` for the mean second moment X̄_j of every group, float64 ``(g,)``.

        The count-weighted mean over groups is ``tr(G B)``; the spread gives its error.

        Args:
            b: symmetric ``(D, D)``.
        """
        r = self._average(self.structure.reduce(b.double()))
        return torch.stack([(group.total * r).sum() / group.count for group in self.groups])

    # how certain ---------------------------------------------------------------------------------------------------

    @cached_property
    def relative_error(self) -> float | None:
        """Estimated ``‖Ĝ - G‖_F / ‖G‖_F``; 0 when exact, None below 16 groups."""
        return 0.0 if self.exact else spectra.relative_error(self._totals, self.counts)

    @cached_property
    def trace_error(self) -> float | None:
        """Standard error of the trace; 0 when exact, None below 16 groups."""
        if self.exact or not self.has_errors:
            return 0.0 if self.exact else None
        traces = torch.stack([total.diagonal().sum() for total in self._totals]) * self.structure.multiplicity
        means, n = traces / self.counts, self.counts.sum()
        variance = (self.counts * (means - traces.sum() / n).square()).sum() / ((len(means) - 1) * n)
        return float(variance.sqrt())

    @cached_property
    def clusters(self) -> list[Cluster]:
        """Partition of the D directions into clusters, by descending eigenvalue; the null cluster comes last."""
        if not self.has_errors:
            everything = tuple(range(self.size))
            return [Cluster(everything, self.trace / self.size, None, None, 1.0, False)]
        ordinary, null = spectra.group_indices(self.spectrum, self._errors)
        clusters = [self._cluster(members) for members in ordinary]
        clusters.sort(key=lambda cluster: -cluster.value)
        return clusters + ([self._cluster(null, null=True)] if null else [])

    def _cluster(self, members: Sequence[int], null: bool = False) -> Cluster:
        """Describe the cluster of some reduced indices."""
        multiplicity = self.structure.multiplicity
        indices = tuple(k * multiplicity + j for k in members for j in range(multiplicity))
        value = float(self.spectrum.values[list(members)].mean())
        places = [self._places[k] for k in members]
        sizes = [len(self.spectrum.members(s)) for s in range(int(self.spectrum.sector.max()) + 1)]
        chance = spectra.chance_overlap(sizes, places)
        if self._errors is None:
            return Cluster(indices, value, 0.0, 1.0, chance, True, null)
        outside = self._errors.mixing[list(members)].clone()
        outside[:, list(members)] = 0
        identifiable = float(outside.sum()) / len(members) <= spectra.MAX_MIXING
        error = float(self._errors.values[list(members)].mean())
        return Cluster(indices, value, error, spectra.overlap(*self._halves, places), chance, identifiable, null)

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        """(sector, rank inside it) of every reduced index."""
        ranks: dict[int, int] = {}
        places = []
        for s in self.spectrum.sector.tolist():
            places.append((s, ranks.get(s, 0)))
            ranks[s] = ranks.get(s, 0) + 1
        return places

    @cached_property
    def _halves(self) -> tuple[spectra.Spectrum, spectra.Spectrum]:
        first, second = self.halves()
        return first.spectrum, second.spectrum

    def halves(self) -> tuple[Geometry, Geometry]:
        """Two independent geometries, from every other group each: for overlaps and cross-fitting.

        An exact geometry is both of its halves. Halves of fewer than 16 groups have no error bars of their own.

        Raises:
            InvalidInputError: fewer than two groups.
        """
        if self.exact:
            return self, self
        if len(self.groups) < 2:
            raise InvalidInputError("a geometry of one group cannot be halved: measure more than 32 draws")
        first, second = (
            Geometry(self.kind, self.structure, Moments(self.groups[i::2]), symmetry=self.symmetry, info=self.info)
            for i in (0, 1)
        )
        return first, second

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the geometry as a folder of ``config.json`` and safetensors.

        Raises:
            InvalidInputError: the folder exists and ``overwrite`` is false, or it is no folder of ours.
            ScoregrainError: it cannot be written; nothing is left behind.
        """
        from scoregrain.geometry.storage import save_geometry

        return save_geometry(self, folder, overwrite=overwrite)

    @staticmethod
    def load(folder: str | os.PathLike[str]) -> Geometry:
        """Read a saved geometry, groups and all.

        Raises:
            InvalidInputError: no such folder, or not a geometry of this format.
            ScoregrainError: a file is damaged.
        """
        from scoregrain.geometry.storage import load_geometry

        return load_geometry(folder)

    @property
    def identifiable(self) -> int:
        """How many single directions the measurement determines (clusters of one)."""
        return sum(len(c.indices) == 1 and c.identifiable and not c.null for c in self.clusters)

    @property
    def eigenspaces(self) -> int:
        """How many eigenspaces it determines: clusters no larger than the structure makes them, not null."""
        size = self.structure.multiplicity
        return sum(len(c.indices) == size and c.identifiable and not c.null for c in self.clusters)
