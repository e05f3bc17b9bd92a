"""Laws: distributions that are known exactly, to train on and to judge by (MATH A7)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from scoregrain._arguments import check_kind, whole
from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.operators import DenseOperator, IdentityOperator, LowRankOperator, Operator
from scoregrain.operators.base import check_shape


class Law(ABC):
    """A known distribution on arrays (C, *space) that can be sampled at will.

    To add a law, write ``_draw``, ``mean`` and ``covariance``.

    Args:
        shape: (C, *space).
        name: What ``str`` gives; of a law that was parsed the string (see :func:`~scoregrain.datasets.parse_law`).
        notes: Plain sentences on what the law is.

    Raises:
        InvalidInputError: When ``shape`` is not such a shape.
    """

    def __init__(self, shape: Sequence[int], name: str, notes: tuple[str, ...]) -> None:
        self.shape = check_shape(shape)
        self.size = math.prod(self.shape)
        self.name = name
        self.notes = notes

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, shape={self.shape})"

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """E x, float64 (C, *space)."""

    @property
    @abstractmethod
    def covariance(self) -> Operator:
        """Cov x."""

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw ``n`` arrays (n, C, *space), in float64 inside.

        Args:
            n: How many.
            generator: Draws on its own device: a CPU generator gives the same numbers on every device. None is
                torch's global one on the CPU.
            dtype: Defaults to torch's default dtype.
            device: Defaults to the generator's device.

        Raises:
            InvalidInputError: When ``n`` is no whole number of at least 0.
        """
        drawn = self._draw(whole(n, "the number of samples", 0), generator or torch.default_generator)
        drawn = drawn.reshape(-1, *self.shape).to(dtype or torch.get_default_dtype())
        return drawn.to(device or drawn.device)

    @abstractmethod
    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Return ``n`` arrays, float64 (n, D) or (n, C, *space), on the generator's device."""


class GaussianMixture(Law):
    """Σ_k p_k N(m_k, S_k); its exact model is ``GaussianMixtureScore(weights, means, covariances, process)``.

    Args:
        weights: p, K positive numbers; they are divided by their sum.
        means: m, (K, C, *space).
        covariances: S, K operators on (C, *space); a number is the variance of every pixel.
        name: For titles and logs.

    Attributes:
        weights: float64 (K,).
        means: float64 (K, C, *space).
        covariances: K operators.

    Raises:
        InvalidInputError: When counts or shapes differ, or a number is not finite or of the wrong sign.

    Example:
        >>> two = GaussianMixture([3, 1], torch.tensor([[[1.0, 1.0]], [[-1.0, -1.0]]]), [0.01, 0.01])
        >>> two.mean
        tensor([[0.5000, 0.5000]], dtype=torch.float64)
        >>> two.sample(5).shape
        torch.Size([5, 1, 2])
    """

    def __init__(
        self,
        weights: Tensor | Sequence[float],
        means: Tensor,
        covariances: Sequence[Operator | float],
        name: str = "gaussian-mixture",
        notes: tuple[str, ...] | None = None,
    ) -> None:
        check_kind(means, Tensor, "means")
        shares = _constant(torch.as_tensor(weights), "the weights of a mixture")
        if not shares.shape == (len(covariances),) == tuple(means.shape[:1]) or not len(shares):
            raise InvalidInputError(
                "a mixture takes one weight, mean and covariance for each component, got weights of shape"
                f" {tuple(shares.shape)}, means of shape {tuple(means.shape)} and {len(covariances)} covariances"
            )
        if not bool((shares > 0).all()):
            raise InvalidInputError(f"the weights of a mixture must be positive, got {shares.min():g}")
        told = f"{len(shares)} Gaussian{'s' * (len(shares) > 1)} whose means and covariances are known."
        super().__init__(means.shape[1:], name, (told,) if notes is None else notes)
        self.weights = shares / shares.sum()
        self.means = _constant(means, "means")
        self.covariances = [_operator(each, self.shape) for each in covariances]

    @cached_property
    def mean(self) -> Tensor:
        """E x, float64 (C, *space)."""
        mean: Tensor = torch.tensordot(self.weights, self.means, 1)
        return mean

    @cached_property
    def covariance(self) -> Operator:
        """Cov x: that of the components and that of their means; of one component its own."""
        if len(self.weights) == 1:
            return self.covariances[0]
        offsets = (self.means - self.mean).flatten(1)
        total = (offsets.T * self.weights) @ offsets
        for weight, each in zip(self.weights, self.covariances, strict=True):
            total += weight * each.to_dense()
        return DenseOperator.from_matrix(self.shape, total)

    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        uniform = torch.rand(n, generator=generator, dtype=torch.float64, device=generator.device)
        component = torch.bucketize(uniform, self.weights.cumsum(0)[:-1].to(uniform.device), right=True)
        drawn = self.means.to(uniform.device)[component]
        for k, each in enumerate(self.covariances):
            mine = component == k
            drawn[mine] += each.sample(int(mine.sum()), generator, torch.float64)
        return drawn


