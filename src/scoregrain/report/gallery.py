"""The directions as pictures: a static strip, and quantised data that gallery.js draws."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scoregrain.geometry import Cluster, Geometry
from scoregrain.report.drawing import DIVERGING, diverging_map, figure, panels
from scoregrain.report.wording import describe, index_ranges, kind_of, measured, overlap_text

MAX_DIRECTIONS = 1024
MAX_BYTES = 2_200_000  # of quantised pixels; base64 makes a third more of them
_STRIP = 8


def gallery_data(geometry: Geometry) -> dict[str, Any]:
    """What gallery.js needs: quantised directions, captions and colours; JSON types only.

    Where channels share their directions each spatial one is there once. At most 1024 directions are embedded,
    and at most 2.2 MB of pixels: half of them the first, half the last.
    """
    shape, count = gallery_shape(geometry), gallery_count(geometry)
    room = min(MAX_DIRECTIONS, MAX_BYTES // (shape[0] * shape[1] * shape[2])) // 2 * 2
    chosen = list(range(count)) if count <= room else [*range(room // 2), *range(count - room // 2, count)]
    clusters, repeat = clusters_by_index(geometry), _repeat(geometry)
    firsts = [k * repeat for k in chosen]
    return {
        "shape": list(shape),
        "total": count,
        "repeat": repeat,
        "index": chosen,
        "label": [index_ranges(range(k, k + repeat)) for k in firsts],
        "value": _eigenvalues(geometry, firsts, clusters),
        "note": [_note(clusters[k], geometry.structure.multiplicity, repeat) for k in firsts],
        "colours": [list(colour) for colour in DIVERGING],
        "pixels": quantise(torch.stack([picture(geometry, k) for k in chosen])),
    }


def gallery_shape(geometry: Geometry) -> tuple[int, int, int]:
    """``(C, H, W)`` of a picture; one channel where channels share their directions."""
    channels, height, width = geometry.shape
    return (1 if _repeat(geometry) > 1 else channels), height, width


def gallery_count(geometry: Geometry) -> int:
    """Number of different pictures of known directions."""
    return geometry.known // _repeat(geometry)


def picture(geometry: Geometry, k: int) -> Tensor:
    """Picture k, float64 ``(C, H, W)``: direction k, or spatial direction k where channels share them."""
    repeat = _repeat(geometry)
    if repeat == 1:
        return geometry.direction(k)
    return geometry.spectrum.vectors[:, k].reshape(gallery_shape(geometry))


def _repeat(geometry: Geometry) -> int:
    """How many channels show the same picture (``I_C ⊗ A``, MATH A6)."""
    return geometry.structure.multiplicity if geometry.structure.kind == "channel" else 1


def quantise(pictures: Tensor) -> str:
    """Pictures ``(n, ...)`` as base64 int8: 127 is the largest absolute entry of each."""
    rows = pictures.flatten(1).double()
    scaled = 127 * rows / rows.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    return base64.b64encode(scaled.round().to(torch.int8).numpy().tobytes()).decode()


def _eigenvalues(geometry: Geometry, indices: Sequence[int], clusters: Sequence[Cluster]) -> list[str]:
    """Eigenvalues with their errors; what is zero up to rounding is 0."""
    values, errors = geometry.eigenvalues, geometry.eigenvalue_errors
    return [
        "0 (exact)"
        if geometry.exact and clusters[k].null
        else measured(float(values[k]), None if errors is None else float(errors[k]))
        for k in indices
    ]


def _note(cluster: Cluster, multiplicity: int, repeat: int) -> str:
    """What is known of a picture, with the overlap of two halves where it is not known alone."""
    kind = kind_of(cluster, multiplicity)
    note = "identifiable" if repeat > 1 and kind == "identifiable" else describe(cluster, multiplicity)
    if kind == "cluster":
        note += f", halves overlap {overlap_text(cluster)}"
    return f"{note}; ×{repeat} channels" if repeat > 1 else note


def clusters_by_index(geometry: Geometry) -> list[Cluster]:
    """The cluster of every direction."""
    clusters: dict[int, Cluster] = {k: cluster for cluster in geometry.clusters for k in cluster.indices}
    return [clusters[k] for k in range(geometry.known)]


def strip_note(geometry: Geometry) -> str:
    """Of what the strip shows one picture."""
    if len(_strip_clusters(geometry)) == 1:
        return "The pictures are single directions, none of which is told apart from the others."
    return "One picture of each eigenspace or cluster is shown; the gallery below has the others."


def _strip_clusters(geometry: Geometry) -> list[Cluster]:
    """The clusters above zero; all where none is."""
    return [c for c in geometry.clusters if not c.null] or geometry.clusters


def strip_figure(geometry: Geometry) -> str:
    """The first and the last eight eigenspaces or clusters, one direction of each."""
    shown = _strip_clusters(geometry)
    if len(shown) == 1:  # nothing is told apart: the plain directions
        cluster = shown[0]
        tiles = [(k, cluster) for k in cluster.indices[:: _repeat(geometry)]]
    else:
        tiles = [(cluster.indices[0], cluster) for cluster in shown]
    first, last = tiles[:_STRIP], tiles[_STRIP:][-_STRIP:]

    def paint(canvas: Any) -> None:
        grid = canvas.subplots(2 if last else 1, _STRIP, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, (k, cluster) in zip(grid.flat, [*first, *last], strict=False):
            _paint_tile(axes, geometry, k, cluster)
        canvas.suptitle(_title(bool(last), geometry.sketch is None), fontsize=10, x=0.01, ha="left")

    return figure(paint, height=2.6 if last else 1.4)


def _title(two_rows: bool, complete: bool) -> str:
    if two_rows:
        return f"Largest eigenvalues (top) and {'smallest above zero' if complete else 'last ones measured'} (bottom)"
    return "Largest eigenvalue first"


def _paint_tile(axes: Any, geometry: Geometry, k: int, cluster: Cluster) -> None:
    image = panels(picture(geometry, k // _repeat(geometry)))
    limit = float(np.nanmax(np.abs(image)))
    axes.imshow(image, cmap=diverging_map(), vmin=-limit, vmax=limit, interpolation="nearest")
    axes.set_title(_tile_title(geometry, k, cluster), fontsize=7.5, loc="center", pad=2)


def _tile_title(geometry: Geometry, k: int, cluster: Cluster) -> str:
    """Indices of a picture, and of how many it is one where they are known only together."""
    repeat, size = _repeat(geometry), len(cluster.indices)
    alone = size == repeat or cluster.overlap is None
    label = index_ranges(range(k, k + repeat))
    return label if alone else f"{label}\none of {size}"
