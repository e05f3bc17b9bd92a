"""The second moment of data as a geometry with its own error (MATH A5: M, uncentred)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.geometry.core import Geometry
from scoregrain.geometry.moments import Group, Moments
from scoregrain.geometry.spectrum import MIN_GROUPS
from scoregrain.geometry.structure import DenseStructure

GROUP_BYTES = 2**28  # memory for the groups' matrices, as long as 16 remain


def data_geometry(images: Any, *, name: str = "data", centred: bool = False) -> Geometry:
    """Second moment ``M = (1/N) Σ x xᵀ`` of images, uncentred as in MATH A5, with its sampling error.

    Images are dealt to groups in a fixed random order, so that the error is that of independent images also for sets
    that are sorted.

    Args:
        images: ``(N, C, *space)`` tensor or array, or an object with such a tensor as ``.pixels``.
        name: recorded in ``geometry.info``.
        centred: remove the mean image first: M is then the covariance ``(1/(N-1)) Σ (x-μ)(x-μ)ᵀ``.

    Raises:
        InvalidInputError: wrong number of dimensions, fewer than two images, or values that are not finite.
    """
    x = torch.as_tensor(getattr(images, "pixels", images))
    if not 3 <= x.ndim <= 5 or len(x) < 2:
        raise InvalidInputError(
            f"images have shape {tuple(x.shape)}, expected (N, C, *space) with at least two of them"
        )
    if not torch.isfinite(x).all():
        raise InvalidInputError("the images contain NaN or infinite values")
    rows = x.flatten(1)
    size = rows.shape[1]
    mean = rows.mean(dim=0, dtype=torch.float64) if centred else torch.zeros(size, dtype=torch.float64)
    groups = min(max(MIN_GROUPS, min(64, GROUP_BYTES // (8 * size**2))), len(x))
    scale = len(x) / (len(x) - 1) if centred else 1.0
    moments = Moments()
    start = 0
    order = torch.randperm(len(x), generator=stream(0, "data-groups"))
    for j in range(groups):
        part = rows[order[j::groups]].double() - mean
        moments.groups.append(Group(start, start + len(part), scale * (part.T @ part)))
        start += len(part)
    info = {"data": name, "images": len(x), "centred": centred, "torch": torch.__version__}
    return Geometry("data", DenseStructure(tuple(x.shape[1:])), moments, info=info)


def mean_image(images: Any) -> Tensor:
    """Mean of images ``(N, C, *space)``, float64 ``(C, *space)``."""
    return torch.as_tensor(getattr(images, "pixels", images)).mean(dim=0, dtype=torch.float64)
