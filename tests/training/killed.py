"""A process that trains in children and kills them with signal 9 at random moments, until one comes through.

Children are forked, so that a round costs nothing but the training itself; after each kill the run must load.
"""

import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import torch

from scoregrain.training import Run, train
from scoregrain.training.checkpoint import LATEST
from tests.training.cases import ODD, config

SETTINGS = {"model": ODD, "steps": 120, "checkpoint_every": 2, "keep": 1, "sample_every": 30}


def attempt(folder: Path) -> None:
    """One training in a process of its own: it never returns."""
    with open(os.devnull, "w") as nowhere:
        sys.stdout = sys.stderr = nowhere
        try:
            train(config(out=folder, **SETTINGS), resume=folder.exists(), progress=False)
        except BaseException:
            os._exit(1)
        os._exit(0)


def main(folder: Path, rng: random.Random) -> None:
    for _ in range(60):
        child = os.fork()
        if child == 0:
            attempt(folder)
        time.sleep(rng.uniform(0.05, 0.4))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if (folder / LATEST).exists():
            run = Run.load(folder, family=ODD)
            assert all(p.isfinite().all() for p in run.model.parameters())
            print(run.step, os.WIFSIGNALED(status), flush=True)
            if run.finished and not os.WIFSIGNALED(status):
                return
    raise SystemExit("it never came through")


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), random.Random(0))
