"""What must agree between measurements that are added up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# in the order in which a difference is reported: a seed changes the fingerprint too
KEYS = (
    "scoregrain",
    "torch",
    "seed",
    "prediction",
    "init",
    "fingerprint",
    "probe",
    "probes_per_network",
    "schedule",
    "steps",
    "betas",
    "draw",
    "head",
    "structure",
    "symmetry",
    "rank",
    "test_matrix",
    "noise_levels",
)


def identity(info: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of ``geometry.info`` that decide what network i contributes; of versions without a build tag."""
    found = {key: info.get(key) for key in KEYS}
    return found | {"torch": str(found["torch"]).split("+")[0], "model": info.get("model")}


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """The first entry in which two identities differ, with both values; None where they agree."""
    for key in KEYS:
        if one.get(key) != other.get(key):
            hint = "; measure the parts with --like, like= one of them" if key == "test_matrix" else ""
            if key == "fingerprint" and one.get("model") != other.get("model"):
                hint = f": '{one.get('model')}' and '{other.get('model')}'"
            return f"{key.replace('_', ' ')} ({one.get(key)!r} and {other.get(key)!r}{hint})"
    return None
