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
from scoregrain.geometry.form import DenseForm, Form, SketchForm
from scoregrain.geometry.moments import Group, Moments
from scoregrain.geometry.sketch import Sketch
from scoregrain.geometry.structure import Structure
from scoregrain.geometry.symmetry import Symmetry
from scoregrain.operators import LowRankOperator, Operator

MAX_SIZE = 4096  # up to here D × D matrices are formed
MAX_COLUMNS = 1024  # beyond it, so many eigenvectors at most


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


@dataclass(frozen=True, eq=False)
class Leading:
    """A geometry by its leading directions: ``U diag(λ) Uᵀ + ρ (I - U Uᵀ)``.

    Attributes:
        values: λ, float64 ``(k,)``, descending.
        vectors: U, float64 ``(D, k)``, orthonormal columns.
        residual: ρ, the mean of all other eigenvalues: the trace is exact.
    """

    values: Tensor
    vectors: Tensor
    residual: float


class Geometry:
    """A second moment over directions, measured: of networks (``kind="network"``) or of data (``kind="data"``).

    Args:
        kind: ``network`` or ``data``.
        structure: how the stored reduced matrix expands to D × D.
        moments: sums over groups of draws.
        symmetry: verified symmetry whose sectors are decomposed separately, None without one.
        sketch: the test matrix whose products the sums are; None where they are whole reduced matrices.
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
        sketch: Sketch | None = None,
        exact: bool = False,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        self.kind, self.structure, self.moments = kind, structure, moments
        self.form: Form = SketchForm(structure, symmetry, sketch) if sketch else DenseForm(structure, symmetry)
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
    def symmetry(self) -> Symmetry | None:
        """Verified symmetry whose sectors are decomposed separately."""
        return self.form.symmetry

    @property
    def sketch(self) -> Sketch | None:
        """The test matrix, None where whole reduced matrices are summed."""
        return self.form.sketch if isinstance(self.form, SketchForm) else None

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

    @cached_property
    def mean(self) -> Tensor:
        """The mean second moment, symmetry averaged, as it is stored: see :attr:`form`."""
        return self.form.average(self.moments.mean())

    @property
    def reduced(self) -> Tensor:
        """The reduced matrix A, symmetry averaged, float64 ``(r, r)``.

        Raises:
            InvalidInputError: only the leading directions were measured.
        """
        if self.sketch is not None:
            raise InvalidInputError(
                f"of this geometry only the {self.known} leading directions are known: it has no matrix; "
                "use geometry.operator or geometry.leading()"
            )
        return self.mean

    @cached_property
    def _totals(self) -> list[Tensor]:
        return [self.form.average(group.total) for group in self.groups]

    @cached_property
    def spectrum(self) -> spectra.Spectrum:
        """Eigen-decomposition of the reduced matrix, sector by sector; a sketch has some more than are known."""
        return self.form.decompose(self.mean)

    @cached_property
    def _errors(self) -> spectra.SpectrumErrors | None:
        if self.exact or not self.has_errors:
            return None
        return self.form.errors(self.spectrum, self._totals, self.counts)

    # the geometry ------------------------------------------------------------------------------------------------

    @property
    def known(self) -> int:
        """How many eigenvalues are known: all D, or the leading ones of a sketch."""
        return self.form.known * self.structure.multiplicity

    @property
    def complete(self) -> bool:
        """All eigenvectors are at hand as one D × D matrix."""
        return self.known == self.size <= MAX_SIZE

    def _expanded(self, values: Tensor) -> Tensor:
        """One value of a reduced direction for each of its copies."""
        return values[: self.form.known].repeat_interleave(self.structure.multiplicity)

    @cached_property
    def eigenvalues(self) -> Tensor:
        """Float64 ``(known,)``, descending."""
        return self._expanded(self.spectrum.values)

    @cached_property
    def eigenvectors(self) -> Tensor:
        """Float64 columns in the order of :attr:`eigenvalues`: the SADs of a network.

        ``(D, D)`` up to D = 4096; beyond it the leading ones that are known, 1024 at most.
        """
        columns = self.known if self.complete else min(self.known, MAX_COLUMNS)
        return self.structure.columns(self.spectrum.vectors, range(columns))

    @property
    def eigenvalue_errors(self) -> Tensor | None:
        """Standard errors ``(known,)`` of the eigenvalues; zeros when exact, None below 16 groups.

        They are those of sampling. Bias is not in them: the largest eigenvalues of a sample are too large and the
        smallest too small (MATH C3), and the last ones of a sketch are too small where the spectrum is flat.
        """
        if self.exact:
            return torch.zeros(self.known, dtype=torch.float64)
        return None if self._errors is None else self._expanded(self._errors.values)

    def direction(self, k: int) -> Tensor:
        """Eigenvector k as an array ``(C, *space)``; ``k = 0`` has the largest eigenvalue.

        Raises:
            IndexError: fewer directions are known.
        """
        if not -self.known <= k < self.known:
            raise IndexError(f"direction {k} is not known, only 0 to {self.known - 1} are")
        return self.structure.columns(self.spectrum.vectors, [k % self.known])[:, 0].reshape(self.shape)

    def matrix(self) -> Tensor:
        """The full geometry, float64 ``(D, D)``.

        Raises:
            InvalidInputError: D is above 4096, or only the leading directions were measured.
        """
        if self.size > MAX_SIZE:
            raise InvalidInputError(
                f"a geometry of D = {self.size} is not written out as a matrix (up to {MAX_SIZE} is); "
                "use geometry.operator or geometry.leading()"
            )
        return self.structure.matrix(self.reduced)

    @property
    def operator(self) -> Operator:
        """The geometry as an operator on arrays ``(C, *space)``."""
        if self.sketch is None:
            return self.structure.operator(self.spectrum.values.clamp_min(0), self.spectrum.vectors)
        leading = self.leading()
        return LowRankOperator(self.shape, leading.values, leading.vectors, max(leading.residual, 0.0))

    def leading(self) -> Leading:
        """The leading directions, and the mean of all other eigenvalues.

        All directions where :attr:`complete`; the residual is then 0.
        """
        vectors = self.eigenvectors
        values = self.eigenvalues[: vectors.shape[1]]
        rest = self.size - len(values)
        return Leading(values, vectors, (self.trace - float(values.sum())) / rest if rest else 0.0)

    @cached_property
    def trace(self) -> float:
        """Tr G."""
        return self.form.trace(self.mean) * self.structure.multiplicity

    @property
    def effective_rank(self) -> float:
        """Tr G / λ_max."""
        return self.trace / float(self.spectrum.values[0])

    def contract(self, b: Tensor) -> Tensor:
        """``tr(X̄_j B)`` for the mean second moment X̄_j of every group, float64 ``(g,)``.

        The count-weighted mean over groups is ``tr(G B)``; the spread gives its error.

        Args:
            b: symmetric ``(D, D)``.

        Raises:
            InvalidInputError: only the leading directions were measured.
        """
        if self.sketch is not None:
            raise InvalidInputError("a geometry of which only the leading directions are known has no contractions")
        r = self.form.average(self.structure.reduce(b.double()))
        return torch.stack([(group.total * r).sum() / group.count for group in self.groups])

    # how certain ---------------------------------------------------------------------------------------------------

    @cached_property
    def relative_error(self) -> float | None:
        """Estimated ``‖Ĝ - G‖_F / ‖G‖_F``; 0 when exact, None below 16 groups."""
        return 0.0 if self.exact else self.form.relative_error(self._totals, self.counts)

    @cached_property
    def truncation_error(self) -> float:
        """``‖Ĝ - operator‖_F / ‖Ĝ‖_F``: what the directions that are known leave out of Ĝ; 0 where all are known."""
        return self.form.truncation(self.mean, self.spectrum) if isinstance(self.form, SketchForm) else 0.0

    @cached_property
    def trace_error(self) -> float | None:
        """Standard error of the trace; 0 when exact, None below 16 groups."""
        if self.exact or not self.has_errors:
            return 0.0 if self.exact else None
        traces = torch.tensor([self.form.trace(group.total) for group in self.groups], dtype=torch.float64)
        traces = traces * self.structure.multiplicity
        means, n = traces / self.counts, self.counts.sum()
        variance = (self.counts * (means - traces.sum() / n).square()).sum() / ((len(means) - 1) * n)
        return float(variance.sqrt())

    @cached_property
    def clusters(self) -> list[Cluster]:
        """Partition of the known directions into clusters, by descending eigenvalue; the null cluster comes last."""
        if not self.has_errors:
            everything = tuple(range(self.known))
            return [Cluster(everything, float(self.eigenvalues.mean()), None, None, 1.0, False)]
        ordinary, null = spectra.group_indices(self.spectrum, self._errors)
        clusters = [self._cluster(members) for members in ordinary if min(members) < self.form.known]
        clusters.sort(key=lambda cluster: -cluster.value)
        null = [k for k in null if k < self.form.known]
        return clusters + ([self._cluster(null, null=True)] if null else [])

    def _cluster(self, members: Sequence[int], null: bool = False) -> Cluster:
        """Describe the cluster of some reduced indices; one that goes on beyond the known ones is cut there."""
        cut = max(members) >= self.form.known
        members = [k for k in members if k < self.form.known]
        multiplicity = self.structure.multiplicity
        indices = tuple(k * multiplicity + j for k in members for j in range(multiplicity))
        value = float(self.spectrum.values[list(members)].mean())
        places = [self._places[k] for k in members]
        chance = spectra.chance_overlap(self.form.sector_sizes(), places)
        if self._errors is None:
            return Cluster(indices, value, 0.0, 1.0, chance, True, null)
        outside = self._errors.mixing[list(members)].clone()
        outside[:, list(members)] = 0
        mixing = float(outside.sum() + self._errors.beyond[list(members)].sum()) / len(members)
        identifiable = not cut and mixing <= spectra.MAX_MIXING
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
        first, second = (self._of(self.groups[i::2]) for i in (0, 1))
        return first, second

    def without(self, j: int) -> Geometry:
        """The geometry of all draws but those of group j: delete-one-group jackknife of anything."""
        rest = self._of([group for i, group in enumerate(self.groups) if i != j])
        # by subtraction: jackknives ask for every j, and to sum all other groups each time costs more than their use
        rest.mean = (self.count * self.mean - self.form.average(self.groups[j].total)) / rest.count
        return rest

    def _of(self, groups: Sequence[Group]) -> Geometry:
        """The same measurement from some of its groups, which are kept apart as they are."""
        moments = Moments()
        moments.groups = list(groups)
        return Geometry(self.kind, self.structure, moments, symmetry=self.symmetry, sketch=self.sketch, info=self.info)

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
