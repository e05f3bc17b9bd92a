"""Alignment of the rotated data without the plug-in bias: chosen on one half, evaluated on the other (MATH A5, A6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain.align.alignment import check_alignable, rounded, times_chance
from scoregrain.align.optimum import find_rotation
from scoregrain.align.rotation import Rotation
from scoregrain.align.statistics import Deletions, image_deletions, natural, network_deletions
from scoregrain.geometry import Geometry

Part = tuple[Geometry, Geometry, Rotation]  # half of the networks, the data, and the rotation that the others chose


@dataclass(frozen=True, eq=False)
class CrossFit:
    """What an optimal rotation really does, estimated with other networks than those that chose it (MATH A5).

    With the Ĝ that chose Ŵ, α is biased in Ŵ's favour: ``E α_Ĝ(Ŵ_min) ≤ α_min ≤ α_G(Ŵ_min)``. ``value`` is unbiased
    for the last one, of a rotation chosen by half of the networks; ``rotation``, chosen by all of them, does slightly
    better.

    Attributes:
        rotation: Ŵ, chosen by all networks: the one to use.
        value: α_G(Ŵ), cross-fitted.
        plug_in: α of ``rotation`` with the networks that chose it; the minimum or maximum, unless of lower rank.
        haar_mean: ``tr(G) tr(M) / D``, what α is by chance.
        error: standard error of ``value``, from networks and images; 0 when both are exact, None when one of them has
            fewer than 16 groups.
        of_chance_error: standard error of :attr:`of_chance`.
        exact: the networks' geometry is exact, so that there is nothing to cross-fit.
    """

    rotation: Rotation
    value: float
    plug_in: float
    haar_mean: float
    error: float | None
    of_chance_error: float | None
    exact: bool

    @property
    def bias(self) -> float:
        """``plug_in - value``: in expectation not positive for ``minimize``, not negative for ``maximize``."""
        return self.plug_in - self.value

    @property
    def of_chance(self) -> float:
        """``value / haar_mean``."""
        return self.value / self.haar_mean

    @property
    def plug_in_of_chance(self) -> float:
        """``plug_in / haar_mean``."""
        return self.plug_in / self.haar_mean

    @property
    def bias_of_chance(self) -> float:
        """``bias / haar_mean``."""
        return self.bias / self.haar_mean

    def headline(self) -> str:
        """The result as one sentence."""
        value = times_chance(self.of_chance, self.of_chance_error)
        plug_in = rounded(self.plug_in_of_chance, 3)
        biased = "" if self.exact else f", cross-fitted ({plug_in} with the very networks that chose the rotation)"
        return f"rotated to {self.rotation.mode} alignment: {value}{biased}"


def cross_fit(geometry: Geometry, data: Geometry, mode: str = "minimize", rank: int | None = None) -> CrossFit:
    """Estimate α of the optimal rotation without the "winner's curse" of choosing it on the same networks (MATH A5).

    The networks' groups are dealt to two halves. Each half chooses a rotation W for the other; group j of one half,
    ``X_j``, contributes ``tr(X_j W M Wᵀ)`` with the other half's W, and ``value`` is the count-weighted mean of these.
    Given the other half they are independent with mean ``α_G(W)``, hence no bias.

    Standard error: with W₁, W₂ held fixed the value is linear in the groups, and the delete-one-group jackknife over
    all of them is its error. What this leaves out is the covariance of the two halves' means through each other's
    rotation, a product of two second-order terms: O(1/N²) beside a variance of O(1/N). Images add the jackknife over
    their groups.

    Only the networks are cross-fitted: the images that chose W bias it in the same way, which matters when they are
    few. An exact geometry has no bias: both values are equal, and the networks add no error.

    Args:
        geometry: G, of a network.
        data: M, of the same shape.
        mode: ``minimize`` or ``maximize``.
        rank: see :func:`find_rotation`.

    Raises:
        InvalidInputError: fewer than two groups of networks, and what :func:`find_rotation` and
            :func:`measure_alignment` raise.
    """
    rotation = find_rotation(geometry, data, mode, rank)
    check_alignable(geometry, data, rotation)
    halves = geometry.halves()
    chosen = (rotation, rotation) if geometry.exact else tuple(find_rotation(h, data, mode, rank) for h in halves)
    parts = [(half, data, w) for half, w in zip(halves, reversed(chosen), strict=True)]
    return CrossFit(
        rotation,
        float(_mean([torch.tensor(natural(*part), dtype=torch.float64) for part in parts], parts)),
        natural(geometry, data, rotation),
        geometry.trace * data.trace / geometry.size,
        *_errors(geometry, data, parts),
        geometry.exact,
    )


def _mean(values: Sequence[Tensor], parts: Sequence[Part]) -> Tensor:
    """Mean over the halves, weighted with their numbers of networks."""
    counts = torch.tensor([float(half.count) for half, _, _ in parts], dtype=torch.float64)
    return torch.einsum("h,h...->...", counts / counts.sum(), torch.stack(list(values)))


def _errors(geometry: Geometry, data: Geometry, parts: Sequence[Part]) -> tuple[float | None, float | None]:
    """Standard errors of α and of chance."""
    if not (geometry.has_errors and data.has_errors):
        return None, None
    by_networks, by_images = _without_networks(parts).errors(), _without_images(geometry, parts).errors()
    alpha, _, _, of_chance = (math.hypot(a, b) for a, b in zip(by_networks, by_images, strict=True))
    return alpha, of_chance


def _without_networks(parts: Sequence[Part]) -> Deletions:
    """The mean over both halves, and without each group of networks of either half."""
    both = [network_deletions(*part) for part in parts]
    counts = [float(half.count) for half, _, _ in parts]
    without = []
    for one, other, mine, theirs in zip(both, reversed(both), counts, reversed(counts), strict=True):
        left = (mine - one.counts)[:, None]
        without.append((left * one.without + theirs * other.full) / (left + theirs))
    full = _mean([one.full for one in both], parts)
    return Deletions(full, torch.cat(without), torch.cat([one.counts for one in both]), both[0].chance)


def _without_images(geometry: Geometry, parts: Sequence[Part]) -> Deletions:
    """The mean over both halves, and without each group of images."""
    both = [image_deletions(*part) for part in parts]
    full, without = (_mean(rows, parts) for rows in ([d.full for d in both], [d.without for d in both]))
    return Deletions(full, without, both[0].counts, geometry.trace / geometry.size)
