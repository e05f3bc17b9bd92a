"""The operators every identity is tested on: a new kind is tested by adding it to ``CASES``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain.operators import (
    ChannelKronecker,
    DenseOperator,
    DiagonalOperator,
    FourierOperator,
    FunctionOperator,
    IdentityOperator,
    LowRankOperator,
    Operator,
    RotatedOperator,
    TokenKronecker,
)
from tests.reference import dense_operators as reference


class Equicorrelated(Operator):
    """The extension contract, first form: αI + β11ᵀ by ``_matmul`` and ``eigh``."""

    def __init__(self, shape: tuple[int, ...], alpha: float, beta: float) -> None:
        super().__init__(shape)
        self.alpha, self.beta = alpha, beta

    def _matmul(self, x: Tensor) -> Tensor:
        return self.alpha * x + self.beta * x.sum(-1, keepdim=True)

    def eigh(self) -> tuple[Tensor, Tensor]:
        values = torch.full((self.size,), self.alpha, dtype=torch.float64)
        values[0] += self.size * self.beta
        first = torch.ones(self.size, 1, dtype=torch.float64) / math.sqrt(self.size)
        return values, torch.linalg.qr(first, mode="complete").Q


class Ring(Operator):
    """The extension contract, second form: stationary on a ring, by ``_apply`` in the Fourier basis."""

    def __init__(self, channels: int, power: Tensor) -> None:
        super().__init__((channels, len(power)))
        self.power = power

    def _apply(self, f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        rows = torch.fft.fft(x.reshape(*x.shape[:-1], *self.shape))
        return torch.fft.ifft(f(self.power).to(x) * rows).real.flatten(-2)


@dataclass(frozen=True)
class Case:
    name: str
    operator: Operator
    dense: Tensor
    rank: int


def float64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def dense_cases() -> list[Case]:
    full, singular = reference.random_psd(6, 6, seed=1), reference.random_psd(12, 7, seed=2)
    return [
        Case("dense-1d", DenseOperator.from_matrix((1, 6), full), full, 6),
        Case("dense-2d-singular", DenseOperator.from_matrix((2, 2, 3), singular), singular, 7),
    ]


def kronecker_cases() -> list[Case]:
    pixel, line, cube = (reference.random_psd(8, r, seed=r) for r in (8, 5, 6))
    tokens, few = reference.random_psd(4, 4, seed=3), reference.random_psd(4, 2, seed=4)
    patch = reference.unpatchify_permutation(3, 4, 4, patch=2)
    shuffled = torch.randperm(24, generator=torch.Generator().manual_seed(5))
    channel, token = reference.channel_kronecker, reference.token_kronecker
    return [
        Case("channel-2d", ChannelKronecker.from_matrix((3, 2, 4), pixel), channel(3, pixel), 24),
        Case("channel-1d-one", ChannelKronecker.from_matrix((1, 8), line), channel(1, line), 5),
        Case("channel-3d", ChannelKronecker.from_matrix((2, 2, 2, 2), cube), channel(2, cube), 12),
        Case(
            "token-patches",
            TokenKronecker.from_matrix((3, 4, 4), tokens, patch),
            token(tokens, 12, patch),
            48,
        ),
        Case("token-3d", TokenKronecker.from_matrix((2, 2, 2, 3), few, shuffled), token(few, 6, shuffled), 12),
    ]


def spectral_cases() -> list[Case]:
    scattered = float64(0.5, 3.0, 0.0, 2.0, 2.0, 1e-14)
    basis, thin = reference.random_orthonormal(6, 6, seed=6), reference.random_orthonormal(12, 3, seed=7)
    canonical, top = torch.eye(6, dtype=torch.float64), float64(1.0, 4.0, 0.5)
    low_rank, diagonal = reference.low_rank, reference.diagonal
    full_top, small = scattered + 1, DiagonalOperator((1, 6), scattered + 1, basis)
    return [
        Case("diagonal", DiagonalOperator((3, 2), scattered), diagonal(scattered, canonical), 4),
        Case("diagonal-basis", DiagonalOperator((1, 6), scattered, basis), diagonal(scattered, basis), 4),
        Case("low-rank", LowRankOperator((3, 2, 2), top, thin), low_rank(top, thin, 0.0), 3),
        Case("low-rank-rest", LowRankOperator((3, 2, 2), top, thin, 2.0), low_rank(top, thin, 2.0), 12),
        Case("low-rank-all", LowRankOperator((2, 3), full_top, basis, 9.0), diagonal(full_top, basis), 6),
        Case("identity", IdentityOperator((2, 2, 2), 2.5), 2.5 * torch.eye(8, dtype=torch.float64), 8),
        Case("function", FunctionOperator(small, lambda v: v**-0.5), diagonal(full_top**-0.5, basis), 6),
    ]


def extension_cases() -> list[Case]:
    power, band = float64(2.0, 1.0, 0.5, 0.5, 1.0), float64(0.0, 2.0, 1.0, 0.0, 1.0, 2.0)
    return [
        Case("matmul-eigh", Equicorrelated((3, 2, 2), 0.5, 0.25), reference.equicorrelated(12, 0.5, 0.25), 12),
        Case("matmul-eigh-null", Equicorrelated((2, 3), 0.0, 1.0), reference.equicorrelated(6, 0.0, 1.0), 1),
        Case("apply", Ring(1, power), reference.circulant(power, 1), 5),
        Case("apply-singular", Ring(2, band), reference.circulant(band, 2), 8),
    ]


@dataclass(frozen=True)
class Turn:
    """A rotation as operators know it: a matrix W, applied to arrays."""

    matrix: Tensor
    shape: tuple[int, ...]

    def __call__(self, x: Tensor) -> Tensor:
        return (x.reshape(*x.shape[: -len(self.shape)], -1) @ self.matrix.T.to(x)).reshape(x.shape)

    def inverse(self, x: Tensor) -> Tensor:
        return (x.reshape(*x.shape[: -len(self.shape)], -1) @ self.matrix.to(x)).reshape(x.shape)


def even_power(*size: int, zeros: int = 0) -> Tensor:
    """Random even powers between 0.5 and 3.5, those of the ``zeros`` first pairs of mirrored places zero."""
    generator = torch.Generator().manual_seed(sum(size))
    power = 0.5 + 3 * torch.rand(size, generator=generator, dtype=torch.float64)
    mirror = power.flip(tuple(range(power.ndim))).roll([1] * power.ndim, tuple(range(power.ndim)))
    even = (power + mirror) / 2
    even[even <= even.flatten().sort().values[zeros - 1]] = 0.0 if zeros else even.min()
    return even


def fourier_cases() -> list[Case]:
    powers = {"1d": even_power(6), "odd": even_power(5, 3), "mixed": even_power(4, 3), "3d": even_power(2, 3, 2)}
    powers |= {"one-point": even_power(1), "band": even_power(4, 5, zeros=6), "column": even_power(3, 1)}
    powers |= {"white": torch.full((2, 3), 1.5, dtype=torch.float64)}
    rank = {name: 2 * int((power > 0).sum()) for name, power in powers.items()}
    return [
        Case(
            f"fourier-{name}",
            FourierOperator((2, *power.shape), power),
            reference.stationary(power, 2),
            rank[name],
        )
        for name, power in powers.items()
    ]


def rotated_cases() -> list[Case]:
    power, w = even_power(2, 3), reference.random_orthonormal(6, 6, seed=8)
    singular = reference.random_psd(6, 4, seed=9)
    turn = Turn(w, (1, 2, 3))
    return [
        Case(
            "rotated-fourier",
            RotatedOperator(FourierOperator((1, 2, 3), power), turn),
            w.T @ reference.stationary(power, 1) @ w,
            6,
        ),
        Case(
            "rotated-singular",
            RotatedOperator(DenseOperator.from_matrix((1, 2, 3), singular), turn),
            w.T @ singular @ w,
            4,
        ),
    ]


CASES = [*fourier_cases(), *rotated_cases(), *dense_cases(), *kronecker_cases(), *spectral_cases(), *extension_cases()]
