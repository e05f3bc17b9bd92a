"""Large outputs: time to 3 % for 3 x 64 x 64 and 4 x 64 x 64, memory against rank and D.

python -m benchmarks.large_outputs time unet-64            # D = 12,288: under 30 minutes on two cores
python -m benchmarks.large_outputs time unet-64:c=4        # D = 16,384
python -m benchmarks.large_outputs memory                  # O(rank x D): each case in a process of its own
python -m benchmarks.large_outputs accuracy unet-64:c=1    # leading directions against all of them, same networks
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import torch
from torch import nn

from benchmarks.common import peak_memory_gib, report
from scoregrain import NetworkFamily, measure_geometry

CASES = [  # shape, rank: "all" is the whole matrix
    ((3, 32, 32), "all"),
    ((3, 64, 64), 16),
    ((3, 64, 64), 32),
    ((3, 64, 64), 64),
    ((3, 64, 64), 128),
    ((4, 64, 64), 64),
    ((3, 96, 96), 64),
]


class Convolutions(nn.Module):
    """A network that costs little itself; without a closed-form last layer on request (``D`` is then not reduced)."""

    def __init__(self, channels: int, head: bool) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(channels, 8, 3, padding=1), nn.Conv2d(8, channels, 3, padding=1)
        self.head = head

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(torch.tanh(self.first(x)))
        return out if self.head else torch.tanh(3 * out)


def measured_time(model: str) -> None:
    began = time.perf_counter()
    geometry = measure_geometry(NetworkFamily.from_preset(model), tolerance=0.03)
    seconds = time.perf_counter() - began
    identifiable, eigenspaces = geometry.identifiable, geometry.eigenspaces
    report(
        f"large_outputs_time_{model.replace(':', '-')}",
        {
            "model": model,
            "dimension": geometry.size,
            "leading_directions": geometry.known,
            "networks": geometry.count,
            "relative_error": geometry.relative_error,
            "truncation_error": geometry.truncation_error,
            "trace": geometry.trace,
            "trace_error": geometry.trace_error,
            "lambda_max": float(geometry.eigenvalues[0]),
            "seconds": seconds,
            "seconds_with_clusters": time.perf_counter() - began,
            "peak_memory_gib": peak_memory_gib(),
            "identifiable_directions": identifiable,
            "eigenspaces": eigenspaces,
        },
    )


def accuracy(model: str) -> None:
    """The same 512 networks, whole and by their leading directions."""
    family = NetworkFamily.from_preset(model)
    whole = measure_geometry(family, 512, rank="all")
    part = measure_geometry(family, 512, rank=64)
    k = part.known
    ratio = part.eigenvalues / whole.eigenvalues[:k]
    # inside its own symmetry sector: neighbours of different sectors may swap
    inside = (whole.eigenvectors[:, : 2 * k].T @ part.eigenvectors).square().sum(0)
    distance = float((part.operator.to_dense() - whole.matrix()).norm() / whole.matrix().norm())
    report(
        f"large_outputs_accuracy_{model.replace(':', '-')}",
        {
            "model": model,
            "directions": k,
            "eigenvalue_ratio_first_quarter_least": float(ratio[: k // 4].min()),
            "eigenvalue_ratio_first_half_least": float(ratio[: k // 2].min()),
            "eigenvalue_ratio_least": float(ratio.min()),
            "largest_standard_error_of_these_eigenvalues": float(
                (whole.eigenvalue_errors / whole.eigenvalues)[:k].max()
            ),
            "share_inside_the_first_2k_least": float(inside.min()),
            "truncation_error": part.truncation_error,
            "true_truncation_error": distance,
            "relative_error": part.relative_error,
            "relative_error_whole": whole.relative_error,
            "trace_ratio": part.trace / whole.trace,
        },
    )


def measured_memory(shape: tuple[int, ...], rank: int | str, head: bool) -> dict[str, Any]:
    """Memory above what a first small measurement needs, for enough networks to fill all groups."""
    family = NetworkFamily(lambda: Convolutions(shape[0], head), shape)
    estimator = "auto" if head else "plain"
    small = (shape[0], 8, 8)
    measure_geometry(NetworkFamily(lambda: Convolutions(shape[0], head), small), 64, estimator=estimator)
    before = peak_memory_gib()
    geometry = measure_geometry(family, 2048, rank=rank, estimator=estimator)
    top = float(geometry.eigenvalue_errors[0])  # error bars and clusters count too
    state = sum(group.total.numel() for group in geometry.groups) * 8 / 2**30
    return {
        "shape": shape,
        "dimension": geometry.size,
        "reduced": geometry.structure.reduced,
        "rank": rank,
        "groups": len(geometry.groups),
        "state_gib": state,
        "state_numbers_over_rank_times_reduced": None
        if rank == "all"
        else geometry.groups[0].total.numel() / (int(rank) * geometry.structure.reduced),
        "peak_above_start_gib": peak_memory_gib() - before,
        "whole_matrices_gib": len(geometry.groups) * geometry.structure.reduced**2 * 8 / 2**30,
        "lambda_max_error": top,
    }


def memory() -> None:
    rows = []
    for head in (True, False):
        for shape, rank in CASES:
            words = [sys.executable, "-m", "benchmarks.large_outputs", "case", json.dumps([shape, rank, head])]
            rows.append(json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))
            print(rows[-1], flush=True)
    report("large_outputs_memory", {"rows": rows})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("time", "memory", "accuracy", "case"))
    parser.add_argument("argument", nargs="?", default="unet-64")
    arguments = parser.parse_args()
    if arguments.what == "time":
        measured_time(arguments.argument)
    elif arguments.what == "memory":
        memory()
    elif arguments.what == "accuracy":
        accuracy(arguments.argument)
    else:
        shape, rank, head = json.loads(arguments.argument)
        print(json.dumps(measured_memory(tuple(shape), rank, head) | {"closed_form_head": head}))


if __name__ == "__main__":
    main()
