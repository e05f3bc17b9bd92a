"""The one noise object that training, samplers, scores and diffusers schedulers share (MATH B1, B2, C5)."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from operator import index
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from scoregrain._errors import IllConditionedNoiseWarning, InvalidInputError, nearest
from scoregrain.noise.weight import Weight
from scoregrain.noise.weights import factors_of
from scoregrain.operators import (
    FourierOperator,
    FrequencyGrid,
    FunctionOperator,
    Operator,
    OrthogonalMap,
    RotatedOperator,
)

NORMALIZATIONS = ("unit", "none")
WARN_CONDITION = 1e6
MAX_CONDITION = 1e12
MAX_SPACE = 3
_ROUNDING = 1 + 1e-9  # of a condition number that a weight bounds by one of these
GAINS = (1e-150, 1e150)
"""Where gains that are not zero must lie: their squares and sums of these are then numbers."""


@dataclass(frozen=True)
class _Law:
    """Σ for arrays of one shape, and what is made of it."""

    covariance: Operator
    root: Operator
    whitener: Operator
    precision: Operator
    projector: Operator
    full: bool


class ForwardNoise:
    """Gaussian noise ε = T ξ of covariance Σ = T Tᵀ, T = Σ^{1/2}: in Fourier space, any basis, or dense.

    A constant: it follows the dtype and the device of what it is given, draws nothing by itself and has no
    parameters. A noise made from a weight fits arrays of every size and keeps the gains of each it has seen; one made
    from an operator fits its shape. A gain of exactly zero omits its frequency; of operators that were measured or
    given as numbers, eigenvalues up to 1e-10 of the largest count as zero too (``operator.rank()``, MATH C3).

    Args:
        weight: The gain at every frequency, or an operator that gives Σ up to scale.
        normalize: ``unit``, E‖ε‖² = D as for white noise, so that only the colour changes; or ``none``, the gains as
            they are, which moves the signal-to-noise ratio of every step too (MATH B2).

    Raises:
        InvalidInputError: When ``normalize`` is unknown or ``weight`` is neither; for an operator also when it is
            zero or its condition number on its support exceeds 1e12. Weights are checked at the first use of each
            size: gains must be even, finite, non-negative and not all zero.

    Warns:
        IllConditionedNoiseWarning: When the condition number of Σ on its support exceeds 1e6.

    Example:
        >>> import scoregrain as sg
        >>> noise = sg.ForwardNoise(sg.PowerLaw(alpha=-0.06))
        >>> noise.sample((8, 1, 28, 28), generator=torch.Generator().manual_seed(0)).shape
        torch.Size([8, 1, 28, 28])
    """

    def __init__(self, weight: Weight | Operator, normalize: str = "unit") -> None:
        if not isinstance(weight, Weight | Operator):
            raise InvalidInputError(
                f"a noise is made from a Weight or an Operator (ForwardNoise.parse reads strings), got"
                f" {type(weight).__name__}"
            )
        if normalize not in NORMALIZATIONS:
            raise InvalidInputError(
                f"unknown normalisation '{normalize}'{nearest(normalize, NORMALIZATIONS)};"
                f" known: {', '.join(NORMALIZATIONS)}"
            )
        self.weight, self.normalize = weight, normalize
        self._laws: dict[tuple[int, ...], _Law] = {}
        if isinstance(weight, Operator):
            self._law(weight.shape)

    # Other ways to make one ---------------------------------------------------------------------------

    @staticmethod
    def of(noise: ForwardNoise | Weight | Operator | str) -> ForwardNoise:
        """Return a noise as it is; of a weight, an operator or a string, the noise it makes under ``unit``.

        Raises:
            InvalidInputError: When it is none of them, or as :meth:`parse`.
        """
        if isinstance(noise, ForwardNoise):
            return noise
        return ForwardNoise.parse(noise) if isinstance(noise, str) else ForwardNoise(noise)

    @classmethod
    def parse(cls, text: str | os.PathLike[str]) -> ForwardNoise:
        """Return the noise a string describes, such as ``power-law:alpha=-0.06,dc=floor`` (``str`` gives it back).

        Args:
            text: ``NAME:key=value,…``, several joined by ``*``, with ``normalize=unit|none`` among the keys. The
                folder of a saved noise, which starts with ``.`` or ``/``, stands for it, alone or as a factor.

        Raises:
            InvalidInputError: When a name, a key or a value is not known; the message gives the nearest word.
        """
        from scoregrain.noise.parsing import parse_noise

        return parse_noise(text)

    @classmethod
    def in_basis(cls, operator: Operator, gamma: float, max_condition: float = 1e4) -> ForwardNoise:
        """Return the noise of variance s ∝ λ^-γ along the eigenvectors of an operator, mean s = 1 (MATH C5).

        For γ = 1 and the geometry of a linear network every gradient-descent rate off the data is equal (C5, a
        design rule proved for the linear model only); γ = 0 is white, γ < 0 puts the noise where λ is large.

        Args:
            operator: λ and its eigenvectors, such as ``geometry.operator``.
            gamma: γ, finite.
            max_condition: Bounds max s / min s: eigenvalues below λ_max · max_condition^(-1/|γ|), null ones too,
                count as that.

        Raises:
            InvalidInputError: When there is no operator, γ is not finite, the bound is not in (1, 1e12], or the
                operator is zero.
        """
        if not isinstance(operator, Operator):
            raise InvalidInputError(f"expected an Operator, such as geometry.operator, got {type(operator).__name__}")
        if not math.isfinite(gamma):
            raise InvalidInputError(f"gamma must be finite, got {gamma}")
        if not 1 < max_condition <= MAX_CONDITION:
            raise InvalidInputError(f"max_condition must lie between 1 and {MAX_CONDITION:g}, got {max_condition:g}")
        largest = operator.eigenvalues[0].item()
        if largest == 0:
            raise InvalidInputError("the operator is zero: it prefers no direction, use White()")
        return cls(FunctionOperator(operator, partial(_variances, largest, gamma, max_condition), exact=True))

    def rotated(self, rotation: OrthogonalMap) -> ForwardNoise:
        """Return the noise of covariance WᵀΣW: this one, seen after the rotation W (MATH C5).

        Training f on W x with this noise is training Wᵀf(W·) on x with the rotated one. White noise is unchanged.

        Raises:
            InvalidInputError: When the rotation is not one of arrays this noise fits.
        """
        return ForwardNoise(RotatedOperator(self.operator(rotation.shape), rotation), normalize="none")

    # The law ------------------------------------------------------------------------------------------

    def operator(self, shape: Sequence[int]) -> Operator:
        """Return Σ for arrays of ``shape`` = (C, *space).

        Raises:
            InvalidInputError: When the noise was not built for that shape.
        """
        return self._law(tuple(shape)).covariance

    def rank(self, shape: Sequence[int]) -> int:
        """Return the rank of Σ for arrays of ``shape`` = (C, *space): D unless a band is omitted."""
        return self.operator(shape).rank()

    def omits(self, shape: Sequence[int]) -> bool:
        """Return whether Σ is singular for arrays of ``shape`` = (C, *space), so that a part is never noised."""
        return not self._law(tuple(shape)).full

    def log_det(self, shape: Sequence[int]) -> float:
        """Return log det Σ for ``shape`` = (C, *space), over the full plane and the support (MATH B1)."""
        return self.operator(shape).log_det()

    def condition_number(self, shape: Sequence[int]) -> float:
        """Return the largest eigenvalue of Σ over the smallest on its support."""
        return _condition(self.operator(shape))

    # Acting on arrays (x.__matmul__(y) and not x @ y, which breaks compiled graphs) -------------------

    def sample(
        self,
        shape: Sequence[int],
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw T ξ; for white noise exactly what ``torch.randn`` with the same generator gives.

        Args:
            shape: (N, C, *space).
            generator: One generator, or one for each of the N arrays. It draws on its own device: a CPU
                generator gives the same numbers on every device.
            dtype: Defaults to torch's default dtype; half precision is shaped in float32.
            device: Defaults to the generator's device.

        Raises:
            InvalidInputError: When the noise was not built for that shape, or the generators are not N.
        """
        return self.colour(draw_white(shape, generator, dtype, device))

    def colour(self, xi: Tensor) -> Tensor:
        """Return T ξ for ``xi`` (N, C, *space): same shape, dtype and device."""
        return self._law_of(xi).root.__matmul__(xi)

    def whiten(self, eps: Tensor) -> Tensor:
        """Return T⁺ ε for ``eps`` (N, C, *space): ξ on the support, zero off it."""
        return self._law_of(eps).whitener.__matmul__(eps)

    def project(self, x: Tensor) -> Tensor:
        """Return Π x for ``x`` (N, C, *space), Π the projector on the support of Σ; x itself when that is all."""
        law = self._law_of(x)
        return x if law.full else law.projector.__matmul__(x)

    def precision(self, x: Tensor) -> Tensor:
        """Return Σ⁺ x for ``x`` (N, C, *space), float32 for half precision, which it would overflow (MATH B6)."""
        return self._law_of(x).precision.__matmul__(x.float() if x.dtype.itemsize < 4 else x)

    def mahalanobis(self, x: Tensor) -> Tensor:
        """Return xᵀΣ⁺x, float64 (N,), for ``x`` (N, C, *space)."""
        return self.whiten(x.double()).square().flatten(1).sum(1)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Return itself: a noise follows what it is given, so there is nothing to move."""
        return self

    # Identity and files -------------------------------------------------------------------------------

    def __str__(self) -> str:
        from scoregrain.noise.parsing import describe_noise

        return describe_noise(self)

    def __repr__(self) -> str:
        return f"ForwardNoise({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        # A string names its classes without their modules, so that two can share a name.
        return isinstance(other, ForwardNoise) and _classes(self) == _classes(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the noise as a folder of ``config.json`` and, where it has tensors, ``noise.safetensors``.

        Raises:
            InvalidInputError: When the folder exists and ``overwrite`` is false.
            ScoregrainError: When it cannot be written; nothing is left behind.
        """
        from scoregrain.noise.storage import save_noise

        return save_noise(self, folder, overwrite=overwrite)

    @staticmethod
    def load(folder: str | os.PathLike[str]) -> ForwardNoise:
        """Read a saved noise.

        Raises:
            InvalidInputError: When there is none of this format.
            ScoregrainError: When a file is damaged.
        """
        from scoregrain.noise.storage import load_noise

        return load_noise(folder)

    # Shared steps -------------------------------------------------------------------------------------

    def _law_of(self, x: Tensor) -> _Law:
        return self._law(tuple(index(side) for side in x.shape[1:]))  # numbers in compiled graphs of any size too

    def _law(self, shape: tuple[int, ...]) -> _Law:
        self._prepare(shape)
        return self._laws[shape]

    # A compiled graph finds the gains ready: no break, even the first time a size is seen.
    @torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
    def _prepare(self, shape: tuple[int, ...]) -> bool:
        if shape not in self._laws:
            with torch.device("cpu"):  # where gains live, whatever the default device is
                self._laws[shape] = self._build(shape)
        return True

    def _build(self, shape: tuple[int, ...]) -> _Law:
        covariance = self._covariance(shape)
        condition = _condition(covariance)
        if condition > MAX_CONDITION * _ROUNDING:
            raise InvalidInputError(
                f"the noise {self} has condition number {condition:.1e} for arrays {shape}, at most"
                f" {MAX_CONDITION:.0e} can be computed with: {self._weaker()}"
            )
        if condition > WARN_CONDITION * _ROUNDING:
            warnings.warn(
                f"the noise {self} has condition number {condition:.1e} for arrays {shape}: scores and likelihoods"
                " lose that many digits",
                IllConditionedNoiseWarning,
                stacklevel=4,
            )
        full = covariance.rank() == covariance.size
        root = covariance.sqrt()
        return _Law(covariance, root, root.pinv(), covariance.pinv(), covariance.projector(), full)

    def _weaker(self) -> str:
        """Say how to span fewer orders of magnitude."""
        constant = ", or dc=floor" if "dc=formula" in str(self) else ""  # written where it is not the default
        return f"let its gains span fewer orders of magnitude (use a smaller |alpha| or beta, a larger eps{constant})"

    def _covariance(self, shape: tuple[int, ...]) -> Operator:
        if not isinstance(self.weight, Operator):
            return self._fourier(self.weight, shape)
        if shape != self.weight.shape:
            raise InvalidInputError(
                f"this noise was built for arrays (N, {_listed(self.weight.shape)}), got (N, {_listed(shape)})"
            )
        return self.weight.scaled(self._scale(self.weight.trace() / self.weight.size, shape))

    def _fourier(self, weight: Weight, shape: tuple[int, ...]) -> Operator:
        if not 2 <= len(shape) <= 1 + MAX_SPACE:
            raise InvalidInputError(f"noise is drawn for arrays (N, C, *space), got {len(shape) + 1} dimensions")
        power = self._gains(weight, shape).square()
        return FourierOperator(shape, self._scale(power.mean().item(), shape) * power)

    def _gains(self, weight: Weight, shape: tuple[int, ...]) -> Tensor:
        grid = FrequencyGrid(shape[1:])
        gains = weight(grid)
        if not isinstance(gains, Tensor) or gains.is_complex():
            kind = gains.dtype if isinstance(gains, Tensor) else type(gains).__name__
            raise InvalidInputError(f"gains must be a real tensor, {self} returned {kind}")
        gains = gains.detach().to("cpu", torch.float64)
        if bool((gains < 0).any()):
            raise InvalidInputError(f"gains must be non-negative, those of {self} fall to {gains.min():.3g}")
        if not bool(((gains == 0) | (gains >= GAINS[0]) & (gains <= GAINS[1])).all()):
            raise InvalidInputError(
                f"the gains of {self} overflow or underflow for arrays {shape}, they must be 0 or lie between"
                f" {GAINS[0]:g} and {GAINS[1]:g}: {self._weaker()}"
            )
        return grid.check_even(gains)

    def _scale(self, mean: float, shape: tuple[int, ...]) -> float:
        """What multiplies a covariance of this mean variance."""
        if mean == 0:
            raise InvalidInputError(f"the noise {self} is zero at every frequency of arrays {shape}: nothing is noised")
        return 1 / mean if self.normalize == "unit" else 1.0


