"""``scoregrain train``: what it writes, what it refuses, and that what it refuses leaves nothing behind."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import scoregrain as sg
from scoregrain.cli.laws import find_law
from tests.cli.command import TINY
from tests.networks import Tiny

QUICK = ("--steps", "6", "--batch-size", "4", "--log-every", "2", "--checkpoint-every", "3", "--device", "cpu")


@pytest.fixture
def train(command, images):
    """``train()``: the tiny network on images.npz, six updates, into ``run``."""
    return lambda *words, out="run": command("train", TINY[0], "images.npz", *TINY[1:], *QUICK, "--out", out, *words)


def test_a_training_writes_a_run_that_loads(train, folder):
    outcome = train("--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["step"] == 6
    assert outcome.json["out"] == "run"
    record = json.loads((folder / "run" / "config.json").read_text())
    assert (record["kind"], record["data"]["count"], record["data"]["held_out"]) == ("run", 18, 2)
    assert record["training"]["steps"] == 6
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3, 4, 6]
    run = sg.Run.load("run", family=sg.NetworkFamily(Tiny, (1, 6, 6)))
    assert (run.step, run.sample(3, steps=2).shape) == (6, (3, 1, 6, 6))


def test_the_next_command_that_is_told_works(train, command):
    assert train().out.splitlines()[-1] == f"run: run (next: scoregrain evaluate run --model {TINY[0]})"
    command.refuses("train", "run", "--resume", code=2, saying="repeat the words that began the run, with --resume")
    command.runs("train", "dit-16/8", *QUICK, "--steps", "1", "--out", "preset")
    assert command("train", "preset", "--resume").out.endswith("(next: scoregrain evaluate preset)\n")


def test_one_seed_gives_one_training_and_another_seed_another(train, folder):
    for out, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert train("--seed", seed, out=out).code == 0
    weights = [(folder / out / "checkpoints/step-00000006/model.safetensors").read_bytes() for out in "abc"]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_a_run_is_continued_by_its_folder_alone(command, folder):
    words = ("--batch-size", "32", "--checkpoint-every", "2", "--device", "cpu")
    command.runs("train", "mlp-16", *words, "--steps", "4", "--out", "whole")
    command.runs("train", "mlp-16", *words, "--steps", "2", "--out", "parts")
    command.runs("train", "parts", "--resume", "--steps", "4")
    parts, whole = sg.Run.load("parts"), sg.Run.load("whole")
    assert (parts.step, whole.step, parts.config.steps) == (4, 4, 4)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(parts.model.state_dict()[name], value), name
    said = "'parts' is continued as it was begun: --learning-rate cannot be given with it"
    command.refuses("train", "parts", "--resume", "--learning-rate", "0.1", code=2, saying=said)
    command.refuses("train", "parts", "--steps", "8", code=2, saying="'parts' is a run: continue it with --resume")


def test_what_is_said_counts_even_where_it_is_the_default(command, folder):
    """Else a run of 2 steps that is to go on to the default number of steps would stand still."""
    words = ("train", "mlp-16", "--batch-size", "32", "--steps", "2", "--device", "cpu", "--log-every", "3")
    command.runs(*words, "--out", "run")
    command.runs("train", "run", "--resume", "--steps=3", "--log_every", "10")
    run = sg.Run.load("run")
    assert (run.step, run.config.log_every) == (3, 10)
    for more, name in ((("--batch-size", "128"), "--batch-size"), (("--seed=0",), "--seed"), (("digits",), "DATA")):
        said = f"'run' is continued as it was begun: {name} cannot be given with it"
        command.refuses("train", "run", *more, "--resume", code=2, saying=said)
    command.runs("train", "run", "--steps", "3", "--resume")
    (folder / "run").rename("digits")  # the name of a run is no data
    command.runs("train", "digits", "--steps", "3", "--resume")


def test_a_run_that_began_with_trained_weights_is_continued_by_its_words(command, folder):
    command.runs("train", "unet-16", "--batch-size", "4", "--limit", "8", "--steps", "1", "--out", "first")
    words = ("train", "./first", "--trained", "--batch-size", "4", "--limit", "8", "--out", "tuned")
    command.runs(*words, "--steps", "1")
    command.refuses("train", "tuned", "--resume", code=2, saying="'tuned' began with trained weights: continue it with")
    command.runs(*words, "--steps", "2", "--resume")
    assert sg.Run.load("tuned").step == 2


def test_a_noise_a_rotation_and_a_law_come_back_with_the_run(command, folder):
    q = torch.linalg.qr(torch.randn(256, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q
    sg.Rotation(q, (1, 16, 16), "minimize").save("turn")
    law = "rank-one:basis=dct-ii,index=3"
    command.runs(
        "train", "mlp-16", law, "--noise", "power-law:alpha=-0.06", "--rotation", "turn", "--limit", "64",
        "--steps", "2", "--batch-size", "8", "--device", "cpu", "--out", "run",
    )  # fmt: skip
    run = sg.Run.load("run")
    assert str(run.process.noise) == "power-law:alpha=-0.06"
    assert torch.equal(run.rotation.core, q)
    assert (str(run.law), len(run.data().train)) == (law, 64)


def test_a_noise_is_fitted_to_the_training_images(command):
    command.runs("train", "mlp-16", "--noise", "equal-snr", "--steps", "2", "--batch-size", "8", "--out", "run")
    run = sg.Run.load("run")
    assert str(run.process.noise) == str(sg.ForwardNoise(sg.EqualSNR.fit(run.data().train.pixels)))


def test_a_law_may_lie_along_a_measured_direction(command):
    command.runs("measure", *TINY, "--networks", "512", "--out", "geometry")
    word = "rank-one:geometry=geometry,index=0"
    command.runs("train", TINY[0], word, *TINY[1:], "--limit", "16", *QUICK, "--out", "run")
    direction = sg.Geometry.load("geometry").direction(0)
    assert abs(float((find_law(word, (1, 6, 6)).direction * direction).sum())) > 0.999
    for bad, said in (
        ("rank-one:geometry=geometry", "expected rank-one:geometry=DIR,index=K"),
        ("rank-one:geometry=geometry,index=99", "knows the directions 0 to 35, not 99"),
        ("rank-one:geometry=nowhere,index=0", "nowhere"),
    ):
        command.refuses("train", TINY[0], bad, *TINY[1:], *QUICK, "--out", "other", code=2, saying=said)


def write(name, **arrays):
    np.savez(name, **arrays)


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


BAD_DATA = {
    "labels of the wrong length": (
        {"train": pixels(20, 1, 6, 6), "train_labels": np.zeros(19, int)},
        ("train_labels", "19", "20"),
    ),
    "images smaller than the model": ({"train": pixels(20, 1, 4, 4)}, ("4×4", "6×6", "--enlarge")),
    "channels": ({"train": pixels(20, 2, 6, 6)}, "2 channels"),
    "too few images": ({"train": pixels(3, 1, 6, 6), "test": pixels(3, 1, 6, 6)}, ("too few", "--batch-size")),
    "too few to hold some out": ({"train": pixels(4, 1, 6, 6)}, "held_out"),
    "one image": ({"train": pixels(1, 1, 6, 6)}, "at least 2"),
    "non-finite pixels": ({"train": np.full((20, 1, 6, 6), np.nan)}, "NaN"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_are_refused_before_anything_is_written(command, case):
    arrays, said = BAD_DATA[case]
    write("data.npz", **arrays)
    command.refuses("train", TINY[0], "data.npz", *TINY[1:], *QUICK, "--out", "run", code=2, saying=said)


BAD_WORDS = {
    "noise of another shape": (("--noise", "./noise"), "built for"),
    "unknown noise": (("--noise", "power-lew:alpha=1"), "power-law"),
    "rotation of another shape": (("--rotation", "turn"), ("(1, 4, 4)", "(1, 6, 6)")),
    "no rotation": (("--rotation", "noise"), "expected a rotation"),
    "a noise that leaves a band out": (("--noise", "band-pass:low=0,high=0.5"), "omission"),
    "unknown schedule": (("--schedule", "linaer"), "linear"),
    "unknown learning-rate schedule": (("--lr-schedule", "cosin"), "did you mean 'cosine'"),
    "unknown precision": (("--mixed-precision", "fp8"), "bf16"),
    "device": (("--device", "tpu"), "expected cpu or cuda"),
    "learning rate": (("--learning-rate", "0"), "nothing would be learnt"),
    "negative rate": (("--learning-rate", "-1"), "at least 0"),
    "no steps": (("--steps", "0"), "steps must be at least 1"),
    "parts of a batch": (("--accumulation", "3"), "equal parts"),
    "ema": (("--ema", "1"), "below 1"),
    "share held out": (("--held-out", "1.5"), "share between 0 and 1"),
    "few timesteps": (("--timesteps", "20"), "more than 20 steps"),
    "resume and overwrite": (("--resume", "--overwrite"), "give one"),
    "resume nothing": (("--resume",), "does not exist"),
    "misspelt option": (("--stpes", "3"), "--steps"),
    "tracker": (("--tracker", "nonsense"), "nonsense"),
}


@pytest.mark.parametrize("case", BAD_WORDS)
def test_bad_words_are_refused_before_anything_is_written(command, images, case):
    sg.ForwardNoise(sg.Custom(torch.ones(5, 5))).save("noise")
    sg.Rotation(torch.eye(16, dtype=torch.float64), (1, 4, 4), "minimize").save("turn")
    words, said = BAD_WORDS[case]
    command.refuses("train", TINY[0], "images.npz", *TINY[1:], *QUICK, "--out", "run", *words, code=2, saying=said)


@pytest.mark.parametrize(
    ("network", "code", "said"),
    [("WrongShape", 2, "shape"), ("Raises", 1, "failed"), ("NotFinite", 1, "not finite at step 0 (seed 0)")],
)
def test_networks_that_cannot_be_trained_say_why(command, images, network, code, said):
    words = ("train", f"tests.networks:{network}", "images.npz", *TINY[1:], *QUICK, "--out", "run")
    outcome = command(*words)
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_folder_that_exists_is_kept(train, command, folder):
    assert train().code == 0
    command.refuses("train", TINY[0], "images.npz", *TINY[1:], *QUICK, "--out", "run", code=2, saying="--resume")
    (folder / "mine").mkdir()
    (folder / "mine" / "file").write_text("mine")
    command.refuses(
        "train",
        TINY[0],
        "images.npz",
        *TINY[1:],
        *QUICK,
        "--out",
        "mine",
        "--overwrite",
        code=2,
        saying="not a folder that scoregrain",
    )
    assert train("--overwrite").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--learning-rate", "0.5"), "learning_rate 0.001, now it is 0.5"),
        (("--noise", "power-law:alpha=-0.06"), "noise 'white', now it is 'power-law:alpha=-0.06'"),
        (("--seed", "3"), "seed 0, now it is 3"),
        (("--batch-size", "2"), "batch_size 4, now it is 2"),
        (("--limit", "7"), "limit None, now it is 7"),
    ],
)
def test_a_run_is_not_continued_as_another(train, command, words, said):
    assert train().code == 0
    command.refuses(
        "train", TINY[0], "images.npz", *TINY[1:], *QUICK, "--out", "run", "--resume", *words, code=2, saying=said
    )


def test_foreign_folders_are_no_runs(command, folder, images):
    (folder / "foreign").mkdir()
    (folder / "foreign" / "config.json").write_text(json.dumps({"kind": "run", "format": 99}))
    words = ("train", TINY[0], "images.npz", *TINY[1:], *QUICK, "--resume", "--out")
    command.refuses(*words, "foreign", code=2, saying="holds 'run' of format 99, expected a run of format 1")
    (folder / "foreign" / "config.json").write_text("{")
    command.refuses(*words, "foreign", code=1, saying="cannot be read")


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_a_full_disk_keeps_the_last_good_checkpoint(train, folder):
    import resource

    assert train().code == 0
    before = (folder / "run" / "latest").read_text()
    size = max(path.stat().st_size for path in Path("run/checkpoints").rglob("*.safetensors"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, hard))
    try:
        outcome = train("--resume", "--steps", "12")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.code == 1
    assert "the checkpoint of step 6 is kept in 'run', continue from it with --resume" in outcome.err
    assert outcome.err.count("\n") == 1
    assert (folder / "run" / "latest").read_text() == before
    assert train("--resume", "--steps", "12").code == 0
