"""Measure the average geometry G of untrained score networks (MATH A1-A2, C1)."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.geometry.core import Geometry
from scoregrain.geometry.distributed import Team, team
from scoregrain.geometry.identity import difference, identity
from scoregrain.geometry.journal import Journal
from scoregrain.geometry.moments import LEAF, Group, Moments
from scoregrain.geometry.plan import Plan
from scoregrain.geometry.probe import Probe, ZeroProbe
from scoregrain.geometry.ranges import shard_range, shard_words
from scoregrain.geometry.running import Measurement, Progress, find_device
from scoregrain.geometry.spectrum import MIN_GROUPS
from scoregrain.models import NetworkFamily
from scoregrain.schedules import Schedule, linear_schedule

DEFAULT_NETWORKS = 4000
FIRST_LOOK = MIN_GROUPS * LEAF  # networks before a tolerance can be judged


class MeasurementInterruptedError(KeyboardInterrupt):
    """Ctrl-C during a measurement; ``geometry`` holds what was measured, None before the first leaf."""

    def __init__(self, geometry: Geometry | None) -> None:
        super().__init__("measurement interrupted")
        self.geometry = geometry


class MeasurementFailedError(ScoregrainError):
    """A network failed in the middle of a measurement; ``geometry`` holds what was measured before."""

    def __init__(self, message: str, geometry: Geometry) -> None:
        super().__init__(message)
        self.geometry = geometry


def measure_geometry(
    family: NetworkFamily,
    networks: int | None = None,
    *,
    tolerance: float | None = None,
    seed: int = 0,
    first: int = 0,
    shard: tuple[int, int] | None = None,
    device: torch.device | str | None = None,
    probe: Probe | None = None,
    schedule: Schedule | None = None,
    probes_per_network: int = 1,
    estimator: str = "auto",
    rank: int | str | None = None,
    state: str | os.PathLike[str] | None = None,
    extend: Geometry | None = None,
    like: Geometry | None = None,
    progress: Progress | None = None,
) -> Geometry:
    """Measure ``G = E[F Fᵀ]`` over untrained networks, with error bars (MATH A1, C1–C3).

    The last layer is integrated out in closed form, noise levels are integrated exactly or sampled in proportion to
    their weight, verified symmetries are used; what was done is in ``geometry.info``. Where the features before the
    last layer are the same for every network the result is exact.

    Where ``torch.distributed`` is initialised, all ranks call this together, each measures its share of the networks
    and all return the same geometry. However the networks are divided, among ranks, shards or calls that were killed
    and resumed, one kind of device gives the same bits as long as parts begin and end at multiples of 32 (MATH C4).

    Args:
        family: the networks.
        networks: how many; 4000 by default. With ``tolerance``: at most so many.
        tolerance: measure until the estimated relative Frobenius error is at most this.
        seed: network i is a function of ``(seed, i)`` alone.
        first: index of the first network.
        shard: ``(i, n)``, i from 1 on: only this one of n parts of the networks, for :func:`merge_geometries`.
        device: where networks run; ``cpu`` by default.
        probe: law of the inputs; :class:`ZeroProbe` by default.
        schedule: noise schedule; linear with 1000 steps by default.
        probes_per_network: noise levels and inputs drawn for one network where they are sampled.
        estimator: ``auto``, or ``plain`` for outer products of outputs without closed forms and symmetries.
        rank: measure only so many leading directions, in memory that grows with rank · D; ``"all"`` measures all. By
            default all up to D = 4096 (or where the structure reduces the matrix to 1024), else 64. With the structure
            ``channel`` or ``token`` each of them stands for several directions of one eigenvalue.
        state: folder of finished leaves, made if needed: after a kill, the same call continues there. Several
            processes may share it. Delete it when the geometry is saved. A closed form does not use it.
        extend: an earlier measurement of the same networks: only what it lacks is measured.
        like: another part of the measurement, for leading directions: its test matrix is used. Parts measured on one
            kind of machine choose the same one anyway.
        progress: called with (networks measured, networks planned) after every 32; on each rank an estimate.

    Raises:
        InvalidInputError: bad numbers, no family, a device that is not there, a network that does not return its
            input's shape, more directions than fit, a state or an earlier measurement of other networks (what differs
            is named).
        ZeroOutputError: the networks' output is zero at initialisation.
        MeasurementFailedError: a network failed or gave a non-finite output after others were measured; carries those.
        ScoregrainError: it was one of the first, or a rank or a file of the state failed.
        MeasurementInterruptedError: Ctrl-C; carries what was measured.

    Warns:
        TimeBlindWarning: the networks ignore the noise level.
    """
    _check_family(family)
    device = find_device(device)
    request, began = _request(networks, tolerance, first, shard), time.perf_counter()
    with _one_thread() as threads, team() as ranks:
        with ranks.together():
            plan = Plan(
                family,
                probe or ZeroProbe(family.shape),
                schedule or linear_schedule(),
                seed=seed,
                per_network=probes_per_network,
                estimator=estimator,
                rank=rank,
            )
            if (closed := plan.closed_form()) is None:
                _start(plan, device, extend, like)
            elif like is not None:
                raise InvalidInputError(f"'{family.name}' is known in closed form: it takes no test matrix (--like)")
        ranks.same(identity(_info(plan)) | asdict(request))
        if closed is not None:
            return _result(plan, Moments([Group(0, 1, closed)]), began, exact=True)
        groups, journal = _measured_before(plan, ranks, request, state, extend)
        workers = threads if plan.device.type == "cpu" else 1
        measurement = Measurement(plan, ranks, groups, journal=journal, workers=workers, progress=progress)
        return _measured(measurement, request, began)


def _measured(measurement: Measurement, request: _Request, began: float) -> Geometry:
    """Measure what is asked for; what stops it carries what was measured before."""
    try:
        for target in _targets(measurement, request):
            measurement.reach(range(request.first, request.first + target))
    except (KeyboardInterrupt, ScoregrainError) as error:
        kept = measurement.moments
        geometry = _result(measurement.plan, kept, began, shard=request.shard) if kept.groups else None
        if isinstance(error, KeyboardInterrupt):
            raise MeasurementInterruptedError(geometry) from None
        if geometry is None:
            raise
        raise MeasurementFailedError(str(error), geometry) from error
    return _result(measurement.plan, measurement.moments, began, shard=request.shard)


def _check_family(family: Any) -> None:
    """Refuse what could be taken for a family."""
    if isinstance(family, NetworkFamily):
        return
    how = "NetworkFamily(build, shape) of a function that builds a new network"
    if isinstance(family, str):
        how = f"NetworkFamily.from_preset({family!r}) or from_config(path)"
    raise InvalidInputError(f"expected a NetworkFamily, got {type(family).__name__}: use {how}")


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


def _info(plan: Plan) -> dict[str, Any]:
    from scoregrain import __version__

    return plan.info() | {"scoregrain": __version__}


def _result(
    plan: Plan, moments: Moments, began: float, *, exact: bool = False, shard: dict[str, Any] | None = None
) -> Geometry:
    """The geometry of what has been measured so far."""
    info = _info(plan) | {"seconds": round(time.perf_counter() - began, 3)} | ({"shard": shard} if shard else {})
    sketch = plan.sketch
    return Geometry("network", plan.structure, moments, symmetry=plan.symmetry, sketch=sketch, exact=exact, info=info)


def _start(plan: Plan, device: torch.device, extend: Geometry | None, like: Geometry | None) -> None:
    """Make a plan ready, with the test matrix of another part or of an earlier measurement where there is one."""
    given = like or extend
    if like is not None and like.sketch is None:
        raise InvalidInputError("like= has no test matrix to share: all of its directions were measured")
    plan.start(device, None if given is None else given.sketch)
    if like is not None and like.sketch is not None and plan.sketch is not like.sketch:
        raise InvalidInputError(
            f"like= measured {like.sketch.rank} leading directions of a geometry of reduced size "
            f"{like.structure.reduced}: ask for the same of the same networks (rank={like.sketch.rank}, "
            f"--directions {like.sketch.rank})"
        )


# what is asked for -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Request:
    """Which networks to measure: so many from the first on, or as many as a tolerance needs."""

    first: int
    networks: int | None
    tolerance: float | None
    shard: dict[str, Any] | None  # as in info: which of how many, and the networks of all of them


def _request(networks: int | None, tolerance: float | None, first: int, shard: tuple[int, int] | None) -> _Request:
    if networks is not None and networks < 1:
        raise InvalidInputError(f"networks is {networks}, expected a positive number")
    if tolerance is not None and not 0 < tolerance < 1:
        raise InvalidInputError(f"tolerance is {tolerance}, expected a relative error between 0 and 1 such as 0.02")
    if first < 0:
        raise InvalidInputError(f"first is {first}, expected an index from 0 on")
    if tolerance is None:
        networks = networks or DEFAULT_NETWORKS
    if shard is None:
        return _Request(first, networks, tolerance, None)
    if networks is None or tolerance is not None:
        raise InvalidInputError("a shard is a part of a fixed number of networks: leave the tolerance out")
    part = shard_range(networks, *shard, first=first)
    info = {"indices": [shard[0]], "of": shard[1], "networks": networks, "first": first}
    return _Request(part.start, len(part), None, info)


def _targets(measurement: Measurement, request: _Request) -> Iterator[int]:
    """How many networks to reach next, until the tolerance or the limit is."""
    networks, tolerance, journal, ranks = request.networks, request.tolerance, measurement.journal, measurement.team
    if tolerance is None:
        yield networks or DEFAULT_NETWORKS
        return
    known = ranks.first(lambda: journal.recall_target(tolerance, request.first)) if journal else None
    target = known or FIRST_LOOK
    while networks is None or target < networks:
        yield target
        error = _result(measurement.plan, measurement.moments, time.perf_counter()).relative_error
        if error is not None and error <= tolerance:
            return
        target = next_target(measurement.moments.count, error, tolerance)
        if journal:
            ranks.first(partial(journal.record_target, tolerance, request.first, target))
    yield networks


def next_target(done: int, error: float | None, tolerance: float) -> int:
    """Networks for the tolerance by the 1/√N law, at most four times more than now."""
    ratio = 4.0 if error is None else min(4.0, 1.02 * (error / tolerance) ** 2)
    return LEAF * math.ceil(max(done * ratio, done + LEAF) / LEAF)


# what is there already -------------------------------------------------------------------------------------------


def _measured_before(
    plan: Plan,
    ranks: Team,
    request: _Request,
    state: str | os.PathLike[str] | None,
    extend: Geometry | None,
) -> tuple[list[Group], Journal | None]:
    """The groups of an earlier measurement and of the journal, as the first rank sees them; the journal."""
    with ranks.together():
        groups = _extended(extend, identity(_info(plan)), request.shard) if extend else []
        journal = Journal(state, identity(_info(plan))) if state is not None else None
    if journal is not None:
        stop = math.inf if request.networks is None else request.first + request.networks
        groups += [group for group in journal.groups if group.start < stop and group.stop > request.first]
    return ranks.gather(groups if ranks.rank == 0 else []), journal


def _extended(geometry: Geometry, ours: dict[str, Any], shard: dict[str, Any] | None) -> list[Group]:
    """The groups of an earlier measurement, which must be one of the same networks."""
    if geometry.kind != "network" or geometry.exact:
        kind = "an exact" if geometry.exact else "a data"
        raise InvalidInputError(f"{kind} geometry has no networks to which more could be added")
    if other := difference(identity(geometry.info), ours):
        raise InvalidInputError(f"the earlier measurement is one of another {other}: it cannot be continued")
    if geometry.info.get("shard") != shard:
        raise InvalidInputError(
            f"the earlier measurement is {shard_words(geometry.info.get('shard'))}, not {shard_words(shard)}: "
            "it cannot be continued"
        )
    return list(geometry.groups)
