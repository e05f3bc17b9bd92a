"""The Wasserstein distance of order 2 between Gaussians (Bures), and between samples by their first two moments."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._arguments import check_kind
from scoregrain._errors import InvalidInputError
from scoregrain.metrics._samples import as_rows, check_pair

_ROUNDING = 1e-8  # of the largest eigenvalue: how far below zero a covariance may reach


@dataclass(frozen=True)
class GaussianW2:
    """How far apart two sets of samples are by their means and covariances, in the units of the samples.

    Attributes:
        w2: sqrt(``mean``² + ``covariance``²), over all D coordinates: divide by √D for one.
        error: Standard error of ``w2`` over the samples.
        mean: Distance of the means.
        covariance: Bures distance of the covariances.
        counts: Samples in the first and in the second set.
    """

    w2: float
    error: float
    mean: float
    covariance: float
    counts: tuple[int, int]


def gaussian_w2(x: Tensor, y: Tensor) -> GaussianW2:
    """Return W₂ of the Gaussians that have the samples' means and covariances (divisor N - 1).

    ``W₂² = ‖m₁ - m₂‖² + tr(S₁ + S₂ - 2 (S₁^½ S₂ S₁^½)^½)``: a lower bound of W₂ of the samples' laws (Gelbrich 1990),
    and the Fréchet distance with the samples themselves as features. Float64, by roots R of the covariances, S = R Rᵀ:
    ``min over rotations Q of ‖R₁ - R₂ Q‖_F`` is the second part, exact where a covariance is singular.
    The error is the delta method with the potentials ``(v - m₁)ᵀ (I - T) (v - m₁) + 2 (m₁ - m₂)ᵀ v``, T the map between
    the Gaussians.

    With few samples the distance is too large, for equal laws by about √(tr(S) (1/N + 1/M)) from the means and more
    from the covariances when D is not small against N: put a fresh resample of the target beside it. There the error is
    an upper bound, as that of :func:`scoregrain.metrics.sliced_wasserstein`. Memory: a few float64 copies of the
    samples; time: a singular value decomposition of min(N, D) × min(M, D).

    Args:
        x: Samples (N, C, *space) or (N, D).
        y: Samples (M, C, *space) or (M, D).

    Raises:
        InvalidInputError: Samples are not finite, fewer than 2, or of different shapes.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, -1.0]])
        >>> round(gaussian_w2(x, x + torch.tensor([3.0, 4.0])).w2, 6)
        5.0
    """
    first, second = (_Moments(rows) for rows in check_pair(x, y))
    shift = first.mean - second.mean
    between, turned = _aligned(first.root, second.root)
    square = float(shift.square().sum()) + between**2
    variance = first.variance(second.root @ turned.T, shift) + second.variance(first.root @ turned, -shift)
    w2 = math.sqrt(square)
    error = 0.5 / w2 * math.sqrt(variance) if w2 > 0 else 0.0
    return GaussianW2(w2, error, float(shift.norm()), between, (first.count, second.count))


def bures_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    """Return W₂ between N(m₁, S₁) and N(m₂, S₂), float64; either covariance may be singular.

    Args:
        mean1: (D,).
        covariance1: (D, D).
        mean2: (D,).
        covariance2: (D, D).

    Raises:
        InvalidInputError: Shapes do not fit, or a covariance is not symmetric and positive semi-definite.

    Example:
        >>> zero, one = torch.zeros(2), torch.eye(2)
        >>> round(bures_distance(zero, one, zero, 4 * one), 6)  # √2 (2 - 1)
        1.414214
    """
    for mean in (mean1, mean2):
        check_kind(mean, Tensor, "a mean")
    first, second = (as_rows(mean[None], "a mean", least=1)[0].double() for mean in (mean1, mean2))
    roots = [_root(covariance, len(first)) for covariance in (covariance1, covariance2)]
    if len(second) != len(first):
        raise InvalidInputError(f"both means must have one dimension, got {len(first)} and {len(second)}")
    return math.hypot(float((first - second).norm()), _aligned(*roots)[0])


def covariance_factors(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean m (D,), coordinates Z (N, k) and root R (D, k) of samples, float64: x = m + R z, S = R Rᵀ.

    k = min(N, D), and ZᵀZ / (N - 1) = I.
    """
    rows = rows.double()
    mean, scale = rows.mean(0), math.sqrt(len(rows) - 1)
    coordinates, upper = torch.linalg.qr(rows - mean)
    return mean, coordinates * scale, upper.T / scale


class _Moments:
    """Mean and covariance root of samples, and what each sample weighs in a distance."""

    def __init__(self, rows: Tensor) -> None:
        self.count = len(rows)
        self.mean, self.coordinates, self.root = covariance_factors(rows)

    def variance(self, mapped: Tensor, shift: Tensor) -> float:
        """Variance of W₂² with other samples; ``mapped`` = T R, ``shift`` = this mean less the other."""
        form = self.root.T @ (self.root - mapped)
        quadratic = (self.coordinates @ form * self.coordinates).sum(1)
        potential = quadratic + 2 * self.coordinates @ (self.root.T @ shift)
        return float(potential.var()) / self.count


def _aligned(first: Tensor, second: Tensor) -> tuple[float, Tensor]:
    """``min ‖R₁ - R₂ Qᵀ‖_F`` of roots (D, k) and (D, l), and the partial isometry Q (k, l) that reaches it.

    By the distance itself: ``tr S₁ + tr S₂ - 2 ‖R₁ᵀR₂‖_*`` would cancel and leave half of the digits.
    """
    width = max(first.shape[1], second.shape[1])
    padded = [torch.nn.functional.pad(root, (0, width - root.shape[1])) for root in (first, second)]
    left, _, right = torch.linalg.svd(padded[0].T @ padded[1])
    rotation = left @ right
    distance = float((padded[0] - padded[1] @ rotation.T).norm())
    return distance, rotation[: first.shape[1], : second.shape[1]]


def _root(covariance: Tensor, size: int) -> Tensor:
    check_kind(covariance, Tensor, "a covariance")
    if covariance.shape != (size, size):
        raise InvalidInputError(f"a covariance must be ({size}, {size}) like its mean, got {tuple(covariance.shape)}")
    matrix = as_rows(covariance, "a covariance", least=1).double()
    scale = float(matrix.abs().max())
    values, vectors = torch.linalg.eigh(matrix)
    if float((matrix - matrix.T).abs().max()) > _ROUNDING * scale or float(values.min()) < -_ROUNDING * scale:
        raise InvalidInputError("a covariance must be symmetric and positive semi-definite")
    rounding = float(values.max()) * size * torch.finfo(torch.float64).eps  # its root would be 1e-8 and count
    root: Tensor = vectors * torch.where(values > rounding, values, 0.0).sqrt()
    return root
