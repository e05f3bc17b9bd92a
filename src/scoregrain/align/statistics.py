"""Alignment and its extrema from any two geometries, and without each of their groups (MATH A5, C4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain.align.rotation import Rotation
from scoregrain.geometry import Geometry
from scoregrain.geometry.spectrum import jackknife


@dataclass(frozen=True, eq=False)
class Deletions:
    """Statistics from all draws of one geometry, and without each group of them: what a jackknife needs.

    Columns are α, its minimum and maximum, and the trace of the geometry.

    Attributes:
        full: ``(4,)``.
        without: ``(g, 4)``; g = 0 when the geometry is exact.
        counts: draws in each group, ``(g,)``.
        chance: Haar mean of α for a trace of 1.
    """

    full: Tensor
    without: Tensor
    counts: Tensor
    chance: float

    def statistics(self) -> tuple[Tensor, Tensor]:
        """``full`` and ``without`` with "of chance" in place of the trace."""
        return self._of_chance(self.full), self._of_chance(self.without)

    def errors(self) -> list[float]:
        """Standard errors of α, its minimum and maximum, and of chance; 0 when exact."""
        return jackknife(*self.statistics(), self.counts).tolist() if len(self.without) else [0.0] * 4

    def _of_chance(self, rows: Tensor) -> Tensor:
        return torch.cat([rows[..., :3], rows[..., :1] / (rows[..., 3:] * self.chance)], dim=-1)


def network_deletions(geometry: Geometry, data: Geometry, rotation: Rotation | None) -> Deletions:
    """Statistics of an alignment, and without each group of networks."""
    return _deletions(geometry, data, rotation, networks=True)


def image_deletions(geometry: Geometry, data: Geometry, rotation: Rotation | None) -> Deletions:
    """Statistics of an alignment, and without each group of images."""
    return _deletions(geometry, data, rotation, networks=False)


def _deletions(geometry: Geometry, data: Geometry, rotation: Rotation | None, networks: bool) -> Deletions:
    """What both have in common: ``one`` loses its groups, the other stays."""
    one, other = (geometry, data) if networks else (data, geometry)
    if one.exact:
        without = torch.zeros(0, 4, dtype=torch.float64)
    elif one.complete:
        without = _contracted(one, other, _conjugated(other, rotation, networks))
    else:
        fewer = (one.without(j) for j in range(len(one.groups)))
        pairs = ((f, data) if networks else (geometry, f) for f in fewer)
        without = torch.stack([_row(g, m, rotation, networks) for g, m in pairs])
    full = _row(geometry, data, rotation, networks)
    return Deletions(full, without, one.counts[: len(without)], other.trace / one.size)


def _row(geometry: Geometry, data: Geometry, rotation: Rotation | None, networks: bool) -> Tensor:
    trace = geometry.trace if networks else data.trace
    values = [natural(geometry, data, rotation), *extrema(geometry, data), trace]
    return torch.tensor(values, dtype=torch.float64)


def _contracted(one: Geometry, other: Geometry, partner: Tensor) -> Tensor:
    """Rows ``(g, 4)`` by contraction of the groups' matrices: to first order in what they change, exact for α."""
    counts = one.counts
    means = torch.stack([one.contract(b) for b in _gradients(one, other, partner)], dim=1)
    sums = counts[:, None] * means
    return (sums.sum(0) - sums) / (counts.sum() - counts)[:, None]


def _gradients(one: Geometry, other: Geometry, partner: Tensor) -> Iterator[Tensor]:
    """The B of ``tr(G B)`` for α, minimum, maximum and the trace, one D × D matrix at a time.

    For the extrema B is the other geometry in its extremal position, ``W M Wᵀ``; moving W counts in second order.
    """
    u, values = one.eigenvectors, spectrum(other)
    yield partner
    yield (u * values.flip(0)) @ u.T
    yield (u * values) @ u.T
    yield torch.eye(one.size, dtype=torch.float64)


def _conjugated(other: Geometry, rotation: Rotation | None, data: bool) -> Tensor:
    """``W M Wᵀ``, or ``Wᵀ G W``: the other geometry in the coordinates of the first."""
    matrix = _matrix(other)
    if rotation is None:
        return matrix
    w = rotation.matrix if data else rotation.matrix.T
    return w @ matrix @ w.T


def _matrix(geometry: Geometry) -> Tensor:
    if geometry.complete:
        return geometry.matrix()
    leading = geometry.leading()
    u, rest = leading.vectors, leading.residual
    return (u * (leading.values - rest)) @ u.T + rest * torch.eye(geometry.size, dtype=torch.float64)


def natural(geometry: Geometry, data: Geometry, rotation: Rotation | None) -> float:
    """``tr(G W M Wᵀ)``; where D × D matrices are not at hand, by the leading directions of one side."""
    if geometry.complete and data.complete:
        return float((geometry.matrix() * _conjugated(data, rotation, data=True)).sum())
    inner, outer, arrays = inside_out(geometry, data, rotation)
    leading = inner.leading()
    energies = quadratic(outer, arrays)
    return float((leading.values - leading.residual) @ energies) + leading.residual * outer.trace


def inside_out(geometry: Geometry, data: Geometry, rotation: Rotation | None) -> tuple[Geometry, Geometry, Tensor]:
    """Which side is taken by its leading directions, which by its operator, and those directions as arrays.

    The data by their directions, turned by W, unless all of theirs are known; then the networks by theirs, turned back.
    """
    turned = rotation or _unturned
    inner, outer = data, geometry
    if data.known == data.size and geometry.known != geometry.size:
        inner, outer = geometry, data
        turned = rotation.inverse if rotation else _unturned
    return inner, outer, turned(inner.leading().vectors.T.reshape(-1, *inner.shape))


def _unturned(x: Tensor) -> Tensor:
    return x


def quadratic(geometry: Geometry, arrays: Tensor) -> Tensor:
    """``xᵀ G x`` of arrays ``(k, C, *space)``, ``(k,)``."""
    return (arrays * (geometry.operator @ arrays)).flatten(1).sum(1)


def extrema(geometry: Geometry, data: Geometry) -> tuple[float, float]:
    """Least and largest α over all rotations."""
    lam, nu = spectrum(geometry), spectrum(data)
    return float(lam @ nu.flip(0)), float(lam @ nu)


def spectrum(geometry: Geometry) -> Tensor:
    """All eigenvalues ``(D,)``, descending; those that are not known are equal, so that the trace is exact.

    Rounding may have pushed the null eigenvalues of a second moment below zero.
    """
    values = geometry.eigenvalues
    rest = geometry.size - len(values)
    if rest:
        values = torch.cat([values, values.new_full((rest,), (geometry.trace - float(values.sum())) / rest)])
    return values.clamp_min(0).sort(descending=True).values
