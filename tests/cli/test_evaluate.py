"""``scoregrain evaluate``: the verdict, what it writes, how it refuses."""

import json
import shutil
from typing import get_args

import numpy as np
import pytest

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import load_split
from scoregrain.metrics.baselines import Verdict
from scoregrain.report import judging
from scoregrain.training import Run
from tests.cli.runs import own_run, plain_run

FILES = ["config.json", "evaluation.json", "report.html"]
QUICK = ("--features", "none", "--projections", "64")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """On a law, and on digits."""
    place = tmp_path_factory.mktemp("trained")
    plain_run(place / "run")
    plain_run(place / "digits-run", data="digits", limit=None, enlarge=True)
    return place


@pytest.fixture
def runs(trained, folder):
    for run in ("run", "digits-run"):
        shutil.copytree(trained / run, folder / run)
    return folder


@pytest.fixture
def _plain(monkeypatch):
    """A page takes two seconds: only one test draws it."""
    monkeypatch.setattr("scoregrain.report.evaluation_html.render", lambda evaluation, command="": "page")


def save(name, **arrays):
    np.savez(name, **arrays)
    return name


@pytest.mark.usefixtures("runs")
def test_it_prints_the_verdict_and_every_distance_with_its_baselines(command, folder):
    out = command.runs("evaluate", "run", "-n", "40", "--steps", "5", *QUICK).out
    lines = out.splitlines()
    assert "generating nothing" in lines[0]
    assert lines[1].split("  ")[0] == "against 40 fresh draws"
    for word in ("samples (40)", "resample (40)", "zeros (40)", "white noise (40)", "moment-matched Gaussian (40)"):
        assert word in lines[1]
    assert "v of the law" in out
    assert "denoising error: excess" in out
    assert lines[-1] == "written to scoregrain-evaluate-run-1/report.html"
    written = folder / "scoregrain-evaluate-run-1"
    assert sorted(path.name for path in written.iterdir()) == FILES
    assert "scoregrain evaluate run -n 40 --steps 5" in (written / "report.html").read_text()


@pytest.mark.usefixtures("runs", "_plain")
def test_json_is_the_file(command, folder):
    told = command.runs("evaluate", "run", "-n", "20", "--steps", "2", *QUICK, "--json", "--out", "a").json
    assert told.pop("out") == "a"
    assert told == json.loads((folder / "a" / "evaluation.json").read_text())
    assert told["verdict"] in get_args(Verdict)
    assert told["method"]["sampler steps"] == 2


@pytest.mark.usefixtures("runs", "_plain")
def test_the_training_images_as_samples_are_reported_as_memorised(command):
    out = command.runs("evaluate", "digits-run", "--samples", "digits", *QUICK).out
    assert out.startswith("memorised: ")
    assert "of the samples are near copies of training arrays" in out


@pytest.mark.usefixtures("runs", "_plain")
def test_held_out_images_as_samples_are_not_memorised(command):
    held_out = load_split("digits", shape=(1, 16, 16)).held_out.pixels
    save("held.npz", samples=held_out.numpy())
    told = command.runs("evaluate", "digits-run", "--samples", "held.npz", *QUICK, "--json").json
    assert told["memorised"] is False


@pytest.mark.usefixtures("runs", "_plain")
def test_samples_of_scoregrain_sample_are_judged_as_they_are(command, folder):
    command.runs("sample", "run", "-n", "24", "--steps", "4", "--out", "drawn")
    given = command.runs("evaluate", "run", "--samples", "drawn", *QUICK, "--json", "--out", "a").json
    fresh = command.runs("evaluate", "run", "-n", "24", "--steps", "4", *QUICK, "--json", "--out", "b").json
    ours, theirs = (told["distances"][0]["scores"]["samples"] for told in (given, fresh))
    assert ours["value"] == pytest.approx(theirs["value"], rel=1e-4)


