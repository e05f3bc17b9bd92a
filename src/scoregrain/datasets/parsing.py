"""Laws as strings, ``rank-one:basis=dct-ii,index=3``: the same in code, commands and configurations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError, nearest
from scoregrain.datasets.bases import probing_vector
from scoregrain.datasets.laws import Law, RankOne, Sphere

_KEYS = {"rank-one": ("basis", "index"), "sphere": ("basis", "indices")}
_EXAMPLES = {"rank-one": "rank-one:basis=dct-ii,index=3", "sphere": "sphere:basis=dct-ii,indices=0+1+2"}

LAWS = tuple(_KEYS)
"""The names of laws that :func:`parse_law` knows."""


def is_law(text: object) -> bool:
    """Return whether text is meant as a law: a name of :data:`LAWS`, or any NAME:key=value.

    A file of such a name is reached by a path that starts with ``.`` or ``/``.
    """
    if not isinstance(text, str):
        return False
    return text.partition(":")[0].strip() in LAWS or re.match(r"\s*[a-zA-Z][\w-]*\s*:\s*[\w-]+\s*=", text) is not None


def parse_law(text: str, shape: Sequence[int]) -> Law:
    """Return the law a string describes, whose ``str`` gives an equal string.

    ``rank-one:basis=NAME,index=K`` lies along vector K of a probing basis (see
    :func:`~scoregrain.datasets.probing_basis`); ``sphere:basis=NAME,indices=I+J+K`` in the span of two or more of its
    vectors, by default 0+1+2.

    Args:
        text: The string.
        shape: (C, *space).

    Raises:
        InvalidInputError: When a name, a key or a value is not known, missing, given twice or out of its range.

    Example:
        >>> law = parse_law("sphere:basis=hadamard", (1, 8, 8))
        >>> str(law), law.shape
        ('sphere:basis=hadamard,indices=0+1+2', (1, 8, 8))
    """
    name, options = split_law(text)
    for key in options:
        if key not in _KEYS[name]:
            keys = _KEYS[name]
            raise InvalidInputError(f"{name} has no key '{key}'{nearest(key, keys)}; its keys: {', '.join(keys)}")
    basis = _needed(name, "basis", options)
    if name == "rank-one":
        index = _whole(name, "index", _needed(name, "index", options))
        vector = probing_vector(basis, shape, index)
        return RankOne(vector, name=f"rank-one:basis={basis},index={index}")
    indices = [_whole(name, "indices", word) for word in options.get("indices", "0+1+2").split("+")]
    columns = _columns(basis, shape, indices)
    return Sphere(columns, shape, name=f"sphere:basis={basis},indices={'+'.join(map(str, indices))}")


def split_law(text: str) -> tuple[str, dict[str, str]]:
    """Return the name of a law and its options in words; the keys are not checked.

    Raises:
        InvalidInputError: When the law is unknown, an option is not key=value, or a key is given twice.
    """
    name, _, rest = (part.strip() for part in text.partition(":"))
    if name not in LAWS:
        raise InvalidInputError(
            f"unknown law '{name}'{nearest(name, LAWS)}; known: {', '.join(LAWS)}, such as {_EXAMPLES['rank-one']}"
        )
    options: dict[str, str] = {}
    for option in rest.split(",") if rest else []:
        key, equals, word = (part.strip() for part in option.partition("="))
        if not (key and equals and word):
            raise InvalidInputError(f"expected key=value after '{name}:', got '{option.strip()}'")
        if key in options:
            raise InvalidInputError(f"{key} is given twice in the law '{text}'")
        options[key] = word
    return name, options


def _needed(name: str, key: str, options: Mapping[str, str]) -> str:
    if key not in options:
        raise InvalidInputError(f"{name} needs {key}: write {_EXAMPLES[name]}")
    return options[key]


def _whole(name: str, key: str, word: str) -> int:
    try:
        return int(word)
    except ValueError:
        kind = "an integer" if key == "index" else "integers joined by +"
        raise InvalidInputError(f"{key} of {name} must be {kind}, got '{word}'") from None


def _columns(basis: str, shape: Sequence[int], indices: list[int]) -> Tensor:
    if len(set(indices)) < len(indices) or len(indices) < 2:
        raise InvalidInputError(
            f"indices of sphere must be two or more different ones, got {'+'.join(map(str, indices))}"
        )
    return torch.stack([probing_vector(basis, shape, index).flatten() for index in indices], 1)
