"""What the benchmarks share: medians of interleaved timings, peak memory, one JSON line of results."""

from __future__ import annotations

import json
import platform
import resource
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from scoregrain import TimeBlindWarning

warnings.simplefilter("ignore", TimeBlindWarning)  # the papers' networks are time-blind; every use would warn

RESULTS = Path(__file__).parent / "results"


def interleaved(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each function, called in turn A B A B …, after one warm-up each."""
    for function in functions.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_memory_gib() -> float:
    """Largest resident memory of this process so far, GiB, libraries included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def report(name: str, result: dict[str, Any]) -> None:
    """Print a benchmark's numbers and keep them under ``benchmarks/results``."""
    result = {"benchmark": name, "torch": torch.__version__, "threads": torch.get_num_threads()} | result
    result["machine"] = f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}"
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)
