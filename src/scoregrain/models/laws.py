"""Initialisation laws: which tensors follow the framework's default draw, verified on constructor draws.

Constructing a network costs more than running it. Where every parameter belongs to a known layer and eight
constructor draws agree with that layer's law, tensor by tensor, a network is drawn by filling one flat buffer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from scoregrain._errors import ScoregrainError
from scoregrain.models.family import NetworkFamily, evaluate, random_input, tensor_bytes

CHECK_DRAWS = 8
# a tensor of few entries is looked at in more draws: below so many entries five sigmas let half the variance pass
MIN_ENTRIES = 80
SIGMAS = 5.0

_WEIGHTED = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
)
_CONSTANT = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class TensorLaw:
    """Entries of one parameter: iid uniform on ``[-bound, bound]``, or (bound 0) the constant ``value``."""

    bound: float
    value: Tensor | None = None

    @property
    def variance(self) -> float:
        """Variance of one entry: ``bound² / 3``."""
        return self.bound**2 / 3

    @property
    def is_zero(self) -> bool:
        """True for a tensor that always starts at exactly zero."""
        return self.value is not None and not bool(self.value.any())


@dataclass(frozen=True)
class InitLaws:
    """What eight constructor draws say about a family's initialisation.

    Attributes:
        tensors: the verified law by parameter name; a parameter without one is missing.
        reason: why networks cannot be drawn in place, empty when they can.
        portable: a network is its parameters and buffers: another one that is given them computes the same.
    """

    tensors: dict[str, TensorLaw]
    reason: str
    portable: bool = True

    @property
    def in_place(self) -> bool:
        """True when every parameter's law is verified: networks may be drawn by filling a buffer."""
        return not self.reason


def verify_laws(family: NetworkFamily) -> InitLaws:
    """Draw eight networks with the constructor and verify each parameter's law (MATH C1.1).

    A uniform law passes when no entry exceeds its bound and mean, second moment, row sums and column sums
    agree within five standard errors; a constant one when the eight draws are equal to the bit.

    Raises:
        ScoregrainError: the eight networks are one and the same.
    """
    draws = [family.construct(0, -1 - i) for i in range(CHECK_DRAWS)]
    parameters = [dict(network.named_parameters()) for network in draws]
    if all(torch.equal(value, p[name]) for p in parameters[1:] for name, value in parameters[0].items() if name in p):
        raise ScoregrainError(
            f"eight networks of '{family.name}' have equal parameters: build() must return a new, randomly "
            "initialised network at every call"
        )
    owners = {name: (module, local) for name, module, local in _owned(draws[0])}
    tensors: dict[str, TensorLaw] = {}
    unknown: list[str] = []
    small = _SmallTensors(family)
    for name, first in parameters[0].items():
        law = None
        if all(name in p and p[name].shape == first.shape for p in parameters):
            law = _law(torch.stack([p[name] for p in parameters]), *owners[name])
        if law is not None and law.bound and CHECK_DRAWS * first.numel() < MIN_ENTRIES:
            law = law if _agrees(small.draws(name), law.bound) else None
        if law is None:
            unknown.append(name)
        else:
            tensors[name] = law
    portable = _portable(family, *draws[:2])
    reason = _obstacle(draws, parameters[0], tensors, unknown)
    if not portable and not reason:
        reason = "its networks hold randomness outside their parameters and buffers"
    return InitLaws(tensors, reason, portable)


class _SmallTensors:
    """More constructor draws of the parameters that have few entries, made when first asked for."""

    def __init__(self, family: NetworkFamily) -> None:
        self.family = family
        self._networks: list[dict[str, Tensor]] = []

    def draws(self, name: str) -> Tensor:
        """Stacked draws of one parameter, 80 entries or more, float64."""
        while not self._networks or sum(p[name].numel() for p in self._networks) < MIN_ENTRIES:
            network = self.family.construct(0, -1 - CHECK_DRAWS - len(self._networks))
            self._networks.append(
                {n: p for n, p in network.named_parameters() if CHECK_DRAWS * p.numel() < MIN_ENTRIES}
            )
        return torch.stack([p[name] for p in self._networks]).double()


def _portable(family: NetworkFamily, one: nn.Module, other: nn.Module) -> bool:
    """Does one network compute what another does once it has its parameters and buffers?"""
    x, t = random_input(one, family.shape, "portable")
    state = dict(other.named_parameters()) | dict(other.named_buffers())
    try:
        with torch.no_grad():
            found = evaluate(lambda x, t: functional_call(one, state, (x, t)), x, t)
            expected = evaluate(other, x, t)
    except ScoregrainError:
        return False
    return bool(torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()), equal_nan=True))


