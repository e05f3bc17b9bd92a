"""Energy of samples along directions, such as the score anisotropy directions of a network (MATH A5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._arguments import check_kind
from scoregrain._errors import InvalidInputError
from scoregrain.metrics._projections import parts, unit_columns
from scoregrain.metrics._samples import as_rows

_BLOCK = 4096  # samples projected at a time


@dataclass(frozen=True, eq=False)
class EnergyRatio:
    """Energy of one set of samples over that of another, along the same directions.

    Attributes:
        value: The ratio along each direction, float64 (K,); inf where the other set alone has none, nan where
            neither has any.
        error: Its standard error, (K,).
    """

    value: Tensor
    error: Tensor


@dataclass(frozen=True, eq=False)
class DirectionalEnergy:
    """Mean squared coordinate of samples along each of K directions.

    Attributes:
        value: E (u_k·x)², float64 (K,), in the squared units of the samples.
        error: Its standard error over the samples, (K,).
        relative: ``value`` over the mean of all D directions, E ‖x‖² / D: 1 everywhere for isotropic samples, 0 for
            samples that are zero.
        relative_error: Standard error of that ratio, (K,).
        samples: Number of samples.
    """

    value: Tensor
    error: Tensor
    relative: Tensor
    relative_error: Tensor
    samples: int

    def ratio(self, other: DirectionalEnergy) -> EnergyRatio:
        """Compare with the energy of other, independent samples along the same directions: ``value / other.value``.

        Raises:
            InvalidInputError: The other energy is along another number of directions.
        """
        check_kind(other, DirectionalEnergy, "the other energy")
        if len(self.value) != len(other.value):
            raise InvalidInputError(
                f"energies along the same directions are compared, got {len(self.value)} and {len(other.value)} of them"
            )
        value = self.value / other.value
        error = torch.hypot(self.error, value * other.error) / other.value
        return EnergyRatio(value, error)


def energy_along(x: Tensor, directions: Tensor) -> DirectionalEnergy:
    """Measure the mean energy of samples along directions; nothing is centred. Sums are float64.

    Args:
        x: Samples (N, C, *space) or (N, D).
        directions: Unit vectors as columns (D, K), as ``geometry.eigenvectors`` are, or one, (D,).

    Raises:
        InvalidInputError: The samples are not finite or fewer than 2; the directions are no unit vectors of that size.

    Example:
        >>> energy = energy_along(torch.tensor([[3.0, 1.0], [3.0, -1.0]]), torch.eye(2))
        >>> energy.value.tolist(), energy.relative.tolist()
        ([9.0, 1.0], [1.8, 0.2])
    """
    rows = as_rows(x, "x")
    columns = unit_columns(directions, rows.shape[1]).to(rows.device)
    size = rows.shape[1]
    first, second, cross = torch.zeros(3, columns.shape[1], dtype=torch.float64, device=rows.device)
    total = total_squared = torch.zeros((), dtype=torch.float64, device=rows.device)
    for block in (part.double() for part in parts(rows, _BLOCK)):
        squares, norms = (block @ columns).square(), block.square().sum(1) / size
        first, second, cross = first + squares.sum(0), second + squares.square().sum(0), cross + norms @ squares
        total, total_squared = total + norms.sum(), total_squared + norms.square().sum()
    relative = torch.where(total > 0, first / total, 0.0)
    residual = second - 2 * relative * cross + relative.square() * total_squared
    relative_error = torch.where(total > 0, _error(residual, len(rows)) * len(rows) / total, 0.0)
    error = _error(second - first.square() / len(rows), len(rows))
    value, error, relative, relative_error = torch.stack([first / len(rows), error, relative, relative_error]).cpu()
    return DirectionalEnergy(value, error, relative, relative_error, len(rows))


def _error(deviations: Tensor, count: int) -> Tensor:
    """Standard error of a mean from the sum of squared deviations."""
    return (deviations.clamp_min(0) / (count - 1) / count).sqrt()
