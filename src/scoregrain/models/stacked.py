"""Many networks of one family at once: stacked parameters, evaluated under ``torch.func.vmap``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from scoregrain._errors import ScoregrainError
from scoregrain._random import stream_seed
from scoregrain.models.family import NetworkFamily, evaluate
from scoregrain.models.laws import InitLaws
from scoregrain.models.named_laws import TensorLaw

Parameters = dict[str, Tensor]


class NetworkStack:
    """Draws networks of a family as stacked tensors ``(n, *parameter)`` and evaluates them together.

    Network i is a function of ``(seed, i)`` and of how it is drawn: ``draw`` is ``in-place`` (one flat buffer,
    filled by the verified laws) or ``constructor``. ``execution`` is ``vmap``, or ``loop`` and why for a network
    that vmap cannot run.
    """

    def __init__(
        self, family: NetworkFamily, laws: InitLaws, seed: int = 0, device: torch.device | str | None = None
    ) -> None:
        self.family, self.seed = family, seed
        self.skeleton = vmappable(family.construct(seed, 0))
        self.device = torch.device(device or "cpu")
        self.skeleton.to(self.device)
        self.draw = "in-place" if laws.in_place else "constructor"
        self.execution = "vmap" if laws.portable else "loop (the networks hold randomness outside their parameters)"
        self._portable, self._modules = laws.portable, list[nn.Module]()
        self._buffer: Tensor | None = None
        if laws.in_place:
            self._prepare_buffer(laws)

    def _prepare_buffer(self, laws: InitLaws) -> None:
        """Where each parameter lies in a flat row, what is constant in it, and runs of entries of one law."""
        self._slices: list[tuple[str, slice, torch.Size]] = []
        self._runs: list[tuple[int, int, TensorLaw]] = []
        constants, start = [], 0
        for name, parameter in self.skeleton.named_parameters():
            law, n = laws.tensors[name], parameter.numel()
            value = law.value if law.value is not None else torch.zeros(())
            constants.append(value.cpu().to(parameter.dtype).expand(parameter.shape).flatten())
            self._slices.append((name, slice(start, start + n), parameter.shape))
            if self._runs and self._runs[-1][1] == start and law.same_as(self._runs[-1][2]):
                self._runs[-1] = (self._runs[-1][0], start + n, law)  # a layer's weight and bias share theirs
            elif law.random:
                self._runs.append((start, start + n, law))
            start += n
        self._constants = torch.cat(constants)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the networks' parameters, and so of their inputs."""
        return next(self.skeleton.parameters()).dtype

    def parameters(self, indices: Sequence[int]) -> Parameters:
        """Stacked parameters and buffers of the networks ``indices``; valid until the next call."""
        if self.draw == "in-place":
            return self._redraw(indices)
        networks = [vmappable(self.family.construct(self.seed, i)) for i in indices]
        if not self._portable:
            self._modules = [network.to(self.device) for network in networks]
        tensors = [dict(network.named_parameters()) | dict(network.named_buffers()) for network in networks]
        return {name: torch.stack([t[name] for t in tensors]).to(self.device) for name in tensors[0]}

    def _redraw(self, indices: Sequence[int]) -> Parameters:
        """Fill the flat buffer: one generator a network, seeded by its index alone."""
        n = len(indices)
        if self._buffer is None or len(self._buffer) < n:
            self._buffer = self._constants.repeat(n, 1)
        generator = torch.Generator()
        for row, index in zip(self._buffer, indices, strict=False):
            generator.manual_seed(stream_seed(self.seed, "network", index))
            for start, stop, law in self._runs:
                law.fill_(row[start:stop], generator)
        buffer = self._buffer[:n].to(self.device)
        return {name: buffer[:, part].view(n, *shape) for name, part, shape in self._slices}

    def outputs(self, parameters: Parameters, x: Tensor, t: Tensor, layer: str | None) -> tuple[Tensor, Tensor]:
        """Outputs ``(n, q, *shape)`` and inputs of ``layer`` ``(n, q, ...)``.

        Args:
            parameters: from :meth:`parameters`, n networks.
            x: inputs ``(n, q, *shape)``.
            t: noise levels ``(n, q)``.
            layer: name of the layer whose input is wanted; None returns the outputs twice.
        """
        # one input at a time: group normalisation of several has no batching rule for some memory layouts
        parts = [self._evaluate(parameters, x[:, i : i + 1], t[:, i : i + 1], layer) for i in range(x.shape[1])]
        return torch.cat([part[0] for part in parts], dim=1), torch.cat([part[1] for part in parts], dim=1)

    def layer_outputs(self, parameters: Parameters, layer: str, features: Tensor) -> Tensor:
        """Outputs ``(n, q, ...)`` of one layer for its inputs ``(n, q, ...)``, n networks."""
        if self._portable:
            module, prefix = self.skeleton.get_submodule(layer), f"{layer}."
            own = {name.removeprefix(prefix): p for name, p in parameters.items() if name.startswith(prefix)}
            calls = [functional_call(module, {k: p[i] for k, p in own.items()}, (h,)) for i, h in enumerate(features)]
        else:
            calls = [m.get_submodule(layer)(h) for m, h in zip(self._modules, features, strict=True)]
        return torch.stack(calls)

    def _evaluate(self, parameters: Parameters, x: Tensor, t: Tensor, layer: str | None) -> tuple[Tensor, Tensor]:
        """All networks on one input each, by vmap where it works."""
        with torch.inference_mode():
            if self.execution == "vmap":
                try:
                    return vmap(lambda p, x, t: self._one(p, x, t, layer))(parameters, x, t)
                except (RuntimeError, ScoregrainError) as error:
                    self._loop(parameters, x, t, layer, 1)  # raises what the network raises when it runs alone
                    self.execution = f"loop (vmap: {' '.join(str(error).split())[:160]})"
            return self._loop(parameters, x, t, layer, len(x))

    def _loop(
        self, parameters: Parameters, x: Tensor, t: Tensor, layer: str | None, count: int
    ) -> tuple[Tensor, Tensor]:
        """Evaluate the first ``count`` networks one by one."""
        if self._portable:
            one = [{name: p[i] for name, p in parameters.items()} for i in range(count)]
            results = [self._one(p, x[i], t[i], layer) for i, p in enumerate(one)]
        else:
            results = [_captured(network, network, x[i], t[i], layer) for i, network in enumerate(self._modules)]
        return torch.stack([r[0] for r in results]), torch.stack([r[1] for r in results])

    def _one(self, parameters: Parameters, x: Tensor, t: Tensor, layer: str | None) -> tuple[Tensor, Tensor]:
        """One network on its q probes, with the input of ``layer``."""
        return _captured(self.skeleton, lambda x, t: functional_call(self.skeleton, parameters, (x, t)), x, t, layer)


