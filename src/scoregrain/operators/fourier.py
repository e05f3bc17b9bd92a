"""An operator that is diagonal in the Fourier basis: stationary on the periodic grid (MATH B1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scoregrain.operators._spectrum import Constant, SpectralFunction, check_values
from scoregrain.operators.base import Operator
from scoregrain.operators.frequency import FrequencyGrid


class FourierOperator(Operator):
    """F⁻¹ diag(p) F on every channel, F the unitary DFT over ``*space``: the noise of power p(k), w² of MATH B1.

    Applied by ``rfftn`` and ``irfftn``, of any size, odd ones too. A power of exactly zero is outside the support
    and nothing else is: gains are formulas, not measurements, and may span more than ``NULL_TOLERANCE``.

    Args:
        shape: (C, *space).
        power: p, the full plane (*space) in FFT layout, even, non-negative.

    Raises:
        InvalidInputError: When the plane has another shape, or is not finite, non-negative and even.

    Example:
        >>> import torch
        >>> ring = FourierOperator((1, 4), torch.tensor([4.0, 1.0, 0.0, 1.0]))
        >>> ring.to_dense()[0]
        tensor([1.5000, 1.0000, 0.5000, 1.0000], dtype=torch.float64)
    """

    def __init__(self, shape: Sequence[int], power: Tensor) -> None:
        super().__init__(shape)
        self.grid = FrequencyGrid(self.shape[1:])
        self.power = self.grid.check_even(check_values(power.reshape(-1)).reshape(power.shape))
        self._half = Constant(self.grid.half(self.power))
        first = self.power.flatten()[0]
        self._white = first.item() if bool((self.power == first).all()) else None

    def _matmul(self, x: Tensor) -> Tensor:
        if self._white is not None:  # nothing to transform, and white noise is what was drawn, bit for bit
            return self._white * x
        return self._filter(self._half.like(x), x)

    def _apply(self, f: SpectralFunction, x: Tensor) -> Tensor:
        return self._filter(f(self._half.value).to(x), x)

    def _filter(self, gains: Tensor, x: Tensor) -> Tensor:
        space = self.shape[1:]
        axes = tuple(range(-len(space), 0))
        spectrum = torch.fft.rfftn(x.reshape(*x.shape[:-1], *self.shape), dim=axes)
        spectrum.mul_(gains)  # in place and real: a third of the cost of a complex product
        planes: Tensor = torch.fft.irfftn(spectrum, s=space, dim=axes)
        return planes.flatten(-len(self.shape))

    def _eigenvalues(self) -> Tensor:
        return self.power.reshape(-1).repeat(self.shape[0])

    def _cutoff(self) -> float:
        return 0.0

    def _on_support(self, f: SpectralFunction) -> FourierOperator:
        return FourierOperator(self.shape, torch.where(self.power > 0, f(self.power), 0.0))
