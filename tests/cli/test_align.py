"""``scoregrain align``: the sentences, the folder, and that a measurement can be used again."""

import json

import numpy as np
import pytest
import torch

from scoregrain.align import Rotation, cross_fit, find_rotation, measure_alignment
from scoregrain.datasets import load_images
from scoregrain.geometry import (
    Geometry,
    MeasurementFailedError,
    MeasurementInterruptedError,
    data_geometry,
    measure_geometry,
)
from tests.cli.command import TINY

FILES = ["alignment.json", "config.json", "geometry.safetensors", "groups.safetensors", "rotation"]


def tiny(*words, networks="64"):
    return ("align", TINY[0], "images.npz", *TINY[1:], "--networks", networks, *words)


def test_sentences_folder_and_library_agree(command, folder):
    headline, rotated, written = command.runs("align", "dit-16/8").out.splitlines()
    target = folder / "scoregrain-align-dit-16-8-digits-1"
    assert written == f"written to {target.name}"
    assert sorted(path.name for path in target.iterdir()) == FILES
    geometry, data = Geometry.load(target), data_geometry(load_images("digits", shape=(1, 16, 16)))
    alignment, fit = measure_alignment(geometry, data), cross_fit(geometry, data)
    assert (headline, rotated) == (alignment.headline(), fit.headline())
    assert torch.equal(Rotation.load(target / "rotation").matrix, find_rotation(geometry, data).matrix)
    numbers = json.loads((target / "alignment.json").read_text(), parse_constant=pytest.fail)
    assert (numbers["headline"], numbers["rotated"]) == (headline, rotated)
    assert numbers["alignment"]["natural"] == alignment.natural
    assert numbers["alignment"]["of_chance_maximum"] == alignment.of_chance_maximum
    assert numbers["rotation"] == {"mode": "minimize", "rank": None}
    assert (numbers["cross_fit"]["bias"], numbers["cross_fit"]["value"]) == (0, fit.value)
    assert not list(folder.glob(".*"))


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_a_saved_geometry_is_not_measured_again(command, folder, images, monkeypatch):
    command.runs("measure", *TINY, "--networks", "544", "--seed", "3", "--out", "g")
    first = command.runs(*tiny("--seed", "3", "--json", networks="544")).json
    monkeypatch.setattr("scoregrain.cli.sources.measure_geometry", None)
    again = command.runs("align", "g", "images.npz", "--json").json
    assert {**again, "out": first["out"]} == first
    assert again["out"] == "scoregrain-align-g-images-1"
    assert again["model"] == TINY[0]
    # its own folder is one too
    assert (
        command.runs("align", again["out"], "images.npz", "--json", "--out", "third").json["headline"]
        == again["headline"]
    )


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_cross_fitted_stands_beside_plug_in(command, images):
    numbers = command.runs(*tiny("--mode", "maximize", "--rank", "3", "--json", networks="544")).json
    fit = numbers["cross_fit"]
    assert numbers["rotation"] == {"mode": "maximize", "rank": 3}
    assert fit["bias"] == pytest.approx(fit["plug_in"] - fit["value"], rel=1e-12)
    assert fit["bias"] > 0
    assert fit["error"] > 0
    assert numbers["alignment"]["natural"] < fit["value"] < numbers["alignment"]["maximum"]
    assert numbers["rotated"].startswith("rotated to maximize alignment: ")
    assert "±" in numbers["rotated"]
    assert "cross-fitted" in numbers["rotated"]
    assert Rotation.load(f"{numbers['out']}/rotation").rank == 3


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_few_networks_are_aligned_without_error(command, images):
    numbers = command.runs(*tiny("--json", networks="32")).json
    assert numbers["cross_fit"] is None
    assert "cross-fitting needs more than 32" in numbers["rotated"]
    assert "error unknown: too few networks" in numbers["headline"]
    assert Rotation.load(f"{numbers['out']}/rotation").mode == "minimize"


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (("--mode", "maximise"), ("unknown mode 'maximise'", "did you mean 'maximize'?")),
        (("--rank", "0"), "--rank is 0, expected 1 to 256"),
        (("--rank", "257"), "--rank is 257, expected 1 to 256"),
        (("--rank", "x"), "--rank is 'x', expected an integer"),
        (("--images", "1"), "--images is 1, expected at least 2"),
        (("--shape", "1", "6", "6"), "'dit-16/8' is a preset"),
        (("--ranks", "3"), ("unknown option '--ranks'", "did you mean '--rank'?")),
        (("--shard", "1/2"), "scoregrain align has no option --shard; these have: measure"),
    ],
)
def test_wrong_words(command, monkeypatch, words, saying):
    monkeypatch.setattr("scoregrain.cli.sources.measure_geometry", None)
    command.refuses("align", "dit-16/8", *words, code=2, saying=saying)


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_model_and_data_that_do_not_go_together(command, folder, monkeypatch):
    monkeypatch.setattr("scoregrain.cli.sources.measure_geometry", None)
    command.refuses("align", code=2, saying=("MODEL is missing", "scoregrain align MODEL [DATA]"))
    command.refuses("align", "digits", "dit-16/8", code=2, saying="'digits' is data, not a model")
    command.refuses("align", "dit-16/8", "dit-16/4", code=2, saying="'dit-16/4' is a model, expected data")
    np.savez(folder / "two.npz", train=np.zeros((20, 2, 6, 6), dtype=np.uint8))
    saying = "images have 2 channels, 1 are needed"
    command.refuses("align", "dit-16/8", "two.npz", code=2, saying=saying)
    np.savez(folder / "grey.npz", train=np.zeros((20, 1, 6, 6), dtype=np.float32))
    command.refuses("align", "dit-16/8", "grey.npz", code=2, saying="the images of 'grey' are all zero")
    words = ("align", TINY[0], "digits", "--shape", "1", "36")
    command.refuses(*words, code=2, saying="'digits' holds images, so shape must be (C, H, W)")


