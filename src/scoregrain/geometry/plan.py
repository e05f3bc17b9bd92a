"""How a family is measured: decided once, by looking at a few networks (MATH C1-C2)."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scoregrain._errors import InvalidInputError, ScoregrainError, ZeroOutputError
from scoregrain._random import stream
from scoregrain.geometry.core import MAX_SIZE
from scoregrain.geometry.draws import Draws, weighted
from scoregrain.geometry.find_head import contradiction, find_head
from scoregrain.geometry.head import Head
from scoregrain.geometry.levels import NoiseLevels, check_levels, network_time
from scoregrain.geometry.moments import LEAF
from scoregrain.geometry.probe import Probe
from scoregrain.geometry.sketch import DEFAULT_RANK, Sketch, make_sketch
from scoregrain.geometry.structure import DenseStructure, Structure
from scoregrain.geometry.symmetry import find_symmetry
from scoregrain.models import (
    InitLaws,
    NetworkFamily,
    captured_input,
    check_stateless,
    evaluate,
    last_layer,
    parameter_count,
    tensor_bytes,
    timestep_sensitivity,
    verify_laws,
    vmappable,
)
from scoregrain.models.sensitivity import one_channel_groups
from scoregrain.schedules import Schedule, score_coefficients

CHECK_NETWORKS = 4
SMALLEST, LARGEST = 1e-70, 1e70  # of outputs: errors take their fourth powers, and float64 ends at 1e±308
BLIND, DETERMINISTIC = 1e-5, 1e-12
ESTIMATORS = ("auto", "plain")
# beyond D = 4096, reduced matrices up to this size are still summed whole: 8 MiB each
SMALL = 1024
PILOT = -100_000  # first leaf of the networks that choose the test matrix of a sketch; measurements have none below 0
GAIN_LEVELS, LEAST_GAIN, LARGE_GAIN = 24, 1e-3, 3.0


class Plan:
    """Head, symmetry, noise levels and way of drawing for one measurement; measures leaves by them.

    Attributes:
        head: closed-form last layer, None without one; ``head_reason`` says why.
        base: the score has a part that the head's weights do not act on: ``F = base + b s Q o``.
        input_moment: ``E[base baseᵀ]`` where the base is ``a x`` and the law of x is known, else None.
        structure: how the second moment that is summed expands to D × D.
        rank: how many leading directions are sketched; None where matrices are summed whole.
    """

    def __init__(
        self,
        family: NetworkFamily,
        probe: Probe,
        schedule: Schedule,
        *,
        seed: int,
        per_network: int,
        estimator: str,
        rank: int | str | None = None,
    ) -> None:
        _check_request(family, probe, per_network, estimator)
        self.family, self.probe, self.schedule, self.seed = family, probe, schedule, seed
        network = vmappable(family.construct(seed, -1))
        self.parameters = parameter_count(network)
        self.dtype = str(next(network.parameters()).dtype).removeprefix("torch.")
        check_stateless(network, family.shape, family.name)
        self._check_outputs()
        self.sensitivity = timestep_sensitivity(network, family.shape, name=family.name)
        self.grouped = one_channel_groups(network)
        self.laws = InitLaws({}, "its parameters are given") if family.trained else verify_laws(family)
        self.head, self.base, self.head_reason = self._find_head(network, estimator)
        reduced = self.head is not None and not self.base
        self.structure: Structure = self.head.structure if self.head and reduced else DenseStructure(family.shape)
        symmetric = estimator == "auto" and self.laws.in_place and probe.isotropic
        constant = {name for name, law in self.laws.tensors.items() if not law.random}
        self.symmetry = find_symmetry(self._check_networks[:3], family.shape, constant) if symmetric else None
        ignored = self._output_only and not self.base and probe.time_free and self._ignores_time()
        self.input_moment = self._input_moment()
        guarded = self.head is None or (self.base and self.input_moment is None)
        self.levels = NoiseLevels(
            schedule, probe, family.prediction, ignored, per_network, gain=self._gain(), guarded=guarded
        )
        self.rank = self._choose_rank(rank)
        self.sketch: Sketch | None = None

    @property
    def _output_only(self) -> bool:
        """Is the score ``F = a x + b o`` the output alone, up to a factor: are all x or all a zero?"""
        return self.probe.zero or not score_coefficients(self.schedule, self.family.prediction)[0].any()

    def _find_head(self, network: nn.Module, estimator: str) -> tuple[Head | None, bool, str]:
        """The closed-form last layer and whether the score has a part beside it; or None, and why."""
        if self.family.trained:
            return None, False, "the network is trained: its weights are not random"
        if estimator == "plain":
            return None, False, "plain outer products were asked for"
        other = vmappable(self.family.construct(self.seed, -2))
        head, reason = find_head(network, other, self.family.shape, self.laws)
        if head is None or (reason := self._contradiction(head, network)):
            return None, False, reason
        base = not self._output_only or head.tail.offset_at_zero or (head.tail.offset_elsewhere and not self.probe.zero)
        if base and self.family.size > MAX_SIZE:
            return None, False, f"the score is more than its last layer's output, and D exceeds {MAX_SIZE}"
        return head, base, ""

    def _contradiction(self, head: Head, network: nn.Module) -> str:
        """What speaks against a head at the inputs and levels that a measurement draws."""
        levels = NoiseLevels(self.schedule, self.probe, self.family.prediction, False, 1, guarded=True)
        t = levels.sample(self.seed, 0).flatten()
        x = self.probe.sample(t, self.schedule, stream(self.seed, "tail-check"))
        return contradiction(head, network, x, network_time(t, self.schedule))

    def _input_moment(self) -> Tensor | None:
        """``E[a² x xᵀ]`` where that is the whole of the base's second moment (MATH C1.2: the cross term is 0)."""
        if self.head is None or not self.base or self.head.tail.offset_at_zero or self.head.tail.offset_elsewhere:
            return None
        a, _ = score_coefficients(self.schedule, self.family.prediction)
        return self.probe.input_moment(a.square(), self.schedule)

    def _choose_rank(self, rank: int | str | None) -> int | None:
        """How many leading directions to sketch; None for whole matrices.

        Raises:
            InvalidInputError: another word, or all directions of a geometry that is too large.
        """
        size, reduced = self.family.size, self.structure.reduced
        if isinstance(rank, int):
            return rank
        if rank not in (None, "all"):
            raise InvalidInputError(f"rank is '{rank}', expected a number of directions or 'all'")
        if rank == "all" and reduced > MAX_SIZE:
            raise InvalidInputError(
                f"'{self.family.name}' has a geometry of reduced size {reduced}: all of its directions can be measured "
                f"up to {MAX_SIZE}; ask for a number of leading ones (rank={DEFAULT_RANK}, --directions {DEFAULT_RANK})"
            )
        return None if rank == "all" or size <= MAX_SIZE or reduced <= SMALL else DEFAULT_RANK

    def _gain(self) -> Tensor | None:
        """How the size of the output changes with the level, squared, from a few levels; None where it hardly does."""
        if self.head is not None and self.head.tail.constant is None:
            steps = torch.linspace(0, self.schedule.num_steps - 1, GAIN_LEVELS).round().long()
            scale = self.head_scale(steps).abs()
        else:
            steps, scale = check_levels(self.schedule), self._sizes
            known = self._output_only and self.probe.time_free
            if not known or scale.max() < LARGE_GAIN * scale.min():
                return None
        every = np.arange(self.schedule.num_steps)
        scale = torch.from_numpy(np.interp(every, steps.numpy(), scale.numpy()))
        return (scale / scale.max()).clamp_min(LEAST_GAIN).square()

    def head_scale(self, t: Tensor) -> Tensor:
        """The factor s between the head and the network's output at steps t, float64 of their shape."""
        assert self.head is not None
        return self.head.tail.scale(network_time(t, self.schedule))

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
        """Shape, finiteness and a non-zero output; keep its size at the levels of :func:`check_levels`."""
        networks = [
            self.family.construct(self.seed, -1 - i) for i in range(1 if self.family.trained else CHECK_NETWORKS)
        ]
        outputs = [self._features(network, None) for network in networks]
        if not all(torch.isfinite(output).all() for output in outputs):
            raise ScoregrainError(_why_not_finite(self.family.name, outputs, check_levels(self.schedule)))
        if not any(output.any() for output in outputs):
            raise ZeroOutputError(_why_zero(self.family, self.probe, networks[0]))
        _check_range(self.family.name, outputs)
        self._sizes = torch.stack(outputs).square().mean(0).flatten(1).mean(1).sqrt()

    def _ignores_time(self) -> bool:
        """Do the networks give equal features at a few noise levels, and the head's output equal factors?"""
        if self.head is not None and self.head.tail.constant is None:
            return False
        features = self._check_features
        return bool((features - features[:, :1]).abs().max() <= BLIND * features.abs().max())

    # the measurement --------------------------------------------------------------------------------------------

    def closed_form(self) -> Tensor | None:
        """The exact reduced moment where features are the same for every network (MATH C1.4), else None."""
        if self.head is None or self.base or not self.probe.zero or self.structure.reduced > MAX_SIZE:
            return None
        features = self._check_features
        rounding = DETERMINISTIC * features.abs().max()
        if (features - features[0]).abs().max() > rounding:
            return None
        steps = torch.arange(self.schedule.num_steps)
        omega = self.levels.omega * self.head_scale(steps).square()
        if self.levels.ignored:
            return self.head.finish(omega.mean() * self.head.gram(features[0, :1]), float(omega.mean()))
        # features that depend on the level, but on nothing random: the mean over all levels
        grams = []
        for part in steps.chunk(-(-self.schedule.num_steps // 100)):
            h = self._run(self._check_networks[0], torch.zeros(len(part), *self.family.shape), part, self.head)
            grams.append(self.head.gram(weighted(h, omega[part] / self.schedule.num_steps)))
        return self.head.finish(torch.stack(grams).sum(0), float(omega.mean()))

    def start(self, device: torch.device | str | None, given: Sketch | None = None) -> None:
        """Make ready to draw networks on a device, with a test matrix that is given or chosen by a pilot."""
        self.device = torch.device(device or "cpu")
        self.draws = Draws(self)
        if given is not None and given.rank == self.rank and len(given.basis) == self.structure.reduced:
            self.sketch = given
        elif self.rank is not None:
            self.sketch = make_sketch(self.structure, self.symmetry, self.rank, self._pilot)

    def _pilot(self, x: Tensor, number: int) -> Tensor:
        """``S X`` for the second moment S of some leaves that no measurement counts.

        Outer products need as many networks as X has columns, and some more; a head's second moments have a rank of
        hundreds each.
        """
        outer = self.head is None or (self.base and self.input_moment is None)
        leaves = -(-2 * x.shape[1] // LEAF) if outer else 1
        starts = [(PILOT + number * leaves + i) * LEAF for i in range(leaves)]
        return torch.stack([self.draws.second_moment(start, start + LEAF, x)[0] for start in starts]).sum(0)

    def measure(self, start: int, stop: int) -> Tensor:
        """Sum of the reduced second moments of the networks ``start … stop - 1`` of one leaf; any thread may call.

        With a sketch, its products with the test matrix and its trace.
        """
        if self.sketch is None:
            return self.draws.second_moment(start, stop, None)[0]
        return self.sketch.pack(*self.draws.second_moment(start, stop, self.sketch.omega))

    def _levels_used(self, sampled: bool) -> str:
        if self.levels.ignored:
            return "exact (the networks ignore them)"
        return "importance sampled" if sampled else "exact (all of them)"

    def _drawn(self) -> str:
        """How networks are drawn."""
        if self.family.trained:
            return "none: one trained network"
        return "in-place" if self.laws.in_place else "constructor"

    def info(self) -> dict[str, Any]:
        """How the measurement is done, for artefacts and reports."""
        sampled = hasattr(self, "device")
        return {
            "model": self.family.name,
            "family": dict(self.family.config),
            "trained": self.family.trained,
            "parameters": self.parameters,
            "dtype": self.dtype,
            "prediction": self.family.prediction,
            "init": self.family.init,
            "unzeroed": list(self.family.unzeroed(self.seed)),
            "seed": self.seed,
            "fingerprint": self.family.fingerprint(self.seed),
            "probe": self.probe.name,
            "schedule": self.schedule.name,
            "steps": self.schedule.num_steps,
            "draw": self._drawn() if sampled else "none: closed form",
            "draw_reason": self.laws.reason,
            "execution": self.draws.execution if sampled else "none: closed form",
            "head": self.head.layer if self.head else "",
            "head_reason": self.head_reason,
            "structure": self.structure.kind,
            "rank": self.rank,
            "test_matrix": self.sketch.digest if self.sketch else "",
            "symmetry": self.symmetry.name if self.symmetry else "",
            "noise_levels": self._levels_used(sampled),
            "betas": hashlib.sha256(tensor_bytes(self.schedule.betas)).hexdigest()[:16],
            "probes_per_network": self.levels.per_network,
            "timestep_sensitivity": self.sensitivity,
            "one_channel_groups": self.grouped,
            "device": str(self.device) if sampled else "cpu",
            "torch": torch.__version__,
        }


def _check_request(family: NetworkFamily, probe: Probe, per_network: int, estimator: str) -> None:
    """Refuse what cannot be measured before a network is built."""
    if probe.shape != family.shape:
        raise InvalidInputError(f"the probe has shape {probe.shape}, the networks have {family.shape}")
    if per_network < 1:
        raise InvalidInputError(f"probes_per_network is {per_network}, expected a positive number")
    if estimator not in ESTIMATORS:
        raise InvalidInputError(f"unknown estimator '{estimator}'; known: {', '.join(ESTIMATORS)}")
    if family.trained and probe.zero:
        raise InvalidInputError(
            f"'{family.name}' is trained: its geometry is an expectation over its inputs; give it data, "
            "probe=DataProbe(images) (--data)"
        )


def _check_range(name: str, outputs: list[Tensor]) -> None:
    """Refuse outputs whose second moment, or the square of it, float64 cannot hold."""
    size = max(float(output.abs().max()) for output in outputs)
    if not SMALLEST < size < LARGEST:
        raise ScoregrainError(
            f"the outputs of '{name}' are as large as {size:.1g} at initialisation, expected {SMALLEST:g} to "
            f"{LARGEST:g}: float64 cannot hold the squares of their second moments; rescale the output in build()"
        )


def _why_not_finite(name: str, outputs: list[Tensor], steps: Tensor) -> str:
    """Message for outputs that are not finite: at which noise levels, and what to do."""
    bad = ~torch.stack(outputs).isfinite().flatten(2).all(2).all(0)
    levels = ", ".join(str(int(step)) for step in steps[bad])
    said = f"'{name}' gives non-finite outputs at initialisation, at t = {levels}"
    if not bad[0] or bad.all():
        return said
    return (
        f"{said}: t = 0 is the least noisy level, not a time to divide by or to take a logarithm of; a network that is "
        "told a noise level or a time goes into scoregrain.SigmaNetwork or scoregrain.TimeNetwork"
    )


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
