"""Gaussian data under any noise, densely: the perfect network, its probability flow, its laws (MATH B5, B8, D2)."""

from __future__ import annotations

import torch

# o as a function of E[x0|x], E[ε|x], c, s
OUTPUTS = {
    "epsilon": lambda x0, eps, c, s: eps,
    "v_prediction": lambda x0, eps, c, s: c * eps - s * x0,
    "sample": lambda x0, eps, c, s: x0,
    "edm": lambda x0, eps, c, s: x0,
    "flow": lambda x0, eps, c, s: eps - x0,
}


class DenseGaussian:
    """Data N(m, S) seen as x_t = c x0 + s ε, ε ~ N(0, Σ): all matrices (D, D), float64."""

    def __init__(self, process, data_covariance, noise_covariance, mean=None):
        self.c, self.s, self.prediction = process.signal, process.sigma, process.prediction
        self.S, self.Sigma = data_covariance, noise_covariance
        self.m = torch.zeros(len(data_covariance), dtype=torch.float64) if mean is None else mean
        self.precision = torch.linalg.pinv(self.covariance(slice(None)), rtol=1e-10, hermitian=True)

    def covariance(self, t):
        c, s = self.c[t][..., None, None], self.s[t][..., None, None]
        return c**2 * self.S + s**2 * self.Sigma

    def __call__(self, x, t):
        c, s = self.c[t][:, None], self.s[t][:, None]
        off = (self.precision[t] @ (x.flatten(1) - c * self.m)[:, :, None])[:, :, 0]
        x0, eps = self.m + c * (off @ self.S), s * (off @ self.Sigma)
        return OUTPUTS[self.prediction](x0, eps, c, s).reshape(x.shape)

    def flow(self, t, s):
        """The matrix of the exact probability flow from step t to step s (Σ of full rank, m = 0).

        With Σ = B Bᵀ and S = B diag(μ) Bᵀ each coordinate of B⁻¹x is a Gaussian of its own.
        """
        values, vectors = torch.linalg.eigh(self.Sigma)
        root = vectors * values.sqrt() @ vectors.T
        mu, V = torch.linalg.eigh(torch.linalg.solve(root, torch.linalg.solve(root, self.S).T))
        B = root @ V
        return B * (self._variance(mu, s) / self._variance(mu, t)).sqrt() @ torch.linalg.inv(B)

    def _variance(self, mu, t):
        return self.c[t] ** 2 * mu + self.s[t] ** 2
