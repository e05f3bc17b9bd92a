"""A process that trains in children and kills them with signal 9 at random moments, until one comes through.

Children are forked with all libraries loaded, so that a round costs nothing but the training itself. Each is left
alone until it has kept something, and for a random while; after each kill the run must load.
"""

import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import accelerate  # noqa: F401 - loaded before the forks
import diffusers.optimization  # noqa: F401
import torch

from scoregrain.training import Run, train
from scoregrain.training.checkpoint import LATEST
from tests.training.cases import ODD, config

SETTINGS = {"model": ODD, "steps": 90, "checkpoint_every": 3, "keep": 1, "sample_every": 30}


def attempt(folder: Path) -> None:
    """One training in a process of its own: it never returns."""
    with open(os.devnull, "w") as nowhere:
        sys.stdout = sys.stderr = nowhere
        try:
            train(config(out=folder, **SETTINGS), resume=folder.exists(), progress=False)
        except BaseException:
            os._exit(1)
        os._exit(0)


def kept(folder: Path) -> str:
    file = folder / LATEST
    return file.read_text() if file.exists() else ""


def ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def main(folder: Path, rng: random.Random) -> None:
    for _ in range(60):
        before = kept(folder)
        child = os.fork()
        if child == 0:
            attempt(folder)
        while kept(folder) == before and not ended(child):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
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
