"""Measure the average geometry G of untrained score networks (MATH A1–A2, C1)."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from scoregrain._errors import InvalidInputError, ScoregrainError, ZeroOutputError
from scoregrain._random import stream
from scoregrain.geometry.core import Geometry
from scoregrain.geometry.head import Head, find_head
from scoregrain.geometry.moments import LEAF, Group, Moments
from scoregrain.geometry.probe import Probe, ZeroProbe, score_from_output
from scoregrain.geometry.structure import DenseStructure, Structure
from scoregrain.geometry.symmetry import find_symmetry
from scoregrain.models import (
    NetworkFamily,
    NetworkStack,
    captured_input,
    evaluate,
    last_layer,
    parameter_count,
    timestep_sensitivity,
    verify_laws,
    vmappable,
)
from scoregrain.schedules import Schedule, linear_schedule, score_coefficients

DEFAULT_NETWORKS = 4000
MAX_SIZE = 4096
FIRST_LOOK = 16 * LEAF  # networks before a tolerance can be judged
TIMES = (0, 10, 100, 500, 999)
CHECK_NETWORKS = 4
BLIND, DETERMINISTIC = 1e-5, 1e-12


class MeasurementInterruptedError(KeyboardInterrupt):
    """Ctrl-C during a measurement; ``geometry`` holds what was measured, None before the first leaf."""

    def __init__(self, geometry: Geometry | None) -> None:
        super().__init__("measurement interrupted")
        self.geometry = geometry


def measure_geometry(
    family: NetworkFamily,
    networks: int | None = None,
    *,
    tolerance: float | None = None,
    seed: int = 0,
    first: int = 0,
    device: torch.device | str | None = None,
    probe: Probe | None = None,
    schedule: Schedule | None = None,
    probes_per_network: int = 1,
    estimator: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Geometry:
    """Measure ``G = E[F Fᵀ]`` over untrained networks, with error bars (MATH A1, C1–C3).

    The last layer is integrated out in closed form, noise levels are integrated exactly or sampled in proportion to
    their weight, verified symmetries are used; what was done is in ``geometry.info``. Where the features before the
    last layer are the same for every network the result is exact.

    Args:
        family: the networks.
        networks: how many; 4000 by default. With ``tolerance``: at most so many.
        tolerance: measure until the estimated relative Frobenius error is at most this.
        seed: network i is a function of ``(seed, i)`` alone.
        first: index of the first network.
        device: where networks run; ``cpu`` by default.
        probe: law of the inputs; :class:`ZeroProbe` by default.
        schedule: noise schedule; linear with 1000 steps by default.
        probes_per_network: noise levels and inputs drawn for one network where they are sampled.
        estimator: ``auto``, or ``plain`` for outer products of outputs without closed forms and symmetries.
        progress: called with (networks measured, networks planned) after every 32.

    Raises:
        InvalidInputError: bad numbers, a network that does not return its input's shape, D above 4096.
        ZeroOutputError: the networks' output is zero at initialisation.
        ScoregrainError: a network failed, or gave a non-finite output.
        MeasurementInterruptedError: Ctrl-C; carries what was measured.

    Warns:
        TimeBlindWarning: the networks ignore the noise level.
    """
    _check_numbers(networks, tolerance, first, probes_per_network, estimator)
    began = time.perf_counter()
    plan = _Plan(
        family,
        seed,
        device,
        probe or ZeroProbe(family.shape),
        schedule or linear_schedule(),
        probes_per_network,
        estimator,
    )
    if (closed := plan.closed_form()) is not None:
        moments, exact = Moments([Group(0, 1, closed)]), True
    else:
        moments, exact = Moments(), False

    def result() -> Geometry:
        info = plan.info() | {"seconds": round(time.perf_counter() - began, 3), "first": first}
        return Geometry("network", plan.structure, moments, symmetry=plan.symmetry, exact=exact, info=info)

    if exact:
        return result()
    limit = networks or (DEFAULT_NETWORKS if tolerance is None else None)
    target = limit if tolerance is None else min(FIRST_LOOK, limit or FIRST_LOOK)
    assert target is not None
    try:
        while True:
            _measure_until(plan, moments, first, target, progress)
            if tolerance is None or target == limit:
                break
            error = result().relative_error
            if error is not None and error <= tolerance:
                break
            target = _next_target(target, error, tolerance, limit)
    except KeyboardInterrupt:
        raise MeasurementInterruptedError(result() if moments.groups else None) from None
    return result()


def _check_numbers(networks: int | None, tolerance: float | None, first: int, probes: int, estimator: str) -> None:
    if networks is not None and networks < 1:
        raise InvalidInputError(f"networks is {networks}, expected a positive number")
    if tolerance is not None and not 0 < tolerance < 1:
        raise InvalidInputError(f"tolerance is {tolerance}, expected a relative error between 0 and 1 such as 0.02")
    if first < 0 or probes < 1:
        raise InvalidInputError("first must not be negative and probes_per_network must be positive")
    if estimator not in ("auto", "plain"):
        raise InvalidInputError(f"unknown estimator '{estimator}'; known: auto, plain")


def _next_target(done: int, error: float | None, tolerance: float, limit: int | None) -> int:
    """Networks for the tolerance by the 1/√N law, at most four times more than now."""
    ratio = 4.0 if error is None else min(4.0, 1.02 * (error / tolerance) ** 2)
    target = LEAF * math.ceil(max(done * ratio, done + LEAF) / LEAF)
    return min(target, limit) if limit is not None else target


def _measure_until(
    plan: _Plan, moments: Moments, first: int, target: int, progress: Callable[[int, int], None] | None
) -> None:
    """Measure leaf by leaf until ``target`` networks from ``first`` on are in."""
    start = first + moments.count
    while start < first + target:
        stop = min(first + target, (start // LEAF + 1) * LEAF)
        moments.add(Group(start, stop, plan.measure(start, stop)))
        start = stop
        if progress is not None:
            progress(start - first, target)


class _Plan:
    """Everything decided before the first network is measured, by looking at a few."""

    def __init__(
        self,
        family: NetworkFamily,
        seed: int,
        device: torch.device | str | None,
        probe: Probe,
        schedule: Schedule,
        probes: int,
        estimator: str,
    ) -> None:
        if family.size > MAX_SIZE:
            raise InvalidInputError(
                f"'{family.name}' has D = {family.size} outputs; geometries are measured densely up to D = {MAX_SIZE}"
            )
        if probe.shape != family.shape:
            raise InvalidInputError(f"the probe has shape {probe.shape}, the networks have {family.shape}")
        self.family, self.seed, self.probe, self.schedule, self.probes = family, seed, probe, schedule, probes
        networks = [vmappable(family.construct(seed, -1 - i)) for i in range(CHECK_NETWORKS)]
        self.parameters = parameter_count(networks[0])
        _check_outputs(family, probe, schedule, networks)
        self.sensitivity = timestep_sensitivity(networks[0], family.shape)
        self.laws = verify_laws(family)
        self.head, self.head_reason = self._find_head(networks[0], estimator)
        self.structure: Structure = self.head.structure if self.head else DenseStructure(family.shape)
        self.symmetry = None
        if estimator == "auto" and self.laws.in_place and probe.isotropic:
            self.symmetry = find_symmetry(networks[0], family.shape)
        self.stack = NetworkStack(family, self.laws, seed, device)
        self._prepare_times()

    def _find_head(self, network: nn.Module, estimator: str) -> tuple[Head | None, str]:
        """The closed-form last layer; it needs a score that is the output alone, up to a factor."""
        if estimator == "plain":
            return None, "plain outer products were asked for"
        if not self.probe.zero and bool(score_coefficients(self.schedule, self.family.prediction)[0].any()):
            return None, f"with prediction '{self.family.prediction}' the score contains the input"
        return find_head(network, self.family.shape, self.laws)

    def _prepare_times(self) -> None:
        """Noise levels: one exact level where the networks ignore it, else importance sampling (MATH C1.3)."""
        a, _ = score_coefficients(self.schedule, self.family.prediction)
        weight = self.probe.moment_weight(self.schedule, self.family.prediction)
        output_only = self.probe.zero or not a.any()
        self.time_blind = output_only and self.probe.time_free and self._ignores_time()
        self.cumulative = weight.cumsum(0) / weight.sum()
        self.probes = 1 if self.time_blind else self.probes
        # a sampled level is weighted by one over its density; for networks that ignore t any level stands for all
        self.level_scale = (weight.mean() / weight).nan_to_num(posinf=0.0).sqrt()
        self.mean_weight = float(weight.mean())

    def _ignores_time(self) -> bool:
        """Do the networks give equal features at five noise levels?"""
        features = self._check_features
        return bool((features - features[:, :1]).abs().max() <= BLIND * features.abs().max())

    @cached_property
    def _check_networks(self) -> list[nn.Module]:
        """A few networks, in float64 where they run in it: normalisation layers blow up rounding."""
        networks = [self.family.construct(self.seed, -1 - i) for i in range(CHECK_NETWORKS)]
        double = [copy.deepcopy(network).double() for network in networks]
        try:
            self._features(double[0])
        except ScoregrainError:
            return networks
        return double

    @cached_property
    def _check_features(self) -> Tensor:
        return torch.stack([self._features(network) for network in self._check_networks])

    def _features(self, network: nn.Module) -> Tensor:
        """What enters the last layer (the output without a head) at five noise levels, one input."""
        steps = torch.tensor(TIMES).clamp_max(self.schedule.num_steps - 1)
        x = self.probe.sample(steps[:1], self.schedule, stream(self.seed, "check"))
        return _run(network, x.expand(len(steps), *self.family.shape), steps, self.head)

    def closed_form(self) -> Tensor | None:
        """The exact reduced moment where features are the same for every network (MATH C1.4), else None."""
        if self.head is None or not self.probe.zero:
            return None
        features = self._check_features
        scale = DETERMINISTIC * features.abs().max()
        if (features - features[0]).abs().max() > scale:
            return None
        if (features - features[:, :1]).abs().max() <= scale:
            return self.head.finish(self.mean_weight * self.head.gram(features[0, :1]), self.mean_weight)
        return self._sum_over_levels(self._check_networks[0])

    def _sum_over_levels(self, network: nn.Module) -> Tensor:
        """Deterministic features that depend on t: the mean over all steps, exactly."""
        assert self.head is not None
        weight = self.probe.moment_weight(self.schedule, self.family.prediction) / self.schedule.num_steps
        gram: Tensor | float = 0.0
        for steps in torch.arange(self.schedule.num_steps).chunk(-(-self.schedule.num_steps // 100)):
            features = _run(network, torch.zeros(len(steps), *self.family.shape), steps, self.head)
            root = weight[steps].sqrt().reshape(-1, *[1] * (features.ndim - 1))
            gram = gram + self.head.gram(root * features)
        assert isinstance(gram, Tensor)
        return self.head.finish(gram, self.mean_weight)

    def measure(self, start: int, stop: int) -> Tensor:
        """Sum of the reduced second moments of the networks ``start … stop - 1`` of one leaf."""
        t, x = self._probe_leaf(start, stop)
        parameters = self.stack.parameters(range(start, stop))
        device = self.stack.device
        layer = self.head.layer if self.head else None
        output, features = self.stack.outputs(parameters, x.to(device), t.to(device), layer)
        if not torch.isfinite(features).all():
            bad = int((~torch.isfinite(features.flatten(1))).any(1).nonzero()[0])
            raise ScoregrainError(f"network {start + bad} of '{self.family.name}' gave a non-finite output")
        if self.head is not None:
            gram = self.head.gram(features.flatten(0, 1)).cpu() * (self.mean_weight / self.probes)
            return self.head.finish(gram, self.mean_weight * (stop - start))
        score = score_from_output(output.cpu(), x, t, self.schedule, self.family.prediction)
        rows = (score.flatten(2) * self.level_scale[t][..., None]).flatten(0, 1)
        return rows.T @ rows / self.probes

    def _probe_leaf(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Noise levels ``(n, q)`` and inputs ``(n, q, *shape)`` of a leaf's networks.

        Levels are resampled systematically over the whole leaf: its 32·q levels are equally spaced quantiles of the
        weight, each network takes q of them spread evenly, and a random order keeps a part of a leaf unbiased.
        """
        leaf, q = start // LEAF, self.probes
        generator = stream(self.seed, "probe", leaf)
        if self.time_blind:
            t = torch.zeros(LEAF, q, dtype=torch.long)
        else:
            offset = torch.rand(1, dtype=torch.float64, generator=generator)
            strata = (torch.randperm(LEAF, generator=generator) + offset) / LEAF
            quantiles = (strata[:, None] + torch.arange(q)) / q
            t = torch.searchsorted(self.cumulative, quantiles).clamp_max(self.schedule.num_steps - 1)
        x = self.probe.sample(t.flatten(), self.schedule, generator).reshape(LEAF, q, *self.family.shape)
        part = slice(start - leaf * LEAF, stop - leaf * LEAF)
        return t[part], x[part].to(self.stack.dtype)

    def info(self) -> dict[str, Any]:
        """How the measurement is done, for artefacts and reports."""
        return {
            "model": self.family.name,
            "family": dict(self.family.config),
            "parameters": self.parameters,
            "prediction": self.family.prediction,
            "init": self.family.init,
            "seed": self.seed,
            "fingerprint": self.family.fingerprint(self.seed),
            "probe": self.probe.name,
            "schedule": self.schedule.name,
            "steps": self.schedule.num_steps,
            "draw": self.stack.draw,
            "draw_reason": self.laws.reason,
            "execution": self.stack.execution,
            "head": self.head.layer if self.head else "",
            "head_reason": self.head_reason,
            "structure": self.structure.kind,
            "symmetry": self.symmetry.name if self.symmetry else "",
            "noise_levels": "exact (time-blind)" if self.time_blind else "importance sampled",
            "probes_per_network": self.probes,
            "timestep_sensitivity": self.sensitivity,
            "device": str(self.stack.device),
            "torch": torch.__version__,
        }


