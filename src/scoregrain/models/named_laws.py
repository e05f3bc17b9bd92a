"""The laws that initialisations draw from, by layer type and parameter: a table that users can add to (MATH C1.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scoregrain._errors import InvalidInputError, nearest

CUT = 2.0
"""Truncated normal laws end at so many standard deviations of the normal one."""

_INSIDE = math.erf(CUT / math.sqrt(2))
_EDGE = 2 * math.exp(-(CUT**2) / 2) / math.sqrt(2 * math.pi) / _INSIDE  # 2 φ(2) / P(|z| < 2)
_CUT_VARIANCE = 1 - CUT * _EDGE
_PEAK = 2 / math.sqrt(2 * math.pi) / _INSIDE


@dataclass(frozen=True)
class Distribution:
    """A symmetric law of one entry; ``z`` is an entry divided by its standard deviation.

    Attributes:
        variance: of an entry of scale 1.
        fourth: ``E z⁴``.
        mean_size: ``E |z|``.
        quantile: ``p ↦ q`` with ``P(|z| < q) = p``.
        entries: draws of so many entries tell a law from its neighbours.
    """

    variance: float
    fourth: float
    mean_size: float
    quantile: Callable[[float], float]
    entries: int


def _normal_quantile(p: float) -> float:
    return math.sqrt(2) * float(torch.tensor(p, dtype=torch.float64).erfinv())


# The largest entry shows the scale of a uniform law sharply; that of a normal law shows in its second moment alone,
# to 5 standard errors of 1 % in 20,000 entries.
DISTRIBUTIONS = {
    "uniform": Distribution(1 / 3, 9 / 5, math.sqrt(3) / 2, lambda p: math.sqrt(3) * p, 80),
    "normal": Distribution(1.0, 3.0, math.sqrt(2 / math.pi), _normal_quantile, 20_000),
    "truncated": Distribution(
        _CUT_VARIANCE,
        (3 * _CUT_VARIANCE - CUT**3 * _EDGE) / _CUT_VARIANCE**2,
        (_PEAK - _EDGE) / math.sqrt(_CUT_VARIANCE),
        lambda p: _normal_quantile(p * _INSIDE) / math.sqrt(_CUT_VARIANCE),
        20_000,
    ),
}


@dataclass(frozen=True, eq=False)
class TensorLaw:
    """Entries of one parameter: iid with zero mean, or the constant ``value``.

    Args:
        distribution: ``uniform`` on ±scale, ``normal`` of standard deviation ``scale``, ``truncated``: that normal
            law cut at two standard deviations, or ``constant``.
        scale: half-width or standard deviation; 0 for a constant.
        value: the constant.
        name: what the law is called, for messages.

    Raises:
        InvalidInputError: unknown distribution, or a scale that is not positive and finite.
    """

    distribution: str
    scale: float = 0.0
    value: Tensor | None = None
    name: str = ""

    def __post_init__(self) -> None:
        known = [*DISTRIBUTIONS, "constant"]
        if self.distribution not in known:
            hint = nearest(self.distribution, known)
            raise InvalidInputError(f"unknown distribution '{self.distribution}'{hint}; known: {', '.join(known)}")
        if (self.distribution == "constant") != (self.scale == 0) or not 0 <= self.scale < math.inf:
            raise InvalidInputError(f"the scale of a {self.distribution} law cannot be {self.scale}")

    @property
    def random(self) -> bool:
        """False for a constant."""
        return self.distribution != "constant"

    @property
    def variance(self) -> float:
        """Variance of one entry: ``scale²/3`` for a uniform law, 0 for a constant."""
        return self.scale**2 * DISTRIBUTIONS[self.distribution].variance if self.random else 0.0

    @property
    def is_zero(self) -> bool:
        """True for a tensor that always starts at exactly zero."""
        return self.value is not None and not bool(self.value.any())

    def same_as(self, other: TensorLaw) -> bool:
        """Do both draw alike?"""
        return self.random and (self.distribution, self.scale) == (other.distribution, other.scale)

    def fill_(self, tensor: Tensor, generator: torch.Generator) -> Tensor:
        """Draw all entries of ``tensor`` anew, in place."""
        match self.distribution:
            case "uniform":
                return tensor.uniform_(-self.scale, self.scale, generator=generator)
            case "normal":
                return tensor.normal_(0.0, self.scale, generator=generator)
            case "truncated":
                return tensor.uniform_(-_INSIDE, _INSIDE, generator=generator).erfinv_().mul_(math.sqrt(2) * self.scale)
        raise InvalidInputError("a constant law has nothing to draw")


Candidates = Callable[[nn.Module], Sequence[TensorLaw]]
"""From a layer to the laws that one of its parameters may follow."""


def _weight_laws(layer: nn.Module) -> list[TensorLaw]:
    """Laws of a linear or convolutional layer's weight; fans are counted as ``torch.nn.init`` counts them."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    receptive = math.prod(weight.shape[2:])
    fan_in, fan_out = weight.shape[1] * receptive, weight.shape[0] * receptive
    both, flat = fan_in + fan_out, fan_in + weight.shape[0]
    return [
        TensorLaw("uniform", 1 / math.sqrt(fan_in), name="default"),
        TensorLaw("uniform", math.sqrt(6 / both), name="Xavier uniform"),
        # on the flattened patch embedding, whose output channels are then counted once
        TensorLaw("uniform", math.sqrt(6 / flat), name="Xavier uniform of a flattened kernel"),
        TensorLaw("uniform", math.sqrt(6 / fan_in), name="Kaiming uniform"),
        TensorLaw("uniform", math.sqrt(3 / fan_in), name="LeCun uniform"),
        TensorLaw("normal", math.sqrt(1 / fan_in), name="LeCun normal"),
        TensorLaw("normal", math.sqrt(2 / both), name="Xavier normal"),
        TensorLaw("normal", math.sqrt(2 / fan_in), name="Kaiming normal"),
        # also torch's trunc_normal_(std=0.02), which cuts at ±2: a hundred standard deviations
        TensorLaw("normal", 0.02, name="N(0, 0.02²)"),
        TensorLaw("truncated", 0.02, name="N(0, 0.02²) cut at two standard deviations"),
    ]


