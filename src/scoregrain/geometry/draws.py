"""Second moments of leaves of networks: draw, evaluate, integrate the last layer out (MATH C1.1-C1.3)."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scoregrain._errors import ScoregrainError
from scoregrain._random import stream
from scoregrain.geometry.levels import network_time
from scoregrain.geometry.moments import LEAF
from scoregrain.geometry.probe import score_from_output
from scoregrain.models import NetworkStack, evaluate
from scoregrain.schedules import score_coefficients

if TYPE_CHECKING:
    from scoregrain.geometry.plan import Plan


class Draws:
    """Draws and evaluates the networks of a plan, 32 at a time; any thread may ask.

    Attributes:
        execution: how networks are evaluated: ``vmap``, ``loop`` and why, or ``batched``.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.device = plan, plan.device
        self._local = threading.local()
        self.execution = "batched (one network)" if plan.family.trained else self._stack().execution

    def _stack(self) -> NetworkStack:
        """The calling thread's own networks: they hold buffers, and modules whose parameters are swapped."""
        if not hasattr(self._local, "stack"):
            self._local.stack = NetworkStack(self.plan.family, self.plan.laws, self.plan.seed, self.device)
        stack: NetworkStack = self._local.stack
        return stack

    def second_moment(self, start: int, stop: int, omega: Tensor | None) -> tuple[Tensor, float]:
        """Sum over draws ``start … stop - 1`` of one leaf.

        Args:
            start: the first draw.
            stop: the first that is left out.
            omega: test matrix Ω, ``(r, l)``; None for the whole matrix.

        Returns:
            The reduced second moment S ``(r, r)``, or ``S Ω``; and ``tr S``.

        Raises:
            ScoregrainError: a network gave a non-finite output.
        """
        plan = self.plan
        t, x = self._probe_leaf(start, stop)
        output, features, own = self._evaluate(start, stop, x, t)
        self._check_finite(features if plan.head else output, start)
        if plan.head is None:
            return _outer(self._rows(plan_score(plan, output, x, t), t), omega)
        weight = self._head_weight(t)
        moment = self._head_moment(features, weight, None if plan.base else omega)
        if not plan.base:
            return moment
        # F = base + b s Q o: the head's part has zero mean given the features, so the second moments add
        whole = plan.head.structure.matrix(moment[0])
        if plan.input_moment is not None:
            whole = whole + (stop - start) * plan.input_moment
        else:
            rows = self._rows(plan_score(plan, output, x, t) - self._head_part(own, t), t)
            whole = whole + rows.T @ rows
        return (whole if omega is None else whole @ omega), float(whole.trace())

    def _evaluate(self, start: int, stop: int, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Outputs ``(n, q, *shape)``, the head's inputs, and its outputs where they are needed."""
        plan, clock = self.plan, network_time(t, self.plan.schedule).to(self.device)
        if plan.family.trained:
            output = self._trained(x.flatten(0, 1), clock.flatten()).reshape(x.shape)
            return output, output, None
        stack = self._stack()
        parameters, layer = stack.parameters(range(start, stop)), plan.head.layer if plan.head else None
        output, features = stack.outputs(parameters, x.to(self.device, stack.dtype), clock, layer)
        self.execution = stack.execution
        beside = layer is not None and plan.base and plan.input_moment is None
        own = stack.layer_outputs(parameters, layer, features) if layer is not None and beside else None
        return output, features, own

    def _trained(self, x: Tensor, t: Tensor) -> Tensor:
        """Output of the one trained network for a batch."""
        if not hasattr(self._local, "network"):
            self._local.network = self.plan.family.construct(self.plan.seed, 0).to(self.device)
        network = self._local.network
        with torch.inference_mode():
            return evaluate(network, x.to(self.device, next(network.parameters()).dtype), t)

    def _check_finite(self, values: Tensor, start: int) -> None:
        if torch.isfinite(values).all():
            return
        bad = int((~torch.isfinite(values.flatten(1))).any(1).nonzero()[0])
        what = "draw" if self.plan.family.trained else "network"
        raise ScoregrainError(f"{what} {start + bad} of '{self.plan.family.name}' gave a non-finite output")

    def _head_weight(self, t: Tensor) -> Tensor:
        """Weight of every sample's ``E[Q o oᵀ Qᵀ | h]``, float64 ``(n · q,)``."""
        plan = self.plan
        return (plan.levels.output_weight(t) * plan.head_scale(t).square()).flatten() / plan.levels.per_network

    def _head_moment(self, features: Tensor, weight: Tensor, omega: Tensor | None) -> tuple[Tensor, float]:
        """What the head adds to the second moment, reduced, from the Gram matrices of all samples at once."""
        head = self.plan.head
        assert head is not None
        h, total = weighted(features.flatten(0, 1), weight.to(self.device)), float(weight.sum())
        if omega is not None:
            product, trace = head.sketch(h, total, omega.to(self.device))
            return product.cpu(), float(trace)
        moment = head.finish(head.gram(h).cpu(), total)
        return moment, float(moment.trace())

    def _head_part(self, own: Tensor | None, t: Tensor) -> Tensor:
        """``b s Q o``: the part of the score that comes from the head, ``(n, q, *shape)``."""
        plan = self.plan
        assert plan.head is not None
        assert own is not None
        factor = score_coefficients(plan.schedule, plan.family.prediction)[1][t] * plan.head_scale(t)
        placed = plan.head.tail.place(own.flatten(0, 1).cpu()).reshape(*t.shape, *plan.family.shape)
        part: Tensor = factor.reshape(*t.shape, *[1] * len(plan.family.shape)) * placed
        return part

    def _rows(self, score: Tensor, t: Tensor) -> Tensor:
        """Scores as weighted rows, float64 ``(n · q, D)``."""
        levels = self.plan.levels
        weight = levels.scale(t) / math.sqrt(levels.per_network)
        return (score.flatten(2) * weight[..., None]).flatten(0, 1)

    def _probe_leaf(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Noise levels ``(n, q)`` and inputs ``(n, q, *shape)`` of draws of one leaf."""
        plan, leaf = self.plan, start // LEAF
        t = plan.levels.sample(plan.seed, leaf)
        x = plan.probe.sample(t.flatten(), plan.schedule, stream(plan.seed, "probe", leaf))
        part = slice(start - leaf * LEAF, stop - leaf * LEAF)
        return t[part], x.reshape(*t.shape, *plan.family.shape)[part]


def plan_score(plan: Plan, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """Scores ``F = a x + b o`` of network outputs, float64."""
    return score_from_output(output.cpu(), x, t, plan.schedule, plan.family.prediction)


def weighted(features: Tensor, weight: Tensor) -> Tensor:
    """Features ``(m, ...)`` whose Gram matrix counts sample i ``weight[i]`` times."""
    return weight.sqrt().reshape(-1, *[1] * (features.ndim - 1)) * features


def _outer(rows: Tensor, omega: Tensor | None) -> tuple[Tensor, float]:
    """``Σ F Fᵀ`` of rows F, or its product with Ω; and the trace."""
    moment = rows.T @ (rows if omega is None else rows @ omega)
    return moment, float(rows.square().sum())
