"""Networks of other conventions as ``network(x, t)`` with an integer t: noise levels, times, azula's denoisers.

A family's network is told an integer t from 0 (least noisy) to 999: step k of a schedule of T steps is t = 1000k/T.
The wrappers here look up in a table of 1000 numbers what the wrapped network wants to be told instead. Take the table
from the schedule that the measurement uses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from scoregrain._errors import InvalidInputError

LEVELS = 1000
HALVINGS = 60


class TimeNetwork(nn.Module):
    """A network that is told a real number, such as the time of a flow, called as ``network(x, times[t])``.

    For a flow between data at time 0 and noise at time 1 with velocity ``ε - x0``::

        sg.NetworkFamily(lambda: sg.TimeNetwork(Velocity(), torch.arange(1, 1001) / 1000), shape, prediction="flow")

    Args:
        network: called with x ``(N, *shape)`` and a tensor ``(N,)`` of x's dtype; its output is passed on.
        times: what it is told at t = 0 … 999, ``(1000,)``; kept in float64.

    Raises:
        InvalidInputError: ``times`` is not 1000 finite numbers.
    """

    times: Tensor
    schedule_steps = LEVELS  # a process of another number of steps would tell it the wrong level, and refuses

    def __init__(self, network: nn.Module, times: Tensor) -> None:
        super().__init__()
        _check_network(network)
        _check_table(times)
        self.network = network
        self.register_buffer("times", times.double())

    def forward(self, x: Tensor, t: Tensor) -> Any:
        """Call the network on x ``(N, *shape)`` at integers t ``(N,)``."""
        return self.network(x, self.times[t].to(x.dtype))


class SigmaNetwork(TimeNetwork):
    """A denoiser ``D(x, σ)`` of data with noise added, ``x = x0 + σ ε``, as EDM and k-diffusion define it (MATH B9).

    The family's prediction is ``edm``: the score is ``(D - x)/σ²``::

        sigmas = sg.linear_schedule().sigmas
        sg.NetworkFamily(lambda: sg.SigmaNetwork(EDMPrecond(...), sigmas), shape, prediction="edm")

    Args:
        network: called with x ``(N, *shape)`` and σ ``(N,)``; returns the denoised array.
        sigmas: σ at t = 0 … 999, ``(1000,)``, positive and increasing: :attr:`Schedule.sigmas`.

    Raises:
        InvalidInputError: ``sigmas`` is not such a table.
    """

    def __init__(self, network: nn.Module, sigmas: Tensor) -> None:
        _check_network(network)
        _check_sigmas(sigmas)
        super().__init__(network, sigmas)


class AzulaNetwork(TimeNetwork):
    """An azula denoiser, which has a schedule of its own, as a network that predicts ``sample``.

    At t it is evaluated at the time τ of its own schedule (α_τ, σ_τ) that has our signal-to-noise ratio, on our
    ``x = √ᾱ x0 + σ ε`` rescaled to ``α_τ x0 + σ_τ ε``; the posterior's mean, x0, is passed on::

        sigmas = sg.linear_schedule().sigmas
        sg.NetworkFamily(lambda: sg.AzulaNetwork(KarrasDenoiser(UNet(...), VPSchedule()), sigmas), shape, "sample")

    Args:
        denoiser: called with ``x_τ`` and τ ``(N,)`` in [0, 1]; returns a posterior with a ``mean``. Its
            ``schedule(τ)`` gives (α_τ, σ_τ) with σ_τ/α_τ increasing.
        sigmas: our noise-to-signal ratio σ/√ᾱ at t = 0 … 999, ``(1000,)``: :attr:`Schedule.sigmas`.

    Raises:
        InvalidInputError: ``sigmas`` is not positive and increasing, or leaves the range of the denoiser's schedule.
    """

    scales: Tensor

    def __init__(self, denoiser: nn.Module, sigmas: Tensor) -> None:
        _check_network(denoiser)
        _check_sigmas(sigmas)
        schedule: Any = denoiser.schedule
        sigmas = sigmas.double()
        times = _times_of(schedule, sigmas)
        super().__init__(denoiser, times)
        # x/√ᾱ = x0 + σ/√ᾱ ε, and ᾱ = 1/(1 + σ²/ᾱ)
        self.register_buffer("scales", schedule(times)[0] * (1 + sigmas**2).sqrt())

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Prediction of x0 ``(N, *shape)`` at integers t ``(N,)``."""
        scale = self.scales[t].to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
        mean: Tensor = super().forward(scale * x, t).mean
        return mean


def _check_network(network: Any) -> None:
    """Refuse what is no network, such as the table that comes after it."""
    if not isinstance(network, nn.Module):
        raise InvalidInputError(
            f"the first argument is a {type(network).__name__}, expected the network; the table comes second, as in "
            "SigmaNetwork(network, sigmas)"
        )


def _check_table(table: Any) -> None:
    """Refuse a table that has not one finite number for each t."""
    if not isinstance(table, Tensor):
        hint = "; take its sigmas: linear_schedule().sigmas" if hasattr(table, "sigmas") else ""
        raise InvalidInputError(
            f"the table is a {type(table).__name__}, expected a tensor of {LEVELS} numbers, one for each t{hint}"
        )
    if table.shape != (LEVELS,) or not torch.isfinite(table).all():
        raise InvalidInputError(
            f"the table must hold {LEVELS} finite numbers, one for each t from 0 to {LEVELS - 1}, got shape "
            f"{tuple(table.shape)}; take it from a schedule of {LEVELS} steps"
        )


def _check_sigmas(sigmas: Tensor) -> None:
    """Refuse a table that does not start at the least noise, such as a sampler's."""
    _check_table(sigmas)
    if not bool((sigmas > 0).all() and (sigmas.diff() > 0).all()):
        raise InvalidInputError(
            "sigmas must be positive and increase with t, as linear_schedule().sigmas does: t = 0 is the least noisy"
        )


def _times_of(schedule: Callable[[Tensor], tuple[Tensor, Tensor]], sigmas: Tensor) -> Tensor:
    """Times in [0, 1] at which a schedule has the noise-to-signal ratios ``sigmas``, by bisection, float64."""

    def ratio(time: Tensor) -> Tensor:
        alpha, sigma = schedule(time)
        return sigma / alpha

    low, high = torch.zeros_like(sigmas), torch.ones_like(sigmas)
    if bool((sigmas < ratio(low)).any() or (sigmas > ratio(high)).any()):
        raise InvalidInputError(
            f"sigmas from {sigmas[0]:.3g} to {sigmas[-1]:.3g} leave the range of the denoiser's schedule, whose "
            f"noise-to-signal ratio runs from {ratio(low)[0]:.3g} to {ratio(high)[0]:.3g}; widen its schedule"
        )
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = ratio(middle) < sigmas
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2
