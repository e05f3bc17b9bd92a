"""Checked spectral data: what every kind of operator is built from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream

NULL_TOLERANCE = 1e-10
"""An eigenvalue at most this fraction of the largest one counts as zero (MATH C3, null rule)."""

ROUNDING = 1e-6
"""Relative slack when input is checked: matrices may have been computed in float32."""

SpectralFunction = Callable[[Tensor], Tensor]
"""An elementwise function of eigenvalues; it gets float64 tensors of any shape."""


def constant(tensor: Tensor) -> Tensor:
    """Return a float64 copy on the CPU, outside any autograd graph.

    The copy keeps later in-place changes out; an ordinary tensor, even when made under
    ``torch.inference_mode``, can be used in training afterwards.
    """
    with torch.inference_mode(False):
        return tensor.to(device="cpu", dtype=torch.float64, copy=True).detach()


def check_values(values: Tensor, size: int | None = None) -> Tensor:
    """Return eigenvalues (k,) as a constant, rounding errors below zero clipped."""
    if values.ndim != 1 or (size is not None and len(values) != size):
        expected = "(k,)" if size is None else f"({size},)"
        raise InvalidInputError(f"eigenvalues must have shape {expected}, got {tuple(values.shape)}")
    values = constant(values)
    if not bool(values.isfinite().all()):
        raise InvalidInputError("eigenvalues must be finite, got NaN or infinity")
    largest = values.abs().max().item() if len(values) else 0.0
    if bool((values < -ROUNDING * largest).any()):
        raise InvalidInputError(
            f"the operator must be positive semi-definite, got an eigenvalue of {values.min():.3g}"
            f" beside a largest magnitude of {largest:.3g}"
        )
    return values.clamp(min=0.0)


def descending(values: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Sort eigenvalues (k,) from large to small and the columns of (D, k) with them."""
    values, order = values.sort(descending=True, stable=True)
    return values, vectors[:, order]


def psd_eigh(matrix: Tensor, size: int | None = None) -> tuple[Tensor, Tensor]:
    """Return eigenvalues (n,), descending, and eigenvectors (n, n) of a symmetric PSD matrix.

    Args:
        matrix: (n, n), n at least 1.
        size: The n expected; None takes any.

    Raises:
        InvalidInputError: When the matrix has another shape or is not finite, symmetric and PSD up to
            ``ROUNDING``.
    """
    n = matrix.shape[0] if size is None and matrix.ndim else size
    if not n or tuple(matrix.shape) != (n, n):
        expected = "square" if size is None else f"of shape ({size}, {size})"
        raise InvalidInputError(f"the matrix must be {expected}, got shape {tuple(matrix.shape)}")
    matrix = constant(matrix)
    if not bool(matrix.isfinite().all()):
        raise InvalidInputError("the matrix must be finite, got NaN or infinity")
    asymmetry = (matrix - matrix.T).abs().max().item()
    if asymmetry > ROUNDING * matrix.abs().max().item():
        raise InvalidInputError(
            f"the matrix must be symmetric, got entries that differ from their mirror by {asymmetry:.3g}"
        )
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return check_values(values.flip(0)), vectors.flip(1)


def check_columns(matrix: Tensor, rows: int, columns: int) -> Tensor:
    """Return eigenvectors (rows, columns) as a constant after checking that the columns are orthonormal."""
    if tuple(matrix.shape) != (rows, columns):
        raise InvalidInputError(
            f"eigenvectors must be the columns of a ({rows}, {columns}) matrix, got {tuple(matrix.shape)}"
        )
    matrix = constant(matrix)
    # One Gaussian probe shows a bad length and a bad angle alike, without the k×k Gram matrix.
    probe = torch.randn(columns, generator=stream(0, "operators/orthonormal"), dtype=torch.float64, device="cpu")
    error = (matrix.T @ (matrix @ probe) - probe).abs()
    if not bool((error <= ROUNDING * rows**0.5).all()):
        raise InvalidInputError(f"eigenvectors must be orthonormal columns, got an error of {error.max():.3g}")
    return matrix


class Constant:
    """A float64 tensor that does not change, eigenvectors or gains, with the cast last used."""

    def __init__(self, value: Tensor) -> None:
        self.value = value
        self._cast = value

    def like(self, x: Tensor) -> Tensor:
        """Return the tensor in the dtype and on the device of ``x``."""
        cast = self._cast  # read once: another thread may ask for another dtype meanwhile
        if cast.dtype != x.dtype or cast.device != x.device:
            # Kept, since a training loop asks for the same cast at every step.
            with torch.inference_mode(False):
                cast = self._cast = self.value.to(device=x.device, dtype=x.dtype)
        return cast

    def __reduce__(self) -> tuple[type[Constant], tuple[Tensor]]:
        """Leave the cast behind: the process that reads this may not have its device."""
        return Constant, (self.value,)


class SpectralFactor:
    """A PSD n×n matrix held as eigenvalues (n,), descending, and eigenvectors (n, n).

    ``size`` is the n expected; None takes it from the eigenvalues.
    """

    def __init__(self, eigenvalues: Tensor, eigenvectors: Tensor, size: int | None = None) -> None:
        values = check_values(eigenvalues, size)
        self.size = len(values)
        self.values, vectors = descending(values, check_columns(eigenvectors, self.size, self.size))
        self.basis = Constant(vectors)

    def apply(self, f: SpectralFunction, x: Tensor) -> Tensor:
        """Return f(matrix) x along the last axis of ``x`` (..., n)."""
        basis = self.basis.like(x)
        return (x @ basis * f(self.values).to(x)) @ basis.T
