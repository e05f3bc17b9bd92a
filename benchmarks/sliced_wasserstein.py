"""Sliced Wasserstein beside POT: 10,000 × 256 points, 16,384 projections.

The distance of the same two float32 sets by scoregrain (all projections, errors and all), by POT in chunks of 64
projections, and by the loop one writes by hand in torch. The other two are timed on fewer projections (``--sample``),
their times scaled by the number of projections; ``--full`` gives them all. Peak memory is that of a process of its own,
``working_gib`` what it is above the loaded libraries and the samples.

    python -m benchmarks.sliced_wasserstein [--sample 1024] [--full]     # about one minute; with --full about four
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable

import ot
import torch
from torch import Tensor

from benchmarks.common import interleaved, peak_memory_gib, report
from scoregrain.metrics.sliced import sliced_wasserstein

POINTS, SIZE, PROJECTIONS, CHUNK = 10_000, 256, 16_384, 64


def samples() -> tuple[Tensor, Tensor]:
    """Two sets of normal numbers, of another scale."""
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(POINTS, SIZE, generator=generator), 0.7 * torch.randn(POINTS, SIZE, generator=generator))


def directions(count: int) -> Tensor:
    """Unit vectors (L, D)."""
    drawn = torch.randn(count, SIZE, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.normalize(drawn, dim=1)


def by_pot(x: Tensor, y: Tensor, theta: Tensor) -> float:
    """POT, chunk by chunk, and the root of the grand mean."""
    arrays = x.numpy(), y.numpy()
    parts = theta.numpy().reshape(-1, CHUNK, SIZE)
    squares = [ot.sliced_wasserstein_distance(*arrays, projections=part.T) ** 2 for part in parts]
    return float(sum(squares) / len(parts)) ** 0.5


def by_hand(x: Tensor, y: Tensor, theta: Tensor) -> float:
    """The loop one writes: project, sort, subtract, all in torch."""
    squares = [
        ((x @ part.T).sort(dim=0).values - (y @ part.T).sort(dim=0).values).square().mean().item()
        for part in theta.split(CHUNK)
    ]
    return (sum(squares) / len(squares)) ** 0.5


def memory(which: str) -> None:
    """Print what one function adds to the peak of this process, and that peak."""
    x, y = samples()
    sliced_wasserstein(x[:10], y[:10], 2)  # what loading holds
    before = peak_memory_gib()
    if which == "scoregrain":
        sliced_wasserstein(x, y)
    else:
        by_pot(x, y, directions(1024))
    print(json.dumps({"working_gib": peak_memory_gib() - before, "peak_gib": peak_memory_gib()}))


def measured_memory(which: str) -> dict[str, float]:
    """The same from a fresh process."""
    command = [sys.executable, "-m", "benchmarks.sliced_wasserstein", "--memory", which]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", type=int, default=1024)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--memory", choices=("scoregrain", "POT"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        memory(arguments.memory)
        return
    used = {name: measured_memory(name) for name in ("scoregrain", "POT")}  # first: a child inherits a peak
    x, y = samples()
    count = PROJECTIONS if arguments.full else arguments.sample
    theta = directions(count)
    functions: dict[str, Callable[[], float]] = {
        "scoregrain": lambda: sliced_wasserstein(x, y).sw2,
        "POT in chunks": lambda: by_pot(x, y, theta),
        "torch by hand": lambda: by_hand(x, y, theta),
    }
    exact = sliced_wasserstein(x.double(), y.double(), theta.double() / theta.double().norm(dim=1, keepdim=True)).sw2
    values = {"scoregrain": sliced_wasserstein(x, y, theta).sw2, "POT in chunks": by_pot(x, y, theta)}
    times = interleaved(functions, repeats=1 if arguments.full else 3)
    times |= {name: times[name] * PROJECTIONS / count for name in ("POT in chunks", "torch by hand")}
    report(
        "sliced_wasserstein",
        {
            "points": POINTS,
            "dimensions": SIZE,
            "projections": PROJECTIONS,
            "timed_projections": {"scoregrain": PROJECTIONS, "POT in chunks": count, "torch by hand": count},
            "relative_difference_from_float64": {name: value / exact - 1 for name, value in values.items()},
            "seconds": {name: round(seconds, 1) for name, seconds in times.items()},
            "POT_over_scoregrain": round(times["POT in chunks"] / times["scoregrain"], 1),
            "by_hand_over_scoregrain": round(times["torch by hand"] / times["scoregrain"], 1),
            "memory": used,
        },
    )


if __name__ == "__main__":
    main()