class Gaussian(GaussianMixture):
    """N(m, S); its exact model is ``GaussianScore(law.mean, law.covariance, process)``.

    Args:
        mean: m, (C, *space).
        covariance: S, an operator on (C, *space), such as the one of a data geometry; a number is the variance of every
            pixel.
        name: For titles and logs.

    Raises:
        InvalidInputError: As :class:`GaussianMixture`.
    """

    def __init__(
        self,
        mean: Tensor,
        covariance: Operator | float,
        name: str = "gaussian",
        notes: tuple[str, ...] | None = None,
    ) -> None:
        check_kind(mean, Tensor, "mean")
        super().__init__([1.0], mean[None], [covariance], name, notes)


class RankOne(Gaussian):
    """x = s ξ v with ξ ~ N(0, 1): data along one direction v, the first paper's probe (MATH A7).

    With the default s = √D the energy E‖x‖² = D is that of white noise.

    Args:
        direction: v, (C, *space), or any tensor of D entries where ``shape`` is given; it is divided by its norm.
        shape: (C, *space); None is the direction's own.
        scale: s, positive; None is √D.
        name: For titles and logs.

    Attributes:
        direction: v, float64 (C, *space), ‖v‖ = 1.
        scale: s.

    Raises:
        InvalidInputError: When the direction is zero, not finite or of another shape, or the scale not positive.

    Example:
        >>> law = RankOne(torch.tensor([[3.0, 4.0]]))
        >>> law.direction
        tensor([[0.6000, 0.8000]], dtype=torch.float64)
    """

    def __init__(
        self,
        direction: Tensor,
        shape: Sequence[int] | None = None,
        scale: float | None = None,
        name: str = "rank-one",
    ) -> None:
        check_kind(direction, Tensor, "direction")
        shape = check_shape(tuple(direction.shape) if shape is None else shape)
        self.direction = _unit(direction, shape)
        self.scale = _positive(math.sqrt(math.prod(shape)) if scale is None else scale, "scale")
        column, variance = self.direction.reshape(-1, 1), torch.tensor([self.scale**2], dtype=torch.float64)
        told = f"x = {self.scale:g} ξ v along one direction v, ξ ~ N(0, 1): values may leave [-1, 1]."
        covariance = LowRankOperator(shape, variance, column)
        super().__init__(torch.zeros(shape, dtype=torch.float64, device="cpu"), covariance, name, (told,))

    @classmethod
    def in_span(
        cls, basis: Tensor, shape: Sequence[int], seed: int = 0, scale: float | None = None, name: str = "rank-one"
    ) -> Self:
        """Return the law along a random unit vector, uniform in a span.

        Eigenvectors of a cluster are not identified one by one (MATH C3): data "along SAD k" of a cluster take a
        direction of its span.

        Args:
            basis: (D, K), orthonormal columns.
            shape: (C, *space).
            seed: Decides the direction.
            scale: As of the class.
            name: As of the class.

        Raises:
            InvalidInputError: When the columns are not orthonormal, or as in the class.
        """
        columns = _orthonormal(basis, shape, least=1)
        mix = torch.randn(columns.shape[1], generator=stream(seed, "direction in a span"), dtype=torch.float64)
        return cls(columns @ mix, shape, scale, name)

    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        xi = torch.randn(n, 1, generator=generator, dtype=torch.float64, device=generator.device)
        return xi * self.scale * self.direction.flatten().to(xi.device)


