"""``scoregrain measure``: what it prints, what it writes, and that the two are equal."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scoregrain.cli.describe import describe
from scoregrain.geometry import Geometry, measure_geometry, summary
from scoregrain.models import NetworkFamily
from tests import networks
from tests.cli.command import TINY

KEYS = ("lambda_max", "lambda_min", "trace", "relative_error", "exact", "identifiable", "networks", "seconds")


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_the_json_the_files_and_the_library_agree(command):
    numbers = command.runs("measure", *TINY, "--networks", "544", "--seed", "3", "--out", "a/g", "--json").json
    assert set(KEYS) <= set(numbers)
    assert numbers["out"] == "a/g"
    loaded = Geometry.load("a/g")
    config = json.loads(Path("a/g/config.json").read_text())
    assert config["summary"] == summary(loaded)
    assert {**config["summary"], "seconds": config["info"]["seconds"], "out": "a/g"} == numbers
    assert isinstance(numbers["identifiable"], int)
    assert (numbers["networks"], numbers["exact"], loaded.info["seed"]) == (544, False, 3)
    expected = measure_geometry(NetworkFamily(networks.Tiny, (1, 6, 6)), 544, seed=3)
    tensors = load_file("a/g/geometry.safetensors")
    for name in ("eigenvalues", "eigenvectors"):
        assert tensors[name].dtype == torch.float64
        assert torch.equal(tensors[name], getattr(expected, name))
    assert tensors["eigenvectors"].shape == (36, 36)
    assert (tensors["eigenvalues"].diff() <= 0).all()
    assert numbers["relative_error"] == expected.relative_error


def test_a_transformer_is_exact(command):
    """dit-16/4 is a preset with a closed form."""
    outcome = command.runs("measure", "dit-16/4", "--json")
    numbers = outcome.json
    assert (numbers["exact"], numbers["relative_error"]) == (True, 0.0)
    assert numbers["dimension"] == 256
    assert numbers["out"] == "scoregrain-measure-dit-16-4-1"
    assert Geometry.load(numbers["out"]).exact
    assert outcome.err == ""


def test_words_for_a_person(command):
    text = command.runs("measure", "dit-16/8").out
    assert text.startswith("dit-16/8: closed form, no sampling error")
    assert "smallest eigenvalue  0 (to rounding)" in text
    assert "(exact)" in text
    assert "written to           scoregrain-measure-dit-16-8-1" in text
    text = command.runs("measure", *TINY, "--networks", "32").out
    assert "32 networks; no error bars: they need 512 or more" in text
    assert "±" not in text
    text = command.runs("measure", *TINY, "--networks", "512").out
    assert "512 networks, relative error 0." in text
    assert "±" in text


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_a_network_without_a_closed_form_says_so():
    family = NetworkFamily(networks.Tiny, (1, 6, 6))
    said = "  no closed-form last layer (plain outer products were asked for): plain outer products\n"
    assert said in describe(measure_geometry(family, 32, estimator="plain"), Path("g"))
    assert "closed-form" not in describe(measure_geometry(family, 32), Path("g"))


def test_a_time_blind_network_is_one_plain_line_of_warning(command):
    outcome = command.runs("measure", *TINY, "--networks", "32", "--json")
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("warning: 'tests.networks:Tiny' is time-blind")
    assert outcome.json["networks"] == 32


def test_default_folders_count_up(command, folder):
    for n in (1, 2, 3):
        assert command.runs("measure", "dit-16/8", "--json").json["out"] == f"scoregrain-measure-dit-16-8-{n}"
    (folder / "scoregrain-measure-dit-16-8-2").rename("elsewhere")
    assert command.runs("measure", "dit-16/8", "--json").json["out"] == "scoregrain-measure-dit-16-8-2"
    assert sum(path.is_dir() for path in command.files()) == 4


def test_a_folder_taken_while_measuring_is_not_touched(command, folder, monkeypatch):
    """Two measurements started together in one folder."""

    def other(*arguments, **options):
        if not (folder / "scoregrain-measure-dit-16-8-1").exists():
            (folder / "scoregrain-measure-dit-16-8-1").mkdir()
        return measure_geometry(*arguments, **options)

    monkeypatch.setattr("scoregrain.cli.measure.measure_geometry", other)
    assert command.runs("measure", "dit-16/8", "--json").json["out"] == "scoregrain-measure-dit-16-8-2"


def test_a_tolerance_is_reached(command):
    numbers = command.runs("measure", *TINY, "--tolerance", "0.05", "--json").json
    assert numbers["relative_error"] <= 0.05


@pytest.mark.parametrize(
    ("networks", "found"), [("64", "not known below 512 networks"), ("544", "the relative error is 0.0")]
)
def test_a_tolerance_that_is_not_reached_is_said(command, networks, found):
    outcome = command.runs("measure", *TINY, "--networks", networks, "--tolerance", "1e-5")
    last = outcome.err.splitlines()[-1]
    assert last.startswith(f"warning: --networks {networks} ended the measurement before --tolerance 1e-05 was reached")
    assert found in last


def test_options_may_come_first(command):
    numbers = command.runs("measure", "--networks", "32", "--json", "--seed=-1", "dit-16/8").json
    assert numbers["exact"]
