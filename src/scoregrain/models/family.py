"""Families of networks: an architecture together with its random initialisation."""

from __future__ import annotations

import hashlib
import inspect
import os
import random
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from scoregrain._errors import InvalidInputError, ScoregrainError, nearest
from scoregrain._predictions import PREDICTIONS
from scoregrain._random import stream, stream_seed

INIT_POLICIES = ("as-is", "unzero-head", "unzero-all")


@dataclass(frozen=True, eq=False, repr=False)
class NetworkFamily:
    """Networks of one architecture, drawn from its own random initialisation.

    Args:
        build: called without arguments; returns a freshly initialised ``nn.Module`` that is called as
            ``network(x, t)`` with ``x`` of shape ``(N, *shape)`` and ``t`` an integer tensor ``(N,)``, and
            returns ``(N, *shape)`` (or an object with that tensor as ``.sample``, or a tuple that starts with it).
        shape: ``(C, *space)`` of one input, one to three space dimensions.
        prediction: what the output stands for: ``epsilon``, ``v_prediction``, ``sample``, ``flow`` or ``edm``.
        init: ``as-is``; ``unzero-head`` re-draws the last layer when it starts at zero; ``unzero-all`` re-draws
            every layer that does. Both use the layer's default initialisation.
        name: how messages, files and reports call the family.
        config: what to write into ``config.json`` so that the family can be built again.
        trained: parameters are given, not random: the expectation is over data and noise levels alone.

    Raises:
        InvalidInputError: unknown prediction or policy, a shape that is not ``(C, *space)``, or another policy than
            ``as-is`` for a trained network.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    prediction: str = "epsilon"
    init: str = "as-is"
    name: str = "custom"
    config: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if not 2 <= len(self.shape) <= 4 or min(self.shape) < 1:
            raise InvalidInputError(f"shape {self.shape} is not (channels, *space) with one to three space dimensions")
        for what, word, known in (
            ("prediction", self.prediction, PREDICTIONS),
            ("init policy", self.init, INIT_POLICIES),
        ):
            if word not in known:
                raise InvalidInputError(f"unknown {what} '{word}'{nearest(word, known)}; known: {', '.join(known)}")
        if self.trained and self.init != "as-is":
            raise InvalidInputError(f"'{self.name}' is trained: no layer is re-drawn, init must be 'as-is'")

    def __repr__(self) -> str:
        how = [self.prediction, *([f"init {self.init}"] if self.init != "as-is" else [])]
        kind = "trained, " if self.trained else ""
        return f"NetworkFamily('{self.name}', shape {self.shape}, {kind}{', '.join(how)})"

    @classmethod
    def from_preset(cls, name: str, *, init: str = "as-is") -> NetworkFamily:
        """Return the family of a preset such as ``iddpm-16``, ``unet-32:c=1`` or ``dit-16/4``."""
        from scoregrain.models.presets import preset

        return preset(name, init=init)

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any] | str | os.PathLike[str],
        *,
        shape: tuple[int, ...] | None = None,
        prediction: str | None = None,
        init: str = "as-is",
        conditioning: Mapping[str, Tensor] | None = None,
        name: str | None = None,
    ) -> NetworkFamily:
        """Return the family of a diffusers configuration, freshly initialised; weights beside it are not read.

        Known classes: ``UNet2DModel``, ``UNet2DConditionModel``, ``UNet1DModel``, ``DiTTransformer2DModel`` and
        ``PixArtTransformer2DModel``. What a class needs beside ``(x, t)`` is filled with a neutral value, outputs of
        twice the input's channels (a learned variance) are cut to the first half; ``config`` of the family records
        both.

        Args:
            config: a dictionary with ``_class_name``, a JSON file of it, the folder of a model (``config.json``), or
                the folder of a pipeline (``model_index.json``).
            shape: ``(C, *space)`` of one input; by default what the configuration's ``sample_size`` says.
            prediction: what the network predicts; by default what a pipeline's scheduler says, else ``epsilon``.
            init: see :class:`NetworkFamily`.
            conditioning: inputs by name, ``(1, ...)`` each and the same for every sample, in place of neutral values.
            name: by default the name of the folder, file or class.

        Raises:
            InvalidInputError: the configuration cannot be read, names a class, an argument or an input that is not
                known, or disagrees with the shape.
        """
        from scoregrain.models.adapters import diffusers_family

        return diffusers_family(
            config, shape=shape, prediction=prediction, init=init, conditioning=conditioning, name=name
        )

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike[str],
        *,
        shape: tuple[int, ...] | None = None,
        prediction: str | None = None,
        conditioning: Mapping[str, Tensor] | None = None,
        name: str | None = None,
    ) -> NetworkFamily:
        """Return the trained network of a local diffusers folder as a family of one.

        Weights must be safetensors. The network's second moment is an expectation over data and noise levels alone.

        Args:
            folder: a model folder, or a pipeline folder with ``unet/`` or ``transformer/``.
            shape: see :meth:`from_config`; the network itself stays as it was trained.
            prediction: see :meth:`from_config`.
            conditioning: see :meth:`from_config`.
            name: see :meth:`from_config`.

        Raises:
            InvalidInputError: no such folder, no weights, pickled weights, and what :meth:`from_config` refuses.
            ScoregrainError: weights that cannot be read or do not fit the configuration.
        """
        from scoregrain.models.adapters import diffusers_family

        return diffusers_family(
            folder, shape=shape, prediction=prediction, conditioning=conditioning, name=name, trained=True
        )

    @property
    def size(self) -> int:
        """The dimension D of one output."""
        return int(torch.Size(self.shape).numel())

    def construct(self, seed: int, index: int) -> nn.Module:
        """Build network ``index`` with the constructor; the global random states are left as they were."""
        return self._construct(seed, index)[0]

    def unzeroed(self, seed: int = 0) -> tuple[str, ...]:
        """Names of the parameters that the init policy re-draws because they start at zero."""
        return self._construct(seed, 0)[1]

    def trainable(self, seed: int, index: int = 0) -> nn.Module:
        """Network ``index`` as :meth:`construct` builds it, in its constructor's mode and with its gradients."""
        return self._draw(seed, index)[0]

    def _construct(self, seed: int, index: int) -> tuple[nn.Module, tuple[str, ...]]:
        """Network ``index`` without gradients in evaluation mode, and the parameters its init policy re-drew."""
        network, redrawn = self._draw(seed, index)
        return network.eval().requires_grad_(False), redrawn

    def _draw(self, seed: int, index: int) -> tuple[nn.Module, tuple[str, ...]]:
        """Network ``index`` as its constructor made it, and the parameters its init policy re-drew."""
        redrawn: tuple[str, ...] = ()
        with global_seed(stream_seed(seed, "network", index)):
            network = self.build()
            if not isinstance(network, nn.Module):
                raise InvalidInputError(
                    f"build() of '{self.name}' returned {type(network).__name__}, expected an nn.Module"
                )
            if next(network.parameters(), None) is None:
                raise InvalidInputError(
                    f"the network '{self.name}' has no parameters: there is no random initialisation to measure"
                )
            if any(isinstance(parameter, UninitializedParameter) for parameter in network.parameters()):
                raise InvalidInputError(
                    f"the network '{self.name}' has lazy layers without parameters yet: run it once inside build()"
                )
            if self.init != "as-is":
                training = network.training
                redrawn = unzero(network.eval(), self.shape, self.init)
                network.train(training)
        return network, redrawn

    def fingerprint(self, seed: int = 0, steps: int = 1000) -> str:
        """Hash of shape, prediction, init policy, parameters and output of network 0: equal families, equal hash.

        Of the output only the size to three digits counts, which no kind of device changes.

        Args:
            seed: Of the network.
            steps: It is evaluated at t below this; networks with tables of their own know no others.
        """
        network = self.construct(seed, 0)
        with torch.no_grad():
            asked = random_input(network, self.shape, "fingerprint", count=2, steps=steps)
            size = evaluate(network, *asked).double().norm()
        digest = hashlib.sha256(repr((self.shape, self.prediction, self.init, f"{size:.2e}")).encode())
        for name, value in network.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor_bytes(value))
        return digest.hexdigest()[:16]