@pytest.mark.usefixtures("_plain")
def test_samples_of_anyone_are_judged_by_data(command, folder):
    save("mine.npz", samples=np.random.default_rng(0).uniform(-1, 1, (40, 1, 8, 8)).astype(np.float32))
    told = command.runs("evaluate", "--samples", "mine.npz", "--data", "digits", *QUICK, "--json").json
    assert (told["name"], told["data"], told["out"]) == ("samples", "digits", "scoregrain-evaluate-mine-1")
    assert told["memorised"] is None
    law = command.runs("evaluate", "--samples", "mine.npz", "--data", "rank-one:basis=haar,index=5", *QUICK, "--json")
    assert law.json["target"] == "fresh draws"


@pytest.mark.usefixtures("runs", "_plain")
def test_energy_and_error_along_a_measured_geometry(command):
    command.runs("measure", "dit-16/8", "--networks", "64", "--out", "geometry")
    told = command.runs("evaluate", "run", "-n", "20", "--steps", "2", "--geometry", "geometry", *QUICK, "--json").json
    assert told["along"]["directions"] == "score anisotropy directions of the geometry"
    assert len(told["along"]["denoising excess"]["value"]) == len(told["along"]["indices"])


@pytest.mark.usefixtures("_plain")
def test_a_network_of_ones_own_is_named_again(command, folder):
    own_run(folder / "own")
    command.refuses("evaluate", "own", code=2, saying="give its family again (--model)")
    words = ("--model", "tests.networks:Tiny", "-n", "20", "--steps", "2", *QUICK, "--json")
    assert command.runs("evaluate", "own", *words).json["data"] == "digits"


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["-n", "0"], "-n must be at least 20, got 0"),
        (["-n", "1.5"], "--n is '1.5', expected an integer"),
        (["--sampler", "dddim"], "unknown sampler 'dddim' (did you mean 'ddim'?)"),
        (["--projections", "0"], "projections must be at least 2, got 0"),
        (["--features", "inception"], "--features is 'inception', expected random, pixels or none"),
        (["--samples", "nothing.npz"], "nothing.npz"),
        (["--samples", "drawn.npz", "--steps", "3"], "--samples are drawn already: --steps would have no effect"),
        (["--geometry", "nowhere"], "nowhere"),
        (["--data", "rank-one:basis=dct-ii,index=4"], "was trained on"),
        (["--device", "gpu"], "device 'gpu' cannot be used"),
    ],
)
@pytest.mark.usefixtures("runs")
def test_arguments_that_make_no_sense(command, words, saying):
    command.refuses("evaluate", "run", *words, code=2, saying=saying)


@pytest.mark.parametrize(
    ("arrays", "saying"),
    [
        (
            {"samples": np.zeros((30, 1, 8, 8), np.float32)},
            "the samples are arrays (1, 8, 8), those of the run (1, 16, 16)",
        ),
        ({"samples": np.full((30, 1, 16, 16), np.nan)}, "30 of 30 samples hold a NaN or an infinity"),
        ({"samples": np.zeros((3, 1, 16, 16))}, "too few samples to judge: 3, at least 20 are needed"),
        ({"samples": np.zeros((30, 1, 16, 16), np.uint8)}, "samples must be floats (N, C, *space)"),
        ({"samples": np.zeros(30)}, "samples must be floats (N, C, *space)"),
        ({"samples": np.array([{"a": 1}] * 30)}, "cannot be read"),
    ],
)
@pytest.mark.usefixtures("runs")
def test_samples_that_cannot_be_judged(command, arrays, saying):
    save("mine.npz", **arrays)
    command.refuses("evaluate", "run", "--samples", "mine.npz", *QUICK, code=2, saying=saying)


@pytest.mark.parametrize("content", [b"", b"no zip", b"\x93NUMPY"])
def test_a_file_of_samples_that_is_no_npz(command, runs, content):
    (runs / "mine.npz").write_bytes(content)
    saying = "mine.npz cannot be read as an .npz file (BadZipFile: File is not a zip file)"
    command.refuses("evaluate", "run", "--samples", "mine.npz", *QUICK, code=2, saying=saying)


@pytest.mark.usefixtures("runs", "_plain")
def test_a_run_as_samples_is_refused_with_the_way_to_samples(command):
    saying = "--samples 'digits-run' is a run, not samples: scoregrain sample digits-run draws some into a folder"
    for words in (("run",), ("--data", "digits")):
        command.refuses("evaluate", *words, "--samples", "digits-run", *QUICK, code=2, saying=saying)


