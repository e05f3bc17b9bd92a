"""``scoregrain analyze``: the headline, the folder, and that both say the same."""

import json

import numpy as np
import pytest
from PIL import Image

from scoregrain.geometry import Geometry
from tests.cli.command import TINY
from tests.configurations import DIT

FILES = ["analysis.json", "config.json", "geometry.safetensors", "groups.safetensors", "report.html"]


def tiny(data, *words):
    """Arguments of an analysis of small own networks."""
    return ("analyze", TINY[0], data, *TINY[1:], "--networks", "64", *words)


def test_headline_second_line_and_report(command, folder):
    outcome = command.runs("analyze", "dit-16/8")
    headline, second, report = outcome.out.splitlines()
    target = folder / "scoregrain-analyze-dit-16-8-digits-1"
    analysis = json.loads((target / "analysis.json").read_text(), parse_constant=pytest.fail)
    assert (headline, second) == (analysis["headline"], analysis["second_line"])
    assert report == f"report: {target.name}/report.html"
    assert sorted(path.name for path in target.iterdir()) == FILES
    assert all(line.startswith("note: ") for line in outcome.err.splitlines())
    assert [line.removeprefix("note: ") for line in outcome.err.splitlines()] == [
        *analysis["warnings"],
        *analysis["notes"],
    ]
    page = (target / "report.html").read_text()
    assert "scoregrain analyze dit-16/8" in page
    assert Geometry.load(target).exact
    # a second one beside it
    numbers = command.runs("analyze", "dit-16/8", "digits", "--json").json
    assert numbers == analysis | {"out": "scoregrain-analyze-dit-16-8-digits-2", "measured": numbers["measured"]}
    assert numbers["geometry"] == json.loads((target / "config.json").read_text())["summary"]


def test_floats_with_their_range_are_the_integers_they_came_from(command, folder, images):
    np.savez(folder / "floats.npz", train=images / np.float32(255))
    numbers = command.runs(*tiny("images.npz", "--json")).json
    floats = command.runs(*tiny("floats.npz", "--range", "0", "1", "--json")).json
    assert floats["alignment"]["natural"] == pytest.approx(numbers["alignment"]["natural"], rel=1e-5)
    assert numbers["out"] == "scoregrain-analyze-tests.networks-Tiny-images-1"
    assert floats["out"] == "scoregrain-analyze-tests.networks-Tiny-floats-1"


def test_a_folder_of_images_and_a_limit(command, folder, images):
    (folder / "some").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image[0]).save(folder / "some" / f"{i}.png")
    outcome = command.runs(*tiny("some", "--images", "18", "--out", "result", "--json"))
    assert outcome.json["images"]["images"] == 18
    assert outcome.json["data"] == "some"
    assert "note: 18 of 20 images were drawn at random (seed 0)." in outcome.err


def test_a_time_blind_network_is_one_note(command, images):
    outcome = command.runs(*tiny("images.npz"))
    assert outcome.err.count("time-blind") == 1
    assert all(line.startswith("note: ") for line in outcome.err.splitlines())


def test_a_saved_geometry_is_not_measured_again(command, folder, images):
    command.runs("measure", *TINY, "--networks", "64", "--out", "g")
    outcome = command.runs("analyze", "g", "images.npz", "--json")
    assert outcome.json["out"] == "scoregrain-analyze-g-images-1"
    direct = command.runs(*tiny("images.npz", "--json")).json
    for key in ("headline", "second_line", "alignment", "geometry", "warnings", "notes"):
        assert outcome.json[key] == direct[key]
    assert (folder / outcome.json["out"] / "groups.safetensors").read_bytes() == (
        folder / "g" / "groups.safetensors"
    ).read_bytes()
    command.refuses("analyze", "g", "images.npz", "--networks", "64", code=2, saying="'g' is measured already")
    command.refuses("analyze", "images.npz", "g", code=2, saying=("the model comes first", "analyze g images.npz"))
    command.refuses("analyze", "g", "g", code=2, saying="'g' is a model, expected data")


def test_examples_are_left_out_on_request(command, folder, images):
    shown = command.runs(*tiny("images.npz", "--out", "shown"))
    hidden = command.runs(*tiny("images.npz", "--out", "hidden", "--no-examples"))
    assert shown.err == hidden.err
    pages = [(folder / name / "report.html").read_text() for name in ("shown", "hidden")]
    assert ["<figcaption>Examples" in page for page in pages] == [True, False]
    line = command.refuses(*tiny("images.npz", "--no-examples", "--sed", "1"), code=2, saying="'--sed'")
    assert "--seed" in line


def test_an_assumed_range_and_conditioning_are_notes_once(command, folder):
    np.savez(folder / "floats.npz", train=np.random.default_rng(0).random((20, 1, 4, 4), dtype=np.float32))
    (folder / "dit.json").write_text(json.dumps(DIT))
    words = ("analyze", "dit.json", "floats.npz", "--init", "unzero-all", "--networks", "64", "--out", "r")
    outcome = command.runs(*words)
    page = (folder / "r" / "report.html").read_text()
    for words in ("[-1, 1] was assumed", "class_labels = class 3", "the first 1 of 2 channels (learned variance)"):
        assert outcome.err.count(words) == 1
        assert words in page[page.index("Read with care") :].split("</section>")[0]


def test_a_failing_report_leaves_nothing(command, images, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("no fonts")

    monkeypatch.setattr("scoregrain.report.Report.save_html", fail)
    before = command.files()
    outcome = command(*tiny("images.npz"))
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("scoregrain: unexpected RuntimeError: no fonts")
    assert command.files() == before
