"""A model that is exactly right: a perfect network's answers for Gaussian data (MATH B5, B6, B12)."""

from __future__ import annotations

import torch
from torch import Tensor

from scoregrain._arguments import check_kind, whole
from scoregrain._errors import InvalidInputError
from scoregrain.diffusion.parameterization import target_coefficients
from scoregrain.diffusion.pencil import CovariancePencil
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.noise import draw_white
from scoregrain.operators import DenseOperator, Operator


class GaussianScore:
    """The exact model of data N(m, S) under any noise Σ, both singular or not, known at every noise level.

    E[x0|x_t] = m + c S (c²S + s²Σ)⁺(x_t - c m) and E[ε|x_t] = s Σ (c²S + s²Σ)⁺(x_t - c m). Called as f(x_t, t) it
    returns E[o|x_t] of the process's output o, whatever that is: it can be sampled, scored, trained against and
    integrated like a network. Its law is that of what the process noises: with ``omission="marginal"`` of Π x alone,
    mean Π m and covariance ΠSΠ, else of x, the omitted band given (MATH B12).

    Steps t are int64 (N,) or one for all, and -1, where allowed, is the clean end. One decomposition serves every
    level, O(D³); then each array costs O(D²). All is computed in float64.

    Args:
        mean: m, (C, *space); or (D,), which stands for (1, D) when S is a matrix.
        covariance: S, a (D, D) matrix or an operator on (C, *space); zero is a point mass.
        process: Levels, noise and the meaning of the output.

    Attributes:
        shape: (C, *space).
        process: As given.

    Raises:
        InvalidInputError: When a shape does not fit, m is not finite, S is not symmetric PSD, or the noise leaves a
            band out and the process does not say how that is meant.

    Example:
        >>> import torch
        >>> from scoregrain.diffusion.exact import GaussianScore
        >>> from scoregrain.diffusion.process import DiffusionProcess
        >>> from scoregrain.schedules import linear_schedule
        >>> process = DiffusionProcess(linear_schedule(1000), prediction="sample")
        >>> model = GaussianScore(torch.zeros(2), torch.tensor([[1.0, 0.0], [0.0, 0.0]]), process)
        >>> model(torch.ones(1, 1, 2), 0)
        tensor([[[0.9999, 0.0000]]])
    """

    def __init__(self, mean: Tensor, covariance: Tensor | Operator, process: DiffusionProcess) -> None:
        check_kind(process, DiffusionProcess, "process")
        data = _operator(mean, covariance)
        self.shape, self.process = data.shape, process
        process.check_shape(self.shape)
        centre = mean.detach().to("cpu", torch.float64, copy=True).reshape(self.shape)
        noise = process.noise.operator(self.shape)
        if process.omission == "marginal":
            projector = noise.projector()
            centre, part = projector @ centre, projector.to_dense()
            data = DenseOperator.from_matrix(self.shape, part @ data.to_dense() @ part)
        self._centre = centre.flatten()
        self._pencil = CovariancePencil.of(data, noise)
        self._pencils: dict[torch.device, CovariancePencil] = {}

    def __repr__(self) -> str:
        return f"GaussianScore(shape={self.shape}, {self.process})"

    def __call__(self, x_t: Tensor, t: Tensor | int) -> Tensor:
        """Return E[o | x_t], like ``x_t`` (N, C, *space).

        Raises:
            InvalidInputError: When ``x_t`` has another shape or a step is outside the schedule.
        """
        pencil, c, s, z = self._coordinates(x_t, t, first=0)
        a, b = target_coefficients(self.process.prediction, c, s)
        gain = (a * c * pencil.data + b * s * pencil.noise) * pencil.precisions(c, s)
        return (a * self._centre.to(z) + (gain * z) @ pencil.basis.T).reshape(x_t.shape).to(x_t.dtype)

    def mean(self, t: int = -1) -> Tensor:
        """Return E[x_t] = c m, float64 (C, *space)."""
        return (self.process.level(t)[0] * self._centre).reshape(self.shape)

    def covariance(self, t: int = -1) -> Tensor:
        """Return Cov(x_t) = c²S + s²Σ, float64 (D, D)."""
        basis = self._pencil.basis
        return (basis * self._pencil.variances(*self.process.level(t))) @ basis.T

    def score(self, x_t: Tensor, t: Tensor | int) -> Tensor:
        """Return ∇ log p_t = -(c²S + s²Σ)⁺(x_t - c m), like ``x_t`` (N, C, *space); t may be -1.

        Where Σ is singular ``process.score`` of this model is the part of it in the range of Σ.

        Raises:
            InvalidInputError: When ``x_t`` has another shape or a step is outside the schedule.
        """
        pencil, c, s, z = self._coordinates(x_t, t)
        return (-(pencil.precisions(c, s) * z) @ pencil.dual).reshape(x_t.shape).to(x_t.dtype)

    def log_prob(self, x_t: Tensor, t: Tensor | int = -1) -> Tensor:
        """Return log p_t in nats, float64 (N,), for ``x_t`` (N, C, *space).

        Where c²S + s²Σ is singular it is the density on its support, in which ``x_t`` is taken to lie.

        Raises:
            InvalidInputError: When ``x_t`` has another shape or a step is outside the schedule.
        """
        pencil, c, s, z = self._coordinates(x_t, t)
        return pencil.log_density(z, c, s)

    def sample(
        self,
        n: int,
        t: int = -1,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw ``n`` arrays x_t, (n, C, *space); clean data when t is left out.

        Args:
            n: How many.
            t: The step.
            generator: Draws on its own device: a CPU generator gives the same numbers on every device.
            dtype: Defaults to torch's default dtype.
            device: Defaults to the generator's device.

        Raises:
            InvalidInputError: When ``n`` is negative or t is outside the schedule.
        """
        n = whole(n, "the number of samples", least=0)
        c, s = self.process.level(t)
        xi = draw_white((n, len(self._pencil.data)), generator, torch.float64, device)
        pencil = self._on(xi.device)
        flat = c * self._centre.to(xi) + (pencil.variances(c, s).sqrt() * xi) @ pencil.basis.T
        return flat.reshape(n, *self.shape).to(dtype or torch.get_default_dtype())

    def _coordinates(
        self, x: Tensor, t: Tensor | int, first: int = -1
    ) -> tuple[CovariancePencil, Tensor, Tensor, Tensor]:
        """Return the pencil where ``x`` is, c and s, (N, 1), and the coordinates of x - c m, (N, r)."""
        check_kind(x, Tensor, "x_t")
        if tuple(x.shape[1:]) != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise InvalidInputError(f"the exact model knows arrays (N, {expected}), got {tuple(x.shape)}")
        flat, pencil = x.double().flatten(1), self._on(x.device)
        c, s = self.process.coefficients(self.process.steps(t, x, first), flat)
        return pencil, c, s, (flat - c * self._centre.to(flat)) @ pencil.dual.T

    def _on(self, device: torch.device) -> CovariancePencil:
        if device not in self._pencils:
            self._pencils[device] = self._pencil.to(device)
        return self._pencils[device]


def _operator(mean: Tensor, covariance: Tensor | Operator) -> Operator:
    """Return S as an operator, after checking that ``mean`` fits it."""
    check_kind(mean, Tensor, "mean")
    check_kind(covariance, Tensor | Operator, "covariance")
    if not bool(mean.isfinite().all()):
        raise InvalidInputError("the mean must be finite, got NaN or infinity")
    if not isinstance(covariance, Operator):
        shape = (1, *mean.shape) if mean.ndim == 1 else mean.shape
        covariance = DenseOperator.from_matrix(shape, covariance)
    if tuple(mean.shape) not in (covariance.shape, (covariance.size,)):
        raise InvalidInputError(f"the covariance acts on arrays {covariance.shape}, the mean has {tuple(mean.shape)}")
    return covariance
