"""Which directions of a geometry a study uses: only what the measurement identifies (MATH C3, recommendation 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.geometry import Geometry

NULL = 1e-10
"""Eigenvalues below this share of the largest are rounding, and told as zero (MATH C3)."""


@dataclass(frozen=True)
class Place:
    """An identifiable cluster of directions.

    Attributes:
        index: Its first index, 0 for the largest eigenvalue.
        size: How many directions it has.
        value: Mean eigenvalue.
        error: Standard error of the value.
    """

    index: int
    size: int
    value: float
    error: float


def places(geometry: Geometry, count: int) -> list[Place]:
    """Return ``count`` identifiable clusters, at even steps from that of the largest eigenvalue to the smallest.

    The null cluster is the last one where there is one. Eigenvalues that are not identifiable are passed over.

    Raises:
        InvalidInputError: ``count`` is less than two, or fewer clusters are identifiable.
    """
    usable = [cluster for cluster in geometry.clusters if cluster.identifiable]
    if not 2 <= count <= len(usable):
        raise InvalidInputError(
            f"{len(usable)} clusters of directions are identifiable, {count} are asked for: ask for fewer,"
            " two at least, or measure more networks"
        )
    chosen = [usable[round(i * (len(usable) - 1) / (count - 1))] for i in range(count)]
    least = NULL * usable[0].value
    return [Place(min(c.indices), len(c.indices), c.value if c.value >= least else 0.0, c.error or 0.0) for c in chosen]


def direction_at(geometry: Geometry, place: Place, seed: int) -> Tensor:
    """Return a unit direction (C, *space), float64: the eigenvector, or of a cluster a random one in its span.

    Its sign makes the largest entry positive, so that it does not depend on the library that decomposed.
    """
    columns = geometry.eigenvectors[:, place.index : place.index + place.size]
    mix = torch.randn(place.size, generator=stream(seed, "direction of a cluster", place.index), dtype=torch.float64)
    vector = columns[:, 0] if place.size == 1 else columns @ mix
    vector = vector / vector.norm()
    if float(vector[vector.abs().argmax()]) < 0:
        vector = -vector
    direction: Tensor = vector.reshape(geometry.shape)
    return direction


def directions(geometry: Geometry, chosen: Sequence[Place], seeds: int) -> Tensor:
    """Return the directions of every place and seed, float64 (P, S, C, *space)."""
    return torch.stack([torch.stack([direction_at(geometry, p, seed) for seed in range(seeds)]) for p in chosen])


def haar(size: int, seed: int) -> Tensor:
    """Return a Haar-random orthogonal matrix, float64 (D, D)."""
    q, r = torch.linalg.qr(torch.randn(size, size, generator=stream(seed, "haar"), dtype=torch.float64))
    matrix: Tensor = q * r.diagonal().sign()
    return matrix
