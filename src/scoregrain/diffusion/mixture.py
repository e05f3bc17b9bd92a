"""The exact model of a mixture of Gaussians under any noise (MATH B5, B6, B12)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real

import torch
from torch import Tensor

from scoregrain._arguments import check_kind, whole
from scoregrain._errors import InvalidInputError
from scoregrain.diffusion.exact import GaussianScore
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.operators import Operator

SAME_SUPPORT = 1e-8
"""The share of a component that may lie off the support of another, by rounding."""


class GaussianMixtureScore:
    """The exact model of a mixture of Gaussians: its components' answers, weighted by their posterior at x_t.

    It has the methods of :class:`GaussianScore`, with the same arguments, and :meth:`responsibilities`.

    Args:
        weights: K positive numbers; they are divided by their sum.
        means: K of them, as of :class:`GaussianScore`; (K, C, *space) will do.
        covariances: K of them, likewise; (K, D, D) will do.
        process: Levels, noise and the meaning of the output.

    Attributes:
        shape: (C, *space).
        process: As given.
        weights: Normalised, float64 (K,).
        components: The exact model of each.

    Raises:
        InvalidInputError: When the numbers differ, a weight is not positive, the noised components have not one
            support, so that their densities cannot be compared, or as in :class:`GaussianScore`.
    """

    def __init__(
        self,
        weights: Tensor | Sequence[float],
        means: Tensor | Sequence[Tensor],
        covariances: Tensor | Sequence[Tensor | Operator],
        process: DiffusionProcess,
    ) -> None:
        self.weights = _numbers(weights)
        check_kind(means, Tensor | Sequence, "means")
        check_kind(covariances, Tensor | Sequence, "covariances")
        if not len(weights) == len(means) == len(covariances) > 0:
            raise InvalidInputError(
                "a mixture takes one weight, mean and covariance for each component, got"
                f" {len(weights)}, {len(means)} and {len(covariances)}"
            )
        if not bool((self.weights.isfinite() & (self.weights > 0)).all()):
            raise InvalidInputError(
                "the weights of a mixture must be positive and finite, they lie between"
                f" {self.weights.min():g} and {self.weights.max():g}"
            )
        self.weights = self.weights / self.weights.sum()
        self.components = [GaussianScore(mean, each, process) for mean, each in zip(means, covariances, strict=True)]
        self.shape, self.process = self.components[0].shape, process
        if not _one_support(self.components, noised=True):
            raise InvalidInputError(
                "the components have different supports even when noised, so their densities cannot be compared:"
                " give each a covariance of full rank in the omitted band, or use omission='marginal'"
            )
        self._dense = _one_support(self.components, noised=False)

    def __repr__(self) -> str:
        return f"GaussianMixtureScore({len(self.components)} components, shape={self.shape}, {self.process})"

    def responsibilities(self, x_t: Tensor, t: Tensor | int = -1) -> Tensor:
        """Return P(component | x_t), float64 (N, K).

        Raises:
            InvalidInputError: As in :meth:`log_prob`.
        """
        return self._log_joint(x_t, t).softmax(1)

    def __call__(self, x_t: Tensor, t: Tensor | int) -> Tensor:
        """Return E[o | x_t], like ``x_t`` (N, C, *space)."""
        return self._average(lambda component: component(x_t.double(), t), x_t, t)

    def mean(self, t: int = -1) -> Tensor:
        """Return E[x_t], float64 (C, *space)."""
        return torch.stack([component.mean(t) for component in self.components], -1) @ self.weights

    def covariance(self, t: int = -1) -> Tensor:
        """Return Cov(x_t), float64 (D, D): the components' own and that of their means."""
        offsets = torch.stack([(component.mean(t) - self.mean(t)).flatten() for component in self.components])
        total = (offsets.T * self.weights) @ offsets
        for weight, component in zip(self.weights, self.components, strict=True):
            total += weight * component.covariance(t)
        return total

    def score(self, x_t: Tensor, t: Tensor | int) -> Tensor:
        """Return ∇ log p_t, like ``x_t`` (N, C, *space); t may be -1."""
        return self._average(lambda component: component.score(x_t.double(), t), x_t, t)

    def log_prob(self, x_t: Tensor, t: Tensor | int = -1) -> Tensor:
        """Return log p_t in nats, float64 (N,), for ``x_t`` (N, C, *space).

        Raises:
            InvalidInputError: As in :meth:`GaussianScore.log_prob`, and at a clean step when the components'
                covariances have different supports: noised they have a density, clean they have not.
        """
        return self._log_joint(x_t, t).logsumexp(1)

    def sample(
        self,
        n: int,
        t: int = -1,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw ``n`` arrays x_t, (n, C, *space); see :meth:`GaussianScore.sample`."""
        n = whole(n, "the number of samples", least=1)
        source = device if generator is None else generator.device
        chosen = torch.multinomial(self.weights.to(source), n, replacement=True, generator=generator).to(device)
        x = torch.empty(n, *self.shape, dtype=dtype, device=chosen.device)
        for k, component in enumerate(self.components):
            mine = chosen == k
            x[mine] = component.sample(int(mine.sum()), t, generator, dtype, device)
        return x

    def _average(self, answer: Callable[[GaussianScore], Tensor], x_t: Tensor, t: Tensor | int) -> Tensor:
        shares = self.responsibilities(x_t, t).T.reshape(len(self.components), len(x_t), *[1] * len(self.shape))
        total = torch.zeros_like(x_t, dtype=torch.float64)
        for share, component in zip(shares, self.components, strict=True):
            total = total + share * answer(component)
        return total.to(x_t.dtype)

    def _log_joint(self, x_t: Tensor, t: Tensor | int) -> Tensor:
        """Return log(weight · density), (N, K)."""
        if not self._dense and bool((torch.as_tensor(t) < 0).any()):
            raise InvalidInputError(
                "the components' covariances have different supports, so the clean mixture has no density: use t ≥ 0"
            )
        densities = torch.stack([component.log_prob(x_t, t) for component in self.components], 1)
        return densities + self.weights.to(densities).log()


def _numbers(weights: Tensor | Sequence[float]) -> Tensor:
    """Return the weights as float64 (K,), unless they are something else, such as the means."""
    values = weights.tolist() if hasattr(weights, "tolist") else weights
    if not isinstance(values, Sequence) or not all(isinstance(value, Real) for value in values):
        got = f"{tuple(weights.shape)} of them" if hasattr(weights, "shape") else type(weights).__name__
        raise InvalidInputError(f"a mixture takes its weights first, K numbers in a list or a tensor, got {got}")
    return torch.tensor(values, dtype=torch.float64, device="cpu")


def _one_support(components: Sequence[GaussianScore], noised: bool) -> bool:
    """Return whether the laws, noised or clean, are spread over one affine subspace."""
    first, *others = components
    directions = torch.linalg.qr(_support(first, noised)).Q
    for other in others:
        spread = _support(other, noised)
        vectors = torch.column_stack((spread, other._centre - first._centre))
        outside = (vectors - directions @ (directions.T @ vectors)).norm(dim=0)
        if spread.shape[1] != directions.shape[1] or bool((outside > SAME_SUPPORT * vectors.norm(dim=0)).any()):
            return False
    return True


def _support(component: GaussianScore, noised: bool) -> Tensor:
    """Return columns that span the support, (D, k)."""
    pencil = component._pencil
    return pencil.basis if noised else pencil.basis[:, pencil.data > 0]
