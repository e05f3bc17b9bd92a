"""Linear denoising score matching, simulated: gradient descent, gradients of examples, stationary SGD (MATH A4, C5).

The model Ω = ΦΘ sees q = ξ u_i + σ ε with ε ~ N(0, Σ), Σ = U diag(s) Uᵀ; A = ΦΦᵀ = U diag(λ) Uᵀ. Everything here
steps Θ or draws examples, in float64 and for all directions i of the data at once; no closed form is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._random import stream
from scoregrain.studies.directions import haar

STEP = 0.5
"""2η max λ_j b_j: well inside the condition of the theorem, that it is below 1."""

_SEEN = 1e-8  # of the start: entries of the error below carry rounding instead of a rate


@dataclass(frozen=True, eq=False)
class LinearProblem:
    """A linear model, its noise and data along each of its directions.

    Attributes:
        eigenvalues: λ, descending, float64 (D,).
        sigma: σ.
        s: Variance of the noise along every direction, (D,).
        basis: U, (D, D).
        features: Φ, (D, D), with singular vectors U on the left and others on the right.
        moments: B_i = E[q qᵀ] = u_i u_iᵀ + σ²Σ, (D, D, D).
    """

    eigenvalues: Tensor
    sigma: float
    s: Tensor
    basis: Tensor
    features: Tensor
    moments: Tensor

    @classmethod
    def draw(cls, eigenvalues: Tensor, sigma: float, seed: int, s: Tensor | None = None) -> LinearProblem:
        """Draw U and the right-hand vectors of Φ, Haar; white noise where ``s`` is left out."""
        size = len(eigenvalues)
        basis, right = haar(size, seed), haar(size, -1 - seed)
        s = torch.ones_like(eigenvalues) if s is None else s
        noise = sigma**2 * (basis * s) @ basis.T
        moments = torch.einsum("di,ei->ide", basis, basis) + noise
        return cls(eigenvalues, sigma, s, basis, (basis * eigenvalues.sqrt()) @ right.T, moments)

    @property
    def optimum(self) -> Tensor:
        """Ω* = -B⁻¹ for data along each direction, (D, D, D)."""
        precisions: Tensor = torch.linalg.inv(self.moments)
        return -precisions

    @property
    def learning_rate(self) -> float:
        """η with 2η max λ_j b_j = ``STEP``, over the directions of data too."""
        largest = self.eigenvalues * (1 + self.sigma**2 * self.s)
        return STEP / 2 / float(largest.max())

    def errors(self, theta: Tensor) -> Tensor:
        """Uᵀ(ΦΘ - Ω*)U for data along each direction, (D, D, D)."""
        return self.basis.T @ (self.features @ theta - self.optimum) @ self.basis

    def descended(self, theta: Tensor, steps: int) -> Tensor:
        """Θ after steps of gradient descent on the expected loss, ∇ = 2Φᵀ(ΩB + I)."""
        step, eye = 2 * self.learning_rate * self.features.T, torch.eye(len(self.s), dtype=torch.float64)
        for _ in range(steps):
            theta = theta - step @ (self.features @ theta @ self.moments + eye)
        return theta

    def start(self, shift: float = 0.0, seed: int = 0) -> Tensor:
        """The mean of a random Θ at the start: zero, or entries of standard deviation ``shift``, (D, D, D)."""
        size = len(self.s)
        drawn = torch.randn(size, size, generator=stream(seed, "mean of the start"), dtype=torch.float64)
        return (shift * drawn).expand(size, size, size)


def measured_rates(problem: LinearProblem, theta: Tensor, steps: int) -> Tensor:
    """Rates of all entries of the error, from its change in the step after so many, (D, D, D); infinite where unseen.

    A step multiplies an entry of rate r by 1 - 2ηr. The slowest of those seen decides how fast the whole fades.
    """
    begun = problem.errors(theta).abs().amax((1, 2), keepdim=True)
    theta = problem.descended(theta, steps)
    before, after = problem.errors(theta), problem.errors(problem.descended(theta, 1))
    rates = (1 - after / before) / (2 * problem.learning_rate)
    return torch.where(before.abs() > _SEEN * begun, rates, math.inf)


def times_to(problem: LinearProblem, tolerance: float, stride: int = 10, most: int = 200_000) -> tuple[Tensor, Tensor]:
    """Times 2ηk until the whole error, and its part u_iᵀ E u_i along the data, are a share of the start's, (D,) each.

    Infinite where ``most`` steps do not suffice; between looks, every ``stride`` steps, the decay is geometric.
    """
    theta = problem.start()
    begun = torch.stack(_sizes(problem, theta))
    before, times = torch.ones_like(begun), torch.full_like(begun, math.inf)
    for k in range(stride, most + 1, stride):
        theta = problem.descended(theta, stride)
        left = torch.stack(_sizes(problem, theta)) / begun
        reached = (left <= tolerance) & times.isinf()
        share = (before / tolerance).log() / (before / left).log()
        times = torch.where(reached, 2 * problem.learning_rate * (k - stride + stride * share), times)
        before = left
        if bool(times.isfinite().all()):
            break
    return times[0], times[1]


def _sizes(problem: LinearProblem, theta: Tensor) -> tuple[Tensor, Tensor]:
    errors = problem.errors(theta)
    index = torch.arange(len(errors))
    return errors.flatten(1).norm(dim=1), errors[index, index, index].abs()


def gradient_traces(problem: LinearProblem, draws: int, seed: int, target: str = "score") -> tuple[Tensor, Tensor]:
    """Trace of the covariance of one example's ∇_Θ, and of Φ∇_Θ, at the optimum, from draws, (D,) each.

    The mean gradient is zero there. An example's is the outer product 2Φᵀ r qᵀ with the residual r of its target:
    r = Ω q + Σ⁻¹ε/σ for the ``score``, r = Ω q - ε for ``epsilon``, each with its own optimal Ω.
    """
    found = []
    for i in range(len(problem.s)):
        q, eps = _examples(problem, i, draws, stream(seed, "examples at the optimum", i))
        residual = _residual(problem, i, q, eps, target)
        pulled = residual @ problem.features
        energy = 4 * q.square().sum(1)
        seen = (pulled @ problem.features.T).square().sum(1)
        found.append(torch.stack([(energy * pulled.square().sum(1)).mean(), (energy * seen).mean()]))
    theta, function = torch.stack(found, 1)
    return theta, function


def _examples(problem: LinearProblem, i: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Examples q and their ε, (count, D) each."""
    xi = torch.randn(count, len(problem.s) + 1, generator=generator, dtype=torch.float64)
    eps = (xi[:, 1:] * problem.s.sqrt()) @ problem.basis.T
    return xi[:, :1] * problem.basis[:, i] + problem.sigma * eps, eps


