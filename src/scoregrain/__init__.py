"""scoregrain measures the grain of score networks and shapes the noise they are trained with.

A geometry is a symmetric positive semi-definite operator that says how something spreads over directions. scoregrain
measures the geometry of untrained networks and of data, aligns one with the other (arXiv 2510.22899) and gives the
forward noise of a diffusion any covariance, the same in training, sampling and scoring (arXiv 2510.09660).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scoregrain._errors import (
        IllConditionedNoiseWarning,
        InvalidInputError,
        ScoregrainError,
        TimeBlindWarning,
        ZeroOutputError,
    )
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
    from scoregrain.datasets import (
        Gaussian,
        GaussianMixture,
        Images,
        Law,
        RankOne,
        Sphere,
        Split,
        corrupt_band,
        limit_band,
        load_images,
        load_split,
        parse_law,
        probing_basis,
    )
    from scoregrain.diffusion import (
        DiffusionProcess,
        GaussianMixtureScore,
        GaussianScore,
        sample,
    )
    from scoregrain.diffusion.scheduler_checks import check_scheduler
    from scoregrain.diffusion.schedulers import (
        ShapedDDIMScheduler,
        ShapedDDPMScheduler,
        ShapedDPMSolverMultistepScheduler,
    )
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
    from scoregrain.metrics import (
        direction_error,
        energy_along,
        frechet_distance,
        gaussian_w2,
        label_coverage,
        memorisation,
        mode_coverage,
        radial_spectrum,
        sliced_wasserstein,
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
    from scoregrain.noise import (
        BandPass,
        Blue,
        Brown,
        Custom,
        EqualSNR,
        Exponential,
        ForwardNoise,
        Pink,
        PowerLaw,
        Product,
        TwoBand,
        Weight,
        White,
    )
    from scoregrain.report import Evaluation, NoisePreview, Report, analyze, evaluate, preview_noise, rank
    from scoregrain.schedules import Schedule, cosine_schedule, linear_schedule
    from scoregrain.training import Run, TrainConfig, train
    from scoregrain.training.rotated import RotatedUNet2DModel

__version__ = "0.1.0"

# public name -> defining sub-package; imported on first use, so that `import scoregrain` stays fast
_EXPORTS = {
    "_errors": (
        "IllConditionedNoiseWarning",
        "InvalidInputError",
        "ScoregrainError",
        "TimeBlindWarning",
        "ZeroOutputError",
    ),
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
    "datasets": (
        "Gaussian",
        "GaussianMixture",
        "Images",
        "Law",
        "RankOne",
        "Sphere",
        "Split",
        "corrupt_band",
        "limit_band",
        "load_images",
        "load_split",
        "parse_law",
        "probing_basis",
    ),
    "diffusion": (
        "DiffusionProcess",
        "GaussianMixtureScore",
        "GaussianScore",
        "sample",
    ),
    "diffusion.scheduler_checks": ("check_scheduler",),
    "diffusion.schedulers": (
        "ShapedDDIMScheduler",
        "ShapedDDPMScheduler",
        "ShapedDPMSolverMultistepScheduler",
    ),
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
    "metrics": (
        "direction_error",
        "energy_along",
        "frechet_distance",
        "gaussian_w2",
        "label_coverage",
        "memorisation",
        "mode_coverage",
        "radial_spectrum",
        "sliced_wasserstein",
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
    "noise": (
        "BandPass",
        "Blue",
        "Brown",
        "Custom",
        "EqualSNR",
        "Exponential",
        "ForwardNoise",
        "Pink",
        "PowerLaw",
        "Product",
        "TwoBand",
        "Weight",
        "White",
    ),
    "report": ("Evaluation", "NoisePreview", "Report", "analyze", "evaluate", "preview_noise", "rank"),
    "schedules": ("Schedule", "cosine_schedule", "linear_schedule"),
    "training": ("Run", "TrainConfig", "train"),
    "training.rotated": ("RotatedUNet2DModel",),
}
_HOME = {name: package for package, names in _EXPORTS.items() for name in names}

__all__ = sorted(_HOME)

# diffusers' pipelines load a class of ours only where they find its base class beside it
_DIFFUSERS_BASES = ("ModelMixin", "SchedulerMixin")


def __getattr__(name: str) -> Any:
    if name in _DIFFUSERS_BASES:
        return getattr(importlib.import_module("diffusers"), name)
    if name not in _HOME:
        raise AttributeError(f"module 'scoregrain' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"scoregrain.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(["__version__", *_HOME])
