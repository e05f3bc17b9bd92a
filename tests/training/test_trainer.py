"""The loop: the updates are what they say, bit for bit the same however they are interrupted."""

import gc
import json
import resource
import warnings

import pytest
import torch
from diffusers.optimization import get_scheduler
from torch import nn

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain._random import stream, stream_seed
from scoregrain.datasets import Images, Split
from scoregrain.models import MLP, NetworkFamily
from scoregrain.training import Run, train
from scoregrain.training.average import Average
from scoregrain.training.batches import Batches
from scoregrain.training.checkpoint import latest
from scoregrain.training.optimization import learning_rate
from scoregrain.training.setup import prepare
from scoregrain.training.trainer import Trainer
from tests.training.cases import LINEAR, ODD, PERCEPTRON, SHAPE, config, flat, left, relative, rotation

VARIANTS = {
    "plain": {},
    "dropout, buffers, tied weights": {"model": ODD},
    "accumulation": {"accumulation": 4, "model": ODD},
    "cosine with warm-up": {"lr_schedule": "cosine", "warmup": 4},
    "bf16": {"mixed_precision": "bf16", "model": ODD},
    "no mean": {"ema": 0},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "clip": 0},
    "shaped and rotated": {"noise": "power-law:alpha=-0.5", "rotation": rotation(), "weighting": "whitened"},
    "epochs in the middle of batches": {"limit": 11},
}


class CrashError(Exception):
    pass


def crash_at(k, monkeypatch):
    """Whatever ends a process in the middle of update k."""
    update = Trainer.update

    def crashing(trainer, step):
        if step == k:
            raise CrashError
        return update(trainer, step)

    monkeypatch.setattr(Trainer, "update", crashing)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_interrupted_is_uninterrupted_bit_for_bit(changes, tmp_path, monkeypatch):
    """Parameters, mean, moments of the optimizer and the log; crashes before and after a checkpoint."""
    whole = train(config(out=tmp_path / "whole", **changes))
    for k in (2, 8):
        with monkeypatch.context() as patch, pytest.raises(CrashError):  # noqa: PT012
            crash_at(k, patch)
            train(config(out=tmp_path / "crashed", **changes), resume=k > 2)
    resumed = train(config(out=tmp_path / "crashed", **changes), resume=True)
    assert left(resumed) == left(whole)
    assert resumed.finished


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_one_seed_gives_one_training_and_another_seed_another(changes, tmp_path):
    first, again, other = (
        train(config(out=tmp_path / str(i), seed=seed, **changes)) for i, seed in enumerate((0, 0, 1))
    )
    assert left(first) == left(again)
    assert left(first) != left(other)


def test_a_finished_run_can_be_made_longer(tmp_path):
    whole = train(config(out=tmp_path / "whole", steps=15, checkpoint_every=3))
    train(config(out=tmp_path / "longer", steps=6, checkpoint_every=3))
    longer = train(config(out=tmp_path / "longer", steps=15, checkpoint_every=3), resume=True)
    assert left(longer) == left(whole)
    assert longer.config.steps == 15


def test_how_often_it_writes_changes_no_update(tmp_path):
    runs = [
        train(
            config(out=tmp_path / str(every), checkpoint_every=every, log_every=every, sample_every=2 * every, keep=1)
        )
        for every in (1, 4)
    ]
    one, other = (left(run) for run in runs)
    assert one["model.safetensors"] == other["model.safetensors"]
    assert one["optimizer.safetensors"] == other["optimizer.safetensors"]


def test_torch_s_global_randomness_neither_enters_nor_is_changed(tmp_path):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = train(config(model=ODD, out=tmp_path / "a"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert left(train(config(model=ODD, out=tmp_path / "b"))) == left(first)


def test_updates_are_those_of_a_plain_loop(tmp_path):
    """Written out by hand: loss on the batch, clipping, Adam, mean. Equal bits."""
    settings = config(noise="power-law:alpha=-0.5", clip=0.01, ema=0.9, steps=4, out=tmp_path / "run")
    run, setup = train(settings), prepare(settings)
    network = PERCEPTRON.trainable(0)
    average, optimizer = Average(network, 0.9), torch.optim.Adam(network.parameters(), lr=1e-3)
    batches = Batches(setup.split.train.pixels, 8, 50, 0)
    losses, norms = [], []
    for k in range(4):
        optimizer.zero_grad()
        loss = setup.process.loss(network, batches[k].x0, batches[k].t, batches[k].xi)
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(network.parameters(), 0.01)))
        optimizer.step()
        average.update_parameters(network)
        losses.append(loss.item())
    assert torch.equal(flat(run.model), flat(average.module))
    assert min(norms) > 0.01  # it was clipped
    first, last = run.history
    assert first["loss"] == pytest.approx(sum(losses[:3]) / 3, rel=1e-6)
    assert last["loss"] == pytest.approx(losses[3], rel=1e-6)
    assert first["gradient_norm"] == pytest.approx(sum(norms[:3]) / 3, rel=1e-6)


