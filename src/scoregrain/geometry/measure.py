"""Measure the average geometry G of untrained score networks (MATH A1-A2, C1)."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.geometry.core import Geometry
from scoregrain.geometry.moments import LEAF, Group, Moments
from scoregrain.geometry.plan import Plan
from scoregrain.geometry.probe import Probe, ZeroProbe
from scoregrain.geometry.spectrum import MIN_GROUPS
from scoregrain.models import NetworkFamily
from scoregrain.schedules import Schedule, linear_schedule

DEFAULT_NETWORKS = 4000
FIRST_LOOK = MIN_GROUPS * LEAF  # networks before a tolerance can be judged

Progress = Callable[[int, int], None]


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
    progress: Progress | None = None,
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
    _check_numbers(networks, tolerance, first)
    began, moments = time.perf_counter(), Moments()
    with _one_thread() as threads:
        plan = Plan(
            family,
            probe or ZeroProbe(family.shape),
            schedule or linear_schedule(),
            seed=seed,
            per_network=probes_per_network,
            estimator=estimator,
        )
        if (closed := plan.closed_form()) is not None:
            return _result(plan, Moments([Group(0, 1, closed)]), began, exact=True)
        plan.start(device)
        workers = threads if plan.device.type == "cpu" else 1
        try:
            for target in _targets(plan, moments, networks, tolerance):
                _measure_until(plan, moments, first, target, workers, progress)
        except KeyboardInterrupt:
            raise MeasurementInterruptedError(_result(plan, moments, began) if moments.groups else None) from None
    return _result(plan, moments, began)


@contextmanager
def _one_thread() -> Iterator[int]:
    """Run small operations on one thread; yield how many there were.

    On a busy machine threads inside operations of microseconds wait for one another: thirty times slower was seen.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def _result(plan: Plan, moments: Moments, began: float, exact: bool = False) -> Geometry:
    """The geometry of what has been measured so far."""
    info = plan.info() | {"seconds": round(time.perf_counter() - began, 3)}
    return Geometry("network", plan.structure, moments, symmetry=plan.symmetry, exact=exact, info=info)


def _check_numbers(networks: int | None, tolerance: float | None, first: int) -> None:
    if networks is not None and networks < 1:
        raise InvalidInputError(f"networks is {networks}, expected a positive number")
    if tolerance is not None and not 0 < tolerance < 1:
        raise InvalidInputError(f"tolerance is {tolerance}, expected a relative error between 0 and 1 such as 0.02")
    if first < 0:
        raise InvalidInputError(f"first is {first}, expected an index from 0 on")


def _targets(plan: Plan, moments: Moments, networks: int | None, tolerance: float | None) -> Iterator[int]:
    """How many networks to reach next, until the tolerance or the limit is."""
    if tolerance is None:
        yield networks or DEFAULT_NETWORKS
        return
    target = FIRST_LOOK
    while networks is None or target < networks:
        yield target
        error = _result(plan, moments, time.perf_counter()).relative_error
        if error is not None and error <= tolerance:
            return
        target = _next_target(moments.count, error, tolerance)
    yield networks


def _next_target(done: int, error: float | None, tolerance: float) -> int:
    """Networks for the tolerance by the 1/√N law, at most four times more than now."""
    ratio = 4.0 if error is None else min(4.0, 1.02 * (error / tolerance) ** 2)
    return LEAF * math.ceil(max(done * ratio, done + LEAF) / LEAF)


def _measure_until(
    plan: Plan, moments: Moments, first: int, target: int, workers: int, progress: Progress | None
) -> None:
    """Measure leaf by leaf until ``target`` networks from ``first`` on are in."""

    def keep(leaf: range, total: Tensor) -> None:
        moments.add(Group(leaf.start, leaf.stop, total))
        if progress is not None:
            progress(moments.count, target)

    leaves = []
    start = first + moments.count
    while start < first + target:
        leaves.append(range(start, min(first + target, (start // LEAF + 1) * LEAF)))
        start = leaves[-1].stop
    if workers > 1 and len(leaves) > 1:
        _measure_in_threads(plan, leaves, workers, keep)
    else:
        for leaf in leaves:
            keep(leaf, plan.measure(leaf.start, leaf.stop))


def _measure_in_threads(plan: Plan, leaves: list[range], workers: int, keep: Callable[[range, Tensor], None]) -> None:
    """Measure whole leaves side by side, each on one thread.

    Kept in order. After Ctrl-C the leaves that run already are finished and kept, the others are not begun.
    """
    waiting: deque[tuple[range, Future[Tensor]]] = deque()

    def keep_first() -> None:
        total = waiting[0][1].result()
        keep(waiting.popleft()[0], total)

    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for leaf in leaves:
                waiting.append((leaf, pool.submit(plan.measure, leaf.start, leaf.stop)))
                if len(waiting) > 2 * workers:
                    keep_first()
            while waiting:
                keep_first()
        except KeyboardInterrupt:
            running = [entry for entry in waiting if not entry[1].cancel()]
            for leaf, future in running:
                keep(leaf, future.result())
            raise
        except BaseException:
            for _, future in waiting:
                future.cancel()
            raise