def _residual(problem: LinearProblem, i: int, q: Tensor, eps: Tensor, target: str) -> Tensor:
    if target == "score":
        return q @ problem.optimum[i].T + (eps @ problem.basis / problem.s) @ problem.basis.T / problem.sigma
    noise = (problem.basis * problem.s) @ problem.basis.T
    return -problem.sigma * q @ problem.optimum[i] @ noise - eps


def stationary_errors(
    problem: LinearProblem, directions: list[int], rate: float, chains: int, seed: int, relaxations: tuple[int, int]
) -> Tensor:
    """E‖Ω - Ω*‖_F² of SGD on single examples, averaged over chains and time, for white noise, (K,).

    Args:
        problem: The model.
        directions: Of the data, K of them.
        rate: The learning rate η.
        chains: For every direction, all begun at the optimum.
        seed: Of the examples.
        relaxations: How often the slowest error may relax before and while it is averaged.
    """
    chosen, size = torch.tensor(directions), len(problem.s)
    optimum = problem.optimum[chosen, None]
    omega = optimum.repeat(1, chains, 1, 1)
    pull = 2 * rate * problem.features @ problem.features.T
    relaxation = 1 / (4 * rate * problem.sigma**2 * float(problem.eigenvalues[chosen].min()))
    burn, kept = (math.ceil(each * relaxation) for each in relaxations)
    generator = stream(seed, "stationary examples")
    total = torch.zeros(len(directions), dtype=torch.float64)
    for k in range(burn + kept):
        xi = torch.randn(len(directions), chains, size + 1, generator=generator, dtype=torch.float64)
        q = xi[..., :1] * problem.basis[:, chosen].T[:, None] + problem.sigma * xi[..., 1:]
        residual = (omega @ q[..., None]).squeeze(-1) + xi[..., 1:] / problem.sigma
        omega -= (residual @ pull)[..., None] * q[..., None, :]
        if k >= burn:
            total += (omega - optimum).square().sum((2, 3)).mean(1)
    return total / kept


def stationary_closed_form(problem: LinearProblem, directions: list[int], rate: float) -> Tensor:
    """The same at any learning rate that is stable, to leading order η λ_i D / (σ²(1+σ²)) (MATH A4), (K,).

    Only the row i of the error is excited. Its second moment is diagonal along the axes of B, with entries m_k that
    solve m_k = c (V + T)/(2 - 2 c b_k), c = 2ηλ_i, V = 1/(σ²(1+σ²)), T = Σ m_k b_k, by the fourth moments of q.
    """
    found = []
    for i in directions:
        c = 2 * rate * float(problem.eigenvalues[i])
        b = torch.full_like(problem.s, problem.sigma**2)
        b[i] += 1
        share = c / (2 - 2 * c * b)
        variance = 1 / (problem.sigma**2 * (1 + problem.sigma**2))
        found.append(float(share.sum()) * variance / (1 - float((share * b).sum())))
    return torch.tensor(found, dtype=torch.float64)