@pytest.mark.parametrize("ema", [0.999, 0])
def test_the_held_out_loss_is_that_of_the_sampled_weights_on_arrays_never_trained_on(ema, tmp_path):
    settings = config(out=tmp_path / "run", model=ODD, ema=ema)
    run, held_out = train(settings), prepare(settings).split.held_out.pixels
    order = torch.randperm(len(held_out), generator=stream(0, "held-out arrays"))[:512]
    batch = Batches(held_out[order], 512, 50, stream_seed(0, "held-out loss"))[0]
    with torch.no_grad():
        expected = run.process.loss(run.model, batch.x0, batch.t, batch.xi)
    assert run.history[-1]["held_out_loss"] == pytest.approx(float(expected), rel=1e-5)
    assert [line["step"] for line in run.history if "held_out_loss" in line] == [5, 10, 12]


def test_parts_of_a_batch_add_up_to_the_batch(tmp_path):
    whole = train(config(out=tmp_path / "1", limit=60))
    for parts in (2, 8):
        run = train(config(out=tmp_path / str(parts), accumulation=parts))
        assert 0 < relative(flat(run.model), flat(whole.model)) < 1e-5


@pytest.mark.parametrize("warmup", [0, 7])
@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_the_learning_rate_is_that_of_diffusers_stepping(name, warmup):
    settings = config(lr_schedule=name, warmup=warmup, steps=30, learning_rate=0.02)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.02)
    theirs = "constant_with_warmup" if name == "constant" else name
    schedule = get_scheduler(theirs, optimizer, num_warmup_steps=warmup, num_training_steps=30)
    rate = learning_rate(settings)
    for k in range(30):
        assert rate(k) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        schedule.step()


def test_the_rate_is_the_one_the_update_used(tmp_path):
    """From zero, so that the first update of a warm-up moves nothing."""
    run = train(config(out=tmp_path / "run", steps=1, warmup=5, ema=0))
    assert torch.equal(flat(run.model), flat(PERCEPTRON.construct(0, 0)))
    assert run.history[-1]["learning_rate"] == 0


def test_bf16_rounds_what_the_network_computes_and_nothing_that_is_kept(tmp_path):
    run, exact = (train(config(out=tmp_path / kind, mixed_precision=kind)) for kind in ("bf16", "no"))
    assert 1e-6 < relative(flat(run.model), flat(exact.model)) < 0.05
    assert {p.dtype for p in run.model.parameters()} == {torch.float32}


# What goes wrong -------------------------------------------------------------------------------------------------


class Breaks(MLP):
    """Says NaN from update 7 on."""

    def __init__(self):
        super().__init__(SHAPE, width=16, depth=2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x, t):
        self.calls += float(self.training)
        return super().forward(x, t) + torch.where(self.calls > 7, torch.nan, 0.0)


class Steep(Breaks):
    """The gradient of update 7 is NaN, its loss is not."""

    def forward(self, x, t):
        self.calls += float(self.training)
        output = MLP.forward(self, x, t)
        if output.requires_grad and self.calls > 7:
            output.register_hook(lambda gradient: gradient * torch.nan)
        return output


class Spreads(Breaks):
    """Its samples are NaN once its loss is."""

    def forward(self, x, t):
        return super().forward(x, t) + torch.where(self.calls > 7, torch.nan, 0.0)


def test_a_loss_that_is_not_finite_stops_with_step_seed_and_advice(tmp_path):
    family = NetworkFamily(Breaks, SHAPE, name="breaks")
    with pytest.raises(ScoregrainError) as said:
        train(config(model=family, out=tmp_path / "run", seed=4))
    assert not isinstance(said.value, InvalidInputError)
    assert str(said.value) == (
        "the loss or its gradient is not finite at step 7 (seed 4): try a lower learning rate (--learning-rate, 0.001"
        " now), a --warmup or a smaller --clip; the checkpoint of step 5 is kept in"
        f" '{tmp_path / 'run'}', continue from it with --resume"
    )
    run = Run.load(tmp_path / "run", family=family)
    assert run.step == 5
    assert flat(run.model).isfinite().all()
    assert all(line["step"] <= 6 for line in run.history)


def test_a_learning_rate_that_is_far_too_high_stops_before_anything_is_kept(tmp_path):
    settings = config(model=LINEAR, out=tmp_path / "run", learning_rate=1e30, clip=0, steps=200, checkpoint_every=200)
    with pytest.raises(ScoregrainError, match=r"not finite at step \d+ .*; no checkpoint was written yet$"):
        train(settings)
    assert latest(tmp_path / "run") is None
    with pytest.raises(InvalidInputError, match="has no checkpoint yet"):
        Run.load(tmp_path / "run", family=LINEAR)


