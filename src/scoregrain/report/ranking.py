"""From several network families and images to the order of alignment (MATH A5, C6)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import torch

from scoregrain._errors import InvalidInputError, TimeBlindWarning
from scoregrain.align import Ranking, check_same_shape, rank_geometries
from scoregrain.datasets import Images
from scoregrain.geometry import DataProbe, data_geometry, measure_geometry
from scoregrain.models import NetworkFamily


def rank(
    families: Sequence[NetworkFamily],
    images: Images,
    *,
    networks: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Measure families of one shape and order them by how images run with their grain (MATH A1, A5).

    Not validated: no study has yet shown that this order predicts the quality after training. The families are drawn
    with the same seed, but share no parameters: their errors count as independent. A trained network is measured on
    the images.

    Args:
        families: two or more, of one shape, with different names.
        images: the data, of the networks' shape.
        networks: how many of each family to measure; see :func:`scoregrain.measure_geometry`, like the next ones.
        tolerance: measure until each geometry's relative error is at most this.
        seed: root of all random streams.
        device: where networks run.
        progress: called with (networks measured, networks planned), for one family after the other.

    Returns:
        The order, the smallest alignment over chance first; ``validated`` is False. Time-blindness is no Python warning
        here.

    Raises:
        InvalidInputError: fewer than two families, one of them twice, two of one name, or shapes that differ (both are
            named); and what :func:`scoregrain.measure_geometry` raises.
        MeasurementInterruptedError: Ctrl-C; carries the geometry that was being measured.
    """
    check_families(families, seed)
    if images.shape != families[0].shape:
        raise InvalidInputError(
            f"the images have shape {images.shape}, '{families[0].name}' needs {families[0].shape}: load_images(..., "
            f"shape={families[0].shape}) fits them"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TimeBlindWarning)
        geometries = {
            family.name: measure_geometry(
                family,
                networks,
                tolerance=tolerance,
                seed=seed,
                device=device,
                probe=DataProbe(images, family.prediction) if family.trained else None,
                progress=progress,
            )
            for family in families
        }
    return rank_geometries(geometries, data_geometry(images, name=images.name))


def check_families(families: Sequence[NetworkFamily], seed: int = 0) -> None:
    """Fail on families that have no order.

    Raises:
        InvalidInputError: as :func:`rank`.
    """
    if len(families) < 2:
        raise InvalidInputError(f"a ranking needs at least two families, got {len(families)}")
    for i, family in enumerate(families):
        if family.name in [other.name for other in families[:i]]:
            raise InvalidInputError(f"two families are called '{family.name}': rank each once, under its own name")
    check_same_shape({family.name: family.shape for family in families})
    check_different({family.name: family.fingerprint(seed) for family in families})


def check_different(fingerprints: Mapping[str, str | None]) -> None:
    """Fail on families of equal parameters under two names."""
    seen: dict[str, str] = {}
    for name, fingerprint in fingerprints.items():
        if fingerprint is not None and seen.setdefault(fingerprint, name) != name:
            raise InvalidInputError(f"'{seen[fingerprint]}' and '{name}' are the same family: rank each once")
