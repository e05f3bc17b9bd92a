"""Noise levels of a measurement: one exact level, or systematic importance sampling (MATH C1.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.geometry.moments import LEAF
from scoregrain.geometry.probe import Probe
from scoregrain.schedules import Schedule, score_weight

TIMES = (0, 10, 100, 500, 999)
GUARD = 0.1  # share of levels drawn uniformly where the moment weight cannot be trusted


class NoiseLevels:
    """Where on the schedule networks are evaluated, and with which weight.

    A level t is drawn with probability ``w(t) / Σ w`` and weighted by ``mean w / w(t)``, where w is the probe's
    moment weight; so the weighted mean is that over uniform levels. Where the networks ignore the level, level 0
    stands for all, with the mean of ω.

    Args:
        gain: a positive factor ``(T,)`` of w: how ``‖o‖²`` is known to change with the level, roughly.
        guarded: draw a tenth of the levels uniformly. Where the score is ``a x + b o`` its terms may cancel at the
            levels that w takes for the important ones (preconditioned networks do so), and others be hardly drawn.

    Attributes:
        ignored: the networks do not depend on the level.
        per_network: levels evaluated for one network.
        omega: ``ω(t) = b(t)²``, float64 ``(T,)``: the weight of ``o oᵀ`` at level t (MATH A2).

    Raises:
        InvalidInputError: the probe's moment weight is not T finite numbers, positive wherever ω is.
    """

    def __init__(
        self,
        schedule: Schedule,
        probe: Probe,
        prediction: str,
        ignored: bool,
        per_network: int,
        *,
        gain: Tensor | None = None,
        guarded: bool = False,
    ) -> None:
        self.ignored, self.per_network = ignored, 1 if ignored else per_network
        self.omega = score_weight(schedule, prediction)
        weight = probe.moment_weight(schedule, prediction).double()
        if (
            weight.shape != self.omega.shape
            or not torch.isfinite(weight).all()
            or bool((weight < 0).any() or ((weight == 0) & (self.omega > 0)).any())
        ):
            raise InvalidInputError(
                f"the moment weight of the probe '{probe.name}' must be {schedule.num_steps} finite numbers, positive "
                "at every level where the score is not zero"
            )
        if gain is not None:
            weight = weight * gain
        if guarded:
            weight = (1 - GUARD) * weight / weight.sum() + GUARD / len(weight)
        self._cumulative = weight.cumsum(0) / weight.sum()
        target = self.omega if ignored else weight
        self._scale = (target.mean() / target).nan_to_num(posinf=0.0).sqrt()

    def scale(self, t: Tensor) -> Tensor:
        """Square root of the weight of samples at levels t: what a score is multiplied by."""
        return self._scale[t]

    def output_weight(self, t: Tensor) -> Tensor:
        """Weight of ``o oᵀ`` of samples at levels t: ω times the weight of the sample."""
        return self.omega[t] * self._scale[t].square()

    def sample(self, seed: int, leaf: int) -> Tensor:
        """Levels ``(32, q)`` of one leaf, a function of ``(seed, leaf)`` alone.

        They are resampled systematically over the whole leaf: its 32·q levels are equally spaced quantiles of the
        weight, each network takes q of them spread evenly, and a random order keeps a part of a leaf unbiased.
        """
        if self.ignored:
            return torch.zeros(LEAF, 1, dtype=torch.long)
        generator = stream(seed, "noise-levels", leaf)
        offset = torch.rand(1, dtype=torch.float64, generator=generator)
        strata = (torch.randperm(LEAF, generator=generator) + offset) / LEAF
        quantiles = (strata[:, None] + torch.arange(self.per_network)) / self.per_network
        return torch.searchsorted(self._cumulative, quantiles).clamp_max(len(self._cumulative) - 1)


def check_levels(schedule: Schedule) -> Tensor:
    """A few levels from both ends and between, for checks of a network."""
    return torch.tensor(TIMES).clamp_max(schedule.num_steps - 1)


def network_time(t: Tensor, schedule: Schedule) -> Tensor:
    """What a network is told at step t: ``t·1000/T``, an integer from 0 to 999 (MATH 0)."""
    return t * 1000 // schedule.num_steps
