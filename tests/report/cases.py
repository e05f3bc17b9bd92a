"""Geometries from random draws and images with known laws, for the tests of reports."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scoregrain.datasets import Images
from scoregrain.geometry import Geometry
from scoregrain.geometry.moments import Group, Moments
from scoregrain.geometry.sketch import make_sketch
from scoregrain.geometry.structure import ChannelStructure, DenseStructure, Structure, TokenStructure
from scoregrain.report import Report
from scoregrain.report.analysis import report_on

INFO: dict[str, Any] = {"model": "test", "seed": 0, "timestep_sensitivity": 0.3, "probe": "zero", "torch": "2"}


def sampled(structure: Structure, groups: int = 20, seed: int = 0, **info: Any) -> Geometry:
    """A network geometry of reduced eigenvalues 4⁰ … 4^-(r-1) in a random basis, 32 Gaussian draws a group."""
    generator, r = torch.Generator().manual_seed(seed), structure.reduced
    basis = torch.linalg.qr(torch.randn(r, r, dtype=torch.float64, generator=generator)).Q
    root = 2.0 ** -torch.arange(r, dtype=torch.float64)
    moments = Moments()
    for j in range(groups):
        draws = torch.randn(32, r, dtype=torch.float64, generator=generator) * root @ basis.T
        moments.groups.append(Group(32 * j, 32 * j + 32, draws.T @ draws))
    return Geometry("network", structure, moments, info=INFO | info)


def dense(side: int = 3, channels: int = 1, groups: int = 20, **info: Any) -> Geometry:
    return sampled(DenseStructure((channels, side, side)), groups, **info)


def leading(rank: int = 4, structure: Structure | None = None) -> Geometry:
    """The leading directions of a geometry of reduced size 64, dense by default."""
    whole = sampled(structure or DenseStructure((1, 8, 8)))
    sketch = make_sketch(whole.structure, None, rank, lambda x, _: whole.reduced @ x)
    totals = [(g, sketch.pack(g.total @ sketch.omega, float(g.total.trace()))) for g in whole.groups]
    moments = Moments()
    moments.groups = [Group(g.start, g.stop, total) for g, total in totals]
    return Geometry("network", whole.structure, moments, sketch=sketch, info=INFO)


def channels(side: int = 3) -> Geometry:
    return sampled(ChannelStructure((3, side, side)))


def exact_tokens() -> Geometry:
    """Four tokens of four pixels, one eigenvalue zero: no sampling error."""
    structure = TokenStructure((1, 4, 4), 4, torch.arange(16))
    moments = Moments([Group(0, 1, torch.tensor([8.0, 4.0, 1.0, 0.0], dtype=torch.float64).diag())])
    return Geometry("network", structure, moments, exact=True, info=INFO)


def given(values: Tensor) -> Geometry:
    """An exact diagonal geometry."""
    side = round(len(values) ** 0.5)
    moments = Moments([Group(0, 1, values.double().diag())])
    return Geometry("network", DenseStructure((1, side, side)), moments, exact=True, info=INFO)


def images(shape: tuple[int, ...], count: int = 60, seed: int = 1, offset: float = 0.3, name: str = "noise") -> Images:
    pixels = 0.2 * torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed)) + offset
    return Images(pixels.clamp(-1, 1), name, ("Drawn for a test.",))


def report(geometry: Geometry, **options: Any) -> Report:
    return report_on(geometry, images(geometry.shape, **options))
