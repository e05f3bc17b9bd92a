"""Large geometries from products with one shared test matrix: Nyström approximation, exactly mergeable (MATH C4).

A second moment S (r × r) is kept as its product ``S Ω`` with a fixed ``Ω = [Q | W]`` and its trace. The columns of Q
(orthonormal) span what S is expected to be large on: Nyström's approximation lives there. The few columns of W (random,
orthogonal to Q) measure what Q misses. Everything is linear in S, so sums over networks, groups and shards are exact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.geometry.structure import Structure
from scoregrain.geometry.symmetry import Symmetry

DEFAULT_RANK = 64
OVERSAMPLING = 4  # columns of Q for each direction asked for: the last ones of a sketch are biased low
POWERS = 2  # products with a pilot's S that turn random columns towards its leading directions
WELL_CONDITIONED = 1e-6  # ratio of eigenvalues down to which those of a Gram matrix are as good as singular values
TEST_COLUMNS = 16  # columns of W in each symmetry sector

Product = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True, eq=False)
class Sketch:
    """The test matrix of a measurement; every column lies in one symmetry sector, so sectors stay apart.

    Attributes:
        rank: how many leading eigenvectors of the reduced matrix are reported.
        basis: Q, float64 ``(r, l)``, orthonormal columns.
        test: W, float64 ``(r, m)``: ``(I - Q Qᵀ) w`` for standard normal w of one sector.
        sector: of every column of Q, then of W, ``(l + m,)``.
    """

    rank: int
    basis: Tensor
    test: Tensor
    sector: Tensor

    @property
    def columns(self) -> int:
        """l, the number of columns of Q."""
        return self.basis.shape[1]

    @property
    def sectors(self) -> int:
        """How many symmetry sectors there are."""
        return int(self.sector.max()) + 1

    @property
    def omega(self) -> Tensor:
        """Ω = [Q | W], ``(r, l + m)``."""
        return torch.cat([self.basis, self.test], dim=1)

    @property
    def digest(self) -> str:
        """Hash of Ω: sketches merge only where it is equal."""
        return hashlib.sha256(self.omega.numpy().tobytes()).hexdigest()[:16]

    def pack(self, product: Tensor, trace: float) -> Tensor:
        """``S Ω`` and ``tr S`` as one tensor ``(r + 1, l + m)`` that adds like S."""
        last = product.new_zeros(1, product.shape[1])
        last[0, 0] = trace
        return torch.cat([product, last])

    def basis_columns(self, sector: int) -> Tensor:
        """Which columns of Q lie in a sector."""
        return (self.sector[: self.columns] == sector).nonzero().flatten()

    def norm_squared(self, product: Tensor) -> float:
        """Estimate ``‖Δ‖_F²`` of a symmetric Δ from ``Δ Ω``: exact where Q reaches, by W elsewhere (unbiased)."""
        on_basis, on_test = product[:, : self.columns], product[:, self.columns :]
        inside = self.basis.T @ on_basis
        crossing = on_basis - self.basis @ inside
        outside = on_test - self.basis @ (self.basis.T @ on_test)
        known = float(inside.square().sum() + 2 * crossing.square().sum())
        per_column = outside.square().sum(0)
        sector = self.sector[self.columns :]
        return known + sum(float(per_column[sector == s].mean()) for s in range(self.sectors))


def make_sketch(
    structure: Structure, symmetry: Symmetry | None, rank: int, product: Product, start: Tensor | None = None
) -> Sketch:
    """Choose Ω for a measurement (MATH C4, range finder).

    Args:
        structure: of the geometry; r is its reduced size.
        symmetry: verified symmetry, None without one.
        rank: leading directions wanted.
        product: ``product(X, p)`` returns ``S X`` for the S of a pilot p = 0, 1, …
        start: leading directions that are known already, ``(r, k)``; random ones make up for what is missing.

    Raises:
        InvalidInputError: the rank is not positive, or so large that a sketch would save nothing.
    """
    r, layout = structure.reduced, structure.layout
    parts = 1 if symmetry is None or layout is None else 2
    most = max((r // 2 - TEST_COLUMNS * parts) // OVERSAMPLING, 0)
    if most < 1:
        raise InvalidInputError(f"a geometry of reduced size {r} is too small for a rank: leave it out")
    if not 1 <= rank <= most:
        raise InvalidInputError(
            f"rank is {rank}, expected 1 to {most} leading directions of this geometry of reduced size {r}; "
            "rank='all' (--directions all) measures all of them"
        )
    width = -(-OVERSAMPLING * rank // parts)
    generator = stream(0, "sketch", r)
    normal = torch.randn(r, parts * (width + TEST_COLUMNS), generator=generator, dtype=torch.float64)
    sector = torch.cat([torch.arange(parts).repeat_interleave(n) for n in (width, TEST_COLUMNS)])
    normal = to_sectors(normal, sector, symmetry, layout)
    basis, test = normal[:, : parts * width], normal[:, parts * width :]
    if start is not None:
        basis = torch.cat([start, basis], dim=1)[:, : parts * width]
    for power in range(POWERS):
        basis = _orthonormal(to_sectors(product(basis, power), sector[: parts * width], symmetry, layout), sector)
    test = to_sectors(test - basis @ (basis.T @ test), sector[parts * width :], symmetry, layout)
    return Sketch(rank, basis, test, sector)


def to_sectors(x: Tensor, sector: Tensor, symmetry: Symmetry | None, layout: tuple[int, ...] | None) -> Tensor:
    """Project every column onto its sector: the even arrays (0) or the odd ones (1)."""
    if symmetry is None or layout is None:
        return x
    sign = 1.0 - 2.0 * sector
    return (x + sign * x[symmetry.permutation(layout)]) / 2


def _orthonormal(x: Tensor, sector: Tensor) -> Tensor:
    """Orthonormal columns of the same span, sector by sector; columns of different sectors are orthogonal anyway."""
    result = torch.empty_like(x)
    for s in range(int(sector.max()) + 1):
        part = (sector[: x.shape[1]] == s).nonzero().flatten()
        result[:, part] = torch.linalg.qr(x[:, part]).Q
    return result


def nystrom(product: Tensor, omega: Tensor) -> tuple[Tensor, Tensor]:
    """Nyström approximation ``Ŝ = Y (ΩᵀY)⁺ Yᵀ ⪯ S`` from ``Y = S Ω`` (MATH C4).

    Args:
        product: Y, float64 ``(r, l)``.
        omega: Ω, ``(r, l)``, of full column rank.

    Returns:
        Eigenvalues ``(l,)``, descending and not negative, and orthonormal eigenvectors ``(r, l)`` of Ŝ.
    """
    shift = len(product) ** 0.5 * torch.finfo(torch.float64).eps * float(product.norm())
    if shift == 0:
        return product.new_zeros(product.shape[1]), torch.linalg.qr(omega).Q
    shifted = product + shift * omega
    core = omega.T @ shifted
    factor, failed = torch.linalg.cholesky_ex((core + core.T) / 2)
    while failed:
        shift *= 10
        shifted = product + shift * omega
        core = omega.T @ shifted
        factor, failed = torch.linalg.cholesky_ex((core + core.T) / 2)
    half = torch.linalg.solve_triangular(factor, shifted.T, upper=False).T
    squares, vectors = torch.linalg.eigh(half.T @ half)
    squares, vectors = squares.flip(0), vectors.flip(1)
    if float(squares[-1]) > WELL_CONDITIONED * float(squares[0]):
        return (squares - shift).clamp_min(0), (half @ vectors) / squares.sqrt()
    q, triangle = torch.linalg.qr(half)  # slower, and as good for the smallest
    vectors, singular, _ = torch.linalg.svd(triangle)
    return (singular.square() - shift).clamp_min(0), q @ vectors
