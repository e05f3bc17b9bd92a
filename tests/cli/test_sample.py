"""``scoregrain sample``: what it writes, of what that is a function, how it refuses."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from scoregrain.training import Run
from tests.cli.runs import own_run, plain_run

FILES = ["config.json", "samples.npz", "samples.png"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return plain_run(tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture
def run(trained, folder):
    shutil.copytree(trained, folder / "run")
    return folder / "run"


def samples(folder):
    with np.load(folder / "samples.npz", allow_pickle=False) as archive:
        assert archive.files == ["samples"]
        return archive["samples"]


@pytest.mark.usefixtures("run")
def test_it_writes_raw_samples_a_picture_and_how_they_were_made(command, folder):
    out = command.runs("sample", "run", "-n", "9", "--steps", "5").out
    written = folder / "scoregrain-sample-run-1"
    assert (
        out.splitlines()[0]
        == "9 samples of linear-16 on rank-one:basis=dct-ii,index=3, white noise (step 3), ddim with 5 steps"
    )
    assert out.splitlines()[-1] == "written to scoregrain-sample-run-1"
    assert sorted(path.name for path in written.iterdir()) == FILES
    with Image.open(written / "samples.png") as picture:
        assert picture.size[0] > 100
    config = json.loads((written / "config.json").read_text())
    assert (config["kind"], config["format"], config["count"], config["sampler"]) == ("samples", 1, 9, "ddim")


def test_the_samples_are_those_of_the_library_and_not_of_the_batch(command, folder, run):
    command.runs("sample", run, "-n", "6", "--steps", "5", "--seed", "3", "--batch-size", "4", "--out", "a")
    command.runs("sample", run, "--n", "4", "--steps", "5", "--seed", "3", "--out", "b")
    found = samples(folder / "a")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, Run.load(run).sample(6, steps=5, seed=3).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[:4], samples(folder / "b"), rtol=1e-4, atol=1e-5)


def test_samples_that_blow_up_are_a_hundred_percent_outside(command, monkeypatch, run):
    monkeypatch.setattr(Run, "sample", lambda *_, **__: torch.full((2, 1, 16, 16), 9.0))
    assert "\n100 % of the values lie outside [-1, 1]" in command.runs("sample", run, "-n", "2").out


@pytest.mark.usefixtures("run")
def test_json_is_one_object(command):
    told = command.runs("sample", "run", "-n", "2", "--steps", "2", "--sampler", "heun", "--json", "--out", "a").json
    assert (told["out"], told["shape"], told["sampler"]) == ("a", [1, 16, 16], "heun")


def test_a_network_of_ones_own_is_named_again(command, folder):
    own_run(folder / "own")
    command.refuses("sample", "own", code=2, saying="give its family again (--model)")
    command.refuses("sample", "own", "--model", "dit-16/8", code=2, saying="'dit-16/8' is a preset")
    command.runs("sample", "own", "--model", "tests.networks:Tiny", "-n", "2", "--steps", "2", "--out", "a")
    assert samples(folder / "a").shape == (2, 1, 6, 6)


@pytest.mark.usefixtures("run")
def test_an_existing_folder_is_replaced_on_request_only(command, folder):
    words = ("sample", "run", "-n", "2", "--steps", "2", "--out", "a")
    command.runs(*words)
    command.refuses(*words, code=2, saying="'a' exists")
    command.runs(*words, "--overwrite")
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.tex").write_text("")
    command.refuses(*words[:-1], "mine", "--overwrite", code=2, saying="not a folder that scoregrain wrote")
    command.refuses(*words[:-1], "run", "--overwrite", code=2, saying="'run' holds a run: only scoregrain train")


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["-n", "0"], "-n must be at least 1, got 0"),
        (["-n", "many"], "--n is 'many', expected an integer"),
        (["-n"], "--n has no value, expected an integer"),
        (["--sampler", "ddimm"], "unknown sampler 'ddimm' (did you mean 'ddim'?)"),
        (["--sampler", "euler"], "euler"),
        (["--steps", "0"], "steps"),
        (["--steps", "51"], "50"),
        (["--batch-size", "0"], "the batch size must be at least 1, got 0"),
        (["--device", "gpu"], "device 'gpu' cannot be used"),
        (["--smapler", "ddim"], "unknown option '--smapler' (did you mean '--sampler'?)"),
    ],
)
@pytest.mark.usefixtures("run")
def test_arguments_that_make_no_sense(command, words, saying):
    command.refuses("sample", "run", *words, code=2, saying=saying)


def test_what_is_no_run(command, folder, run):
    command.refuses("sample", code=2, saying="RUN is missing: scoregrain sample RUN")
    command.refuses("sample", "nothing", code=2, saying="'nothing' is not a run: it does not exist")
    (folder / "empty").mkdir()
    command.refuses("sample", "empty", code=2, saying="it has no config.json")
    (run / "latest").unlink()
    command.refuses("sample", "run", code=2, saying="has no checkpoint yet")
    record = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(record | {"format": 2}))
    command.refuses("sample", "run", code=2, saying="holds 'run' of format 2, expected a run of format 1")
    (run / "config.json").write_text("{")
    command.refuses("sample", "run", code=1, saying="'run' cannot be read, a file is missing or damaged")


@pytest.mark.usefixtures("run")
def test_ctrl_c_writes_nothing(command, monkeypatch):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "sample", interrupted)
    command.refuses("sample", "run", code=130, saying="interrupted; nothing was written")
