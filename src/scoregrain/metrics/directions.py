"""Denoising error of a trained model along directions and noise levels: no sampler before the verdict (MATH A8, B6)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scoregrain._arguments import check_kind, whole
from scoregrain._errors import InvalidInputError, nearest
from scoregrain._random import stream
from scoregrain.metrics._projections import unit_columns
from scoregrain.metrics._samples import as_rows

if TYPE_CHECKING:
    from scoregrain.diffusion import DiffusionProcess
    from scoregrain.diffusion.parameterization import Prediction
    from scoregrain.diffusion.process import Model

LEVELS = 10
"""How many noise levels stand for all when none are named."""

QUANTITIES = ("epsilon", "whitened", "x0")


@dataclass(frozen=True, eq=False)
class DirectionEstimate:
    """A mean square along K directions at L noise levels, all float64 on the CPU.

    Attributes:
        value: (L, K).
        standard_error: Of ``value`` over the arrays, (L, K).
        mean: Over the levels, (K,).
        mean_standard_error: Of ``mean``, (K,): an array is seen at every level, so the levels are not independent.
    """

    value: Tensor
    standard_error: Tensor
    mean: Tensor
    mean_standard_error: Tensor


@dataclass(frozen=True, eq=False)
class DirectionErrors:
    """How well a model denoises along each direction.

    Attributes:
        levels: The steps t, L of them.
        quantity: What is compared: ``epsilon``, ``whitened`` or ``x0``.
        count: The number of arrays.
        error: E (u·(ε̂ - ε))², what the training loss holds along u.
        bayes: E (u·(ε* - ε))², the part of it that no model avoids; None where the exact model is not known.
        excess: E (u·(ε̂ - ε*))², the rest: what the model could still learn; None likewise.
    """

    levels: tuple[int, ...]
    quantity: str
    count: int
    error: DirectionEstimate
    bayes: DirectionEstimate | None
    excess: DirectionEstimate | None


def direction_error(
    model: Model,
    process: DiffusionProcess,
    x0: Tensor,
    directions: Tensor,
    exact: Model | None = None,
    levels: Sequence[int] | None = None,
    quantity: str = "epsilon",
    seed: int = 0,
    batch_size: int = 256,
) -> DirectionErrors:
    """Return the denoising error along each direction, and its excess over the Bayes error where the law is known.

    At x_t = c x0 + s ε the model's ε̂ and the exact ε* = E[ε | x_t] differ by what it has not learned:
    E (u·(ε̂ - ε))² = E (u·(ε* - ε))² + E (u·(ε̂ - ε*))², without a cross term. The excess is the square itself and not a
    difference of two noisy errors, hence its low variance. Whatever the model was trained to predict, ε is what is
    compared: the quantity of the usual loss, which stays of order 1 at every level.

    The noise is a function of ``seed``, the level and the arrays alone: two models under one seed are compared on the
    same x_t, and no batch size matters. Memory: O(N (D + K)).

    Args:
        model: f(x_t, t), in eval mode.
        process: The process it was trained under; its parameterisation and noise are heeded.
        x0: Clean arrays (N, C, *space), not those it was trained on.
        directions: Unit columns (D, K), such as ``geometry.eigenvectors``, or one, (D,). They need not be orthogonal.
        exact: The exact model of the law of x0 under ``process``, such as ``GaussianScore``.
        levels: Steps t; when left out the middles of ten equal parts of the schedule, whose mean is the midpoint rule
            for the uniform t of the loss.
        quantity: ``epsilon``; ``whitened``, T⁺(ε̂ - ε), under which every direction of a shaped noise counts as in the
            variational bound (MATH B6); or ``x0``, (s/c)² times the first.
        seed: Of the noise.
        batch_size: Arrays given to the model at a time.

    Raises:
        InvalidInputError: When the directions are not unit columns that fit ``x0``, ``quantity`` is unknown, ``exact``
            belongs to another process, or as in ``process.predict``; also when the model returns NaN or infinity.
    """
    as_rows(x0, "x0")
    process.check(x0)
    if quantity not in QUANTITIES:
        raise InvalidInputError(
            f"unknown quantity '{quantity}'{nearest(quantity, QUANTITIES)}; known: {', '.join(QUANTITIES)}"
        )
    columns = unit_columns(directions, x0[0].numel()).to(x0.device)
    _check_exact(exact, process)
    steps = _steps(levels, process.num_steps)
    batch_size = whole(batch_size, "batch_size", least=1)
    names = ("error",) if exact is None else ("error", "bayes", "excess")
    tables = {name: _Table(len(x0), columns.shape[1]) for name in names}
    with torch.no_grad():
        for t in steps:
            squares = _squares(model, exact, process, x0, t, quantity, columns, seed, batch_size)
            for name, table in tables.items():
                table.add(squares[name])
    found = {name: table.estimate() for name, table in tables.items()}
    return DirectionErrors(steps, quantity, len(x0), found["error"], found.get("bayes"), found.get("excess"))


class _Table:
    """Squares of N arrays along K directions, level by level."""

    def __init__(self, count: int, directions: int) -> None:
        self._sum = torch.zeros(count, directions, dtype=torch.float64, device="cpu")
        self._levels: list[tuple[Tensor, Tensor]] = []

    def add(self, squares: Tensor) -> None:
        self._sum += squares
        self._levels.append(_mean_and_error(squares))

    def estimate(self) -> DirectionEstimate:
        means, errors = zip(*self._levels, strict=True)
        return DirectionEstimate(
            torch.stack(means), torch.stack(errors), *_mean_and_error(self._sum / len(self._levels))
        )


def _mean_and_error(squares: Tensor) -> tuple[Tensor, Tensor]:
    return squares.mean(0), squares.std(0) / math.sqrt(len(squares))


def _squares(
    model: Model,
    exact: Model | None,
    process: DiffusionProcess,
    x0: Tensor,
    t: int,
    quantity: str,
    columns: Tensor,
    seed: int,
    batch_size: int,
) -> dict[str, Tensor]:
    """Return the squares along the columns at one level, each (N, K)."""
    xi = torch.randn(x0.shape, generator=stream(seed, "direction-error", t), dtype=x0.dtype, device="cpu")
    parts: dict[str, list[Tensor]] = {"error": [], "bayes": [], "excess": []}

    def along(difference: Tensor) -> Tensor:
        whitened = process.noise.whiten(difference) if quantity == "whitened" else difference
        return (whitened.flatten(1).double() @ columns).square().cpu()

    for clean, white in zip(torch.split(x0, batch_size), torch.split(xi, batch_size), strict=True):
        x_t, eps = process.noised(clean, t, white.to(clean.device))
        truth = clean if quantity == "x0" else eps
        said = _said(process.predict(model, x_t, t), quantity, t)
        parts["error"].append(along(said - truth))
        if exact is not None:
            best = _said(process.predict(exact, x_t, t), quantity, t)
            parts["bayes"].append(along(best - truth))
            parts["excess"].append(along(said - best))
    return {name: torch.cat(rows) for name, rows in parts.items() if rows}


def _said(prediction: Prediction, quantity: str, t: int) -> Tensor:
    said = prediction.x0 if quantity == "x0" else prediction.eps
    if not bool(said.isfinite().all()):
        raise InvalidInputError(f"the model returned NaN or infinity at step {t}: it has no error to measure")
    return said


def _check_exact(exact: Model | None, process: DiffusionProcess) -> None:
    """Fail where the exact model answers for other levels, another noise or another output."""
    other = getattr(exact, "process", process)
    if other is process:
        return
    same = (other.prediction, other.omission, other.noise) == (process.prediction, process.omission, process.noise)
    if not same or not torch.equal(other.sigma, process.sigma) or not torch.equal(other.signal, process.signal):
        raise InvalidInputError(f"the exact model belongs to {other}, the model to {process}: build it with the latter")


def _steps(levels: Sequence[int] | None, num_steps: int) -> tuple[int, ...]:
    if levels is None:
        parts = min(LEVELS, num_steps)
        return tuple((2 * i + 1) * num_steps // (2 * parts) for i in range(parts))
    check_kind(levels, Iterable, "levels")
    steps = tuple(whole(t, "a level", least=0) for t in levels)
    if not steps or len(set(steps)) < len(steps):
        raise InvalidInputError("levels must be one step or several different ones, such as [100, 500, 900]")
    return steps
