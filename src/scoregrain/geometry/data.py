"""The second moment of data as a geometry with its own error (MATH A5: M, uncentred)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.geometry.core import MAX_SIZE, Geometry
from scoregrain.geometry.moments import GROUP_BYTES, Group, Moments
from scoregrain.geometry.sketch import DEFAULT_RANK, Sketch, make_sketch
from scoregrain.geometry.spectrum import MIN_GROUPS, gram_dual
from scoregrain.geometry.structure import DenseStructure

MAX_GROUPS = 64
FEW = 1024  # images whose leading directions come exactly from their Gram matrix
_BLOCK = 1024  # images in float64 at a time


def data_geometry(images: Any, *, name: str = "data", centred: bool = False, rank: int | str | None = None) -> Geometry:
    """Second moment ``M = (1/N) Σ x xᵀ`` of images, uncentred as in MATH A5, with its sampling error.

    Images are dealt to groups in a fixed random order, so that the error is that of independent images also for sets
    that are sorted.

    Args:
        images: ``(N, C, *space)`` tensor or array, or an object with such a tensor as ``.pixels``.
        name: recorded in ``geometry.info``.
        centred: remove the mean image first: M is then the covariance ``(1/(N-1)) Σ (x-μ)(x-μ)ᵀ``.
        rank: only so many leading directions, or ``"all"``; all up to D = 4096 by default, 64 beyond.

    Raises:
        InvalidInputError: wrong number of dimensions, fewer than two images, values that are integers or not finite,
            or a rank that does not fit.
    """
    x = torch.as_tensor(getattr(images, "pixels", images))
    if not 3 <= x.ndim <= 5 or len(x) < 2:
        raise InvalidInputError(
            f"images have shape {tuple(x.shape)}, expected (N, C, *space) with at least two of them"
        )
    if not x.is_floating_point():
        raise InvalidInputError(
            f"the images are {str(x.dtype).removeprefix('torch.')}, expected floats in [-1, 1]: load_images scales "
            "them; for pixels of 0 to 255, images / 127.5 - 1"
        )
    if not torch.isfinite(x).all():
        raise InvalidInputError("the images contain NaN or infinite values")
    rows = x.flatten(1)
    mean = rows.mean(dim=0, dtype=torch.float64) if centred else torch.zeros(rows.shape[1], dtype=torch.float64)
    structure = DenseStructure(tuple(x.shape[1:]))
    sketch = _sketch(rows, mean, structure, rank)
    entries = structure.size**2 if sketch is None else sketch.omega.numel()
    groups = min(max(MIN_GROUPS, min(MAX_GROUPS, GROUP_BYTES // (8 * entries))), len(x))
    scale = len(x) / (len(x) - 1) if centred else 1.0
    moments, start = Moments(), 0
    order = torch.randperm(len(x), generator=stream(0, "data-groups"))
    for j in range(groups):
        part = order[j::groups]
        moments.groups.append(Group(start, start + len(part), scale * _total(rows[part], mean, sketch)))
        start += len(part)
    info = {"data": name, "images": len(x), "centred": centred, "torch": torch.__version__}
    return Geometry("data", structure, moments, sketch=sketch, info=info)


def _sketch(rows: Tensor, mean: Tensor, structure: DenseStructure, rank: int | str | None) -> Sketch | None:
    """The test matrix for large images, chosen by the images themselves; None where M is summed whole."""
    if rank is None:
        rank = "all" if structure.size <= MAX_SIZE else DEFAULT_RANK
    if rank == "all" and structure.size <= MAX_SIZE:
        return None
    if not isinstance(rank, int):
        raise InvalidInputError(
            f"rank is '{rank}', expected a number of leading directions; all of them fit up to D = {MAX_SIZE}"
        )

    def product(omega: Tensor, _: int) -> Tensor:
        return sum((b.T @ (b @ omega) for b in _blocks(rows, mean)), torch.zeros_like(omega))

    few = 1 < len(rows) <= min(FEW, structure.size)
    start = gram_dual(rows.double() - mean)[1] if few and bool((rows != mean).any()) else None
    return make_sketch(structure, None, rank, product, start)


def _total(rows: Tensor, mean: Tensor, sketch: Sketch | None) -> Tensor:
    """``Σ x xᵀ`` of one group, or its sketch."""
    if sketch is None:
        centred = rows.double() - mean
        return centred.T @ centred
    omega, trace = sketch.omega, 0.0
    product = torch.zeros_like(omega)
    for block in _blocks(rows, mean):
        product += block.T @ (block @ omega)
        trace += float(block.square().sum())
    return sketch.pack(product, trace)


def _blocks(rows: Tensor, mean: Tensor) -> Iterator[Tensor]:
    """Centred images in float64, a block at a time."""
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK].double() - mean


def mean_image(images: Any) -> Tensor:
    """Mean of images ``(N, C, *space)``, float64 ``(C, *space)``."""
    return torch.as_tensor(getattr(images, "pixels", images)).mean(dim=0, dtype=torch.float64)
