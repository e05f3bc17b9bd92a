"""Geometries on disk: ``config.json`` and safetensors, written under a temporary name and renamed (ARCHITECTURE 4)."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._folders import damaged, new_folder
from scoregrain.geometry.core import Geometry
from scoregrain.geometry.moments import Group, Moments
from scoregrain.geometry.sketch import Sketch
from scoregrain.geometry.structure import ChannelStructure, DenseStructure, Structure, TokenStructure
from scoregrain.geometry.symmetry import symmetry_by_name

FORMAT = 1


def save_geometry(geometry: Geometry, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write ``config.json``, ``geometry.safetensors`` and ``groups.safetensors``; all of them or nothing."""
    with new_folder(folder, overwrite=overwrite) as temporary:
        write_geometry(geometry, temporary)
    return Path(folder)


def write_geometry(geometry: Geometry, folder: Path) -> None:
    """Write the files of a geometry into an existing folder."""
    tensors = {"eigenvalues": geometry.eigenvalues, "eigenvectors": geometry.eigenvectors}
    if geometry.eigenvalue_errors is not None:
        tensors["eigenvalue_errors"] = geometry.eigenvalue_errors
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "geometry.safetensors")
    groups = {
        "totals": torch.stack([group.total for group in geometry.groups]),
        "ranges": torch.tensor([[group.start, group.stop] for group in geometry.groups]),
    }
    if isinstance(geometry.structure, TokenStructure):
        groups["permutation"] = geometry.structure.permutation
    if (sketch := geometry.sketch) is not None:
        groups |= {"basis": sketch.basis, "test": sketch.test, "sector": sketch.sector}
    save_file({k: v.contiguous() for k, v in groups.items()}, folder / "groups.safetensors")
    for name in ("geometry", "groups"):  # safetensors writes them for the owner alone
        (folder / f"{name}.safetensors").chmod(0o644)
    config = _config(geometry) | {"checksum": _checksum(groups)}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def _checksum(groups: dict[str, Tensor]) -> int:
    """CRC-32 of all that a geometry is rebuilt from: safetensors files have none."""
    total = 0
    for name in sorted(groups):
        total = zlib.crc32(groups[name].contiguous().numpy().data, total)
    return total


def _config(geometry: Geometry) -> dict[str, Any]:
    """Everything about a geometry but its tensors."""
    from scoregrain import __version__

    return {
        "kind": f"{geometry.kind} geometry",
        "format": FORMAT,
        "scoregrain": __version__,
        "shape": list(geometry.shape),
        "structure": geometry.structure.kind,
        "reduced": geometry.structure.reduced,
        "symmetry": geometry.symmetry.name if geometry.symmetry else None,
        "rank": geometry.sketch.rank if geometry.sketch else None,
        "exact": geometry.exact,
        "count": geometry.count,
        "ranges": geometry.moments.ranges,
        "summary": summary(geometry),
        "clusters": [
            {
                "indices": list(c.indices),
                "value": c.value,
                "error": c.error,
                "overlap": c.overlap,
                "chance": c.chance,
                "identifiable": c.identifiable,
                "null": c.null,
            }
            for c in geometry.clusters
        ],
        "info": geometry.info,
    }


def summary(geometry: Geometry) -> dict[str, Any]:
    """The numbers of a geometry that fit in one JSON object; the smallest eigenvalue is None where it is not known."""
    errors, complete = geometry.eigenvalue_errors, geometry.sketch is None
    draws = "images" if geometry.kind == "data" else "draws" if geometry.info.get("trained") else "networks"
    return {
        "lambda_max": float(geometry.eigenvalues[0]),
        "lambda_max_error": None if errors is None else float(errors[0]),
        "lambda_min": float(geometry.eigenvalues[-1]) if complete else None,
        "lambda_min_error": float(errors[-1]) if complete and errors is not None else None,
        "trace": geometry.trace,
        "trace_error": geometry.trace_error,
        "effective_rank": geometry.effective_rank,
        "relative_error": geometry.relative_error,
        "exact": geometry.exact,
        "truncation_error": geometry.truncation_error,
        "dimension": geometry.size,
        "known": geometry.known,
        "identifiable": geometry.identifiable,
        "eigenspaces": geometry.eigenspaces,
        "clusters": len(geometry.clusters),
        # a closed form samples none
        draws: 0 if geometry.exact else geometry.count,
    }


def load_geometry(folder: str | os.PathLike[str]) -> Geometry:
    """Read what :func:`save_geometry` wrote.

    Raises:
        InvalidInputError: no such folder, or not a geometry of this format.
        ScoregrainError: a file is damaged.
    """
    folder = Path(folder)
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise InvalidInputError(f"'{folder}' is not a saved geometry: it has no config.json")
    try:
        config = json.loads(config_file.read_bytes())
    except (OSError, ValueError) as error:
        raise damaged(folder, error) from error
    kind, version = (config.get("kind"), config.get("format")) if isinstance(config, dict) else (None, None)
    if kind not in ("network geometry", "data geometry") or version != FORMAT:
        found = f"'{kind}' of format {version}" if kind else "no geometry"
        raise InvalidInputError(f"'{folder}' holds {found}, expected a geometry of format {FORMAT}")
    try:
        return _rebuild(kind.removesuffix(" geometry"), config, load_file(folder / "groups.safetensors"))
    except Exception as error:  # safetensors and the system have errors of their own; a damaged file can raise any
        raise damaged(folder, error) from error


def _rebuild(kind: str, config: dict[str, Any], groups: dict[str, Tensor]) -> Geometry:
    """The geometry of a configuration and its groups, which are checked against each other."""
    structure = _structure(config, groups)
    totals, ranges = groups["totals"], groups["ranges"].tolist()
    sketch = None
    if (rank := config["rank"]) is not None:
        sketch = Sketch(rank, groups["basis"], groups["test"], groups["sector"])
    rows, columns = (structure.reduced,) * 2 if sketch is None else (len(sketch.basis) + 1, len(sketch.sector))
    if totals.shape != (len(ranges), rows, columns) or not len(ranges):
        raise ValueError(f"groups of shape {tuple(totals.shape)} do not fit a geometry of shape {structure.shape}")
    if config.get("checksum", found := _checksum(groups)) != found:
        raise ValueError("the content of groups.safetensors was changed")
    moments = Moments()
    moments.groups = [Group(start, stop, total) for (start, stop), total in zip(ranges, totals, strict=True)]
    symmetry = symmetry_by_name(config["symmetry"]) if config["symmetry"] else None
    exact, info = config["exact"], config["info"]
    return Geometry(kind, structure, moments, symmetry=symmetry, sketch=sketch, exact=exact, info=info)


def _structure(config: dict[str, Any], groups: dict[str, Tensor]) -> Structure:
    """Rebuild the structure a configuration names."""
    shape = tuple(config["shape"])
    match config["structure"]:
        case "channel":
            return ChannelStructure(shape)
        case "token":
            return TokenStructure(shape, config["reduced"], groups["permutation"])
        case "dense":
            return DenseStructure(shape)
    raise ValueError(f"unknown structure '{config['structure']}'")