_SEEDING = threading.RLock()


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seed the global generators of torch (CPU), numpy and Python for a while, one thread at a time; restore them."""
    with _SEEDING, torch.random.fork_rng(devices=[]):
        others = np.random.get_state(), random.getstate()  # noqa: NPY002 - what constructors draw from
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(others[0])  # noqa: NPY002
            random.setstate(others[1])


def tensor_bytes(value: Tensor) -> bytes:
    """The bytes of a tensor of any dtype."""
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def evaluate(network: nn.Module | Callable[..., Any], x: Tensor, t: Tensor) -> Tensor:
    """Call ``network(x, t)`` and return its output tensor, shape checked against ``x``.

    Raises:
        InvalidInputError: the output is no tensor, or not of the input's shape.
        ScoregrainError: the network itself raised; the message names the input.
    """
    try:
        output = network(x, t)
    except ScoregrainError:
        raise
    except Exception as error:
        text = textwrap.shorten(str(error), 300, placeholder=" ...")
        dtype = "" if x.dtype == torch.float32 else f" and dtype {str(x.dtype).removeprefix('torch.')}"
        raise ScoregrainError(
            f"the network failed on an input of shape {tuple(x.shape)}{dtype}: {type(error).__name__}: {text}"
            f"{_calling(network, x)}"
        ) from error
    if isinstance(output, tuple):
        output = output[0]
    output = getattr(output, "sample", output)
    if not isinstance(output, Tensor):
        raise InvalidInputError(f"the network returned {type(output).__name__}, expected a tensor")
    if not output.is_floating_point():
        raise InvalidInputError(f"the network returned {output.dtype}, expected floating-point numbers")
    if output.shape != x.shape:
        raise InvalidInputError(
            f"the network returned shape {tuple(output.shape)} for an input of shape {tuple(x.shape)}; "
            f"a score network returns the shape it is given{_learned_variance(output, x)}{_calling(network, x)}"
        )
    return output


def _learned_variance(output: Tensor, x: Tensor) -> str:
    """What to do about an output with a variance beside the prediction."""
    channels = x.shape[1]
    twice = output.shape == (len(x), 2 * channels, *x.shape[2:])
    return f": return only the first {channels} channels, without the learned variance" if twice else ""


def _calling(network: nn.Module | Callable[..., Any], x: Tensor) -> str:
    """What may be wrong with the way a network is called."""
    hint = ""
    if x.ndim == 3 and x.shape[1] > 4:  # two numbers look like an image's height and width
        hint = f"; the shape of one input is C H W: for grey images --shape 1 {x.shape[1]} {x.shape[2]}"
    forward = network.forward if isinstance(network, nn.Module) else network
    try:
        takes = [p for p in inspect.signature(forward).parameters.values() if p.default is p.empty]
    except (TypeError, ValueError):
        return hint
    names = [p.name for p in takes if p.kind is not p.VAR_KEYWORD]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in takes)
    if not variadic and (len(names) != 2 or names[0] in ("t", "time", "timestep", "timesteps", "sigma")):
        hint += f"; it is called as network(x, t) with t an integer tensor (N,), and takes ({', '.join(names)})"
    return hint


def unzero(network: nn.Module, shape: tuple[int, ...], policy: str) -> tuple[str, ...]:
    """Re-draw layers whose weight is exactly zero with their default initialisation; return their parameters' names.

    ``unzero-head`` touches only the last layer that runs, ``unzero-all`` every one. The draws come from torch's
    global random state.
    """
    zeroed = zero_layers(network)
    if policy == "unzero-head":
        last = last_layer(network, shape)
        zeroed = {name: module for name, module in zeroed.items() if name == last}
    for module in zeroed.values():
        reset: Any = module.reset_parameters
        reset()
    return tuple(
        f"{name}.{local}" if name else local for name in zeroed for local, _ in zeroed[name].named_parameters()
    )


def zero_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Layers whose weight is exactly zero and that know their default initialisation."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(weight := getattr(module, "weight", None), Tensor)
        and weight.ndim >= 2
        and hasattr(module, "reset_parameters")
        and not weight.any()
    }


def last_layer(network: nn.Module, shape: tuple[int, ...]) -> str | None:
    """Name of the last linear or convolutional layer that runs in a forward pass, None without one."""
    order: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda _module, _args, name=name: order.append(name))
        for name, module in network.named_modules()
        if isinstance(module, LINEAR_LAYERS)
    ]
    parameter = next(network.parameters())
    try:
        with torch.no_grad():
            x = torch.zeros(1, *shape, dtype=parameter.dtype, device=parameter.device)
            evaluate(network, x, torch.zeros(1, dtype=torch.long, device=parameter.device))
    finally:
        for handle in handles:
            handle.remove()
    return order[-1] if order else None


LINEAR_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def random_input(
    network: nn.Module, shape: tuple[int, ...], name: str, count: int = 1, steps: int = 1000
) -> tuple[Tensor, Tensor]:
    """A fixed Gaussian input ``(count, *shape)`` and noise levels ``(count,)`` for checks of a network."""
    parameter = next(network.parameters())
    generator = stream(0, name)
    x = torch.randn(count, *shape, generator=generator, dtype=torch.float64)
    t = torch.randint(0, steps, (count,), generator=generator)
    return x.to(parameter.device, parameter.dtype), t.to(parameter.device)
