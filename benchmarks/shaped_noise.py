"""What shaping costs: drawing noise at most 2.5 times ``torch.randn``, and what that is of a training step.

Draws of 64 × 3 × 64 × 64 numbers, float32, on one thread and on two: each colour beside plain ``torch.randn``, and
beside what can hardly be beaten, ``randn``, ``rfft2``, one product and ``irfft2`` written by hand. Noise along the
eigenvectors of a geometry (``in_basis``) at D = 256 and 1024: matrix products. A training step of ``unet-16``
(draw, loss, backward) with shaped noise beside the same with white noise and beside the loop everyone writes by hand.

    python -m benchmarks.shaped_noise [--repeats 60]     # about two minutes
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common import interleaved, report
from scoregrain import NetworkFamily, linear_schedule
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.noise import ForwardNoise
from scoregrain.operators import DiagonalOperator

SHAPE = (64, 3, 64, 64)
COLOURS = {
    "white": "white",
    "power law": "power-law:alpha=-0.06",
    "exponential": "exponential:beta=2",
    "band-pass": "band-pass:low=0,high=0.5",
    "product": "power-law:alpha=-0.06*exponential:beta=2",
}
TRAINED = "unet-16"
BATCH = 32


def draws() -> dict[str, Callable[[], Tensor]]:
    """One draw of every colour, of white noise, and of one by hand."""
    generator = torch.Generator().manual_seed(0)
    gains = torch.rand(SHAPE[-2], SHAPE[-1] // 2 + 1)

    def plain() -> Tensor:
        return torch.randn(SHAPE, generator=generator)

    def by_hand() -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(plain()).mul_(gains), s=SHAPE[-2:])

    def coloured(text: str) -> Callable[[], Tensor]:
        noise = ForwardNoise.parse(text)
        return lambda: noise.sample(SHAPE, generator=generator)

    return {"randn": plain, "by hand": by_hand} | {name: coloured(text) for name, text in COLOURS.items()}


def basis_draws(side: int) -> dict[str, Callable[[], Tensor]]:
    """One draw along given directions of D = side² pixels, beside ``randn`` and a matrix product."""
    generator, shape, size = torch.Generator().manual_seed(0), (64, 1, side, side), side**2
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    noise = ForwardNoise.in_basis(DiagonalOperator((1, side, side), torch.logspace(0, -3, size), basis), gamma=1.0)
    root = torch.randn(size, size, generator=generator)

    def plain() -> Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "randn": plain,
        "one matrix product": lambda: (plain().flatten(1) @ root).reshape(shape),
        "in_basis": lambda: noise.sample(shape, generator=generator),
    }


def training_steps() -> dict[str, Callable[[], None]]:
    """Draw, loss and backward of one batch: by hand with white noise, and through the process."""
    generator = torch.Generator().manual_seed(0)
    family = NetworkFamily.from_preset(TRAINED)
    network, schedule = family.construct(0, 0).requires_grad_(True), linear_schedule()
    x0 = torch.randn(BATCH, *family.shape, generator=generator)
    alpha_bar, sigma = schedule.alpha_bar.float(), schedule.sigma.float()

    def by_hand() -> Tensor:
        t = torch.randint(1000, (BATCH,), generator=generator)
        eps = torch.randn(x0.shape, generator=generator)
        view = (-1, 1, 1, 1)
        x_t = alpha_bar[t].sqrt().view(view) * x0 + sigma[t].view(view) * eps
        return nn.functional.mse_loss(_sample(network(x_t, t)), eps)

    def through(text: str) -> Callable[[], Tensor]:
        process = DiffusionProcess(schedule, ForwardNoise.parse(text))
        return lambda: process.loss(network, x0, generator=generator)

    losses = {"by hand": by_hand, "white": through("white"), "shaped": through("power-law:alpha=-0.06")}
    return {name: _stepped(network, loss) for name, loss in losses.items()}


def _sample(output: Any) -> Tensor:
    found: Tensor = getattr(output, "sample", output)
    return found


def _stepped(network: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    def step() -> None:
        network.zero_grad(set_to_none=True)
        loss().backward()  # type: ignore[no-untyped-call]

    return step


def compared(functions: dict[str, Callable[[], object]], base: str, repeats: int) -> dict[str, Any]:
    """Milliseconds of each, and its ratio to the base."""
    medians = interleaved(functions, repeats)
    return {
        name: {"milliseconds": 1e3 * seconds, f"ratio_to_{base.replace(' ', '_')}": seconds / medians[base]}
        for name, seconds in medians.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=60)
    repeats = parser.parse_args().repeats
    results: dict[str, Any] = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results[f"threads={threads}"] = {
            "×".join(map(str, SHAPE)): compared(dict(draws()), "randn", repeats),
            **{f"in_basis D={side**2}": compared(dict(basis_draws(side)), "randn", repeats) for side in (16, 32)},
            f"training step of {TRAINED}, batch {BATCH}": compared(dict(training_steps()), "by hand", repeats // 2),
        }
    report("shaped_noise", {"ratio_to_be_below": 2.5, "results": results})


if __name__ == "__main__":
    main()