def _bias_laws(layer: nn.Module) -> list[TensorLaw]:
    return _weight_laws(layer)[:1]


def _constants_only(_layer: nn.Module) -> list[TensorLaw]:
    return []


def _embedding_laws(_layer: nn.Module) -> list[TensorLaw]:
    return [TensorLaw("normal", 1.0, name="N(0, 1)"), TensorLaw("normal", 0.02, name="N(0, 0.02²)")]


_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMALISING = (nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_REGISTRY: dict[tuple[type[nn.Module], str], Candidates] = {
    **{(layer, "weight"): _weight_laws for layer in _WEIGHTED},
    **{(layer, "bias"): _bias_laws for layer in _WEIGHTED},
    **{(layer, name): _constants_only for layer in _NORMALISING for name in ("weight", "bias")},
    (nn.Embedding, "weight"): _embedding_laws,
}


def register_law(layer: type[nn.Module], parameter: str, candidates: Candidates) -> None:
    """Tell which laws a parameter of a layer type may start from; in place of what was known of it.

    The type must be exact: sub-classes are other types. A law is used only where constructor draws agree with it.
    Constants need no law: they are recognised in every registered parameter.

    Args:
        layer: the layer's type.
        parameter: the parameter's name in the layer.
        candidates: called with one such layer; returns laws.

    Raises:
        InvalidInputError: ``layer`` is not a type of module.

    Example:
        A convolution that starts as N(0, 1/fan_in), scaled by a hundredth:

        >>> from torch import nn
        >>> from scoregrain.models import TensorLaw, register_law
        >>> class SmallConv(nn.Conv2d):
        ...     def reset_parameters(self):
        ...         nn.init.normal_(self.weight, std=0.01 / self.weight[0].numel() ** 0.5)
        ...         nn.init.zeros_(self.bias)
        >>> register_law(SmallConv, "weight", lambda conv: [TensorLaw("normal", 0.01 / conv.weight[0].numel() ** 0.5)])
        >>> register_law(SmallConv, "bias", lambda conv: [])
    """
    if not (isinstance(layer, type) and issubclass(layer, nn.Module)):
        raise InvalidInputError(f"a law belongs to a type of module and one of its parameters, got {layer!r}")
    _REGISTRY[layer, parameter] = candidates


def candidate_laws(layer: nn.Module, parameter: str) -> Sequence[TensorLaw] | None:
    """Laws that a parameter of a layer may follow; None for a parameter that is not registered."""
    candidates = _REGISTRY.get((type(layer), parameter))
    return None if candidates is None else candidates(layer)