def test_folders_that_are_no_measured_networks(command, folder, images):
    data_geometry(images.astype("float32")).save(folder / "d")
    command.refuses("align", "d", "images.npz", code=2, saying=("'d' holds the geometry of data", "scoregrain measure"))
    command.refuses("align", "dit-16/8", "d", code=2, saying="'d' is a model, expected data")
    command.runs("align", "dit-16/8", "--out", "w")
    command.refuses("align", "w/rotation", code=2, saying="w/rotation")
    saying = "'w' is measured already: --networks, --init would have no effect"
    command.refuses("align", "w", "--networks", "64", "--init", "unzero-head", code=2, saying=saying)
    command.refuses("align", "w", "two-channel.npz", code=2, saying="no data named 'two-channel.npz'")
    (folder / "w" / "groups.safetensors").write_bytes(b"")
    command.refuses("align", "w", code=1, saying="'w' cannot be read, a file is missing or damaged")


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_an_interruption_after_measuring_keeps_the_geometry(command, images, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("scoregrain.cli.align.cross_fit", interrupt)
    outcome = command(*tiny())
    assert outcome.code == 130
    assert "64 networks measured are kept in 'scoregrain-align-" in outcome.err
    kept = next(path for path in command.files() if path.name.startswith("scoregrain-align"))
    assert Geometry.load(kept).count == 64
    # what is on disk already is not written again
    before = command.files()
    outcome = command("align", kept, "images.npz")
    assert (outcome.code, command.files()) == (130, before)
    assert "nothing was written" in outcome.err


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
@pytest.mark.parametrize(
    ("stop", "code", "said"),
    [
        (MeasurementInterruptedError, 130, "interrupted; the 64 networks measured are kept in 'a'"),
        (lambda geometry: MeasurementFailedError("it failed", geometry), 1, "it failed; the 64 networks"),
    ],
    ids=["interrupted", "failed"],
)
def test_what_was_measured_before_a_stop_is_kept(command, images, monkeypatch, stop, code, said):
    def stopped(*arguments, **options):
        raise stop(measure_geometry(*arguments, **options))

    monkeypatch.setattr("scoregrain.cli.sources.measure_geometry", stopped)
    outcome = command(*tiny("--out", "a"))
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.err.splitlines()[-1]
    assert Geometry.load("a").count == 64


def test_existing_folders_are_not_overwritten(command, folder):
    command.runs("align", "dit-16/8", "--out", "w")
    command.refuses("align", "dit-16/8", "--out", "w", code=2, saying="'w' exists")
    command.runs("align", "dit-16/8", "--out", "w", "--mode", "maximize", "--overwrite")
    assert Rotation.load("w/rotation").mode == "maximize"
    assert [path.name for path in folder.iterdir()] == ["w"]
