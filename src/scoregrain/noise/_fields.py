"""Checks of the fields that weights are made of."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from numbers import Real

from scoregrain._errors import InvalidInputError, nearest

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def kebab(kind: type) -> str:
    """Return a class's name in noise strings: ``two-band`` for ``TwoBand``, ``equal-snr`` for ``EqualSNR``."""
    return _WORDS.sub("-", kind.__name__).lower()


def check_numbers(weight: object, *names: str, minimum: float = -math.inf) -> None:
    """Make floats of fields, so that equal weights have equal strings; fail where one is no number of at least that."""
    for name in names:
        value = getattr(weight, name)
        if not isinstance(value, Real) or not math.isfinite(value) or float(value) < minimum:
            bound = "" if minimum == -math.inf else f" of at least {minimum:g}"
            raise InvalidInputError(f"{name} of {kebab(type(weight))} must be a finite number{bound}, got {value!r}")
        object.__setattr__(weight, name, float(value))


def check_word(weight: object, name: str, known: Sequence[str]) -> None:
    """Fail where a field is not one of the known words."""
    word = getattr(weight, name)
    if word not in known:
        raise InvalidInputError(
            f"unknown {name} '{word}' of {kebab(type(weight))}{nearest(str(word), known)}; known: {', '.join(known)}"
        )