def _captured(
    network: nn.Module, call: Callable[..., Any], x: Tensor, t: Tensor, layer: str | None
) -> tuple[Tensor, Tensor]:
    """Output of a call of a network, and the input of one of its layers (the output again without a layer)."""
    with captured_input(network, layer) as capture:
        output = evaluate(call, x, t)
    return output, capture[0] if layer is not None else output


@contextmanager
def captured_input(network: nn.Module, layer: str | None) -> Iterator[list[Tensor]]:
    """Collect the inputs of ``layer`` while the network runs."""
    capture: list[Tensor] = []
    if layer is None:
        yield capture
        return

    def keep(_module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        capture.append(args[0] if args else named["input"])

    handle = network.get_submodule(layer).register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield capture
    finally:
        handle.remove()


def vmappable(network: nn.Module) -> nn.Module:
    """Give diffusers' attention its plain processor: vmap has no batching rule for fused attention."""
    attention = [module for module in network.modules() if hasattr(module, "set_processor")]
    if attention:
        from diffusers.models.attention_processor import Attention, AttnAddedKVProcessor, AttnProcessor

        for module in attention:
            if isinstance(module, Attention):
                added = module.added_kv_proj_dim is not None
                module.set_processor(AttnAddedKVProcessor() if added else AttnProcessor())
    return network


def parameter_count(network: nn.Module) -> int:
    """Number of scalar parameters."""
    return sum(math.prod(parameter.shape) for parameter in network.parameters())
