"""A network in rotated coordinates, as a module (MATH C5)."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from scoregrain._errors import InvalidInputError
from scoregrain.align.rotation import Rotation, turn


class RotatedModel(nn.Module):
    """``Wᵀ f(W x, t)``: a drop-in replacement of f for data x, when f is to see ``W x`` (MATH C5).

    Training it on x with white noise is training f on ``W x``; its geometry is ``Wᵀ G W``. Trainers, samplers, metrics
    and pipelines stay in the coordinates of the data. Other arguments are passed on, and attributes that it does not
    have are those of f, such as a diffusers model's ``config``.

    The output is of the kind that f returns: a tensor, a tuple (its first element is rotated back), or an object with
    a tensor ``.sample`` (a copy of it, the sample rotated back).

    The rotation follows ``.to()``; it is always cast from float64, and half-precision networks rotate in float32. It
    is not part of ``state_dict()``: save it by :meth:`Rotation.save`.

    Args:
        model: f.
        rotation: W.

    Raises:
        InvalidInputError: the model is no ``nn.Module``; when called, x is not of the rotation's shape or the output is
            of none of these kinds.
    """

    def __init__(self, model: nn.Module, rotation: Rotation) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise InvalidInputError(f"expected an nn.Module to wrap, got {type(model).__name__}")
        self.model, self.rotation, self.shape = model, rotation, rotation.shape
        like = next((p for p in model.parameters() if p.is_floating_point()), rotation.core)
        for i, factor in enumerate(rotation.factors):
            self.register_buffer(f"factor{i}", _cast(factor, like), persistent=False)

    def forward(self, x: Tensor, *arguments: Any, **options: Any) -> Any:
        """Rotate x, call the network, rotate its output back.

        Args:
            x: ``(N, C, *space)``.
            *arguments: passed on, the time first.
            **options: passed on.
        """
        shape = self.rotation.shape
        factors = tuple(self._buffers.values())
        output = self.model(turn(x, shape, factors), *arguments, **options)  # type: ignore[arg-type]
        return _map_sample(output, lambda y: turn(y, shape, factors, back=True))  # type: ignore[arg-type]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RotatedModel:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for i, factor in enumerate(self.rotation.factors):
            setattr(self, f"factor{i}", _cast(factor, getattr(self, f"factor{i}")))
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "model":  # not set yet
                raise
            return getattr(self.model, name)


def _cast(factor: Tensor, like: Tensor) -> Tensor:
    """On the device of a tensor, and in its precision but at least float32."""
    return factor.to(like.device, torch.promote_types(like.dtype, torch.float32))


def _map_sample(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply a change to the sample in a network's output, which keeps its kind."""
    if isinstance(output, Tensor):
        return change(output)
    if isinstance(output, tuple) and output and isinstance(output[0], Tensor):
        return (change(output[0]), *output[1:])
    sample = getattr(output, "sample", None)
    if not isinstance(sample, Tensor):
        raise InvalidInputError(
            f"the network returned {type(output).__name__}, expected a tensor, a tuple that starts with one, or an "
            "object with one as .sample"
        )
    sample = change(sample)
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return dataclasses.replace(output, sample=sample)
    result = copy.copy(output)
    result.sample = sample
    return result
