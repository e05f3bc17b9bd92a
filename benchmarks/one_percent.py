"""Time and memory to a relative Frobenius error of 1 %, everything included: imports, checks, error bars, clusters.

python -m benchmarks.one_percent iddpm-16 --threads 1      # under 30 s of one core, under 1 GiB
python -m benchmarks.one_percent iddpm-cifar               # D = 3072, under 10 minutes on two cores
python -m benchmarks.one_percent unet-32
"""

from __future__ import annotations

import argparse
import time

began = time.perf_counter()

import torch  # noqa: E402

from benchmarks.common import peak_memory_gib, report  # noqa: E402
from scoregrain import NetworkFamily, measure_geometry  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--tolerance", type=float, default=0.01)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    geometry = measure_geometry(NetworkFamily.from_preset(arguments.model), tolerance=arguments.tolerance)
    measured, measured_memory = time.perf_counter() - began, peak_memory_gib()
    identifiable, eigenspaces = geometry.identifiable, geometry.eigenspaces
    report(
        f"one_percent_{arguments.model}",
        {
            "model": arguments.model,
            "dimension": geometry.size,
            "networks": geometry.count,
            "relative_error": geometry.relative_error,
            "seconds_measured": measured,
            "seconds_with_clusters": time.perf_counter() - began,
            "cpu_seconds": time.process_time(),
            "peak_memory_gib_measured": measured_memory,
            "peak_memory_gib": peak_memory_gib(),
            "identifiable_directions": identifiable,
            "eigenspaces": eigenspaces,
        },
    )


if __name__ == "__main__":
    main()