@pytest.mark.parametrize("room", [300, 3000])
def test_a_disk_that_is_full_leaves_the_last_good_checkpoint(room, tmp_path, monkeypatch):
    """No room for a line of the log, or none for a checkpoint."""
    limit, update = resource.getrlimit(resource.RLIMIT_FSIZE), Trainer.update

    def fill(trainer, k):
        if k == 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, limit[1]))
        return update(trainer, k)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", fill)
        try:
            with pytest.raises(ScoregrainError, match=r"cannot write .*; the checkpoint of step 5 is kept in .*resume"):
                train(config(out=tmp_path / "run"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert Run.load(tmp_path / "run", family=PERCEPTRON).step == 5
    resumed = train(config(out=tmp_path / "run"), resume=True)
    assert left(resumed) == left(train(config(out=tmp_path / "whole")))


def test_a_run_without_a_checkpoint_is_resumed_from_its_start(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(CrashError):  # noqa: PT012
        crash_at(0, patch)
        train(config(out=tmp_path / "run"))
    resumed = train(config(out=tmp_path / "run"), resume=True)
    assert left(resumed) == left(train(config(out=tmp_path / "whole")))


# What it leaves --------------------------------------------------------------------------------------------------


def test_pictures_come_as_often_as_asked_and_at_the_end(tmp_path):
    train(config(out=tmp_path / "run", sample_every=4))
    names = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert names == ["step-00000004.png", "step-00000008.png", "step-00000012.png"]


def test_a_process_of_few_steps_is_pictured_too(tmp_path):
    assert train(config(out=tmp_path / "run", timesteps=25)).finished
    assert (tmp_path / "run" / "samples" / "step-00000012.png").exists()


def test_weights_that_are_not_finite_never_become_the_last_good_checkpoint(tmp_path):
    settings = config(model=LINEAR, out=tmp_path / "run", learning_rate=1e30, clip=0, checkpoint_every=1, log_every=1)
    with pytest.raises(ScoregrainError, match=r"^the loss on held-out arrays is not finite at step 1 .* yet$") as said:
        train(settings)
    assert str(said.value).count("checkpoint") == 1
    assert latest(tmp_path / "run") is None


def test_a_gradient_that_is_not_finite_stops_before_the_loss_is(tmp_path):
    """Else it is the update after it that is blamed, and weights of NaN are kept in between."""
    settings = config(model=NetworkFamily(Steep, SHAPE, name="steep"), out=tmp_path / "run", log_every=1)
    with pytest.raises(ScoregrainError, match=r"^the loss or its gradient is not finite at step 7 \(seed 0\)"):
        train(settings)


def test_a_loss_that_is_not_finite_is_told_before_a_picture_of_it_fails(tmp_path):
    family = NetworkFamily(Spreads, SHAPE, name="spreads")
    settings = config(model=family, out=tmp_path / "run", sample_every=2, log_every=100)
    with pytest.raises(ScoregrainError, match=r"^the loss or its gradient is not finite at step 7 \(seed 0\)"):
        train(settings)


def test_a_picture_that_fails_tells_what_is_kept(tmp_path):
    settings = config(model=LINEAR, out=tmp_path / "run", learning_rate=1e30, clip=0, sample_every=1, log_every=100)
    with pytest.raises(ScoregrainError, match=r"^no picture can be drawn at step 1: .* written yet$"):
        train(settings)


def test_the_record_says_what_was_trained(tmp_path):
    train(config(out=tmp_path / "run", noise="power-law:alpha=-0.5"))
    found = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (found["kind"], found["format"], found["noise"]) == ("run", 1, "power-law:alpha=-0.5")
    assert found["data"]["count"] == 60
    assert found["training"]["learning_rate"] == 1e-3


def test_memory_does_not_grow(tmp_path, monkeypatch):
    """As many tensors after 300 updates as after 60."""
    counts, update = [], Trainer.update

    def counting(trainer, k):
        if k in (60, 180, 300):
            gc.collect()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # some objects warn when they are looked at
                counts.append(sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects()))
        return update(trainer, k)

    monkeypatch.setattr(Trainer, "update", counting)
    train(config(out=tmp_path / "run", steps=301, log_every=30, checkpoint_every=150))
    assert len(counts) == 3
    assert max(counts) - min(counts) <= 2


def split_of(pixels):
    return Split(Images(pixels, "mine"), Images(pixels[:4].clone(), "mine"))


def test_arrays_in_memory_are_trained_on_as_they_are(tmp_path):
    pixels = torch.randn(30, *SHAPE, generator=torch.Generator().manual_seed(0))
    run = train(config(data=split_of(pixels), out=tmp_path / "run", limit=None))
    assert torch.equal(run.data().train.pixels, pixels)
    assert run.law is None
