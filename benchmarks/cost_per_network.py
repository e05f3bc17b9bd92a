"""What one network costs: draw, forward pass, closed-form last layer, against the bare forward pass.

Batch 1, inference mode, one thread, one process, timings interleaved. The ratio is to be below 1.

    python -m benchmarks.cost_per_network               # about a minute
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.common import interleaved, report
from scoregrain import NetworkFamily, ZeroProbe, linear_schedule
from scoregrain.geometry.moments import LEAF
from scoregrain.geometry.plan import Plan


def leaf_of(family: NetworkFamily) -> Callable[[], object]:
    """Measure the same leaf of 32 networks at every call."""
    plan = Plan(family, ZeroProbe(family.shape), linear_schedule(), seed=0, per_network=1, estimator="auto")
    plan.start("cpu")
    return lambda: plan.measure(0, LEAF)


def bare(family: NetworkFamily) -> Callable[[], object]:
    """One forward pass of one constructed network."""
    network = family.construct(0, 0)
    x, t = torch.zeros(1, *family.shape), torch.zeros(1, dtype=torch.long)

    def forward() -> object:
        with torch.inference_mode():
            return network(x, t)

    return forward


def main() -> None:
    torch.set_num_threads(1)
    results = {}
    for name in ("iddpm-16", "unet-16", "unet-28", "unet-32"):
        family = NetworkFamily.from_preset(name)
        forward = bare(family)
        medians = interleaved(
            {
                "leaf": leaf_of(family),
                "forward": lambda forward=forward: [forward() for _ in range(LEAF)],
                "construct": lambda family=family: [family.build() for _ in range(4)],
            },
            repeats=15,
        )
        results[name] = {
            "milliseconds_per_network": 1e3 * medians["leaf"] / LEAF,
            "milliseconds_bare_forward": 1e3 * medians["forward"] / LEAF,
            "milliseconds_construct": 1e3 * medians["construct"] / 4,
            "ratio_to_bare_forward": medians["leaf"] / medians["forward"],
        }
    report("cost_per_network", results)


if __name__ == "__main__":
    main()
