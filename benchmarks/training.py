"""Training throughput ≥ 0.97 of a plain loop over the same diffusers model; memory flat over 10,000 steps.

python -m benchmarks.training throughput [--model unet-28] [--batch 64] [--noise white]
python -m benchmarks.training memory          # 10,000 updates of a small network, in a process of its own
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.common import interleaved, report
from scoregrain.training import TrainConfig
from scoregrain.training.record import write_run
from scoregrain.training.setup import prepare
from scoregrain.training.stopping import Stop
from scoregrain.training.trainer import Trainer

DATA = 2000
UPDATES = 10
LOG = 10
MEMORY_STEPS = 10_000
MARKS = 10


def own_trainer(config: TrainConfig, folder: Path) -> Trainer:
    """The trainer at step 0, as ``scoregrain.train`` makes it."""
    setup = prepare(config)
    folder.mkdir()
    write_run(setup, folder)
    return Trainer(setup, folder, Accelerator(cpu=True), progress=False)


def own_updates(trainer: Trainer) -> Callable[[], None]:
    """So many updates, with everything that is logged."""
    return lambda: trainer.advance(trainer.step + UPDATES, Stop(), lambda line: None)


def plain_updates(network: nn.Module, data: Tensor, config: TrainConfig) -> Callable[[], None]:
    """The loop of diffusers' tutorial with the same options: Adam, clipping, a running mean, the loss read."""
    from diffusers import DDPMScheduler

    network.train()
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema))
    batches = _endless(DataLoader(TensorDataset(data), batch_size=config.batch_size, shuffle=True, drop_last=True))

    def updates() -> None:
        losses = []
        for _ in range(UPDATES):
            x0 = next(batches)
            noise = torch.randn_like(x0)
            t = torch.randint(1000, (len(x0),))
            loss = nn.functional.mse_loss(network(scheduler.add_noise(x0, noise, t), t).sample, noise)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), config.clip)
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(network)
            losses.append(loss.detach())
        torch.stack(losses).mean().item()

    return updates


def _endless(loader: DataLoader[Any]) -> Iterator[Tensor]:
    while True:
        for (x0,) in loader:
            yield x0


def measure_throughput(model: str, batch: int, noise: str, repeats: int, threads: int) -> None:
    torch.set_num_threads(threads)
    data = torch.rand(DATA, 1, *(2 * (int(model.rpartition("-")[2]),)), generator=torch.Generator().manual_seed(0))
    config = TrainConfig(
        model=model,
        data=2 * data - 1,
        batch_size=batch,
        noise=noise,
        steps=10**9,
        checkpoint_every=10**9,
        log_every=LOG,
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = own_trainer(config, Path(folder) / "run")
        plain = plain_updates(trainer.setup.family.trainable(0), trainer.setup.split.train.pixels, config)
        medians = interleaved({"plain": plain, "ours": own_updates(trainer)}, repeats)
    images = UPDATES * batch
    result = {
        "ratio_to_be_above": 0.97,
        "model": model,
        "batch": batch,
        "noise": noise,
        "images_per_second": {name: images / seconds for name, seconds in medians.items()},
        "throughput_of_plain": medians["plain"] / medians["ours"],
    }
    report(f"training_{model}_{noise.partition(':')[0]}", result)


def measure_memory(model: str, batch: int) -> None:
    """Resident memory at tenths of a run, checkpoints and pictures included."""
    torch.set_num_threads(1)
    config = TrainConfig(
        model=model, data="digits", batch_size=batch, steps=MEMORY_STEPS, checkpoint_every=500, sample_every=2500
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = own_trainer(config, Path(folder) / "run")
        resident = []
        for mark in range(1, MARKS + 1):
            trainer.advance(mark * MEMORY_STEPS // MARKS, Stop(), lambda line: None)
            resident.append(_resident_mib())
    result = {"model": model, "batch": batch, "steps": MEMORY_STEPS, "resident_mib_at_each_tenth": resident}
    report("training_memory", result | {"grown_from_the_second_tenth_mib": resident[-1] - resident[1]})


def _resident_mib() -> float:
    """What the process holds now, not its peak."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("throughput", "memory"))
    parser.add_argument("--model", default=None)
    parser.add_argument("--batch", type=int, default=None)
    parser.add_argument("--noise", default="white")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.what == "memory":
        measure_memory(given.model or "unet-16", given.batch or 4)
    else:
        measure_throughput(given.model or "unet-28", given.batch or 64, given.noise, given.repeats, given.threads)


if __name__ == "__main__":
    main()
