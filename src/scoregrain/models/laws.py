"""Initialisation laws: which tensors follow a law of the table, verified on constructor draws.

Constructing a network costs more than running it. Where every parameter belongs to a known layer and eight
constructor draws agree with that layer's law, tensor by tensor, a network is drawn by filling one flat buffer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from scoregrain._errors import ScoregrainError
from scoregrain.models.checks import check_fresh
from scoregrain.models.family import NetworkFamily, evaluate, random_input, tensor_bytes
from scoregrain.models.named_laws import DISTRIBUTIONS, Distribution, TensorLaw, candidate_laws

CHECK_DRAWS, MOST_DRAWS = 8, 1024
SIGMAS = 5.0
FALSE_ALARM = 1e-7  # of the largest of n entries; five sigmas for what has no sigma


@dataclass(frozen=True)
class InitLaws:
    """What eight constructor draws say about a family's initialisation.

    Attributes:
        tensors: the verified law by parameter name; a parameter without one, or whose entries depend on one
            another or on another parameter's, is missing.
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

    A law of the table passes when mean, mean size, second moment, row sums and column sums agree within five
    standard errors and the largest entry is one that so many draws have; a constant passes when the eight draws are
    equal to the bit. A tensor of few entries is drawn more often: below 80 entries (20,000 for a normal law, whose
    scale no largest entry shows) five sigmas would let too large an error of the variance pass.

    Raises:
        ScoregrainError: two of the networks are one, share a parameter or start alike.
    """
    draws = [family.construct(0, -1 - i) for i in range(CHECK_DRAWS)]
    parameters = [dict(network.named_parameters()) for network in draws]
    _check_different(family, draws, parameters)
    owners = {name: (module, local) for name, module, local in _owned(draws[0])}
    tensors: dict[str, TensorLaw] = {}
    small = _SmallTensors(family)
    for name, first in parameters[0].items():
        if all(name in p and p[name].shape == first.shape for p in parameters):
            law = _law(name, torch.stack([p[name] for p in parameters]), *owners[name], small)
            if law is not None:
                tensors[name] = law
    portable = _portable(family, *draws[:2])
    reason = _obstacle(draws, parameters[0], tensors)
    if not portable and not reason:
        reason = "its networks hold randomness outside their parameters and buffers"
    dependent = _dependent(parameters[0], tensors)
    for name in dependent:
        del tensors[name]
    return InitLaws(tensors, reason or next(filter(None, dependent.values()), ""), portable)


def _check_different(family: NetworkFamily, draws: list[nn.Module], parameters: list[dict[str, nn.Parameter]]) -> None:
    """Refuse a ``build()`` that returns a network it has returned before, or one that starts like another."""
    for (one, p), (other, q) in itertools.combinations(zip(draws, parameters, strict=True), 2):
        check_fresh(one, other, family.name)
        if p.keys() == q.keys() and all(torch.equal(value, q[name]) for name, value in p.items()):
            raise ScoregrainError(
                f"two of eight networks that build() of '{family.name}' returned have equal parameters: build() must "
                "return a new, randomly initialised network at every call"
            )


class _SmallTensors:
    """More constructor draws of the parameters that have few entries, made when first asked for."""

    def __init__(self, family: NetworkFamily) -> None:
        self.family = family
        self._networks: list[dict[str, Tensor]] = []

    def draws(self, name: str, size: int, entries: int) -> Tensor | None:
        """Stacked draws of one parameter of ``size`` entries, ``entries`` or more together; None if too many."""
        count = -(-entries // size)
        if count > MOST_DRAWS:
            return None
        while len(self._networks) < count:
            network = self.family.construct(0, -1 - CHECK_DRAWS - len(self._networks))
            few = max(law.entries for law in DISTRIBUTIONS.values()) / CHECK_DRAWS
            self._networks.append({n: p for n, p in network.named_parameters() if p.numel() < few})
        return torch.stack([p[name] for p in self._networks[:count]])


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


def _obstacle(draws: list[nn.Module], first: Mapping[str, Tensor], tensors: dict[str, TensorLaw]) -> str:
    """Why the family cannot be re-drawn in place; empty when nothing speaks against it."""
    unknown = [name for name in first if name not in tensors]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        return f"the initialisation of {unknown[0]}{more} is not a known layer's"
    if len({p.dtype for p in first.values()}) > 1:
        return "its parameters have several dtypes"
    buffers = [dict(network.named_buffers()) for network in draws]
    for name, value in buffers[0].items():
        if not all(torch.equal(value, b[name]) for b in buffers[1:]):
            return f"its buffer {name} is random"
    return ""


def _dependent(first: Mapping[str, Tensor], tensors: dict[str, TensorLaw]) -> dict[str, str]:
    """Parameters that repeat themselves or another one, each with what it does; empty for what is repeated."""
    seen: dict[bytes, str] = {}
    found: dict[str, str] = {}
    for name, law in tensors.items():
        value = first[name]
        if not law.random or value.numel() < 2:
            continue
        sizes = value.abs().flatten().sort().values  # a copy may be negated, transposed or shuffled
        if _repeats(sizes):
            found[name] = f"{name} repeats its own entries"
        if (key := tensor_bytes(sizes)) in seen:
            found.setdefault(seen[key], "")
            found[name] = f"{name} starts as a copy of {seen[key]}"
        seen.setdefault(key, name)
    return found


def _repeats(sizes: Tensor) -> bool:
    """Are there fewer distinct values than independent draws of 2^23 would give?"""
    distinct = 1 + int((sizes.diff() > 0).sum())
    expected = -(2**23) * math.expm1(-len(sizes) / 2**23)
    return sizes.dtype in (torch.float32, torch.float64) and distinct < 0.9 * expected


def _law(name: str, draws: Tensor, module: nn.Module, local: str, small: _SmallTensors) -> TensorLaw | None:
    """The law that stacked draws ``(8, *shape)`` of one parameter agree with, None without one."""
    # weight_norm and the like put parameters of other names into a known layer
    candidates = candidate_laws(module, local)
    if candidates is None:
        return None
    if all(torch.equal(draws[0], other) for other in draws[1:]):
        return TensorLaw("constant", value=draws[0].clone())
    for kind, distribution in DISTRIBUTIONS.items():
        laws = [law for law in candidates if law.distribution == kind and _agrees(draws, law)]
        if laws and draws.numel() < distribution.entries:
            more = small.draws(name, draws[0].numel(), distribution.entries)
            laws = [law for law in candidates if law.distribution == kind and more is not None and _agrees(more, law)]
            draws = draws if more is None else more
        if laws:
            second = float(draws.double().square().mean())
            return min(laws, key=lambda law: abs(math.log(second / law.variance)))
    return None


def _agrees(draws: Tensor, law: TensorLaw) -> bool:
    """Do stacked draws look like iid entries of a law?"""
    distribution = DISTRIBUTIONS[law.distribution]
    z = draws.double() / math.sqrt(law.variance)
    n, size = z.numel(), z.abs()
    # the largest of n entries lies outside once in ten million times
    shortest, longest = (distribution.quantile(p ** (1 / n)) for p in (FALSE_ALARM, 1 - FALSE_ALARM))
    largest = float(size.max())
    if largest > longest * (1 + 1e-6) or largest < shortest:
        return False
    # the mean size tells distributions of one variance apart as the fourth moment does, without its heavy tail
    for found, expected, variance in (
        (z, 0.0, 1.0),
        (size, distribution.mean_size, 1 - distribution.mean_size**2),
        (z.square(), 1.0, distribution.fourth - 1),
    ):
        if abs(float(found.mean()) - expected) > SIGMAS * math.sqrt(variance / n):
            return False
    return z.ndim < 3 or all(_sums_agree(z.flatten(2), axis, distribution) for axis in (1, 2))


def _sums_agree(z: Tensor, axis: int, distribution: Distribution) -> bool:
    """Do sums along one axis have the variance of independent entries? Copies and orthogonality change it."""
    count = z.shape[axis]
    sums = z.sum(dim=axis) / math.sqrt(count)
    variance = 2 + (distribution.fourth - 3) / count  # of the square of a standardised sum
    return abs(float(sums.square().mean()) - 1) <= SIGMAS * math.sqrt(variance / sums.numel())