def draw_white(
    shape: Sequence[int],
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw ξ of ``shape`` (N, C, *space), one generator for all or one for each array (see ``ForwardNoise.sample``)."""
    if isinstance(generator, Sequence):
        if len(generator) != shape[0]:
            raise InvalidInputError(f"expected one generator or {shape[0]} of them, got {len(generator)}")
        return torch.cat([draw_white((1, *shape[1:]), each, dtype, device) for each in generator])
    if generator is None:  # without the keyword: compiled graphs of varying sizes refuse even None
        return torch.randn(*shape, dtype=dtype, device=device)
    white = torch.randn(*shape, generator=generator, dtype=dtype, device=generator.device)
    return white if device is None else white.to(device)


def _variances(largest: float, gamma: float, max_condition: float, values: Tensor) -> Tensor:
    """(λ/λ_max)^-γ within the condition number; null values, zero up to rounding, at its end."""
    return ((values.clamp(min=0.0) / largest) ** -gamma).clamp(1 / max_condition, max_condition)


def _classes(noise: ForwardNoise) -> list[type]:
    """The classes of a weight's factors; an operator is what its spectrum says, whatever its class."""
    return [] if isinstance(noise.weight, Operator) else [type(factor) for factor in factors_of(noise.weight)]


def _condition(operator: Operator) -> float:
    support = operator.eigenvalues[: operator.rank()]
    return (support[0] / support[-1]).item() if len(support) else 1.0


def _listed(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))
