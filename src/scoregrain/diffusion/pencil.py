"""Two covariances diagonal at once: c²S + s²Σ at every level from one decomposition (MATH B5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain.operators import Operator


@dataclass(frozen=True)
class CovariancePencil:
    """S = B diag(p) Bᵀ and Σ = B diag(q) Bᵀ, either of them singular or not; float64.

    Levels (c, s) come as (N, 1), arrays as (N, D), coordinates along the r columns of B as (N, r).

    Attributes:
        basis: B, (D, r), its columns span the range of S + Σ.
        dual: B⁺, (r, D).
        data: p, (r,), descending; exactly zero off the range of S.
        noise: q, (r,), exactly zero off the range of Σ.
        log_volumes: log pdet(c²S + s²Σ) less the logarithms of its variances above zero: for s = 0, for c = 0 and
            for both above zero, (3,).
    """

    basis: Tensor
    dual: Tensor
    data: Tensor
    noise: Tensor
    log_volumes: Tensor

    @classmethod
    @torch.inference_mode(False)  # what is kept must serve gradients later on
    def of(cls, data: Operator, noise: Operator) -> CovariancePencil:
        """Diagonalise S, then Σ, in the coordinates that whiten their sum: there they share eigenvectors."""
        root = data.sqrt().to_dense()  # without the rounding outside the support
        scale = noise.trace() / data.trace() if data.rank() else 1.0  # neither drowns in the other's rounding
        values, vectors = torch.linalg.eigh(scale * root @ root + noise.to_dense())
        kept = values > values[-1] * data.size * torch.finfo(values.dtype).eps
        values, vectors = values[kept], vectors[:, kept]
        whitened = root @ (vectors / values.sqrt())
        shares, turn = torch.linalg.eigh(scale * whitened.T @ whitened)
        shares, turn = shares.flip(0).clamp(0.0, 1.0), turn.flip(1)
        # The ranks are known: no rounding may stand for a variance where there is none.
        off_noise, on_data = len(shares) - noise.rank(), data.rank()
        shares[:off_noise], shares[on_data:] = 1.0, 0.0
        p, q = shares / scale, 1 - shares
        volumes = (data.log_det() - p[:on_data].log().sum(), noise.log_det() - q[off_noise:].log().sum())
        return cls(
            vectors * values.sqrt() @ turn,
            (vectors / values.sqrt() @ turn).T,
            p,
            q,
            torch.stack([*volumes, values.log().sum()]),
        )

    @torch.inference_mode(False)
    def to(self, device: torch.device) -> CovariancePencil:
        """Return the same on another device."""
        tensors = (self.basis, self.dual, self.data, self.noise, self.log_volumes)
        return CovariancePencil(*(tensor.to(device) for tensor in tensors))

    def variances(self, c: Tensor | float, s: Tensor | float) -> Tensor:
        """Return c²p + s²q, (N, r), or (r,) at one level."""
        return c**2 * self.data + s**2 * self.noise

    def precisions(self, c: Tensor, s: Tensor) -> Tensor:
        """Return 1/(c²p + s²q), (N, r), zero where the variance is."""
        variances = self.variances(c, s)
        return torch.where(variances > 0, 1 / variances, 0.0)

    def log_density(self, z: Tensor, c: Tensor, s: Tensor) -> Tensor:
        """Return log N(x; 0, c²S + s²Σ) in nats, (N,), on its support, from the coordinates z = B⁺x, (N, r)."""
        variances = self.variances(c, s)
        on = variances > 0
        constants = torch.where(on, 2 * math.pi * variances, 1.0).log()
        only_data, only_noise, both = self.log_volumes
        volume = torch.where(s == 0, only_data, torch.where(c == 0, only_noise, both)).squeeze(1)
        return -0.5 * ((constants + self.precisions(c, s) * z**2).sum(1) + volume)
