"""Rotations that move the leading directions of the data only, at O(D r) for each array (MATH A5, "Low rank")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scoregrain._random import stream
from scoregrain.align.dense import DEGENERATE, MAX_SWEEPS, NO_GROWTH, ORTHOGONAL, canonical, clusters, polar
from scoregrain.align.rotation import Rotation
from scoregrain.geometry import Geometry

NUDGE = 1e-9
DEPENDENT = 1e-10  # a column closer than this to the span of others adds no direction to it
# weight of "what gives way goes where the data came from" where no completion is closest to the identity; to second
# order in it the trace stays the largest
SWAP = 1e-6


def low_rank_rotation(geometry: Geometry, data: Geometry, mode: str, rank: int) -> Rotation:
    """The rotation that takes the ``rank`` leading directions of the data to the optimal ones of the networks.

    Directions in which the data have no energy are not moved.
    """
    values = data.leading().values
    moved = max(1, min(rank, int((values > DEGENERATE * values[0]).sum())))
    ours = _eigenspaces(data, moved, ascending=False, start=True)
    theirs = _eigenspaces(geometry, moved, ascending=mode == "minimize")
    basis, core = _turn_in_span(*_pair(ours, theirs))
    return Rotation(core, geometry.shape, mode, basis, rank)


@dataclass(frozen=True, eq=False)
class _Eigenspace:
    """Eigenvectors of one eigenvalue, of which ``count`` are wanted: the columns of ``basis``, or all else.

    Attributes:
        basis: ``(D, n)``, orthonormal.
        count: at most n, or D - n for the complement.
        complement: the space is what is orthogonal to ``basis``.
    """

    basis: Tensor
    count: int
    complement: bool = False

    def closest(self, targets: Tensor) -> Tensor:
        """Orthonormal columns ``(D, count)`` of the space closest to targets: the polar factor of their projections."""
        if self.complement:
            return self._closest_outside(targets)
        inner = self.basis.T @ targets
        return self.basis @ polar(inner.masked_fill(inner.abs() < ORTHOGONAL, 0))

    def _closest_outside(self, targets: Tensor) -> Tensor:
        # targets inside the basis project to nothing: fixed small columns decide where they go
        white = torch.randn(targets.shape, generator=stream(0, "rotation"), dtype=torch.float64) / len(targets) ** 0.5
        turned = polar(self._outside(targets + NUDGE * white))
        return polar(self._outside(turned))  # again: small projections carry rounding along the basis

    def _outside(self, x: Tensor) -> Tensor:
        return x - self.basis @ (self.basis.T @ x)


def _eigenspaces(geometry: Geometry, count: int, *, ascending: bool, start: bool = False) -> list[_Eigenspace]:
    """The eigenspaces that hold the first ``count`` directions by eigenvalue, the last of them perhaps in part.

    Where an alternation starts from their bases these must not be whatever an eigen-decomposition returned.
    """
    values, vectors, rest = _known(geometry, smallest=ascending)
    parts = clusters(values)
    if start and any(part.shape[1] > 1 for part in parts):
        vectors = canonical(vectors, parts)
    ordered = sorted((row for part in parts for row in part.tolist()), reverse=ascending)
    spaces = [_Eigenspace(vectors[:, row], len(row)) for row in ordered]
    if rest:
        spaces.insert(0 if ascending else len(spaces), _Eigenspace(vectors, rest, complement=True))
    return _first(spaces, count)


def _known(geometry: Geometry, smallest: bool) -> tuple[Tensor, Tensor, int]:
    """Eigenvalues and eigenvectors that are at hand, and how many there are besides, of eigenvalues not known.

    Where its structure gives all directions of a large geometry, those at the end that is asked for.
    """
    leading = geometry.leading()
    k, rest = len(leading.values), geometry.size - len(leading.values)
    if geometry.known < geometry.size or not rest:
        return leading.values, leading.vectors, rest
    if not smallest:
        return leading.values, leading.vectors, 0
    return geometry.eigenvalues[rest:], geometry.structure.columns(geometry.spectrum.vectors, range(rest, rest + k)), 0


def _first(spaces: Sequence[_Eigenspace], count: int) -> list[_Eigenspace]:
    result = []
    for space in spaces:
        if count > 0:
            result.append(replace(space, count=min(space.count, count)))
            count -= space.count
    return result


def _pair(ours: Sequence[_Eigenspace], theirs: Sequence[_Eigenspace]) -> tuple[Tensor, Tensor]:
    """Columns T of the data and U of the networks, ``(D, r)`` each, as close to each other as can be."""
    t = torch.cat([space.basis[:, : space.count] for space in ours], dim=1)
    trace = -math.inf
    for _ in range(MAX_SWEEPS):
        u = _towards(theirs, t)
        t = _towards(ours, u)
        before, trace = trace, float((u * t).sum())
        if trace - before <= NO_GROWTH * len(u):
            break
    return t, u


def _towards(spaces: Sequence[_Eigenspace], targets: Tensor) -> Tensor:
    parts = torch.split(targets, [space.count for space in spaces], dim=1)
    return torch.cat([space.closest(part) for space, part in zip(spaces, parts, strict=True)], dim=1)


def _turn_in_span(t: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Q and W_c of the turn that takes T to U inside their span and what is left of it to what is left.

    With ``Q = [T, L]`` and ``b = QᵀU``, ``W_c = [b, b⊥]`` in the coordinates of Q.
    """
    r = t.shape[1]
    basis = torch.cat([t, _added(t, u)], dim=1)
    b = basis.T @ u
    rest = torch.linalg.qr(b, mode="complete").Q[:, r:]  # b⊥
    wanted = torch.eye(len(b), dtype=b.dtype)[:, r:]  # a⊥, as a = Qᵀ T is the first r unit vectors
    wanted[:r] = SWAP * b[r:].T
    return basis, polar(torch.cat([b, rest @ polar(rest.T @ wanted)], dim=1))


def _added(t: Tensor, u: Tensor) -> Tensor:
    """Orthonormal columns that span with T what U adds to it."""
    beyond = u - t @ (t.T @ u)
    left, size, _ = torch.linalg.svd(beyond, full_matrices=False)
    left = left[:, size > DEPENDENT]
    added: Tensor = torch.linalg.qr(left - t @ (t.T @ left)).Q  # again: small differences carry rounding along T
    return added
