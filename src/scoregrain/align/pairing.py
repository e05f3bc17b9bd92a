"""Which geometries have an alignment."""

from __future__ import annotations

from scoregrain._errors import InvalidInputError
from scoregrain.geometry import Geometry


def check_pair(geometry: Geometry, data: Geometry) -> None:
    """Fail unless these are the geometry of a network and that of data, of one shape."""
    for what, one, how in (
        ("first", geometry, "measure_geometry(family)"),
        ("second", data, "data_geometry(images)"),
    ):
        if not isinstance(one, Geometry):
            raise InvalidInputError(f"the {what} argument is a {type(one).__name__}, expected a geometry: give {how}")
    if (geometry.kind, data.kind) != ("network", "data"):
        raise InvalidInputError(
            f"expected the geometry of a network, then that of data, got '{geometry.kind}' and '{data.kind}'"
        )
    if geometry.shape != data.shape:
        raise InvalidInputError(
            f"the network's geometry has shape {geometry.shape} and the data's has shape {data.shape}: "
            "both must be (C, *space) of the same images"
        )
