"""Standard errors of the ratios a report shows: the mean image's share, the effective rank."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from scoregrain.geometry import Geometry, mean_image
from scoregrain.geometry.spectrum import jackknife
from scoregrain.operators import Operator
from scoregrain.report.energy import float64_blocks

_SOME = 512  # images that stand for all where a ratio is formed once for each group of networks


def mean_share_error(share: float, natural: float, geometry: Geometry, data: Geometry, pixels: Tensor) -> float | None:
    """Standard error of ``μᵀGμ / tr(GM)``, from networks and images together, to first order.

    Args:
        share: the ratio itself.
        natural: ``tr(G M)``.
        geometry: G.
        data: M of the same images.
        pixels: the images, ``(N, C, *space)``.

    Returns:
        0 when the geometry is exact and all images are equal; None below 16 groups of networks or of images.
    """
    if not (geometry.has_errors and data.has_errors):
        return None
    mean = mean_image(pixels)
    networks = 0.0
    if geometry.sketch is not None:
        some = pixels[torch.linspace(0, len(pixels) - 1, min(_SOME, len(pixels))).long()].double()  # in no order
        networks = _delete_one(
            geometry, lambda g: float(g.operator.quadratic(mean) / g.operator.quadratic(some).mean())
        )
    elif not geometry.exact:
        parts = geometry.contract(torch.outer(mean.flatten(), mean.flatten()))
        networks = _ratio_error(parts, geometry.contract(data.matrix()), geometry.counts)
    return math.hypot(networks, _images_error(share, natural, geometry.operator, mean, pixels))


def _images_error(share: float, natural: float, g: Operator, mean: Tensor, pixels: Tensor) -> float:
    """Spread of every image's influence ``(2 (x-μ)ᵀGμ - s (xᵀGx - α)) / α`` on the share s."""
    turned = (g @ mean).flatten()
    influence = torch.cat(
        [2 * (x - mean).flatten(1) @ turned - share * (g.quadratic(x) - natural) for x in float64_blocks(pixels)]
    )
    return float((influence.square().mean() / (len(pixels) - 1)).sqrt()) / natural


def effective_rank_error(geometry: Geometry) -> float | None:
    """Standard error of ``tr G / λ_max``; 0 when exact, None below 16 groups."""
    if geometry.exact or not geometry.has_errors:
        return 0.0 if geometry.exact else None
    if geometry.sketch is not None:
        return _delete_one(geometry, lambda g: g.effective_rank)
    top = geometry.eigenvectors[:, 0]
    traces = geometry.contract(torch.eye(geometry.size, dtype=torch.float64))
    return _ratio_error(traces, geometry.contract(torch.outer(top, top)), geometry.counts)


def _delete_one(geometry: Geometry, statistic: Callable[[Geometry], float]) -> float:
    """Delete-one-group jackknife of any number."""
    without = [statistic(geometry.without(j)) for j in range(len(geometry.groups))]
    full, rows = (torch.tensor(v, dtype=torch.float64) for v in ([statistic(geometry)], [[w] for w in without]))
    return float(jackknife(full, rows, geometry.counts))


def _ratio_error(a: Tensor, b: Tensor, counts: Tensor) -> float:
    """Standard error of a ratio of two means, from the means ``(g,)`` of groups (linearised)."""
    n, denominator = counts.sum(), (counts @ b) / counts.sum()
    ratio = (counts @ a) / (counts @ b)
    variance = (counts * (a - ratio * b).square()).sum() / ((len(counts) - 1) * n)
    return float(variance.sqrt() / denominator)
