"""The directions that samples are projected on: drawn block by block, or given (MATH A8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._arguments import check_kind, whole
from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.metrics._samples import as_rows

PER_DIMENSION, MOST = 64, 16_384
BLOCK = 64
"""Projections drawn from one stream: part of what the numbers are, never to be changed."""

_FEWEST = 256  # projections whose potentials give the error; a sixteenth of them where that is more
_UNIT = 1e-6  # how far the length of a projection may be from 1
_UNIT_COLUMN = 1e-3  # and of a direction: those of decompositions in float32 are


@dataclass(frozen=True)
class Projections:
    """Unit vectors θ in R^D, L of them.

    Attributes:
        count: L.
        size: D.
        seed: Seed of those that are drawn: θ = g/‖g‖, g ~ N(0, I).
        given: The rows (L, D), or None where they are drawn.
    """

    count: int
    size: int
    seed: int
    given: Tensor | None = None

    @classmethod
    def of(cls, projections: int | Tensor | None, seed: int, rows: Tensor) -> Projections:
        """Return what :func:`scoregrain.metrics.sliced_wasserstein` was asked for, for samples (N, D)."""
        size = rows.shape[1]
        if isinstance(projections, Tensor):
            given = _of_size(as_rows(projections, "projections", least=0), size, "projections").to(rows.device)
            if len(given) == 0:
                raise InvalidInputError("projections must be unit vectors, got none")
            if bool(((given.double().norm(dim=1) - 1).abs() > _UNIT).any()):
                raise InvalidInputError("projections must be unit vectors; divide each by its norm")
            return cls(len(given), size, seed, given)
        count = min(PER_DIMENSION * size, MOST) if projections is None else whole(projections, "projections", least=2)
        return cls(count, size, whole(seed, "seed"))

    @property
    def drawn(self) -> bool:
        """Would another seed give others?"""
        return self.given is None

    def blocks(self) -> Iterator[Tensor]:
        """At most 64 rows at a time, (l, D)."""
        if self.given is not None:
            yield from parts(self.given, BLOCK)
            return
        for number in range(-(-self.count // BLOCK)):
            yield self._block(number)[: self.count - number * BLOCK]

    def some(self) -> Tensor:
        """Enough of them for an error: drawn ones are alike, given ones are taken evenly."""
        enough = min(self.count, max(_FEWEST, self.count // 16))
        if self.given is not None:
            return self.given[torch.linspace(0, self.count - 1, enough, device="cpu").round().long()]
        return torch.cat([self._block(number) for number in range(-(-enough // BLOCK))])[:enough]

    def _block(self, number: int) -> Tensor:
        generator = stream(self.seed, "projections", number)
        vectors = torch.randn(BLOCK, self.size, dtype=torch.float64, generator=generator, device="cpu")
        return vectors.div(vectors.norm(dim=1, keepdim=True))


def parts(rows: Tensor, length: int) -> Iterator[Tensor]:
    """So many rows at a time."""
    for start in range(0, len(rows), length):
        yield rows[start : start + length]


def named_directions(directions: Tensor | Mapping[str, Tensor] | None, rows: Tensor) -> dict[str, Tensor]:
    """Return extra directions as unit vectors (D,) by name, for samples (N, D).

    Raises:
        InvalidInputError: One is no finite tensor of that size, or zero.
    """
    if directions is None:
        return {}
    if isinstance(directions, Tensor):
        directions = {str(k): direction for k, direction in enumerate(directions)}
    check_kind(directions, Mapping, "extra_directions")
    return {name: _unit(direction, f"the direction '{name}'", rows) for name, direction in directions.items()}


def unit_columns(directions: Tensor, size: int) -> Tensor:
    """Return directions (D, K), or one (D,), as float64 (D, K), D = ``size``.

    Raises:
        InvalidInputError: They are no columns of that size, not finite, or not of length 1.
    """
    check_kind(directions, Tensor, "directions")
    columns = directions.detach()[:, None] if directions.ndim == 1 else directions.detach()
    if columns.ndim != 2 or columns.shape[0] != size or columns.shape[1] == 0:
        raise InvalidInputError(
            f"directions must be the columns of a ({size}, K) tensor, got shape {tuple(directions.shape)}"
        )
    columns = columns.double()
    lengths = columns.norm(dim=0)
    if not bool(((lengths - 1).abs() <= _UNIT_COLUMN).all()):  # a NaN has no length
        raise InvalidInputError(
            f"directions must be unit vectors, their lengths lie between {lengths.min():g} and {lengths.max():g}:"
            " divide each column by its norm"
        )
    return columns


def _unit(direction: Tensor, name: str, rows: Tensor) -> Tensor:
    check_kind(direction, Tensor, name)
    vector = _of_size(as_rows(direction[None].double(), name, least=1), rows.shape[1], name)[0]
    length = vector.norm()
    if length == 0:
        raise InvalidInputError(f"{name} is zero; a direction needs a length")
    return vector.div(length).to(rows.device)


def _of_size(vectors: Tensor, size: int, name: str) -> Tensor:
    if vectors.shape[1] != size:
        raise InvalidInputError(f"{name} must have the samples' {size} dimensions, got {vectors.shape[1]}")
    return vectors