@pytest.fixture
def images_run(folder):
    """On images in a file."""
    save("images.npz", train=np.random.default_rng(0).integers(0, 256, (60, 1, 16, 16), dtype=np.uint8))
    return plain_run(folder / "images-run", data="images.npz", held_out=0.4, limit=None)


def name_data(run, source):
    """As another would have written the run."""
    record = json.loads((run / "config.json").read_text())
    record["data"]["source"] = source
    (run / "config.json").write_text(json.dumps(record))


@pytest.mark.usefixtures("_plain")
def test_the_data_that_a_run_names_are_not_read_unsaid(command, images_run):
    note = "note: reading the data 'images.npz' that the run names; --data names them otherwise"
    words = ("evaluate", images_run, "-n", "20", "--steps", "2", *QUICK)
    assert note in command.runs(*words).err.splitlines()
    assert "reading the data" not in command.runs(*words, "--data", "images.npz").err


@pytest.mark.usefixtures("runs", "_plain")
def test_what_lies_in_the_run_or_is_embedded_needs_no_note(command):
    for run in ("run", "digits-run"):
        assert "reading the data" not in command.runs("evaluate", run, "-n", "20", "--steps", "2", *QUICK).err


@pytest.mark.usefixtures("_plain")
def test_nothing_is_fetched_because_a_run_says_so(command, images_run, monkeypatch):
    fetched = []

    def fetch(name):
        fetched.append(name)
        raise InvalidInputError("the hub was asked")

    monkeypatch.setattr("scoregrain.datasets.sources.open_hub", fetch)
    name_data(images_run, "someone/images")
    words = ("evaluate", images_run, "-n", "20", "--steps", "2", *QUICK)
    saying = ("the run names the Hugging Face data set 'someone/images'", "give it with --data someone/images")
    command.refuses(*words, code=2, saying=saying)
    assert fetched == []
    command.refuses(*words, "--data", "someone/images", code=2, saying="the hub was asked")
    assert fetched == ["someone/images"]
    assert command(*words, "--data", "images.npz").code == 0  # they may lie here too


@pytest.mark.usefixtures("runs")
def test_a_run_is_not_replaced_by_its_judgement(command):
    words = ("evaluate", "run", "--out", "digits-run", "--overwrite")
    command.refuses(*words, code=2, saying="'digits-run' holds a run: only scoregrain train replaces one")


@pytest.mark.usefixtures("runs")
def test_a_geometry_of_another_shape(command):
    command.runs("measure", "tests.networks:Tiny", "--shape", "1", "6", "6", "--networks", "32", "--out", "geometry")
    saying = "the geometry is of arrays (1, 6, 6), the samples are (1, 16, 16)"
    command.refuses("evaluate", "run", "--geometry", "geometry", code=2, saying=saying)


def test_what_is_no_run(command, runs):
    command.refuses("evaluate", code=2, saying="without RUN, both --samples and --data are needed")
    command.refuses("evaluate", "--samples", "digits", code=2, saying="both --samples and --data")
    command.refuses("evaluate", "nothing", code=2, saying="'nothing' is not a run: it does not exist")
    (runs / "run" / "latest").unlink()
    command.refuses("evaluate", "run", code=2, saying="has no checkpoint yet")


@pytest.mark.usefixtures("runs", "_plain")
def test_an_existing_folder_is_refused_before_any_work(command, monkeypatch):
    words = ("evaluate", "run", "-n", "20", "--steps", "2", *QUICK, "--out", "a")
    command.runs(*words)
    monkeypatch.setattr(Run, "sample", lambda *_args, **_options: pytest.fail("sampled"))
    command.refuses(*words, code=2, saying="'a' exists")


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("where", [(Run, "sample"), (judging, "sliced_comparisons")])
def test_ctrl_c_writes_nothing(command, monkeypatch, where):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(*where, interrupted)
    words = ("evaluate", "run", "-n", "20", "--steps", "2", *QUICK)
    command.refuses(*words, code=130, saying="interrupted; nothing was written")
