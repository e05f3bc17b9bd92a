"""What the ranks of ``test_distributed.py`` run: every case in turn, what each rank saw into a file."""

import json
import os
import signal
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist

from scoregrain._errors import ScoregrainError
from scoregrain.geometry import measure_geometry
from scoregrain.geometry.distributed import Team, team
from scoregrain.models import NetworkFamily
from tests import networks

TINY = NetworkFamily(networks.Tiny, (1, 6, 6), name="tiny")


class FailsOnRankOne(networks.Tiny):
    """Fails on one rank only, from the start."""

    def forward(self, x, t):
        if dist.get_rank() == 1:
            raise RuntimeError("out of memory")
        return super().forward(x, t)


FAILING = NetworkFamily(FailsOnRankOne, (1, 6, 6), name="failing")


def interrupt(done: int, planned: int) -> None:
    if dist.get_rank() == 0 and done >= 128:
        raise KeyboardInterrupt


def interrupt_exchange(done: int, planned: int) -> None:
    """Ctrl-C on rank 0 between two messages of one exchange."""
    if dist.get_rank() == 0 and done == 128 * 2:  # its own four leaves, counted twice
        gather = dist.all_gather

        def once(*words, **options):
            dist.all_gather = gather
            gather(*words, **options)
            os.kill(os.getpid(), signal.SIGINT)

        dist.all_gather = once


def break_down(done: int, planned: int) -> None:
    if dist.get_rank() == 1 and done >= 128:
        raise ScoregrainError("the disk is full")


def vanish(done: int, planned: int) -> None:
    if dist.get_rank() == 1 and done >= 128:
        os._exit(0)


def measure(folder: Path, **options) -> None:
    """The geometry is saved by each rank, or the error written down."""
    name, rank = options.pop("name"), dist.get_rank()
    try:
        geometry = measure_geometry(options.pop("family", TINY), **options)
    except (Exception, KeyboardInterrupt) as error:
        kept = getattr(error, "geometry", None)
        said = {"error": type(error).__name__, "text": str(error), "kept": kept.moments.ranges if kept else None}
        (folder / f"{name}-{rank}.json").write_text(json.dumps(said))
        return
    geometry.save(folder / f"{name}-{rank}")


def primitives(folder: Path, ranks: Team) -> None:
    """What is exchanged."""
    seen = {"exchange": ranks.exchange({"rank": ranks.rank}), "first": ranks.first(lambda: [ranks.rank, "x" * 1000])}
    (folder / f"primitives-{ranks.rank}.json").write_text(json.dumps(seen))


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    rank = dist.get_rank()
    with team() as ranks:
        primitives(folder, ranks)
    measure(folder, name="plain", networks=1000)
    measure(folder, name="tolerance", tolerance=0.0006)
    measure(folder, name="shard", networks=1000, shard=(2, 3))
    measure(folder, name="state", networks=600, state=folder / "state")
    measure(folder, name="grown", networks=1000, state=folder / "state")
    measure(folder, name="seeds", networks=64, seed=rank)
    measure(folder, name="interrupted", networks=1000, progress=interrupt)
    measure(folder, name="exchanging", networks=1000, progress=interrupt_exchange)
    measure(folder, name="one-leaf", networks=20)
    measure(folder, name="broken", networks=1000, progress=break_down)
    measure(folder, name="failing", family=FAILING, networks=64)
    measure(folder, name="lost", networks=1000, state=folder / "lost", progress=vanish)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
