"""The data's energy along the directions of a geometry (MATH A5: ``e_k = u_kᵀ M u_k``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain.geometry import Cluster, Geometry

MAX_BINS, RUNS = 256, 32
_BLOCK = 4096  # images projected at a time


@dataclass(frozen=True, eq=False)
class Energy:
    """Where the energy of data lies, along the eigenvectors of a network's geometry.

    Attributes:
        values: ``u_kᵀ M u_k`` of every known direction, ``(k,)``; of all D they sum to ``tr M``.
        span: least, mean and largest index of the directions of each bin, ``(3, b)``. A bin is a cluster, or several
            neighbouring ones where there are more than 256, or (without error bars) one of 32 equal runs of indices.
            Directions that are not known are the last bin.
        sizes: number of directions in each bin, ``(b,)``.
        relative: mean energy in each bin over the mean of all directions: 1 everywhere for isotropic data.
        errors: standard errors of ``relative`` from the images; the directions are taken as they are.
    """

    values: Tensor
    span: Tensor
    sizes: Tensor
    relative: Tensor
    errors: Tensor


def energies(pixels: Tensor, geometry: Geometry) -> tuple[Energy, Energy | None]:
    """Energy of images ``(N, C, *space)`` as they are, and with the mean image removed (None if nothing is left)."""
    rows = pixels.flatten(1)
    mean = rows.mean(dim=0, dtype=torch.float64)
    whole = _energy(rows, torch.zeros_like(mean), geometry, len(rows))
    varies = bool((rows != rows[0]).any())
    return whole, _energy(rows, mean, geometry, len(rows) - 1) if varies else None


def float64_blocks(rows: Tensor) -> Iterator[Tensor]:
    """Rows in float64, 4096 at a time."""
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK].double()


def _energy(rows: Tensor, centre: Tensor, geometry: Geometry, divisor: int) -> Energy:
    """Project the images block by block; a ratio of two means per bin, its error by linearisation."""
    vectors, size = geometry.eigenvectors, geometry.size
    labels = bin_labels(geometry.clusters, vectors.shape[1], size)
    sizes = labels.bincount().double()
    values = torch.zeros(vectors.shape[1], dtype=torch.float64)
    first, second, cross = (torch.zeros_like(sizes) for _ in range(3))
    norms = norms_squared = 0.0
    for block in float64_blocks(rows):
        squares = ((block - centre) @ vectors).square()
        whole = (block - centre).square().sum(dim=1)
        binned = squares.new_zeros(len(block), len(sizes)).index_add_(1, labels[: len(values)], squares)
        if len(values) < size:
            binned[:, -1] = whole - squares.sum(dim=1)
        binned, norm = binned / sizes, whole / size
        values += squares.sum(dim=0)
        first, second, cross = first + binned.sum(0), second + binned.square().sum(0), cross + norm @ binned
        norms, norms_squared = norms + float(norm.sum()), norms_squared + float(norm.square().sum())
    relative = first / norms
    residual = second - 2 * relative * cross + relative.square() * norms_squared
    errors = (residual.clamp_min(0) * len(rows) / (len(rows) - 1)).sqrt() / norms
    return Energy(values / divisor, _span(labels), sizes, relative, errors)


def _span(labels: Tensor) -> Tensor:
    """Least, mean and largest index of every label."""
    index = torch.arange(len(labels)).double()
    empty = index.new_zeros(int(labels.max()) + 1)
    kinds = ("amin", "mean", "amax")
    return torch.stack([empty.scatter_reduce(0, labels, index, kind, include_self=False) for kind in kinds])


def bin_labels(clusters: Sequence[Cluster], known: int, size: int) -> Tensor:
    """The bin of every direction: its cluster, neighbouring clusters joined until at most 256 bins are left.

    Below 16 groups nothing is known about clusters, and the bins are 32 equal runs of indices. Directions from
    ``known`` on, of ``size``, make one last bin.
    """
    labels = _known_labels(clusters, known)
    return torch.cat([labels, (labels.max() + 1).expand(size - known)])


def _known_labels(clusters: Sequence[Cluster], size: int) -> Tensor:
    """Bins of the directions that are known."""
    if clusters[0].overlap is None:
        return torch.arange(size) // -(-size // RUNS)
    labels = torch.empty(size, dtype=torch.long)
    per_bin = -(-size // MAX_BINS) if len(clusters) > MAX_BINS else 1
    current, filled = -1, per_bin
    for cluster in clusters:
        if filled >= per_bin:
            current, filled = current + 1, 0
        inside = [k for k in cluster.indices if k < size]
        labels[inside] = current
        filled += len(inside)
    return labels
