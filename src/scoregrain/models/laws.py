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
PRODUCT_ROWS = 64  # whose lengths and inner products are looked at
LEAST_PAIRS, LEAST_LENGTH = 200, 16  # of fewer pairs, or shorter rows, the statistics are too far from normal
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

    A law of the table passes when mean, mean size, second moment, row sums and column sums, and lengths and inner
    products of rows and of columns agree within five standard errors, and the largest entry is one that so many draws
    have; a constant passes when the eight draws are equal to the bit. A tensor of few entries is drawn more often:
    below 80 entries (20,000 for a normal law, whose scale no largest entry shows) five sigmas would let too large an
    error of the variance pass.

    Raises:
        ScoregrainError: two of the networks are one, share a parameter or start alike, or one drawn again differs.
    """
    draws = [family.construct(0, -1 - i) for i in range(CHECK_DRAWS)]
    parameters = [dict(network.named_parameters()) for network in draws]
    _check_different(family, draws, parameters)
    _check_reproducible(family, draws[0])
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
    dependent = _dependent(parameters[0] | dict(draws[0].named_buffers()), tensors)
    for name in dependent:
        tensors.pop(name, None)
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


def _check_reproducible(family: NetworkFamily, first: nn.Module) -> None:
    """Refuse a ``build()`` that draws from a generator which no seed reaches."""
    again = family.construct(0, -1).state_dict()
    changed = [key for key, value in first.state_dict().items() if tensor_bytes(value) != tensor_bytes(again[key])]
    if changed:
        raise ScoregrainError(
            f"build() of '{family.name}' gives '{changed[0]}' other values when it is called again with the same seed: "
            "draw from the global generators of torch, numpy or random, or from one that is seeded by them"
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
    """Tensors that repeat themselves or a parameter of known law, each with what it does; empty for what is repeated.

    Buffers and parameters without a known law are looked at too, for copies.
    """
    seen: dict[bytes, str] = {}
    found: dict[str, str] = {}
    for name in sorted(first, key=lambda name: name not in tensors):
        value, law = first[name], tensors.get(name)
        if (law is not None and not law.random) or value.numel() < 2:
            continue
        sizes = value.abs().flatten().sort().values  # a copy may be negated, transposed or shuffled
        if law is not None and _repeats(sizes):
            found[name] = f"{name} repeats its own entries"
        if (key := tensor_bytes(sizes)) in seen:
            found.setdefault(seen[key], "")
            found[name] = f"{name} starts as a copy of {seen[key]}"
        if law is not None:
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
    if z.ndim < 3:
        return True
    rows = z.flatten(2)
    return all(_sums_agree(side, distribution) and _products_agree(side, distribution) for side in (rows, rows.mT))


def _sums_agree(rows: Tensor, distribution: Distribution) -> bool:
    """Do sums of rows ``(draws, m, n)`` have the variance of independent entries? Copies and centring change it."""
    count = rows.shape[2]
    sums = rows.sum(dim=2) / math.sqrt(count)
    variance = 2 + (distribution.fourth - 3) / count  # of the square of a standardised sum
    return abs(float(sums.square().mean()) - 1) <= SIGMAS * math.sqrt(variance / sums.numel())


def _products_agree(rows: Tensor, distribution: Distribution) -> bool:
    """Do lengths and inner products of rows vary as those of independent entries do?

    Orthogonal rows, rows of one length and products of smaller matrices have the right sums.
    """
    rows = rows[:, :PRODUCT_ROWS]
    draws, m, n = rows.shape
    pairs, spread = m * (m - 1) // 2, (distribution.fourth - 1) / n
    if draws * pairs < LEAST_PAIRS:
        return True
    gram = rows @ rows.mT / n
    lengths = gram.diagonal(dim1=1, dim2=2)
    crossed = (gram.square().sum() - lengths.square().sum()) * n / (2 * pairs * draws)
    # of a mean over pairs, those that share a row being dependent
    variance = (2 + (distribution.fourth**2 - 3) / n + 2 * (m - 2) * spread) / (pairs * draws)
    if abs(float(crossed) - 1) > SIGMAS * math.sqrt(variance):
        return False
    varied = float((lengths - 1).square().mean()) / spread
    return n < LEAST_LENGTH or abs(varied - 1) <= SIGMAS * math.sqrt((2 + 12 / n) / lengths.numel())
