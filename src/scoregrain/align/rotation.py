"""Rotations of the data: applied, undone, wrapped around a network, saved and loaded (MATH A5)."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scoregrain._errors import InvalidInputError
from scoregrain.geometry.core import MAX_SIZE

if TYPE_CHECKING:
    from scoregrain.align.wrapper import RotatedModel

MODES = ("minimize", "maximize")


@dataclass(frozen=True, eq=False)
class Rotation:
    """An orthogonal map W of the data; white noise and the distances between images are left as they are.

    Dense, ``W`` itself, or of low rank, ``W x = x + Q (W_c - I) Qᵀ x`` with orthonormal Q: O(D k) for each array, and
    the identity orthogonal to Q (MATH A5, "Low rank").

    Attributes:
        core: W, float64 ``(D, D)``, acting on arrays flattened row-major over ``(C, *space)``; or W_c ``(k, k)``.
        shape: ``(C, *space)``.
        mode: ``minimize`` or ``maximize``: what W does to the alignment.
        basis: Q, float64 ``(D, k)``; None when dense.
        rank: how many leading directions of the data W moves to where they belong; None when dense.

    Raises:
        InvalidInputError: a matrix has not the size of the shape.
    """

    core: Tensor
    shape: tuple[int, ...]
    mode: str
    basis: Tensor | None = None
    rank: int | None = None

    def __post_init__(self) -> None:
        size, columns = math.prod(self.shape), len(self.core)
        if self.basis is not None and tuple(self.basis.shape) != (size, columns):
            raise InvalidInputError(
                f"a rotation of arrays {self.shape} needs a basis ({size}, {columns}), got {tuple(self.basis.shape)}"
            )
        side = size if self.basis is None else columns
        if tuple(self.core.shape) != (side, side):
            raise InvalidInputError(
                f"a rotation of arrays {self.shape} needs a matrix ({side}, {side}), got {tuple(self.core.shape)}"
            )

    def __repr__(self) -> str:
        rank = "" if self.rank is None else f", rank={self.rank}"
        return f"Rotation(shape={self.shape}, mode={self.mode!r}{rank})"

    @property
    def size(self) -> int:
        """The dimension D."""
        return math.prod(self.shape)

    @property
    def matrix(self) -> Tensor:
        """W, float64 ``(D, D)``.

        Raises:
            InvalidInputError: a rotation of low rank beyond D = 4096; apply it instead.
        """
        if self.basis is None:
            return self.core
        if self.size > MAX_SIZE:
            raise InvalidInputError(
                f"the matrix of this rotation would be {self.size} × {self.size}: apply it to arrays, rotation(x)"
            )
        eye = torch.eye(len(self.core), dtype=torch.float64)
        return torch.eye(self.size, dtype=torch.float64) + self.basis @ (self.core - eye) @ self.basis.T

    @property
    def factors(self) -> tuple[Tensor, ...]:
        """``(W,)``, or ``(W_c - I, Q)``: what :func:`turn` needs."""
        if self.basis is None:
            return (self.core,)
        return self.core - torch.eye(len(self.core), dtype=self.core.dtype), self.basis

    def __call__(self, x: Tensor) -> Tensor:
        """Rotate arrays, ``z = W x``.

        Args:
            x: ``(..., C, *space)``, floating point.

        Returns:
            The same shape, dtype and device; half precision is rotated in float32.

        Raises:
            InvalidInputError: not a floating-point tensor of that shape.
        """
        return turn(x, self.shape, self.factors)

    def inverse(self, x: Tensor) -> Tensor:
        """Rotate back, ``x = Wᵀ z``; the rest is as in :meth:`__call__`.

        Generated arrays are mapped back by this before any metric (MATH A5).
        """
        return turn(x, self.shape, self.factors, back=True)

    def wrap(self, model: nn.Module) -> RotatedModel:
        """The network ``Wᵀ f(W x, t)``: trained and sampled on x as f would be on ``W x`` (MATH C5).

        Args:
            model: called as ``model(x, t, **kwargs)``; kept, not copied.

        Raises:
            InvalidInputError: the model is no ``nn.Module``.
        """
        from scoregrain.align.wrapper import RotatedModel

        return RotatedModel(model, self)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the rotation as a folder of ``config.json`` and ``rotation.safetensors``.

        Raises:
            InvalidInputError: the folder exists and ``overwrite`` is false, or it is no folder of ours.
            ScoregrainError: it cannot be written; nothing is left behind.
        """
        from scoregrain.align.storage import save_rotation

        return save_rotation(self, folder, overwrite=overwrite)

    @staticmethod
    def load(folder: str | os.PathLike[str]) -> Rotation:
        """Read a saved rotation.

        Raises:
            InvalidInputError: no such folder, or not a rotation of this format.
            ScoregrainError: a file is damaged, or the matrix in it is not orthogonal.
        """
        from scoregrain.align.storage import load_rotation

        return load_rotation(folder)


def turn(x: Tensor, shape: tuple[int, ...], factors: tuple[Tensor, ...], back: bool = False) -> Tensor:
    """Apply W, or ``Wᵀ``, to arrays ``(..., *shape)``; ``factors`` as in :attr:`Rotation.factors`."""
    space = len(shape)
    if not x.is_floating_point() or tuple(x.shape[-space:]) != shape:
        expected = ", ".join(map(str, shape))
        raise InvalidInputError(
            f"expected a floating-point array of shape (..., {expected}), got {x.dtype} {tuple(x.shape)}"
        )
    dtype = torch.promote_types(x.dtype, torch.float32)
    flat = x.reshape(*x.shape[:-space], math.prod(shape)).to(dtype)
    core, *basis = (factor.to(x.device, dtype) for factor in factors)
    right = core if back else core.T  # arrays are rows here
    # autocast would round the rotation to half precision behind the caller's back
    with torch.autocast(x.device.type, enabled=False):
        turned = flat + (flat @ basis[0] @ right) @ basis[0].T if basis else flat @ right
    return turned.reshape(x.shape).to(x.dtype)
