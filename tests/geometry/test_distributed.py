"""Two real gloo ranks measure what one process does, take the same decisions, and fail together."""

import json
import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from scoregrain.geometry import Geometry, measure_geometry
from scoregrain.geometry.distributed import Team
from tests.geometry.ranks import TINY

pytestmark = pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder in which both ranks left what they saw in every case of ``ranks.py``."""
    folder = tmp_path_factory.mktemp("ranks")
    paths = [path or os.getcwd() for path in sys.path]
    process = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "tests.geometry.ranks", folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr
    return folder


def said(results, name):
    return [json.loads((results / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain", {"networks": 1000}),
        ("tolerance", {"tolerance": 0.0006}),
        ("shard", {"networks": 1000, "shard": (2, 3)}),
        ("grown", {"networks": 1000}),
        ("one-leaf", {"networks": 20}),
    ],
)
def test_two_ranks_give_the_bits_of_one_process(results, name, options):
    """K4 through torch.distributed, down to the files."""
    measure_geometry(TINY, **options).save(results / name)
    for rank in (0, 1):
        for file in ("groups.safetensors", "geometry.safetensors"):
            assert (results / f"{name}-{rank}" / file).read_bytes() == (results / name / file).read_bytes()
        ours, theirs = (
            json.loads((folder / "config.json").read_text()) for folder in (results / name, results / f"{name}-{rank}")
        )
        for config in (ours, theirs):
            del config["info"]["seconds"]
        assert ours == theirs


def test_a_tolerance_took_several_looks(results):
    """Else the ranks had no decision to take together."""
    assert Geometry.load(results / "tolerance-0").count > 512


def test_the_state_is_shared_and_summed(results):
    ranges = [load_file(file)["range"].tolist() for file in sorted((results / "state").glob("networks-*"))]
    assert sum(stop - start for start, stop in ranges) == 1000
    assert len(ranges) == len(Geometry.load(results / "grown-0").groups)


def test_what_is_exchanged(results):
    for seen in said(results, "primitives"):
        assert seen == {"exchange": [{"rank": 0}, {"rank": 1}], "first": [0, "x" * 1000]}


def test_ranks_of_different_seeds_are_refused(results):
    first, second = said(results, "seeds")
    assert first["error"] == second["error"] == "InvalidInputError"
    assert first["text"] == "ranks measure with different seed: 1 on rank 1, 0 on rank 0"
    assert second["text"] == "ranks measure with different seed: 0 on rank 0, 1 on rank 1"


def test_an_interruption_of_one_rank_stops_both_and_keeps_what_both_measured(results):
    first, second = said(results, "interrupted")
    assert first == second
    assert first["error"] == "MeasurementInterruptedError"
    # rank 0 had two leaves of its half, counted twice in its estimate; rank 1 finished its round of four
    assert first["kept"] == [[0, 64], [512, 640]]


def test_an_interruption_during_an_exchange_waits_for_its_end(results):
    """Else a rank would take a later message for the one it did not wait for."""
    first, second = said(results, "exchanging")
    assert first == second
    assert first["error"] == "MeasurementInterruptedError"
    # both finished the round before, rank 1 the one after it
    assert first["kept"] == [[0, 128], [512, 768]]


def test_a_failure_in_the_middle_keeps_what_both_measured(results):
    first, second = said(results, "broken")
    assert first["error"] == second["error"] == "MeasurementFailedError"
    assert (first["text"], second["text"]) == ("rank 1: the disk is full", "the disk is full")
    assert first["kept"] == second["kept"] == [[0, 128], [512, 576]]


def test_a_failure_of_one_rank_fails_both_and_names_the_rank(results):
    first, second = said(results, "failing")
    assert first["text"].startswith("rank 1: ")
    assert "out of memory" in first["text"]
    assert "out of memory" in second["text"]
    assert "rank 1" not in second["text"]


def test_a_rank_that_is_gone_is_noticed_and_the_state_keeps_what_it_measured(results):
    seen = json.loads((results / "lost-0.json").read_text())
    assert seen["text"].startswith("another rank has ended or does not answer: ")
    ranges = sorted(load_file(file)["range"].tolist() for file in (results / "lost").glob("networks-*"))
    assert ranges == [[0, 32], [32, 64], [64, 96], [96, 128], [512, 544], [544, 576]]


def test_one_process_alone_exchanges_nothing():
    alone = Team()
    assert (alone.rank, alone.size, alone.exchange(3), alone.first(lambda: 4)) == (0, 1, [3], 4)
    with pytest.raises(ZeroDivisionError), alone.together():
        raise ZeroDivisionError
    assert alone.gather([]) == []
