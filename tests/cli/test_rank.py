"""``scoregrain rank``: the table, the folder, and "not validated" beside both."""

import json
from pathlib import Path

import pytest

from scoregrain.geometry import Geometry, MeasurementFailedError, MeasurementInterruptedError, measure_geometry
from tests.cli.command import TINY

NOT_VALIDATED = "not validated: no study has yet shown that this order predicts the quality after training"
EXACT = ("rank", "dit-16/4", "dit-16/8")


def test_table_json_and_folder_agree(command, folder):
    outcome = command.runs(*EXACT)
    title, first, second, what, written = outcome.out.splitlines()
    assert title == f"order of alignment with digits ({NOT_VALIDATED})"
    assert first.startswith("   1. dit-16/8  1.3")
    assert second.startswith("   2. dit-16/4  3.6")
    assert what == "  alignment over chance orders; what is possible differs between networks"
    target = folder / "scoregrain-rank-dit-16-4-and-1-more-digits-1"
    assert written == f"written to {target.name}"
    assert sorted(path.name for path in target.iterdir()) == ["1-dit-16-4", "2-dit-16-8", "config.json", "ranking.json"]
    ranking = json.loads((target / "ranking.json").read_text(), parse_constant=pytest.fail)
    assert (ranking["validated"], ranking["note"]) == (False, NOT_VALIDATED)
    assert [entry["model"] for entry in ranking["ranking"]] == ["dit-16/8", "dit-16/4"]
    for entry, line in zip(ranking["ranking"], (first, second), strict=True):
        low, high = entry["possible_range"]
        assert low < entry["of_chance"] < high
        assert entry["relative"] == pytest.approx((entry["of_chance"] - low) / (high - low), rel=1e-12)
        assert f"possible 0 to {high:.2g}, at {entry['relative']:.2g} of that range" in line
    config = json.loads((target / "config.json").read_text())
    assert (config["kind"], config["validated"], config["interrupted"]) == ("ranking", False, False)
    assert config["command"] == "scoregrain rank dit-16/4 dit-16/8"
    assert Geometry.load(target / config["geometries"]["dit-16/4"]).exact


def test_measured_folders_need_no_measurement(command, monkeypatch):
    first = command.runs(*EXACT, "--json").json
    assert (first["validated"], first["note"]) == (False, NOT_VALIDATED)
    monkeypatch.setattr("scoregrain.cli.sources.measure_geometry", None)
    folders = [f"{first['out']}/1-dit-16-4", f"{first['out']}/2-dit-16-8"]
    again = command.runs("rank", *folders, "--data", "digits", "--json").json
    assert [entry["model"] for entry in again["ranking"]] == folders[::-1]
    assert [entry["of_chance"] for entry in again["ranking"]] == [entry["of_chance"] for entry in first["ranking"]]


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_what_is_measured_and_what_is_not_go_together(command, images, wider):
    command.runs("measure", *TINY, "--networks", "64", "--out", "g")
    words = ("rank", "g", "wider.py:build", "--data", "images.npz", *TINY[1:], "--networks", "96", "--json")
    numbers = command.runs(*words).json
    assert {entry["model"] for entry in numbers["ranking"]} == {"g", "wider.py:build"}
    counts = [Geometry.load(f"{numbers['out']}/{name}").count for name in ("1-g", "2-wider.py-build")]
    assert counts == [64, 96]
    saying = "'g' is measured already: --networks would have no effect"
    command.refuses("rank", "g", numbers["out"] + "/2-wider.py-build", "--networks", "96", code=2, saying=saying)


@pytest.fixture
def wider(folder):
    """A family that is hardly another one: a seventh channel."""
    (folder / "wider.py").write_text("from tests.networks import Tiny\ndef build(): return Tiny(width=7)\n")


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_ties_are_shown(command, images, wider):
    words = ("--data", "images.npz", *TINY[1:], "--networks", "544")
    outcome = command.runs("rank", TINY[0], "wider.py:build", *words)
    assert "tied with the next" in outcome.out.splitlines()[1]
    numbers = command.runs("rank", TINY[0], "wider.py:build", *words, "--json").json
    assert [entry["tied_with_next"] for entry in numbers["ranking"]] == [True, None]
    assert [entry["place"] for entry in numbers["ranking"]] == [1, 1]
    assert numbers["ranking"][0]["to_next_error"] > 0


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        ((), "a ranking needs at least two models, got 0"),
        (("dit-16/4",), "a ranking needs at least two models, got 1"),
        (("dit-16/4", "dit-16/8", "dit-16/4"), "'dit-16/4' is given twice"),
        (("dit-16/4", "dit-28/4"), ("one shape", "'dit-16/4' has shape (1, 16, 16), 'dit-28/4' has (1, 28, 28)")),
        (("dit-16/4", "digits"), ("'digits' is data, not a model", "scoregrain rank dit-16/4 --data digits")),
        (("dit-16/4", "dit-16/9"), ("dit-16/9", "dit-16/8")),
        (("dit-16/4", "dit-16/8", "--data", "dit-16/2"), "'dit-16/2' is a model, expected data"),
        (("dit-16/4", "dit-16/8", "--data", "nothing"), "no data named 'nothing'"),
        (("dit-16/4", "dit-16/8", "--networks", "x"), "--networks is 'x', expected an integer"),
        (
            ("dit-16/4", "dit-16/8", "--mode", "minimize"),
            "scoregrain rank has no option --mode; these have: align",
        ),
    ],
)
def test_wrong_words(command, monkeypatch, words, saying):
    monkeypatch.setattr("scoregrain.cli.sources.measure_geometry", None)
    command.refuses("rank", *words, code=2, saying=saying)


def test_one_family_under_two_names(command, folder):
    command.runs("measure", "dit-16/8", "--out", "g")
    saying = ("are the same family", "'g'", "'dit-16/8'")
    command.refuses("rank", "dit-16/8", "g", code=2, saying=saying)


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
@pytest.mark.parametrize(
    ("stop", "code", "said"),
    [
        (MeasurementInterruptedError, 130, "interrupted"),
        (lambda geometry: MeasurementFailedError("network 64 failed", geometry), 1, "network 64 failed"),
    ],
    ids=["interrupted", "failed"],
)
def test_what_was_measured_before_a_stop_is_kept(command, images, wider, monkeypatch, stop, code, said):
    def interrupted(family, *arguments, **options):
        geometry = measure_geometry(family, *arguments, **options)
        if family.name == TINY[0]:
            return geometry
        raise stop(geometry)

    monkeypatch.setattr("scoregrain.cli.sources.measure_geometry", interrupted)
    words = ("rank", TINY[0], "wider.py:build", "--data", "images.npz", *TINY[1:], "--networks", "64")
    outcome = command(*words, "--out", "r")
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.splitlines()[-1] == f"scoregrain: {said}; what was measured is kept in 'r'"
    config = json.loads(Path("r/config.json").read_text())
    assert config["interrupted"]
    assert [Geometry.load(f"r/{path}").count for path in config["geometries"].values()] == [64, 64]
    assert "r/ranking.json" not in map(str, command.files())
