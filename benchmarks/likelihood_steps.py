"""How far a likelihood is off after how many steps: exact Gaussian models of the embedded digits, 16 × 16.

The divergence is exact, so that what remains is the error of the steps: mean over four draws, in nats.

    python -m benchmarks.likelihood_steps     # about a minute
"""

from __future__ import annotations

import math

import torch

import scoregrain as sg
from benchmarks.common import report

SHAPE = (1, 16, 16)
STEPS = (10, 20, 50, 100, 200, 1000)


def errors(prediction: str, noise: str) -> dict[str, float]:
    """Nats by number of steps."""
    size = math.prod(SHAPE)
    digits = sg.load_images("digits", shape=SHAPE).pixels.double()
    covariance = digits.flatten(1).T.cov() + 1e-3 * torch.eye(size, dtype=torch.float64)
    process = sg.DiffusionProcess(sg.linear_schedule(), noise, prediction=prediction)
    model = sg.GaussianScore(digits.mean(0), covariance, process)
    x = model.sample(4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    c = process.level(0)[0]
    true = model.log_prob(c * x, 0) + size * math.log(c)
    found = {steps: process.log_likelihood(model, x, steps=steps, probes=size).nats for steps in STEPS}
    return {str(steps): (nats - true).mean().item() for steps, nats in found.items()}


def main() -> None:
    torch.set_num_threads(1)
    cases = [(prediction, noise) for prediction in ("epsilon", "flow") for noise in ("white", "power-law:alpha=-0.3")]
    report("likelihood_steps", {"nats_by_steps": {f"{case[0]}, {case[1]}": errors(*case) for case in cases}})


if __name__ == "__main__":
    main()
