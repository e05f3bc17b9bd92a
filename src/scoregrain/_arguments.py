"""Checks of arguments that every part shares: what is not of the kind expected fails in one line, before any work."""

from __future__ import annotations

import operator
from types import UnionType
from typing import Any, get_args

from scoregrain._errors import InvalidInputError

_SHOWN = 40  # letters of a value that a message repeats


def check_kind(value: object, kind: type | UnionType, name: str) -> None:
    """Fail unless a value is of a type, or of one of a union.

    Raises:
        InvalidInputError: It is of another.
    """
    if not isinstance(value, kind):
        known = " or ".join(each.__name__ for each in get_args(kind) or (kind,))
        hint = " (torch.from_numpy makes a tensor of it)" if type(value).__name__ == "ndarray" else ""
        raise InvalidInputError(f"{name} must be of type {known}, got {type(value).__name__}{hint}")


def whole(value: Any, name: str, least: int | None = None) -> int:
    """Return a whole number of any type as an int.

    Raises:
        InvalidInputError: It is none, or below ``least``.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidInputError(f"{name} must be an integer, got {shown(value)}") from None
    if least is not None and number < least:
        raise InvalidInputError(f"{name} must be at least {least}, got {number}")
    return number


def shown(value: object) -> str:
    """Return what a message says of a value: the beginning of its repr, on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
