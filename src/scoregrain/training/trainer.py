"""The trainer: one loop on Accelerate for any network, process and rotation (ARCHITECTURE 4, "Randomness").

Interrupted and resumed, a training gives the bits of one that was not; several processes give what one gives on the
joint batch, up to the order in which gradients are added, but for layers that draw or look across the batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain._random import stream, stream_seed
from scoregrain.models import evaluate
from scoregrain.training import log
from scoregrain.training.average import Average
from scoregrain.training.batches import Batch, Batches
from scoregrain.training.checkpoint import State, latest, prune
from scoregrain.training.export import export
from scoregrain.training.optimization import learning_rate, make_optimizer
from scoregrain.training.pictures import save_grid
from scoregrain.training.setup import Setup
from scoregrain.training.stopping import Stop, deferred_stop

if TYPE_CHECKING:
    from accelerate import Accelerator

HELD_OUT = 512
"""Held-out arrays on which the loss is measured at every checkpoint."""

PICTURED, PICTURED_STEPS = 16, 50
"""Samples in a picture, and the sampler's steps, if the process has so many."""


class Trainer:
    """The parts of a training at work, and the loop over updates.

    Args:
        setup: What is trained.
        folder: The run's; must exist when :meth:`run` begins.
        accelerator: Places the network and joins the processes.
        progress: Show a bar.

    Raises:
        InvalidInputError: The network does not return what it is given, or holds levels of another schedule.
        ScoregrainError: The network fails.
    """

    def __init__(self, setup: Setup, folder: Path, accelerator: Accelerator, progress: bool = True) -> None:
        config = setup.config
        self.setup, self.config, self.folder, self.accelerator = setup, config, folder, accelerator
        self.progress = progress and accelerator.is_main_process
        self.device: torch.device = accelerator.device
        self.network = setup.family.trainable(config.seed).to(self.device).train()
        self._check_network()
        self.average = Average(self.network, config.ema) if config.ema else None
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(config, self.parameters)
        self.state = State(self.network, self.average, self.optimizer)
        self.model: nn.Module = accelerator.prepare_model(self.wrapped(self.network))
        self.rate = learning_rate(config)
        rank, world = accelerator.process_index, accelerator.num_processes
        self.batches = Batches(setup.split.train.pixels, config.batch_size, config.timesteps, config.seed, rank, world)
        self.step = 0
        self.saved = -1

    def run(self) -> None:
        """Train from the last checkpoint to the last step."""
        newest = latest(self.folder)
        if newest is not None:
            self.step = self.saved = self.state.restore(self.folder)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            log.cut(self.folder, self.step)
            if newest is not None:
                prune(newest, self.config.keep)  # a kill may have come between a checkpoint and this
        with self._tracked(), self._bar() as show, deferred_stop(self.accelerator.num_processes == 1) as stop:
            self.advance(self.config.steps, stop, show)
        self._finish()

    def advance(self, until: int, stop: Stop, show: Callable[[dict[str, Any]], None]) -> None:
        """Make updates until there are so many, with all that is written meanwhile.

        Raises:
            ScoregrainError: A loss is not finite, or nothing can be written.
            KeyboardInterrupt: Somebody asked to stop; a checkpoint is written.
        """
        config, meter = self.config, _Meter(self.config.batch_size)
        while self.step < until:
            meter.add(*self.update(self.step))
            self.step += 1
            last, asked = self.step == config.steps, stop.asked  # read once: a signal may come at any moment
            checkpoint = last or asked or self.step % config.checkpoint_every == 0
            pictured = not (last or asked) and config.sample_every > 0 and self.step % config.sample_every == 0
            if checkpoint or pictured or self.step % config.log_every == 0:
                line = self._line(meter)
                self._write(line, checkpoint)
                show(line)
                if pictured:
                    self._picture()
                meter.clear()
            if asked:
                raise KeyboardInterrupt(
                    f"interrupted; step {self.step} is kept in '{self.folder}', continue with --resume"
                )

    def update(self, k: int) -> tuple[Tensor, Tensor]:
        """Make update k; return this process's loss and the norm of the gradient."""
        config = self.config
        torch.manual_seed(stream_seed(config.seed, "dropout", k * self.accelerator.num_processes + self._rank))
        total = torch.zeros((), device=self.device)
        for i, part in enumerate(self.batches[k].parts(config.accumulation)):
            joined = i + 1 == config.accumulation
            with nullcontext() if joined else self.accelerator.no_sync(self.model):
                loss = self._loss(self.model, part) / config.accumulation
                self.accelerator.backward(loss)
            total += loss.detach()
        norm = nn.utils.clip_grad_norm_(self.parameters, config.clip or float("inf"))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(k)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return total, norm

    def _loss(self, model: nn.Module, batch: Batch) -> Tensor:
        x0, t, xi = (part.to(self.device, non_blocking=True) for part in (batch.x0, batch.t, batch.xi))
        bf16 = self.config.mixed_precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return self.setup.process.loss(model, x0, t, xi, weighting=self.config.weighting)

    def _line(self, meter: _Meter) -> dict[str, Any]:
        """What is logged: means over the updates since the last line, of all processes.

        Raises:
            ScoregrainError: A loss among them is not finite.
        """
        losses = self.accelerator.reduce(torch.stack(meter.losses), reduction="mean").cpu()
        norms = torch.stack(meter.norms).cpu()
        bad = (~(losses + norms).isfinite()).nonzero().flatten()
        if len(bad):
            raise self._not_finite("the loss or its gradient is", self.step - len(losses) + int(bad[0]))
        return {
            "step": self.step,
            "loss": losses.double().mean().item(),
            "gradient_norm": norms.double().mean().item(),
            "learning_rate": self.rate(self.step - 1),
            "images_per_second": meter.rate(),
        }

    def _write(self, line: dict[str, Any], checkpoint: bool) -> None:
        """Write a line of the log, and the checkpoint it belongs to.

        Raises:
            ScoregrainError: The last update has left weights that are not finite, or nothing can be written.
        """
        if self.accelerator.is_main_process:
            if checkpoint:
                line["held_out_loss"] = self._held_out_loss()
                if not math.isfinite(line["held_out_loss"]):  # the last good checkpoint is not given up for this one
                    raise self._not_finite("the loss on held-out arrays is", self.step)
            try:
                self._save(line, checkpoint)
            except ScoregrainError as error:
                raise ScoregrainError(f"{error}; {self._kept()}") from error
            self.accelerator.log({k: v for k, v in line.items() if k != "step"}, step=self.step)
        if checkpoint:
            self.accelerator.wait_for_everyone()

    def _save(self, line: dict[str, Any], checkpoint: bool) -> None:
        log.append(self.folder, line)
        if checkpoint:
            self.state.save(self.folder, self.step, self.config.keep)
            self.saved = self.step

    def _kept(self) -> str:
        if self.saved < 0:
            return "no checkpoint was written yet"
        return f"the checkpoint of step {self.saved} is kept in '{self.folder}', continue from it with --resume"

    def _held_out_loss(self) -> float:
        """The loss of the sampled weights on held-out arrays, with steps and ξ that never change."""
        seed, process, pixels = self.config.seed, self.setup.process, self.setup.split.held_out.pixels
        order = torch.randperm(len(pixels), generator=stream(seed, "held-out arrays"))  # data may be sorted by class
        held_out = pixels[order[:HELD_OUT]]
        batch = Batches(held_out, len(held_out), process.num_steps, stream_seed(seed, "held-out loss"))[0]
        count = -(-len(held_out) // self.config.batch_size)
        with self._evaluated() as model, torch.no_grad():
            sums = [self._loss(model, part).item() * len(part.t) for part in batch.parts(count)]
        return sum(sums) / len(held_out)

    def _picture(self) -> None:
        """Samples from the same ξ every time."""
        if not self.accelerator.is_main_process:
            return
        try:
            save_grid(self._samples(), self.folder / "samples" / f"step-{self.step:08d}.png")
        except ScoregrainError as error:
            raise ScoregrainError(f"no picture can be drawn at step {self.step}: {error}; {self._kept()}") from error

    def _samples(self) -> Tensor:
        from scoregrain.diffusion import sample

        process, generator = self.setup.process, stream(self.config.seed, "pictures")
        steps = min(PICTURED_STEPS, process.num_steps)
        with self._evaluated() as model:
            return sample(model, process, PICTURED, self.setup.family.shape, steps=steps, generator=generator).cpu()

    def _finish(self) -> None:
        if self.accelerator.is_main_process:
            self._picture()
            export(self.folder, self.setup, self.trained(), self.step)

    def trained(self) -> nn.Module:
        """The network whose samples count: the running mean, where there is one."""
        return self.network if self.average is None else self.average.module

    @contextmanager
    def _evaluated(self) -> Iterator[nn.Module]:
        """The network whose samples count, in data space and in evaluation mode."""
        network = self.trained()
        mode = network.training
        try:
            yield self.wrapped(network.eval())
        finally:
            network.train(mode)

    def wrapped(self, network: nn.Module) -> nn.Module:
        """A network as one in data space, wrapped in the rotation where there is one."""
        return network if self.setup.rotation is None else self.setup.rotation.wrap(network)

    def _not_finite(self, what: str, k: int) -> ScoregrainError:
        return ScoregrainError(
            f"{what} not finite at step {k} (seed {self.config.seed}): try a lower learning rate"
            f" (--learning-rate, {self.config.learning_rate:g} now), a --warmup or a smaller --clip; {self._kept()}"
        )

    def _check_network(self) -> None:
        """Run it once, so that nothing is written for one that fails or holds the levels of another number of steps."""
        known = getattr(self.network, "schedule_steps", self.config.timesteps)
        if known != self.config.timesteps:
            raise InvalidInputError(
                f"the network '{self.setup.family.name}' holds the levels of {known} steps: timesteps must be {known},"
                f" not {self.config.timesteps}"
            )
        if not any(p.requires_grad for p in self.network.parameters()):
            raise InvalidInputError(f"all parameters of the network '{self.setup.family.name}' are frozen")
        x = torch.zeros(2, *self.setup.family.shape, device=self.device)
        first_and_last = torch.tensor([0, self.config.timesteps - 1], device=self.device)
        with torch.no_grad():
            evaluate(self.network.eval(), x, first_and_last)
        self.network.train()

    @property
    def _rank(self) -> int:
        return int(self.accelerator.process_index)

    @contextmanager
    def _tracked(self) -> Iterator[None]:
        """Report to a tracker, if one is asked for."""
        if self.config.tracker is not None:
            self.accelerator.init_trackers("scoregrain")
        try:
            yield
        finally:
            for tracker in self.accelerator.trackers:
                tracker.finish()

    @contextmanager
    def _bar(self) -> Iterator[Callable[[dict[str, Any]], None]]:
        from tqdm import tqdm

        hidden = None if self.progress else True
        with tqdm(total=self.config.steps, initial=self.step, unit=" step", disable=hidden, leave=False) as bar:

            def show(line: dict[str, Any]) -> None:
                bar.update(line["step"] - bar.n)
                bar.set_postfix_str(f"loss {line['loss']:.4f}, {line['images_per_second']:.0f} images/s", refresh=False)

            yield show


class _Meter:
    """Losses and norms since the last line, and how fast images went by; on the device, so that nothing waits."""

    def __init__(self, images: int) -> None:
        self.images = images
        self.losses: list[Tensor] = []
        self.norms: list[Tensor] = []
        self._since = time.perf_counter()

    def add(self, loss: Tensor, norm: Tensor) -> None:
        self.losses.append(loss)
        self.norms.append(norm)

    def rate(self) -> float:
        return self.images * len(self.losses) / max(time.perf_counter() - self._since, 1e-9)

    def clear(self) -> None:
        self.losses, self.norms, self._since = [], [], time.perf_counter()
