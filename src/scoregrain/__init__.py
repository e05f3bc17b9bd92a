"""scoregrain measures the grain of score networks: score anisotropy directions with error bars.

A geometry is a symmetric positive semi-definite operator that says how something spreads over directions. scoregrain
measures the geometry of untrained networks and of data and aligns one with the other (arXiv 2510.22899).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scoregrain._errors import InvalidInputError, ScoregrainError, TimeBlindWarning, ZeroOutputError
    from scoregrain.align import (
        Alignment,
        CrossFit,
        Ranking,
        Rotation,
        cross_fit,
        find_rotation,
        measure_alignment,
        rank_geometries,
    )
    from scoregrain.datasets import Images, load_images
    from scoregrain.geometry import (
        Cluster,
        DataProbe,
        GaussianProbe,
        Geometry,
        MeasurementFailedError,
        MeasurementInterruptedError,
        Probe,
        ZeroProbe,
        data_geometry,
        measure_geometry,
        merge_geometries,
        shard_range,
    )
    from scoregrain.models import (
        MLP,
        AzulaNetwork,
        DiT,
        LinearMap,
        NetworkFamily,
        SigmaNetwork,
        TimeNetwork,
        ViT,
        preset_names,
        timestep_sensitivity,
    )
    from scoregrain.report import Report, analyze, rank
    from scoregrain.schedules import Schedule, cosine_schedule, linear_schedule

__version__ = "0.1.0"

# public name -> defining sub-package; imported on first use, so that `import scoregrain` stays fast
_EXPORTS = {
    "_errors": ("InvalidInputError", "ScoregrainError", "TimeBlindWarning", "ZeroOutputError"),
    "align": (
        "Alignment",
        "CrossFit",
        "Ranking",
        "Rotation",
        "cross_fit",
        "find_rotation",
        "measure_alignment",
        "rank_geometries",
    ),
    "datasets": ("Images", "load_images"),
    "geometry": (
        "Cluster",
        "DataProbe",
        "GaussianProbe",
        "Geometry",
        "MeasurementFailedError",
        "MeasurementInterruptedError",
        "Probe",
        "ZeroProbe",
        "data_geometry",
        "measure_geometry",
        "merge_geometries",
        "shard_range",
    ),
    "models": (
        "MLP",
        "AzulaNetwork",
        "DiT",
        "LinearMap",
        "NetworkFamily",
        "SigmaNetwork",
        "TimeNetwork",
        "ViT",
        "preset_names",
        "timestep_sensitivity",
    ),
    "report": ("Report", "analyze", "rank"),
    "schedules": ("Schedule", "cosine_schedule", "linear_schedule"),
}
_HOME = {name: package for package, names in _EXPORTS.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'scoregrain' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"scoregrain.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(["__version__", *_HOME])
