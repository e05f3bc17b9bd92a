"""What the commands that align need: networks that may be measured already, and data."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from scoregrain._errors import InvalidInputError
from scoregrain.cli.model import is_preset
from scoregrain.cli.options import MeasureOptions, progress_bar
from scoregrain.datasets import Images, load_images
from scoregrain.geometry import DataProbe, Geometry, measure_geometry
from scoregrain.models import NetworkFamily

# options that have an effect also where the networks are measured already
NOT_MEASURING = ("model", "seed", "out", "overwrite", "json", "command")


@dataclass(frozen=True, eq=False)
class Source:
    """Networks named on the command line: a family to measure, or a geometry that is measured already.

    Attributes:
        name: what they are called: the family's name, or the folder.
        shape: ``(C, *space)``.
        family: None where measured.
        geometry: None where to measure.
    """

    name: str
    shape: tuple[int, ...]
    family: NetworkFamily | None = None
    geometry: Geometry | None = None

    def fingerprint(self, seed: int) -> str | None:
        """Equal for equal families; None where a measurement did not record it."""
        if self.family is not None:
            return self.family.fingerprint(seed)
        found = None if self.geometry is None else self.geometry.info.get("fingerprint")
        return None if found is None else str(found)


def find_sources(words: Sequence[str], options: MeasureOptions) -> list[Source]:
    """What the words MODEL ... stand for.

    Raises:
        InvalidInputError: unknown, the geometry of data, or options that have no effect as all is measured already.
    """
    sources = [_find_source(word, options) for word in words]
    given = [f for f in fields(MeasureOptions) if f.name not in NOT_MEASURING and getattr(options, f.name) != f.default]
    if given and sources and all(source.geometry is not None for source in sources):
        names = ", ".join(f"--{f.name.replace('_', '-')}" for f in given)
        raise InvalidInputError(f"'{words[0]}' is measured already: {names} would have no effect")
    return sources


def _find_source(word: str, options: MeasureOptions) -> Source:
    if not is_geometry(word):
        family = options.family(word)
        return Source(family.name, family.shape, family)
    geometry = Geometry.load(word)
    if geometry.kind != "network":
        raise InvalidInputError(f"'{word}' holds the geometry of data, expected that of networks (scoregrain measure)")
    return Source(word, geometry.shape, geometry=geometry)


def measured(source: Source, images: Images, options: MeasureOptions) -> Geometry:
    """The geometry of the networks, measured with a progress bar where it is not yet; of a trained one, on the data."""
    if source.geometry is not None:
        return source.geometry
    family = source.family
    assert family is not None
    probe = DataProbe(images, family.prediction) if family.trained else None
    with progress_bar(f"{'draws for' if family.trained else 'networks of'} {source.name}") as progress:
        return measure_geometry(family, **options.options(), probe=probe, progress=progress)


def is_geometry(word: str) -> bool:
    """Does the word name a folder with a saved geometry? Presets win over paths."""
    if is_preset(word) or not os.path.isdir(word):
        return False
    try:
        config = json.loads((Path(word) / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and str(config.get("kind")).endswith(" geometry")


def find_images(
    word: str, shape: tuple[int, ...], value_range: tuple[float, float] | None, limit: int, seed: int
) -> Images:
    """The data, fitted to the shape of the networks.

    Raises:
        InvalidInputError: unknown, a model, too few, all zero, or of no shape that fits.
    """
    if is_preset(word) or is_geometry(word):
        raise InvalidInputError(
            f"'{word}' is a model, expected data: digits, an .npz file, a folder of images or a Hugging Face name"
        )
    if limit < 2:
        raise InvalidInputError(f"--images is {limit}, expected at least 2")
    images = load_images(word, shape=shape, value_range=value_range, limit=limit, seed=seed)
    if not images.pixels.any():
        raise InvalidInputError(f"the images of '{images.name}' are all zero: they have no alignment")
    return images
