"""How many networks, and how much time, the reference procedure needs for the error we reach (MATH C1.5).

The reference: construct one network, draw one uniform noise level, take one outer product; average. Its error law is
exact, E‖Ĝ-G‖² / ‖G‖² = V / N with V = κ(1 + V_t) - 1, where V_t is the same number for exactly integrated noise levels
(MATH A2: E‖G_N-G‖² = (E‖F‖⁴ - ‖G‖²)/N, and a uniform level multiplies E‖F‖⁴ by κ = 134.8 for networks that ignore it).
V_t is estimated from outer products, our V from the spread of our groups, and both laws are checked against a
measurement of 16,000 networks at sizes where they can be run. Seconds are medians of timings taken in turn.

    python -m benchmarks.reference_procedure            # about 12 minutes on one core
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.common import interleaved, report
from benchmarks.cost_per_network import leaf_of
from scoregrain import NetworkFamily, measure_geometry
from scoregrain.geometry.moments import LEAF
from scoregrain.schedules import concentration, linear_schedule, score_weight

TRUTH, CHECK_REFERENCE, CHECK_OURS, REPEATS = 16_000, 16_000, 512, 8
SCHEDULE = linear_schedule(1000)


def reference_procedure(family: NetworkFamily, networks: int, seed: int) -> list[Tensor]:
    """Sums of ω(t) o oᵀ over eighths of the networks, float64: the procedure written out plainly."""
    omega = score_weight(SCHEDULE, "epsilon")
    x = torch.zeros(1, *family.shape)
    sums = [torch.zeros(family.size, family.size, dtype=torch.float64) for _ in range(REPEATS)]
    torch.manual_seed(seed)
    with torch.inference_mode():
        for i in range(networks):
            network = family.build().eval()
            t = torch.randint(0, 1000, (1,))
            o = network(x, t).sample.flatten().double()
            sums[i * REPEATS // networks] += omega[t] * torch.outer(o, o)
    return sums


def relative_error(estimate: Tensor, truth: Tensor) -> float:
    return float((estimate - truth).norm() / truth.norm())


def root_mean_square(errors: list[float]) -> float:
    return math.sqrt(sum(e * e for e in errors) / len(errors))


def main() -> None:
    torch.set_num_threads(1)
    family = NetworkFamily.from_preset("iddpm-16")
    seconds = interleaved(
        {"ours": leaf_of(family), "reference": lambda: reference_procedure(family, LEAF, seed=9)}, repeats=15
    )
    ours_seconds, reference_seconds = seconds["ours"] / LEAF, seconds["reference"] / LEAF
    truth = measure_geometry(family, TRUTH, seed=1)
    assert truth.relative_error is not None
    ours_v = truth.relative_error**2 * TRUTH
    ours_predicted = math.sqrt(ours_v / CHECK_OURS)
    ours = [relative_error(measure_geometry(family, CHECK_OURS, seed=2 + s).matrix(), truth.matrix()) for s in range(8)]

    exact_levels = measure_geometry(family, 8_000, seed=50, estimator="plain")
    # ‖Ĝ-G‖ against the precise G: the plain estimate's own spread would do, but is far noisier
    v_levels = _variance_of_outer_products(exact_levels.counts, exact_levels.groups, truth.matrix())
    kappa = concentration(score_weight(SCHEDULE, "epsilon"))
    reference_v = kappa * (1 + v_levels) - 1

    sums = reference_procedure(family, CHECK_REFERENCE, seed=3)
    part = CHECK_REFERENCE // REPEATS
    parts = [relative_error(s / part, truth.matrix()) for s in sums]
    whole = relative_error(sum(sums[1:], sums[0]) / CHECK_REFERENCE, truth.matrix())
    report(
        "reference_procedure",
        {
            "law": "relative Frobenius error = sqrt(V / N); the reference's V = kappa (1 + V_exact_levels) - 1",
            "V_reference": reference_v,
            "V_exact_levels": v_levels,
            "kappa": kappa,
            "V_ours": ours_v,
            "networks_ratio": reference_v / ours_v,
            "seconds_per_network_reference": reference_seconds,
            "seconds_per_network_ours": ours_seconds,
            "time_ratio": reference_v * reference_seconds / (ours_v * ours_seconds),
            "networks_for_1_percent": {"reference": reference_v * 1e4, "ours": ours_v * 1e4},
            "check_ours": {"networks": CHECK_OURS, "predicted": ours_predicted, "found": root_mean_square(ours)},
            "check_reference": {
                "networks": [part, CHECK_REFERENCE],
                "predicted": [math.sqrt(reference_v / n) for n in (part, CHECK_REFERENCE)],
                "found": [root_mean_square(parts), whole],
                "spread_of_parts": parts,
            },
        },
    )


def _variance_of_outer_products(counts: Tensor, groups: list, truth: Tensor) -> float:  # type: ignore[type-arg]
    """V per network from groups of outer products: count · ‖X̄_g - G‖² / ‖G‖², averaged."""
    values = [
        float(count) * relative_error(group.total / group.count, truth) ** 2
        for count, group in zip(counts, groups, strict=True)
    ]
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
