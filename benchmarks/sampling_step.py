"""One sampling step within 1.05 of the stock diffusers scheduler's on the same network; nothing grows with the steps.

python -m benchmarks.sampling_step steps [--model unet-16] [--batch 16]     # our samplers and schedulers, in turn
python -m benchmarks.sampling_step growth                                   # 50, 200, 800 steps, a process each
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common import interleaved, peak_memory_gib, report
from scoregrain import NetworkFamily, linear_schedule
from scoregrain.diffusion.ddim import DDIM
from scoregrain.diffusion.dpm_solver import DPMSolverPP
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.diffusion.sampler import Sampler, SamplerState, SamplingRun
from scoregrain.diffusion.sampling import sample
from scoregrain.noise import ForwardNoise

NOISE = "power-law:alpha=-0.06"
VISITED = (500, 480, 460)  # the second of two steps is timed: multistep methods then have a past
STEPS = 50
COUNTS = (50, 200, 800)
GROWN_SHAPE = (1, 32, 32)
GROWN_BATCH = 256

Step = Callable[[], object]


def network_of(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """An untrained network as diffusers runs it, and the shape of its arrays."""
    family = NetworkFamily.from_preset(name)
    return family.construct(0, 0).eval(), family.shape


def own_step(sampler: Sampler, noise: str, network: Callable[..., Any], x: Tensor) -> Step:
    """One step of a sampler of ours, network included."""
    process = DiffusionProcess(linear_schedule(1000), ForwardNoise.parse(noise))
    run = SamplingRun(network, process, torch.Generator().manual_seed(0))
    with torch.no_grad():
        state = sampler.step(SamplerState(run, x), *VISITED[:2])

    def step() -> object:
        with torch.no_grad():
            return sampler.step(state, *VISITED[1:])

    return step


def scheduler_step(scheduler: Any, network: Callable[..., Any], x: Tensor, **options: Any) -> Step:
    """One step of a diffusers scheduler, network included."""
    scheduler.set_timesteps(STEPS)
    middle = len(scheduler.timesteps) // 2
    before, t = scheduler.timesteps[middle - 1 : middle + 1]
    with torch.no_grad():
        scheduler.step(_output(network(x, before)), before, x, **options)  # multistep methods then have a past
    place = getattr(scheduler, "step_index", None)

    def step() -> object:
        if place is not None:
            scheduler._step_index = place  # the same step every time
        with torch.no_grad():
            return scheduler.step(_output(network(x, t)), t, x, **options).prev_sample

    return step


def _output(output: Any) -> Tensor:
    found: Tensor = getattr(output, "sample", output)
    return found


def methods(network: Callable[..., Any], x: Tensor) -> dict[str, dict[str, Step]]:
    """For each method the stock scheduler, ours, and our sampler with white and with shaped noise."""
    import diffusers

    import scoregrain as sg

    def generator() -> dict[str, torch.Generator]:
        return {"generator": torch.Generator().manual_seed(0)}

    plans: dict[str, tuple[str, Sampler, dict[str, Any], dict[str, Any]]] = {
        "DDPM": ("DDPMScheduler", DDIM(eta=1.0), {"clip_sample": False}, {}),
        "DDIM": ("DDIMScheduler", DDIM(eta=0.0), {"clip_sample": False}, {}),
        "DDIM, eta=1": ("DDIMScheduler", DDIM(eta=1.0), {"clip_sample": False}, {"eta": 1.0}),
        "DPM-Solver++ 2M": ("DPMSolverMultistepScheduler", DPMSolverPP(), {}, {}),
    }
    compared = {}
    for name, (kind, sampler, made, told) in plans.items():
        stock = getattr(diffusers, kind)(**made)
        shaped = getattr(sg, f"Shaped{kind}")(noise=NOISE, **made)
        compared[name] = {
            "stock scheduler": scheduler_step(stock, network, x, **told, **generator()),
            "our scheduler, shaped": scheduler_step(shaped, network, x, **told, **generator()),
            "our sampler, white": own_step(sampler, "white", network, x),
            "our sampler, shaped": own_step(sampler, NOISE, network, x),
        }
    return compared


def measure_steps(model: str, batch: int, repeats: int, threads: int) -> None:
    """Steps with the network, and with a network that costs nothing."""
    torch.set_num_threads(threads)
    network, shape = network_of(model)
    x = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))
    results: dict[str, Any] = {}
    for what, called, times in ((model, network, repeats), ("no network", lambda x, t: x, 10 * repeats)):
        for method, steps in methods(called, x).items():
            medians = interleaved(steps, times)
            stock = medians["stock scheduler"]
            results.setdefault(what, {})[method] = {
                name: {"milliseconds": 1e3 * seconds, "ratio_to_stock": seconds / stock}
                for name, seconds in medians.items()
            }
    report(f"sampling_step_{model}", {"ratio_to_be_below": 1.05, "batch": batch, "noise": NOISE, "results": results})


def measure_growth() -> None:
    """Time per step and peak memory at growing numbers of steps, in a process each."""
    results = {
        name: {str(steps): json.loads(_own_process(name, steps)) for steps in COUNTS}
        for name in ("ddim", "ddpm", "heun", "dpm-solver++")
    }
    shape = "×".join(map(str, (GROWN_BATCH, *GROWN_SHAPE)))
    report("sampling_growth", {"arrays": shape, "noise": NOISE, "results_by_sampler_and_steps": results})


def _own_process(sampler: str, steps: int) -> str:
    command = [sys.executable, "-m", "benchmarks.sampling_step", "one", "--sampler", sampler, "--steps", str(steps)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def measure_one(sampler: str, steps: int) -> None:
    """One run; a model that costs nothing, so that what the sampler keeps is all there is."""
    torch.set_num_threads(1)
    process = DiffusionProcess(linear_schedule(1000), ForwardNoise.parse(NOISE))
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> Tensor:
        return sample(lambda x, t: x, process, GROWN_BATCH, GROWN_SHAPE, sampler, count, generator)

    draw(2)
    before, began = peak_memory_gib(), time.perf_counter()
    draw(steps)
    seconds = time.perf_counter() - began
    print(json.dumps({"milliseconds_a_step": 1e3 * seconds / steps, "mib_grown": 1024 * (peak_memory_gib() - before)}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("steps", "growth", "one"))
    parser.add_argument("--model", default="unet-16")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sampler", default="ddim")
    parser.add_argument("--steps", type=int, default=50)
    given = parser.parse_args()
    match given.what:
        case "steps":
            measure_steps(given.model, given.batch, given.repeats, given.threads)
        case "growth":
            measure_growth()
        case "one":
            measure_one(given.sampler, given.steps)


if __name__ == "__main__":
    main()
