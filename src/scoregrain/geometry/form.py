"""What the sums of a measurement are, and how they are decomposed: whole matrices, or sketches of large ones."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from scoregrain.geometry import spectrum as spectra
from scoregrain.geometry.sketch import Sketch, nystrom, to_sectors
from scoregrain.geometry.spectrum import Spectrum, SpectrumErrors
from scoregrain.geometry.structure import Structure
from scoregrain.geometry.symmetry import Symmetry


class Form(ABC):
    """How the second moment of a group is stored.

    Totals given to the methods are averaged over the symmetry.

    Attributes:
        structure: how a reduced matrix expands to all D directions.
        symmetry: verified symmetry, None without one.
        known: how many leading eigenvectors of the reduced matrix are reported.
    """

    known: int

    def __init__(self, structure: Structure, symmetry: Symmetry | None) -> None:
        self.structure, self.symmetry = structure, symmetry if structure.layout is not None else None

    def sector_sizes(self) -> list[int]:
        """Dimensions of the symmetry's sectors, even arrays first; without a symmetry there is one."""
        r, layout = self.structure.reduced, self.structure.layout
        if self.symmetry is None or layout is None:
            return [r]
        fixed = int((self.symmetry.permutation(layout) == torch.arange(r)).sum())
        return [n for n in ((r + fixed) // 2, (r - fixed) // 2) if n]

    @abstractmethod
    def average(self, total: Tensor) -> Tensor:
        """The total, averaged over the symmetry (MATH C2)."""

    @abstractmethod
    def trace(self, total: Tensor) -> float:
        """Trace of the reduced matrix."""

    @abstractmethod
    def decompose(self, mean: Tensor) -> Spectrum:
        """Eigen-decomposition, sector by sector; at least ``known`` vectors."""

    @abstractmethod
    def errors(self, spectrum: Spectrum, totals: Sequence[Tensor], counts: Tensor) -> SpectrumErrors:
        """Errors of a spectrum from the sums of its groups (MATH C3)."""

    @abstractmethod
    def norm_squared(self, total: Tensor) -> float:
        """``‖·‖_F²`` of the reduced matrix."""

    def relative_error(self, totals: Sequence[Tensor], counts: Tensor) -> float | None:
        """Estimated ``‖Ĝ - G‖_F / ‖G‖_F`` from the spread of the groups (MATH A2, C3); None below 16 groups."""
        if len(totals) < spectra.MIN_GROUPS:
            return None
        n = float(counts.sum())
        mean = sum(totals[1:], totals[0]) / n
        spread = sum(
            count * self.norm_squared(total / count - mean)
            for total, count in zip(totals, counts.tolist(), strict=True)
        )
        variance = spread / ((len(totals) - 1) * n)
        signal = self.norm_squared(mean) - variance  # ‖Ĝ‖² is too large by the variance
        return math.sqrt(variance / signal) if signal > 0 else math.inf


class DenseForm(Form):
    """The whole reduced matrix ``(r, r)``."""

    def __init__(self, structure: Structure, symmetry: Symmetry | None) -> None:
        super().__init__(structure, symmetry)
        self.known = structure.reduced

    def average(self, total: Tensor) -> Tensor:
        """``(A + P A Pᵀ) / 2``."""
        layout = self.structure.layout
        return total if self.symmetry is None or layout is None else self.symmetry.average(total, layout)

    def trace(self, total: Tensor) -> float:
        """Sum of the diagonal."""
        return float(total.diagonal().sum())

    def decompose(self, mean: Tensor) -> Spectrum:
        """All eigenvectors."""
        layout = self.structure.layout
        bases = None if self.symmetry is None or layout is None else self.symmetry.sectors(layout)
        return spectra.decompose(mean, bases)

    def errors(self, spectrum: Spectrum, totals: Sequence[Tensor], counts: Tensor) -> SpectrumErrors:
        """Jackknife in the eigenvectors of the full estimate."""
        return spectra.spectrum_errors(spectrum, totals, counts)

    def norm_squared(self, total: Tensor) -> float:
        """Sum of squares."""
        return float(total.square().sum())


class SketchForm(Form):
    """Products with a shared test matrix and the trace, ``(r + 1, l + m)``: :class:`Sketch` says how."""

    def __init__(self, structure: Structure, symmetry: Symmetry | None, sketch: Sketch) -> None:
        super().__init__(structure, symmetry)
        self.sketch, self.known = sketch, sketch.rank

    def average(self, total: Tensor) -> Tensor:
        """Project every column of ``S Ω`` onto the sector of its column of Ω."""
        if self.symmetry is None:
            return total
        product = to_sectors(total[:-1], self.sketch.sector, self.symmetry, self.structure.layout)
        return torch.cat([product, total[-1:]])

    def trace(self, total: Tensor) -> float:
        """Exact: it is summed beside the products."""
        return float(total[-1, 0])

    def decompose(self, mean: Tensor) -> Spectrum:
        """Nyström approximation in every sector; as many vectors as Q has columns."""
        values, vectors, sector = [], [], []
        for s in range(self.sketch.sectors):
            columns = self.sketch.basis_columns(s)
            lam, u = nystrom(mean[:-1, columns], self.sketch.basis[:, columns])
            values.append(lam)
            vectors.append(u)
            sector.append(torch.full((len(lam),), s))
        return spectra.in_order(torch.cat(values), torch.cat(vectors, dim=1), torch.cat(sector))

    def errors(self, spectrum: Spectrum, totals: Sequence[Tensor], counts: Tensor) -> SpectrumErrors:
        """Delete-one-group jackknife of values, gaps and vectors, each approximated anew."""
        n, whole = float(counts.sum()), sum(totals[1:], totals[0])
        size = len(spectrum.values)
        without = torch.empty(len(totals), size, dtype=torch.float64)
        mixing = torch.zeros(size, size, dtype=torch.float64)
        beyond = torch.zeros(size, dtype=torch.float64)
        for j, (total, count) in enumerate(zip(totals, counts.tolist(), strict=True)):
            other = self.decompose((whole - total) / (n - count))
            for s in range(self.sketch.sectors):
                mine, theirs = spectrum.members(s), other.members(s)
                without[j, mine] = other.values[theirs]
                # row k: where the k-th vector lies when group j is left out; to first order its error's square
                turned = (other.vectors[:, theirs].T @ spectrum.vectors[:, mine]).square()
                weight = 4 * (n - count) / n  # two halves: four times the whole's
                mixing[mine[:, None], mine] += weight * turned
                beyond[mine] += weight * (1 - turned.sum(1)).clamp_min(0)
        values = spectra.jackknife(spectrum.values, without, counts)
        gaps = torch.zeros_like(values)
        for s in range(self.sketch.sectors):
            mine = spectrum.members(s)
            gaps[mine[:-1]] = spectra.jackknife(-spectrum.values[mine].diff(), -without[:, mine].diff(dim=1), counts)
        return SpectrumErrors(values, gaps, mixing.fill_diagonal_(0), beyond)

    def norm_squared(self, total: Tensor) -> float:
        """Exact on the span of Q, estimated by the test columns elsewhere."""
        return self.sketch.norm_squared(total[:-1])

    def truncation(self, mean: Tensor, spectrum: Spectrum) -> float:
        """``‖S - (U Λ Uᵀ + ρ (I - U Uᵀ))‖_F / ‖S‖_F``: what the leading vectors and a flat rest do not tell."""
        lam, u = spectrum.values[: self.known], spectrum.vectors[:, : self.known]
        rest = (self.trace(mean) - float(lam.sum())) / (self.structure.reduced - self.known)
        omega = self.sketch.omega
        modelled = rest * omega + (u * (lam - rest)) @ (u.T @ omega)
        return math.sqrt(self.sketch.norm_squared(mean[:-1] - modelled) / self.norm_squared(mean))