class Sphere(Law):
    """x = √D V c/‖c‖ with c ~ N(0, I_K): the sphere of radius √D in the span of K directions (MATH A7; there K = 3).

    The covariance is (D/K) V Vᵀ. The law is not Gaussian and has no exact model here.

    Args:
        directions: V, (D, K), K ≥ 2 orthonormal columns.
        shape: (C, *space).
        name: For titles and logs.

    Attributes:
        directions: V, float64.

    Raises:
        InvalidInputError: When the columns are fewer, not orthonormal or of another length.
    """

    def __init__(self, directions: Tensor, shape: Sequence[int], name: str = "sphere") -> None:
        self.directions = _orthonormal(directions, shape, least=2)
        told = f"A sphere of radius √D in the span of {self.directions.shape[1]} directions: values may leave [-1, 1]."
        super().__init__(shape, name, (told,))

    @cached_property
    def mean(self) -> Tensor:
        """E x = 0, float64 (C, *space)."""
        return torch.zeros(self.shape, dtype=torch.float64, device="cpu")

    @cached_property
    def covariance(self) -> Operator:
        """Cov x = (D/K) V Vᵀ."""
        count = self.directions.shape[1]
        variances = torch.full((count,), self.size / count, dtype=torch.float64, device="cpu")
        return LowRankOperator(self.shape, variances, self.directions)

    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        count = self.directions.shape[1]
        c = torch.randn(n, count, generator=generator, dtype=torch.float64, device=generator.device)
        units: Tensor = c / c.norm(dim=1, keepdim=True)
        return math.sqrt(self.size) * units @ self.directions.T.to(c.device)


def _constant(values: Tensor, name: str) -> Tensor:
    """Return a float64 copy on the CPU of what must be finite."""
    values = values.detach().to("cpu", torch.float64, copy=True)
    if not bool(values.isfinite().all()):
        raise InvalidInputError(f"{name} must be finite, got NaN or infinity")
    return values


def _positive(value: float, name: str) -> float:
    if not 0 < value < math.inf:
        raise InvalidInputError(f"{name} must be positive and finite, got {value:g}")
    return float(value)


def _unit(direction: Tensor, shape: tuple[int, ...]) -> Tensor:
    if direction.numel() != math.prod(shape):
        raise InvalidInputError(f"a direction of {shape} has {math.prod(shape)} entries, got {tuple(direction.shape)}")
    vector = _constant(direction.reshape(shape), "a direction")
    if not bool(vector.any()):
        raise InvalidInputError("a direction must not be zero: its length is taken from scale")
    vector /= vector.abs().max()  # the square of a tiny number would be zero
    return vector.div_(vector.norm())


def _orthonormal(basis: Tensor, shape: Sequence[int], least: int) -> Tensor:
    """Return (D, K) columns as a constant."""
    check_kind(basis, Tensor, "directions")
    size = math.prod(check_shape(shape))
    if basis.ndim != 2 or len(basis) != size or not least <= basis.shape[1] <= size:
        raise InvalidInputError(
            f"directions must be the columns of a ({size}, K) matrix with {least} <= K <= {size}, got"
            f" {tuple(basis.shape)}"
        )
    columns = _constant(basis, "directions")
    error = (columns.T @ columns - torch.eye(columns.shape[1], dtype=torch.float64, device="cpu")).abs().max()
    if error > 1e-6:  # they may have been computed in float32
        raise InvalidInputError(f"directions must be orthonormal columns, got an error of {error:.3g}")
    return columns


def _operator(covariance: Operator | float, shape: tuple[int, ...]) -> Operator:
    check_kind(covariance, Operator | float | int, "a covariance")
    if not isinstance(covariance, Operator):
        return IdentityOperator(shape, covariance)
    if covariance.shape != shape:
        raise InvalidInputError(f"a covariance must act on the shape {shape} of the means, got {covariance.shape}")
    return covariance
