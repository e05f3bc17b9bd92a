"""Networks that fool a measurement: a forward pass that changes the network, constructors that share parts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scoregrain._errors import ScoregrainError
from scoregrain.models.family import evaluate, random_input


def check_stateless(network: nn.Module, shape: tuple[int, ...], name: str = "custom") -> None:
    """Refuse a network whose forward pass changes it, also in eval mode: network i would depend on the calls before.

    Compared are parameters, buffers and plain numbers of all modules around a call with another input, and the
    outputs for equal inputs before and after it. Whatever the very first call sets up is allowed.

    Args:
        network: in eval mode; it is called three times.
        shape: ``(C, *space)`` of one input.
        name: what the message calls the family.

    Raises:
        ScoregrainError: what changes is named.
    """
    x, t = random_input(network, shape, "stateless", count=2)
    with torch.no_grad():
        first = evaluate(network, x[:1], t[:1]).clone()
        before = _state(network)
        evaluate(network, x[1:], t[1:])
        changed = _changed(before, _state(network))
        again = evaluate(network, x[:1], t[:1])
    if changed is None and torch.equal(first.nan_to_num(), again.nan_to_num()):
        return
    if changed is not None:
        what, advice = f"changes its own '{changed}'", "leave such updates out in eval mode"
    else:
        what = "gives different outputs for equal inputs"
        advice = "switch randomness off, for instance dropout called with training=True"
    raise ScoregrainError(
        f"the forward pass of '{name}' {what}, also in eval mode; a network that is measured must be a function of "
        f"its parameters, its input and the noise level alone: {advice}"
    )


def _state(network: nn.Module) -> dict[str, Tensor | float]:
    """Parameters, buffers and plain numbers by full name; tensors copied."""
    state: dict[str, Tensor | float] = {
        name: value.detach().clone() for name, value in (*network.named_parameters(), *network.named_buffers())
    }
    for prefix, module in network.named_modules():
        numbers = {key: value for key, value in vars(module).items() if isinstance(value, int | float)}
        state |= {f"{prefix}.{key}" if prefix else key: value for key, value in numbers.items()}
    return state


def _changed(before: dict[str, Tensor | float], after: dict[str, Tensor | float]) -> str | None:
    """Name of the first entry that is new or another, None when all are equal."""
    return next((name for name, value in after.items() if not _equal(before.get(name), value)), None)


def _equal(one: Tensor | float | None, other: Tensor | float) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())  # NaN too
    return type(one) is type(other) and bool(one == other or other != other)


def check_fresh(one: nn.Module, other: nn.Module, name: str = "custom") -> None:
    """Refuse a ``build()`` that returned one module twice, or two that share a parameter.

    Drawing or converting one of them would change the other.

    Args:
        one: a network that ``build()`` returned.
        other: what it returned at another call.
        name: what the message calls the family.

    Raises:
        ScoregrainError: the module, or the parameter they share by name.
    """
    advice = "build() must return a new, randomly initialised network at every call"
    if one is other:
        raise ScoregrainError(f"build() of '{name}' returned the same network twice: {advice}")
    known = {id(parameter) for parameter in one.parameters()}
    shared = next((key for key, parameter in other.named_parameters() if id(parameter) in known), None)
    if shared is not None:
        raise ScoregrainError(
            f"two networks that build() of '{name}' returned share the parameter '{shared}': {advice}; copy what is "
            "meant to be the same in all of them (copy.deepcopy)"
        )
