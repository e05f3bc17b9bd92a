"""Merge measurements of disjoint ranges of networks, whole shards or any others (MATH C4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scoregrain._errors import InvalidInputError
from scoregrain.geometry.core import Geometry
from scoregrain.geometry.identity import difference, identity
from scoregrain.geometry.moments import Moments
from scoregrain.geometry.ranges import gaps, shard_range, shard_words, words


def merge_geometries(geometries: Sequence[Geometry], *, partial: bool = False) -> Geometry:
    """Merge measurements of disjoint ranges of networks of one family and seed (MATH C4; count-weighted, G5).

    Parts cut at multiples of 32 networks merge to the bits of a single measurement.

    Args:
        geometries: the parts, in any order.
        partial: accept that networks between the parts, or whole shards, are missing.

    Raises:
        InvalidInputError: nothing to merge, data or exact geometries, a shard given twice, overlapping ranges, another
            family, seed, version, probe ... (what differs is named), or something missing without ``partial``.
    """
    if not geometries or any(g.kind != "network" or g.exact for g in geometries):
        raise InvalidInputError("only sampled network geometries can be merged, at least one")
    head = geometries[0]
    for number, other in enumerate(geometries[1:], start=2):
        if found := difference(identity(head.info), identity(other.info)):
            raise InvalidInputError(
                f"geometries of different {found} cannot be merged: number {number} differs from the first"
            )
        if (head.structure.kind, head.shape) != (other.structure.kind, other.shape):
            raise InvalidInputError(f"geometries of shapes {head.shape} and {other.shape} cannot be merged")
    shard = _merge_shards(geometries)
    moments = Moments(group for geometry in geometries for group in geometry.groups)
    missing = _missing(moments, shard)
    if missing and not partial:
        raise InvalidInputError(f"{missing}; measure that first, or merge without it (--partial, partial=True)")
    info = {key: value for key, value in head.info.items() if key not in ("shard", "interrupted")}
    info["seconds"] = sum(g.info.get("seconds", 0.0) for g in geometries)
    if missing and shard:
        info["shard"] = shard
    return Geometry("network", head.structure, moments, symmetry=head.symmetry, sketch=head.sketch, info=info)


def _merge_shards(geometries: Sequence[Geometry]) -> dict[str, Any] | None:
    """Which shards the parts are together; None where they are not shards of one whole."""
    shards = [shard for geometry in geometries if (shard := geometry.info.get("shard"))]
    if not shards:
        return None
    for other in shards[1:]:
        if any(other[key] != shards[0][key] for key in ("of", "networks", "first")):
            one, two = shard_words(shards[0]), shard_words(other)
            raise InvalidInputError(f"{one} and {two} are not parts of one measurement")
    indices = sorted(i for shard in shards for i in shard["indices"])
    for i in indices:
        if indices.count(i) > 1:
            raise InvalidInputError(f"shard {i}/{shards[0]['of']} is given twice")
    return shards[0] | {"indices": indices} if len(shards) == len(geometries) else None


def _missing(moments: Moments, shard: dict[str, Any] | None) -> str:
    """What is missing, in words; empty where nothing is."""
    if shard is None:
        whole = range(moments.ranges[0][0], moments.ranges[-1][1])
        return _all_words(gaps(whole, moments.ranges))
    of, absent, unfinished = shard["of"], [], []
    for i in range(1, of + 1):
        if i not in shard["indices"]:
            absent.append(f"{i}/{of}")
        elif left := gaps(shard_range(shard["networks"], i, of, first=shard["first"]), moments.ranges):
            unfinished.append(f"shard {i}/{of} is not finished: {_all_words(left)}")
    if absent:
        names = ", ".join(absent)
        unfinished.insert(0, f"shard {names} is missing" if len(absent) == 1 else f"shards {names} are missing")
    return "; ".join(unfinished)


def _all_words(missing: list[range]) -> str:
    if not missing:
        return ""
    verb = "is" if sum(map(len, missing)) == 1 else "are"
    return f"{', '.join(words(part) for part in missing)} {verb} missing"
