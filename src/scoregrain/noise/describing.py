"""The name of a noise: a string that says all of it, or a hash where it holds tensors."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from scoregrain._random import stream
from scoregrain.noise._fields import kebab
from scoregrain.noise.weight import Weight
from scoregrain.noise.weights import factors_of
from scoregrain.operators import Operator

if TYPE_CHECKING:
    from scoregrain.noise.forward import ForwardNoise

OPERATOR = "operator"
MAX_SPECTRUM = 4096  # the largest D whose D×D eigenvectors are written down (ARCHITECTURE 4)
_HEX_DIGITS = 12

_spectra: WeakKeyDictionary[Operator, tuple[Tensor, Tensor]] = WeakKeyDictionary()


def describe_noise(noise: ForwardNoise) -> str:
    """Return the noise as a string, numbers exactly; equal strings mean equal laws.

    ``name:key=value,…`` for every factor, joined by ``*``: required keys and those that differ from their default,
    ``normalize`` last. What holds tensors adds a hash of them, ``custom@1a2b3c4d5e6f``; a noise made from an
    operator is ``operator@…``, the hash of its eigenvalues and eigenvectors.
    """
    if isinstance(noise.weight, Operator):
        text = f"{OPERATOR}@{_digest(operator_spectrum(noise.weight))}"
    else:
        text = describe_weight(noise.weight)
    if noise.normalize == "unit":
        return text
    return f"{text}{',' if ':' in text.split('*')[-1] else ':'}normalize={noise.normalize}"


def describe_weight(weight: Weight) -> str:
    """Return the weight as a string, as :func:`describe_noise` does."""
    return "*".join(_describe_factor(factor) for factor in factors_of(weight))


def operator_spectrum(operator: Operator) -> tuple[Tensor, Tensor]:
    """Return what tells one operator from another: eigenvalues and eigenvectors, or the image of a fixed array beyond
    ``MAX_SPECTRUM`` dimensions. Kept, since decompositions are slow and not the same twice.
    """
    if operator not in _spectra:
        if operator.size <= MAX_SPECTRUM:
            _spectra[operator] = operator.eigh()
        else:
            probe = torch.randn(operator.shape, generator=stream(0, "noise/probe"), dtype=torch.float64, device="cpu")
            _spectra[operator] = operator.eigenvalues, operator @ probe
    return _spectra[operator]


def tensor_fields(weight: Weight) -> dict[str, Tensor]:
    """Return the tensors a weight holds, by field."""
    return {name: value for name, value in _values(weight).items() if isinstance(value, Tensor)}


def _describe_factor(weight: Weight) -> str:
    tensors = tensor_fields(weight)
    digest = f"@{_digest(tensors.values())}" if tensors else ""
    words = {name: value for name, value in _values(weight).items() if name not in tensors}
    options = ",".join(f"{name.replace('_', '-')}={_word(value)}" for name, value in words.items())
    return f"{kebab(type(weight))}{digest}{':' if options else ''}{options}"


def _values(weight: Any) -> dict[str, Any]:
    """Return the fields that are required or differ from their default; all attributes of what is no dataclass."""
    if not dataclasses.is_dataclass(weight):
        return dict(vars(weight))
    values = ((field, getattr(weight, field.name)) for field in dataclasses.fields(weight))
    return {
        field.name: value
        for field, value in values
        if isinstance(value, Tensor) or _word(value) != _word(field.default)
    }


def _word(value: Any) -> str:
    """Return a value on one line, all of it: a class of the user's may hold anything."""
    if isinstance(value, float):
        return repr(float(value))  # numpy's floats have a repr of their own
    if isinstance(value, Weight):
        return f"({describe_weight(value)})"
    if isinstance(value, Mapping):
        return _word([*value.items()])
    if isinstance(value, list | tuple):
        return f"({';'.join(map(_word, value))})"
    if hasattr(value, "__array__"):  # tensors too; their own strings leave numbers out
        return f"@{_digest([torch.as_tensor(value)])}"
    return " ".join(str(value).split())


def _digest(tensors: Iterable[Tensor]) -> str:
    state = hashlib.sha256()
    for tensor in tensors:
        tensor = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
        state.update(str(tuple(tensor.shape)).encode())
        state.update(tensor.detach().to("cpu", torch.float64).contiguous().numpy().tobytes())
    return state.hexdigest()[:_HEX_DIGITS]
