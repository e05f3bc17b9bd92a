"""Geometries made from matrices and from draws, for the tests of alignment."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scoregrain.geometry import Geometry
from scoregrain.geometry.moments import Group, Moments
from scoregrain.geometry.sketch import make_sketch
from scoregrain.geometry.spectrum import Spectrum
from scoregrain.geometry.structure import DenseStructure, Structure

UNEQUAL = (5, 11, 40, 7, 23, 13) * 4


def diag(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).diag()


def random_psd(size: int, seed: int, rank: int | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, rank or size, generator=generator, dtype=torch.float64)
    return x @ x.T / size


def orthonormal(size: int, generator: torch.Generator) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q


def exact(kind: str, matrix: Tensor, structure: Structure | None = None) -> Geometry:
    """A closed-form geometry: ``matrix`` is the reduced one."""
    structure = structure or DenseStructure((1, len(matrix)))
    return Geometry(kind, structure, Moments([Group(0, 1, matrix)]), exact=True)


def pair(g: Tensor, m: Tensor) -> tuple[Geometry, Geometry]:
    return exact("network", g), exact("data", m)


def sampled(kind: str, draws: Tensor, sizes: Sequence[int], structure: Structure | None = None) -> Geometry:
    """A measured geometry from draws ``(N, D)``, in groups of the given sizes."""
    stops = torch.tensor(sizes).cumsum(0).tolist()
    groups = [
        Group(stop - size, stop, part.T @ part)
        for size, stop, part in zip(sizes, stops, draws.split(list(sizes)), strict=True)
    ]
    return Geometry(kind, structure or DenseStructure((1, draws.shape[1])), Moments(groups))


def gaussian(law: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draws ``(count, D)`` with second moment ``law``."""
    white = torch.randn(count, len(law), generator=generator, dtype=torch.float64)
    return white @ torch.linalg.cholesky(law).T


def in_another_basis(geometry: Geometry, clusters: Sequence[int], generator: torch.Generator) -> Geometry:
    """The same geometry, its eigenvectors turned inside clusters of the given sizes (of one: a random sign)."""
    old = geometry.spectrum
    turns = []
    for size in clusters:
        sign = 1 - 2 * torch.randint(2, (), generator=generator)
        turns.append(orthonormal(size, generator) * sign)
    other = Geometry(geometry.kind, geometry.structure, geometry.moments, exact=geometry.exact)
    other.__dict__["spectrum"] = Spectrum(old.values, old.vectors @ torch.block_diag(*turns), old.sector)
    return other


def truncated(kind: str, draws: Tensor, sizes: Sequence[int], rank: int) -> Geometry:
    """A measured geometry of which only the leading directions are known, from draws ``(N, D)`` with D ≥ 40 rank."""
    structure = DenseStructure((1, draws.shape[1]))
    sketch = make_sketch(structure, None, rank, lambda omega, _: draws.T @ (draws @ omega))
    stops = torch.tensor(sizes).cumsum(0).tolist()
    groups = [
        Group(stop - size, stop, sketch.pack(part.T @ (part @ sketch.omega), float(part.square().sum())))
        for size, stop, part in zip(sizes, stops, draws.split(list(sizes)), strict=True)
    ]
    return Geometry(kind, structure, Moments(groups), sketch=sketch)