def _run(network: nn.Module, x: Tensor, t: Tensor, head: Head | None) -> Tensor:
    """Features before the head (the output without one), detached, float64."""
    dtype = next(network.parameters()).dtype
    with torch.no_grad(), captured_input(network, head.layer if head else None) as capture:
        output = evaluate(network, x.to(dtype), t)
    return (capture[0] if head else output).double()


def _check_outputs(family: NetworkFamily, probe: Probe, schedule: Schedule, networks: list[nn.Module]) -> None:
    """Shape, finiteness and a non-zero output, on a few networks."""
    steps = torch.tensor([0, schedule.num_steps // 2])
    x = probe.sample(steps, schedule, stream(0, "check"))
    outputs = [_run(network, x, steps, None) for network in networks]
    if not all(torch.isfinite(output).all() for output in outputs):
        raise ScoregrainError(f"'{family.name}' gives non-finite outputs at initialisation")
    if any(output.any() for output in outputs):
        return
    layer = last_layer(networks[0], family.shape)
    weight = networks[0].get_parameter(f"{layer}.weight") if layer else None
    if weight is not None and not weight.any():
        raise ZeroOutputError(
            f"the output of '{family.name}' is exactly zero at initialisation because its last layer '{layer}' "
            "starts at zero, so G = 0 has no directions; re-draw that layer with init='unzero-head' "
            "(--init unzero-head)"
        )
    raise ZeroOutputError(
        f"the output of '{family.name}' is exactly zero at initialisation for the probe '{probe.name}', so G = 0 "
        "has no directions; layers that start at zero can be re-drawn with init='unzero-all' (--init unzero-all), "
        "and a network without biases needs a probe other than zero"
    )