def _owned(network: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield (full parameter name, owning module, local name), shared parameters once."""
    names = dict(network.named_parameters())
    for prefix, module in network.named_modules():
        for local, _ in module.named_parameters(recurse=False):
            full = f"{prefix}.{local}" if prefix else local
            if full in names:
                yield full, module, local


def _obstacle(
    draws: list[nn.Module], first: Mapping[str, Tensor], tensors: dict[str, TensorLaw], unknown: list[str]
) -> str:
    """Why the family cannot be re-drawn in place; empty when it can."""
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        return f"the initialisation of {unknown[0]}{more} is not a known layer's"
    if len({p.dtype for p in first.values()}) > 1:
        return "its parameters have several dtypes"
    buffers = [dict(network.named_buffers()) for network in draws]
    for name, value in buffers[0].items():
        if not all(torch.equal(value, b[name]) for b in buffers[1:]):
            return f"its buffer {name} is random"
    seen: dict[bytes, str] = {}
    for name, value in first.items():
        if tensors[name].bound == 0 or value.numel() < 2:
            continue
        sizes = value.abs().flatten().sort().values  # a copy may be negated, transposed or shuffled
        if _repeats(sizes):
            return f"{name} repeats its own entries"
        if (key := tensor_bytes(sizes)) in seen:
            return f"{name} starts as a copy of {seen[key]}"
        seen[key] = name
    return ""


def _repeats(sizes: Tensor) -> bool:
    """Are there fewer distinct values than independent draws of 2^23 would give?"""
    distinct = 1 + int((sizes.diff() > 0).sum())
    expected = -(2**23) * math.expm1(-len(sizes) / 2**23)
    return sizes.dtype in (torch.float32, torch.float64) and distinct < 0.9 * expected


def _law(draws: Tensor, module: nn.Module, local: str) -> TensorLaw | None:
    """The law that stacked draws ``(8, *shape)`` of one parameter agree with, None without one."""
    # weight_norm and the like put parameters of other names into a known layer
    if type(module) not in _WEIGHTED + _CONSTANT or local not in ("weight", "bias"):
        return None
    if all(torch.equal(draws[0], other) for other in draws[1:]):
        return TensorLaw(0.0, draws[0].clone())
    if type(module) in _CONSTANT:
        return None
    for bound in _bounds(module, local):
        if _agrees(draws.double(), bound):
            return TensorLaw(bound)
    return None


def _bounds(module: nn.Module, local: str) -> list[float]:
    """Candidate bounds of a known layer: the framework's default 1/√fan_in, and Xavier-uniform for weights."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    receptive = math.prod(weight.shape[2:])
    fan_in, fan_out = weight.shape[1] * receptive, weight.shape[0] * receptive
    default = 1 / math.sqrt(fan_in)
    if local == "bias":
        return [default]
    # Xavier on the flattened patch embedding counts its output channels once
    return [default, math.sqrt(6 / (fan_in + fan_out)), math.sqrt(6 / (fan_in + weight.shape[0]))]


def _agrees(draws: Tensor, bound: float) -> bool:
    """Do stacked draws look like iid uniform entries on ±bound?"""
    u = draws / bound
    n = u.numel()
    largest = float(u.abs().max())
    # the largest of n uniform entries falls short of the bound by more than 16/n once in ten million times
    if largest > 1 + 1e-6 or largest < 1 - 16 / n:
        return False
    mean, second = float(u.mean()), float(u.square().mean())
    if abs(mean) > SIGMAS * math.sqrt(1 / (3 * n)) or abs(second - 1 / 3) > SIGMAS * math.sqrt(4 / (45 * n)):
        return False
    return u.ndim < 3 or all(_sums_agree(u.flatten(2), axis) for axis in (1, 2))


def _sums_agree(u: Tensor, axis: int) -> bool:
    """Do sums along one axis have the variance of independent entries? Copies and orthogonality change it."""
    sums = u.sum(dim=axis) / math.sqrt(u.shape[axis] / 3)
    n = sums.numel()
    kurtosis = 2 - 6 / (5 * u.shape[axis])  # variance of the square of a standardised sum
    return abs(float(sums.square().mean()) - 1) <= SIGMAS * math.sqrt(kurtosis / n)
