"""How a family is measured: decided once, by looking at a few networks (MATH C1-C2)."""

from __future__ import annotations

import hashlib
import threading
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from scoregrain._errors import InvalidInputError, ScoregrainError, ZeroOutputError
from scoregrain._random import stream
from scoregrain.geometry.head import Head, find_head
from scoregrain.geometry.levels import NoiseLevels, check_levels, network_time
from scoregrain.geometry.moments import LEAF
from scoregrain.geometry.probe import Probe, score_from_output
from scoregrain.geometry.structure import DenseStructure, Structure
from scoregrain.geometry.symmetry import find_symmetry
from scoregrain.models import (
    NetworkFamily,
    NetworkStack,
    captured_input,
    evaluate,
    last_layer,
    parameter_count,
    tensor_bytes,
    timestep_sensitivity,
    verify_laws,
    vmappable,
)
from scoregrain.schedules import Schedule, score_coefficients

MAX_SIZE = 4096
CHECK_NETWORKS = 4
BLIND, DETERMINISTIC = 1e-5, 1e-12
ESTIMATORS = ("auto", "plain")


class Plan:
    """Head, symmetry, noise levels and way of drawing for one measurement; measures leaves by them."""

    def __init__(
        self, family: NetworkFamily, probe: Probe, schedule: Schedule, *, seed: int, per_network: int, estimator: str
    ) -> None:
        _check_request(family, probe, per_network, estimator)
        self.family, self.probe, self.schedule, self.seed = family, probe, schedule, seed
        network = vmappable(family.construct(seed, -1))
        self.parameters = parameter_count(network)
        self.dtype = str(next(network.parameters()).dtype).removeprefix("torch.")
        self._check_outputs()
        self.sensitivity = timestep_sensitivity(network, family.shape)
        self.laws = verify_laws(family)
        # F = a x + b o: the output alone, up to a factor, where x or a is zero
        self.output_only = probe.zero or not score_coefficients(schedule, family.prediction)[0].any()
        self.head, self.head_reason = self._find_head(network, estimator)
        self.structure: Structure = self.head.structure if self.head else DenseStructure(family.shape)
        symmetric = estimator == "auto" and self.laws.in_place and probe.isotropic
        self.symmetry = find_symmetry(self._check_networks[:3], family.shape) if symmetric else None
        ignored = self.output_only and probe.time_free and self._ignores_time()
        self.levels = NoiseLevels(schedule, probe, family.prediction, ignored, per_network)

    def _find_head(self, network: nn.Module, estimator: str) -> tuple[Head | None, str]:
        """The closed-form last layer, or None and why."""
        if estimator == "plain":
            return None, "plain outer products were asked for"
        if not self.output_only:
            return None, f"with prediction '{self.family.prediction}' the score contains the input"
        return find_head(network, self.family.shape, self.laws)

    # a few networks, looked at closely --------------------------------------------------------------------------

    @cached_property
    def _check_networks(self) -> list[nn.Module]:
        """A few networks, in float64 where they run in it: normalisation layers blow up rounding."""
        networks = [self.family.construct(self.seed, -1 - i) for i in range(CHECK_NETWORKS)]
        double = [self.family.construct(self.seed, -1 - i).double() for i in range(CHECK_NETWORKS)]
        try:
            self._features(double[0], None)
        except ScoregrainError:
            return networks
        return double

    @cached_property
    def _check_features(self) -> Tensor:
        return torch.stack([self._features(network, self.head) for network in self._check_networks])

    def _features(self, network: nn.Module, head: Head | None) -> Tensor:
        """What enters the head (the output without one) at a few noise levels, one input, float64."""
        steps = check_levels(self.schedule)
        x = self.probe.sample(steps[:1], self.schedule, stream(self.seed, "check"))
        return self._run(network, x.expand(len(steps), *self.family.shape), steps, head)

    def _run(self, network: nn.Module, x: Tensor, t: Tensor, head: Head | None) -> Tensor:
        """Features before the head (the output without one) at steps t, float64."""
        dtype = next(network.parameters()).dtype
        with torch.no_grad(), captured_input(network, head.layer if head else None) as capture:
            output = evaluate(network, x.to(dtype), network_time(t, self.schedule))
        return (capture[0] if head else output).double()

    def _check_outputs(self) -> None:
        """Shape, finiteness and a non-zero output."""
        networks = [self.family.construct(self.seed, -1 - i) for i in range(CHECK_NETWORKS)]
        outputs = [self._features(network, None) for network in networks]
        if not all(torch.isfinite(output).all() for output in outputs):
            raise ScoregrainError(f"'{self.family.name}' gives non-finite outputs at initialisation")
        if not torch.equal(outputs[0], self._features(networks[0], None)):
            raise ScoregrainError(
                f"two equal calls of one network '{self.family.name}' give different outputs: its forward pass is "
                "random also in eval mode; switch that off, for instance dropout called with training=True"
            )
        if not any(output.any() for output in outputs):
            raise ZeroOutputError(_why_zero(self.family, self.probe, self._check_networks[0]))

    def _ignores_time(self) -> bool:
        """Do the networks give equal features at a few noise levels?"""
        features = self._check_features
        return bool((features - features[:, :1]).abs().max() <= BLIND * features.abs().max())

    # the measurement --------------------------------------------------------------------------------------------

    def closed_form(self) -> Tensor | None:
        """The exact reduced moment where features are the same for every network (MATH C1.4), else None."""
        if self.head is None or not self.probe.zero:
            return None
        features, omega = self._check_features, self.levels.omega
        rounding = DETERMINISTIC * features.abs().max()
        if (features - features[0]).abs().max() > rounding:
            return None
        if self.levels.ignored:
            return self.head.finish(omega.mean() * self.head.gram(features[0, :1]), float(omega.mean()))
        # features that depend on the level, but on nothing random: the mean over all levels
        grams = []
        for steps in torch.arange(self.schedule.num_steps).chunk(-(-self.schedule.num_steps // 100)):
            x = torch.zeros(len(steps), *self.family.shape)
            h = self._run(self._check_networks[0], x, steps, self.head)
            grams.append(self.head.gram(_weighted(h, omega[steps] / self.schedule.num_steps)))
        return self.head.finish(torch.stack(grams).sum(0), float(omega.mean()))

    def start(self, device: torch.device | str | None) -> None:
        """Make ready to draw networks on a device."""
        self.device = torch.device(device or "cpu")
        self._local = threading.local()
        self.execution = self._stack().execution

    def _stack(self) -> NetworkStack:
        """The calling thread's own networks: they hold buffers, and modules whose parameters are swapped."""
        if not hasattr(self._local, "stack"):
            self._local.stack = NetworkStack(self.family, self.laws, self.seed, self.device)
        stack: NetworkStack = self._local.stack
        return stack

    def measure(self, start: int, stop: int) -> Tensor:
        """Sum of the reduced second moments of the networks ``start … stop - 1`` of one leaf; any thread may call."""
        stack = self._stack()
        t, x = self._probe_leaf(start, stop)
        parameters, layer = stack.parameters(range(start, stop)), self.head.layer if self.head else None
        clock = network_time(t, self.schedule).to(self.device)
        output, features = stack.outputs(parameters, x.to(self.device, stack.dtype), clock, layer)
        self.execution = stack.execution
        if not torch.isfinite(features).all():
            bad = int((~torch.isfinite(features.flatten(1))).any(1).nonzero()[0])
            raise ScoregrainError(f"network {start + bad} of '{self.family.name}' gave a non-finite output")
        if self.head is not None:
            weight = self.levels.output_weight(t).flatten() / self.levels.per_network
            gram = self.head.gram(_weighted(features.flatten(0, 1), weight.to(self.device))).cpu()
            return self.head.finish(gram, float(weight.sum()))
        score = score_from_output(output.cpu(), x, t, self.schedule, self.family.prediction)
        rows = (score.flatten(2) * self.levels.scale(t)[..., None]).flatten(0, 1)
        return rows.T @ rows / self.levels.per_network

    def _probe_leaf(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Noise levels ``(n, q)`` and inputs ``(n, q, *shape)`` of networks of one leaf."""
        leaf = start // LEAF
        t = self.levels.sample(self.seed, leaf)
        x = self.probe.sample(t.flatten(), self.schedule, stream(self.seed, "probe", leaf))
        part = slice(start - leaf * LEAF, stop - leaf * LEAF)
        return t[part], x.reshape(*t.shape, *self.family.shape)[part]

    def _levels_used(self, sampled: bool) -> str:
        if self.levels.ignored:
            return "exact (the networks ignore them)"
        return "importance sampled" if sampled else "exact (all of them)"

    def info(self) -> dict[str, Any]:
        """How the measurement is done, for artefacts and reports."""
        sampled = hasattr(self, "device")
        drawn = "in-place" if self.laws.in_place else "constructor"
        return {
            "model": self.family.name,
            "family": dict(self.family.config),
            "parameters": self.parameters,
            "dtype": self.dtype,
            "prediction": self.family.prediction,
            "init": self.family.init,
            "seed": self.seed,
            "fingerprint": self.family.fingerprint(self.seed),
            "probe": self.probe.name,
            "schedule": self.schedule.name,
            "steps": self.schedule.num_steps,
            "draw": drawn if sampled else "none: closed form",
            "draw_reason": self.laws.reason,
            "execution": self.execution if sampled else "none: closed form",
            "head": self.head.layer if self.head else "",
            "head_reason": self.head_reason,
            "structure": self.structure.kind,
            "symmetry": self.symmetry.name if self.symmetry else "",
            "noise_levels": self._levels_used(sampled),
            "betas": hashlib.sha256(tensor_bytes(self.schedule.betas)).hexdigest()[:16],
            "probes_per_network": self.levels.per_network,
            "timestep_sensitivity": self.sensitivity,
            "device": str(self.device) if sampled else "cpu",
            "torch": torch.__version__,
        }


def _weighted(features: Tensor, weight: Tensor) -> Tensor:
    """Features ``(m, ...)`` whose Gram matrix counts sample i ``weight[i]`` times."""
    return weight.sqrt().reshape(-1, *[1] * (features.ndim - 1)) * features


def _check_request(family: NetworkFamily, probe: Probe, per_network: int, estimator: str) -> None:
    """Refuse what cannot be measured before a network is built."""
    if family.size > MAX_SIZE:
        raise InvalidInputError(
            f"'{family.name}' has D = {family.size} outputs; geometries are measured densely up to D = {MAX_SIZE}"
        )
    if probe.shape != family.shape:
        raise InvalidInputError(f"the probe has shape {probe.shape}, the networks have {family.shape}")
    if per_network < 1:
        raise InvalidInputError(f"probes_per_network is {per_network}, expected a positive number")
    if estimator not in ESTIMATORS:
        raise InvalidInputError(f"unknown estimator '{estimator}'; known: {', '.join(ESTIMATORS)}")


def _why_zero(family: NetworkFamily, probe: Probe, network: nn.Module) -> str:
    """Message for networks whose output is zero: why, and what to do."""
    layer = last_layer(network, family.shape)
    weight = network.get_parameter(f"{layer}.weight") if layer else None
    if weight is not None and not weight.any():
        return (
            f"the output of '{family.name}' is exactly zero at initialisation because its last layer '{layer}' "
            "starts at zero, so G = 0 has no directions; re-draw that layer with init='unzero-head' "
            "(--init unzero-head)"
        )
    return (
        f"the output of '{family.name}' is exactly zero at initialisation for the probe '{probe.name}', so G = 0 "
        "has no directions; layers that start at zero can be re-drawn with init='unzero-all' (--init unzero-all), "
        "and a network without biases needs a probe other than zero"
    )
