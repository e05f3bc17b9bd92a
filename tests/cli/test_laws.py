"""``rank-one:geometry=DIR,index=K``: what the law is called, and that a run keeps it."""

import json

import pytest
import torch

import scoregrain as sg
from scoregrain.cli.laws import find_law
from scoregrain.geometry import data_geometry

SHAPE = (1, 16, 16)
WORD = "rank-one:geometry=geo,index=0"
QUICK = ("--steps", "2", "--batch-size", "4", "--limit", "40", "--device", "cpu")
JUDGED = ("-n", "20", "--steps", "2", "--features", "none", "--projections", "64")


@pytest.fixture(scope="module")
def measured():
    """Four directions that stand alone, then all others together."""
    scale = torch.ones(256)
    scale[:4] = torch.tensor([40.0, 20, 10, 5])
    arrays = torch.randn(1000, 256, generator=torch.Generator().manual_seed(0)) * scale
    return data_geometry(arrays.reshape(-1, *SHAPE))


@pytest.fixture
def _geometry(measured, folder):
    (folder / "deep").mkdir()
    for name in ("geo", "deep/geo"):
        measured.save(folder / name)


@pytest.mark.usefixtures("_geometry")
@pytest.mark.parametrize("index", [0, 200])
def test_it_is_called_by_its_words_without_the_way_to_the_folder(folder, index):
    law = find_law(f"rank-one:geometry=geo,index={index}", SHAPE)
    assert str(law) == f"rank-one:geometry=geo,index={index}"
    for path in ("deep/geo", "./deep/../geo/", folder / "geo"):
        other = find_law(f"rank-one:geometry={path},index={index}", SHAPE)
        assert other.name == law.name
        assert torch.equal(other.direction, law.direction)


@pytest.mark.usefixtures("_geometry", "_plain")
def test_a_run_on_it_says_which_it_is_and_keeps_it(command, folder):
    out = command.runs("train", "linear-16", WORD, *QUICK, "--json").json["out"]
    assert out == "scoregrain-train-linear-16-rank-one-geometry=geo-index=0-1"
    law = find_law(WORD, SHAPE)
    for file in folder.glob("geo/*"):
        file.unlink()  # the run must not need it
    run = sg.Run.load(out)
    assert run.name == f"linear-16 on {WORD}, white noise"
    assert torch.allclose(run.law.direction, law.direction, atol=1e-12)
    assert json.loads((folder / out / "config.json").read_text())["data"]["name"] == WORD
    assert WORD in (folder / out / "README.md").read_text()
    told = command.runs("evaluate", out, *JUDGED, "--json").json
    assert told["data"] == WORD
    # one row for the direction of the law, not one more for that of its data
    assert [each["name"] for each in told["directions"]] == ["v of the law", "mean difference"]


@pytest.mark.usefixtures("_geometry", "_plain")
def test_the_words_name_the_data_of_the_run_again(command):
    command.runs("train", "linear-16", WORD, *QUICK, "--out", "run")
    assert command.runs("evaluate", "run", *JUDGED, "--data", WORD, "--json").json["data"] == WORD
    saying = "is not what 'run' was trained on"
    command.refuses("evaluate", "run", *JUDGED, "--data", WORD.replace("=0", "=1"), code=2, saying=saying)


@pytest.fixture
def _plain(monkeypatch):
    """A page takes two seconds."""
    monkeypatch.setattr("scoregrain.report.evaluation_html.render", lambda evaluation, command="": "page")
