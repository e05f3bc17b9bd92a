"""Noises as strings, ``power-law:alpha=-0.06*band-pass:low=0.0,high=0.5``: the same in code, commands and logs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from scoregrain._arguments import check_kind
from scoregrain._errors import InvalidInputError, nearest
from scoregrain.noise._fields import kebab
from scoregrain.noise.bands import BandPass, TwoBand
from scoregrain.noise.describing import OPERATOR, describe_noise, describe_weight
from scoregrain.noise.equal_snr import EqualSNR
from scoregrain.noise.forward import ForwardNoise
from scoregrain.noise.weight import Weight
from scoregrain.noise.weights import Blue, Brown, Custom, Exponential, Pink, PowerLaw, Product, White

__all__ = [
    "KINDS",
    "Factor",
    "describe_noise",
    "describe_weight",
    "make_weight",
    "names_folder",
    "parse_noise",
    "parse_weight",
    "product",
    "split",
]

KINDS: dict[str, Any] = {
    kebab(kind): kind for kind in (White, PowerLaw, Exponential, BandPass, TwoBand, Blue, Pink, Brown, Custom, EqualSNR)
}
"""The weights that files and strings know, by name."""

FITTED = kebab(EqualSNR)
_NEEDS = {
    "custom": "holds gains of its own: load it from its folder, whose path starts with . or / (ForwardNoise.load)",
    OPERATOR: "holds an operator: load it from its folder, whose path starts with . or / (ForwardNoise.load)",
    FITTED: "needs data: EqualSNR.fit(images), or --data on the command line; a saved one is loaded from its"
    " folder, whose path starts with . or / (ForwardNoise.load)",
}


@dataclass(frozen=True)
class Factor:
    """One factor of a noise string, in words; the name may end in ``@`` and a hash of tensors, or be a path."""

    name: str
    options: Mapping[str, str]

    @property
    def kind(self) -> str:
        """The name without the hash."""
        return self.name.partition("@")[0]


def parse_noise(text: str | os.PathLike[str], power: Tensor | None = None) -> ForwardNoise:
    """Return the noise a string describes; the inverse of ``str(noise)`` (see ``ForwardNoise.parse``).

    Args:
        text: The string, or the folder of a saved noise.
        power: S of the data that ``equal-snr`` in the string is fitted to.

    Raises:
        InvalidInputError: When a name, a key or a value is not known, missing, given twice or out of its range; when
            the noise holds tensors and must be loaded instead, or an operator, which has no product.
        ScoregrainError: When a saved noise is damaged.
    """
    from scoregrain.noise.storage import load_noise

    check_kind(text, str | os.PathLike, "a noise to parse")
    if isinstance(text, os.PathLike) or (_is_path(text) and "*" not in text):
        return load_noise(text)
    factors, normalize = split(text)
    saved = {factor.name: load_noise(factor.name) for factor in factors if _is_path(factor.name)}
    for path, noise in saved.items():
        if normalize is None and noise.normalize != "unit":
            raise InvalidInputError(
                f"'{path}' was saved with normalize={noise.normalize}: say which the product '{text}' has, such as"
                f" *white:normalize={noise.normalize}"
            )
    return ForwardNoise(product([_weight(factor, saved, power) for factor in factors]), normalize or "unit")


def parse_weight(text: str) -> Weight:
    """Return the weight a string describes: a noise string without ``normalize``.

    Raises:
        InvalidInputError: As :func:`parse_noise`, and when the string has ``normalize``.
    """
    factors, normalize = split(text)
    if normalize is not None:
        raise InvalidInputError(f"normalize belongs to a noise, not to the weight '{text}': use ForwardNoise.parse")
    return product([_weight(factor, {}, None) for factor in factors])


def split(text: str) -> tuple[list[Factor], str | None]:
    """Return the factors of a noise string and its normalisation, which any one of them may hold."""
    factors = [_factor(part) for part in _parts(text)]
    given = [factor.options["normalize"] for factor in factors if "normalize" in factor.options]
    if len(given) > 1:
        raise InvalidInputError(f"normalize is given twice in the noise '{text}'")
    bare = [
        Factor(factor.name, {key: word for key, word in factor.options.items() if key != "normalize"})
        for factor in factors
    ]
    return bare, given[0] if given else None


def make_weight(factor: Factor, tensors: Mapping[str, Tensor]) -> Weight:
    """Return the weight that a factor names; ``tensors`` are those of its fields.

    Raises:
        InvalidInputError: When a name, a key or a value is wrong.
    """
    if factor.kind not in KINDS:
        known = [name for name in KINDS if name != "custom"]
        raise InvalidInputError(
            f"unknown noise '{factor.name}'{nearest(factor.name, known)}; known: {', '.join(known)}, or the folder of a"
            " saved one, whose path starts with . or /"
        )
    kind = KINDS[factor.kind]
    fields = {field.name: field for field in dataclasses.fields(kind) if field.name not in tensors}
    values: dict[str, object] = dict(tensors)
    for key, word in factor.options.items():
        name = key.replace("-", "_")
        if name not in fields:
            known = [*(field.replace("_", "-") for field in fields), "normalize"]
            raise InvalidInputError(
                f"{factor.kind} has no key '{key}'{nearest(key, known)}; its keys: {', '.join(known)}"
            )
        values[name] = word if fields[name].type == "str" else _number(factor.kind, key, word)
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in values:
            key = name.replace("_", "-")
            raise InvalidInputError(f"{factor.name} needs {key}: write {factor.name}:{key}=NUMBER")
    weight: Weight = kind(**values)
    return weight


def _weight(factor: Factor, saved: Mapping[str, ForwardNoise], power: Tensor | None) -> Weight:
    if factor.name in saved:
        weight = saved[factor.name].weight
        if not isinstance(weight, Weight):
            raise InvalidInputError(f"'{factor.name}' holds an operator: it has no product with another noise")
        return weight
    if factor.name == FITTED and power is not None:
        return make_weight(factor, {"power": power})
    if factor.kind in _NEEDS:
        raise InvalidInputError(f"the noise '{factor.name}' {_NEEDS[factor.kind]}")
    if factor.kind not in KINDS and Path(factor.name).is_dir():
        raise InvalidInputError(f"unknown noise '{factor.name}': to load the folder of that name write ./{factor.name}")
    return make_weight(factor, {})


def names_folder(text: str) -> bool:
    """Return whether a noise string takes anything from a folder: for text whose writer may not say what is read."""
    return any(_is_path(part.strip()) for part in text.split("*"))


def _is_path(text: str) -> bool:
    return text.startswith((".", "/"))


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split("*")]
    if not all(parts):
        where = f"one factor of the noise '{text}' is" if text.strip() else "the noise is"
        raise InvalidInputError(f"{where} empty: expected NAME:key=value,… such as power-law:alpha=-0.06")
    return parts


def _factor(text: str) -> Factor:
    if _is_path(text):
        return Factor(text, {})
    name, _, rest = text.partition(":")
    options: dict[str, str] = {}
    for option in rest.split(",") if rest.strip() else []:
        key, equals, word = (part.strip() for part in option.partition("="))
        key = key.replace("_", "-")
        if not (key and equals and word):
            raise InvalidInputError(f"expected key=value after '{name.strip()}:', got '{option.strip()}'")
        if key in options:
            raise InvalidInputError(f"{key} is given twice in the noise '{text}'")
        options[key] = word
    return Factor(name.strip(), options)


def _number(name: str, key: str, word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise InvalidInputError(f"{key} of {name} must be a number, got '{word}'") from None


def product(weights: list[Weight]) -> Weight:
    """Return the product of the weights; one stays itself."""
    return weights[0] if len(weights) == 1 else Product(tuple(weights))
