"""From a network family and images to a report (MATH A5)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import torch

from scoregrain._errors import InvalidInputError, TimeBlindWarning
from scoregrain.align import Alignment, mean_image_share, measure_alignment
from scoregrain.align.alignment import ROUNDING
from scoregrain.datasets import Images
from scoregrain.geometry import (
    DataProbe,
    Geometry,
    MeasurementInterruptedError,
    data_geometry,
    mean_image,
    measure_geometry,
)
from scoregrain.models import NetworkFamily
from scoregrain.report.cautions import cautions
from scoregrain.report.energy import energies
from scoregrain.report.result import ImagesSummary, Report
from scoregrain.report.uncertainty import mean_share_error
from scoregrain.schedules import Schedule

_EXAMPLES = 16


def analyze(
    family: NetworkFamily,
    images: Images,
    *,
    networks: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    rank: int | str | None = None,
    schedule: Schedule | None = None,
    geometry: Geometry | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Measure a family's geometry and how images run with or against its grain (MATH A1, A5).

    A trained network is measured on the images themselves, at all noise levels.

    Args:
        family: the networks.
        images: the data, of the networks' shape (``load_images(..., shape=family.shape)``).
        networks: how many networks to measure; see :func:`scoregrain.measure_geometry`, like the next ones.
        tolerance: measure until the geometry's relative error is at most this.
        seed: root of all random streams.
        device: where networks run.
        rank: how many leading directions to measure.
        schedule: noise schedule; linear with 1000 steps by default.
        geometry: a geometry of this family that is measured already; none is measured then.
        progress: called with (networks measured, networks planned).

    Returns:
        The report. Time-blindness is one of its ``warnings``, no Python warning.

    Raises:
        InvalidInputError: shapes differ, the geometry is another family's, a geometry comes with ``networks`` or
            ``tolerance``, or the images are all zero; and what :func:`scoregrain.measure_geometry` raises.
        MeasurementInterruptedError: Ctrl-C; carries the geometry as far as it was measured.
    """
    if images.shape != family.shape:
        raise InvalidInputError(
            f"the images have shape {images.shape}, '{family.name}' needs {family.shape}: load_images(..., "
            f"shape={family.shape}) fits them"
        )
    if not images.pixels.any():
        raise InvalidInputError(f"the images of '{images.name}' are all zero: they have no alignment")
    if geometry is not None:
        if networks is not None or tolerance is not None:
            raise InvalidInputError("networks and tolerance have no effect on a geometry that is measured already")
        _check_family(family, geometry)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TimeBlindWarning)  # becomes one of the report's warnings
            geometry = measure_geometry(
                family,
                networks,
                tolerance=tolerance,
                seed=seed,
                device=device,
                rank=rank,
                schedule=schedule,
                probe=DataProbe(images, family.prediction) if family.trained else None,
                progress=progress,
            )
    try:
        return report_on(geometry, images)
    except KeyboardInterrupt:
        raise MeasurementInterruptedError(geometry) from None


def _check_family(family: NetworkFamily, geometry: Geometry) -> None:
    """Refuse a geometry of other networks."""
    if geometry.kind != "network" or geometry.shape != family.shape:
        raise InvalidInputError(
            f"the geometry is a {geometry.kind} geometry of shape {geometry.shape}, "
            f"expected a network geometry of shape {family.shape}"
        )
    fingerprint = geometry.info.get("fingerprint")
    if fingerprint is not None and fingerprint != family.fingerprint(geometry.info.get("seed", 0)):
        raise InvalidInputError(
            f"the geometry was measured on '{geometry.info.get('model')}' with other parameters than '{family.name}'"
        )


def report_on(geometry: Geometry, images: Images) -> Report:
    """The report on a measured geometry and images of the same shape."""
    data = data_geometry(images, name=images.name)
    alignment = measure_alignment(geometry, data)
    energy, centred_energy = energies(images.pixels, geometry)
    centred = _centred_alignment(geometry, images) if centred_energy is not None else None
    mean = mean_image(images)
    share, share_error = math.nan, None
    if alignment.of_chance > ROUNDING:  # else the data lie in the null space of an exact geometry
        share = mean_image_share(geometry, mean) / alignment.natural
        share_error = mean_share_error(share, alignment.natural, geometry, data, images.pixels)
    return Report(
        geometry=geometry,
        data=data,
        images=ImagesSummary(images.name, images.notes, images.pixels[:: _stride(images)].clone(), mean),
        alignment=alignment,
        centred=centred,
        mean_share=share,
        mean_share_error=share_error,
        energy=energy,
        centred_energy=centred_energy,
        warnings=cautions(geometry, data, images, alignment, centred),
    )


def _centred_alignment(geometry: Geometry, images: Images) -> Alignment:
    """Alignment of the images' covariance."""
    return measure_alignment(geometry, data_geometry(images, name=images.name, centred=True))


def _stride(images: Images) -> int:
    """Step that spreads the examples over the whole set."""
    return -(-len(images) // _EXAMPLES)
