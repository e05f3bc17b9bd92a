"""The base class of all operators: symmetric PSD maps on arrays of shape (C, *space)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from operator import mul

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.operators._spectrum import (
    NULL_TOLERANCE,
    SpectralFactor,
    SpectralFunction,
    check_values,
    descending,
    psd_eigh,
)


class Operator:
    """A symmetric positive semi-definite operator on arrays of shape (C, *space), D = C·prod(space).

    Arrays are flattened row-major, channel first (MATH 0). An operator is a constant: its tensors are float64
    on the CPU and are cast to the dtype and device of what they act on; gradients flow to ``x`` alone.

    To add a kind of operator, write ``_matmul`` and ``eigh``; or ``_apply`` alone when it is diagonal in a
    fast basis (and ``_eigenvalues`` where they are known without ``eigh``). They see flat (..., D) arrays,
    float32 or float64; the base class does everything else.

    Args:
        shape: (C, *space) with one to three space dimensions.

    Raises:
        InvalidInputError: When ``shape`` is not such a shape.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        if type(self) is Operator:
            raise TypeError("Operator is abstract: use one of its kinds")
        self.shape = check_shape(shape)
        self.size = math.prod(self.shape)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        fast = cls._apply is not Operator._apply
        plain = cls._matmul is not Operator._matmul and cls.eigh is not Operator.eigh
        if not (fast or plain):
            raise TypeError(f"{cls.__name__} must write _apply, or both _matmul and eigh")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape})"

    # What a kind of operator writes -------------------------------------------------------------------

    def _matmul(self, x: Tensor) -> Tensor:
        """Map ``x`` (..., D) to the operator times ``x``."""
        return self._apply(lambda values: values, x)

    def _apply(self, f: SpectralFunction, x: Tensor) -> Tensor:
        """Map ``x`` (..., D) to U f(λ) Uᵀ x."""
        return self._factor.apply(f, x)

    def _eigenvalues(self) -> Tensor:
        """Return the eigenvalues (D,) in any order."""
        return self.eigh()[0]

    def eigh(self) -> tuple[Tensor, Tensor]:
        """Return eigenvalues (D,), descending, and eigenvectors (D, D) as columns, both float64."""
        return psd_eigh(self.to_dense())

    # What every operator can do -----------------------------------------------------------------------

    def __matmul__(self, x: Tensor) -> Tensor:
        """Return the operator times ``x`` (..., C, *space): same shape, dtype and device.

        Raises:
            InvalidInputError: When ``x`` is not a floating-point tensor of that shape.
        """
        return self._act(self._matmul, x)

    def apply(self, f: SpectralFunction, x: Tensor) -> Tensor:
        """Return U f(λ) Uᵀ x for ``x`` (..., C, *space): same shape, dtype and device.

        Args:
            f: Elementwise function of float64 eigenvalues; it may see them in any shape and order.
            x: Floating-point tensor.

        Raises:
            InvalidInputError: When ``x`` is not a floating-point tensor of that shape.
        """
        return self._act(partial(self._apply, f), x)

    def quadratic(self, x: Tensor) -> Tensor:
        """Return xᵀ(operator)x, shape (...), for ``x`` (..., C, *space).

        Raises:
            InvalidInputError: When ``x`` is not a floating-point tensor of that shape.
        """
        flat = self._flatten(x)
        image = self._flatten(self @ flat.reshape(x.shape))
        return (flat * image).sum(-1).to(x.dtype)

    @cached_property
    def eigenvalues(self) -> Tensor:
        """The eigenvalues, float64 (D,), descending."""
        return check_values(self._eigenvalues(), self.size).sort(descending=True).values

    def trace(self) -> float:
        """Return the sum of the eigenvalues."""
        return self.eigenvalues.sum().item()

    def rank(self) -> int:
        """Return how many eigenvalues exceed ``NULL_TOLERANCE`` times the largest: the support (MATH C3)."""
        return int(self._support().sum())

    def log_det(self) -> float:
        """Return the sum of log λ over the support: the log-determinant, or the pseudo-determinant's."""
        return self.eigenvalues[self._support()].log().sum().item()

    def sqrt(self) -> Operator:
        """Return the symmetric square root; it has the operator's support."""
        # Without the cut, a null eigenvalue of 1e-16 would become 1e-8 and join the support of the root.
        return self._on_support(torch.sqrt)

    def pinv(self) -> Operator:
        """Return the pseudo-inverse: the inverse on the support, zero elsewhere."""
        return self._on_support(torch.reciprocal)

    def projector(self) -> Operator:
        """Return the orthogonal projector on the support."""
        return self._on_support(torch.ones_like)

    def scaled(self, factor: float) -> Operator:
        """Return ``factor`` > 0 times the operator; it has the operator's support."""
        return self._on_support(partial(mul, factor))

    def inverse(self) -> Operator:
        """Return the inverse.

        Raises:
            InvalidInputError: When an eigenvalue is outside the support; ``pinv`` is then what exists.
        """
        rank = self.rank()
        if rank < self.size:
            raise InvalidInputError(f"the operator is singular (rank {rank} of {self.size}): use pinv()")
        return self.pinv()

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw ``n`` Gaussian arrays (n, C, *space) with mean zero and this operator as covariance.

        Args:
            n: How many.
            generator: Draws on its own device: a CPU generator gives the same numbers on every device.
            dtype: Defaults to torch's default dtype.
            device: Defaults to the generator's device.

        Raises:
            InvalidInputError: When ``n`` is negative.
        """
        if n < 0:
            raise InvalidInputError(f"the number of samples must be at least 0, got {n}")
        source = device if generator is None else generator.device
        white = torch.randn(n, *self.shape, generator=generator, dtype=dtype, device=source)
        return self.sqrt() @ (white if device is None else white.to(device))

    def to_dense(self) -> Tensor:
        """Return the float64 (D, D) matrix."""
        return self._matmul(torch.eye(self.size, dtype=torch.float64, device="cpu"))

    # Shared steps -------------------------------------------------------------------------------------

    @cached_property
    def _factor(self) -> SpectralFactor:
        return SpectralFactor(*self.eigh(), size=self.size)

    def _cutoff(self) -> float:
        return NULL_TOLERANCE * self.eigenvalues[0].item()

    def _support(self) -> Tensor:
        return self.eigenvalues > self._cutoff()

    def _on_support(self, f: SpectralFunction) -> Operator:
        return FunctionOperator(self, partial(_cut, f, self._cutoff()), exact=True)

    def _act(self, act: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        flat = self._flatten(x)
        if x.numel() == 0:  # some fast transforms fail on empty batches
            return x.clone()
        # Autocast would run the products in half precision behind the caller's back.
        with torch.autocast(x.device.type, enabled=False):
            return act(flat).reshape(x.shape).to(x.dtype)

    def _flatten(self, x: Tensor) -> Tensor:
        """Check ``x`` and return it as (..., D), half precision raised to float32."""
        if not isinstance(x, Tensor) or not x.is_floating_point():
            kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise InvalidInputError(f"an operator acts on floating-point tensors, got {kind}")
        batch = x.ndim - len(self.shape)
        if batch < 0 or tuple(x.shape[batch:]) != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise InvalidInputError(f"expected an array of shape (..., {expected}), got {tuple(x.shape)}")
        flat = x.reshape(*x.shape[:batch], self.size)
        return flat.float() if flat.dtype.itemsize < 4 else flat


class FunctionOperator(Operator):
    """U f(λ) Uᵀ for another operator U diag(λ) Uᵀ; it keeps that operator's structure and speed.

    Args:
        operator: Gives the eigenvectors.
        f: Elementwise function of float64 eigenvalues, finite and non-negative on those of ``operator``.
        exact: Whether f gives formulas, not measurements: then a value of exactly zero is outside the support and
            nothing else is; otherwise ``NULL_TOLERANCE`` decides.

    Raises:
        InvalidInputError: When ``f`` does not give D finite non-negative numbers.

    Example:
        >>> import torch
        >>> from scoregrain.operators import DiagonalOperator, FunctionOperator
        >>> geometry = DiagonalOperator((1, 2), torch.tensor([4.0, 1.0]))
        >>> FunctionOperator(geometry, lambda values: 1 / values) @ torch.ones(1, 2)
        tensor([[0.2500, 1.0000]])
    """

    def __init__(self, operator: Operator, f: SpectralFunction, *, exact: bool = False) -> None:
        super().__init__(operator.shape)
        self._operator = operator
        self._f = f
        self._exact = exact
        self._mapped = check_values(f(operator.eigenvalues), self.size)

    def _apply(self, f: SpectralFunction, x: Tensor) -> Tensor:
        return self._operator._apply(lambda values: f(self._f(values)), x)

    def _eigenvalues(self) -> Tensor:
        return self._mapped

    def _cutoff(self) -> float:
        return 0.0 if self._exact else super()._cutoff()

    def eigh(self) -> tuple[Tensor, Tensor]:
        """Return eigenvalues (D,), descending, and eigenvectors (D, D) as columns, both float64."""
        values, vectors = self._operator.eigh()
        return descending(check_values(self._f(values)), vectors)


def _cut(f: SpectralFunction, cutoff: float, values: Tensor) -> Tensor:
    return torch.where(values > cutoff, f(values), 0.0)


def check_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return ``shape`` as a tuple after checking that it is (C, *space) with one to three space dimensions.

    Raises:
        InvalidInputError: When it is not.
    """
    shape = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    if not 2 <= len(shape) <= 4 or not all(isinstance(side, int) and side >= 1 for side in shape):
        raise InvalidInputError(
            f"shape must be (C, *space) with one to three space dimensions, all at least 1, got {shape}"
        )
    return shape
