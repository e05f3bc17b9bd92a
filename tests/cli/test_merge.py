"""``scoregrain measure --shard`` and ``scoregrain merge``: the bits of one measurement, or one line why not."""

import json
from pathlib import Path

import pytest
import torch

from scoregrain.geometry import Geometry, data_geometry
from tests.cli.command import TINY

FILES = ("groups.safetensors", "geometry.safetensors")


def shard(command, i, of, *words, out=None):
    command.runs("measure", *TINY, "--networks", "600", "--shard", f"{i}/{of}", *words, "--out", out or f"s{i}")


def test_merged_shards_are_the_whole_file_by_file(command):
    for i in (1, 2, 3):
        shard(command, i, 3)
    command.runs("measure", *TINY, "--networks", "600", "--out", "whole")
    numbers = command.runs("merge", "s3", "s1", "s2", "--out", "merged", "--json").json
    for file in FILES:
        assert Path("merged", file).read_bytes() == Path("whole", file).read_bytes()
    merged, whole = (json.loads(Path(name, "config.json").read_text()) for name in ("merged", "whole"))
    del merged["info"]["seconds"], whole["info"]["seconds"]
    assert merged == whole
    assert (numbers["networks"], numbers["parts"], numbers["out"]) == (600, 3, "merged")


def test_a_missing_shard_is_named_or_accepted(command):
    shard(command, 1, 3)
    shard(command, 3, 3)
    command.refuses("merge", "s1", "s3", code=2, saying=("shard 2/3 is missing", "--partial"))
    text = command.runs("merge", "s1", "s3", "--partial").out
    assert text.startswith("tests.networks:Tiny: 408 networks")
    assert "written to           scoregrain-merge-tests.networks-Tiny-1" in text
    assert Geometry.load("scoregrain-merge-tests.networks-Tiny-1").moments.ranges == [(0, 192), (384, 600)]


def test_default_folders_name_the_shard(command):
    numbers = command.runs("measure", *TINY, "--networks", "64", "--shard", "2/2", "--json").json
    assert numbers["out"] == "scoregrain-measure-tests.networks-Tiny-shard-2-of-2-1"
    assert numbers["networks"] == 32


@pytest.mark.parametrize(
    ("folders", "saying"),
    [
        (["s1", "s1", "s2"], "shard 1/2 is given twice"),
        (["s1", "seeded"], "geometries of different seed (0 and 1) cannot be merged: number 2 differs from the first"),
        (["s1", "unzeroed"], "geometries of different init ('as-is' and 'unzero-all') cannot be merged"),
        (["s1", "older"], "geometries of different torch"),
        (["s1", "thirds"], "shard 1/2 of 600 networks and shard 3/3 of 600 networks are not parts of one measurement"),
        (["s1", "s2", "whole"], ("networks 0 to ", "are counted twice")),
        (["s1", "empty"], "'empty' is not a saved geometry: it has no config.json"),
        (["s1", "nowhere"], "'nowhere' is not a saved geometry"),
        (["s1", "data"], "'data' holds a data geometry: only measurements of networks can be merged"),
        (["s1", "exact"], "'exact' holds an exact geometry"),
        ([], "scoregrain merge DIR DIR ..."),
    ],
)
def test_what_does_not_add_up_is_refused(command, parts, folders, saying):
    command.refuses("merge", *folders, "--out", "merged", code=2, saying=saying)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Measured once; every test gets links to it."""
    return tmp_path_factory.mktemp("parts")


@pytest.fixture
def parts(command, measured, folder):
    if not any(measured.iterdir()):
        for i in (1, 2):
            shard(command, i, 2, out=measured / f"s{i}")
        shard(command, 3, 3, out=measured / "thirds")
        shard(command, 2, 2, "--seed", "1", out=measured / "seeded")
        shard(command, 2, 2, "--init", "unzero-all", out=measured / "unzeroed")
        command.runs("measure", *TINY, "--networks", "600", "--out", measured / "whole")
        command.runs("measure", "dit-16/8", "--out", measured / "exact")
        data_geometry(torch.rand(20, 1, 6, 6)).save(measured / "data")
        older = Geometry.load(measured / "s2")
        older.info["torch"] = "1.13.1"
        older.save(measured / "older")
        (measured / "empty").mkdir()
    for path in measured.iterdir():
        (folder / path.name).symlink_to(path)


def test_an_existing_folder_is_not_overwritten(command, parts):
    command.refuses("merge", "s1", "s2", "--out", "empty", code=2, saying=("'empty' exists", "--overwrite"))


def test_a_damaged_shard_is_named(command, folder):
    shard(command, 1, 2)
    shard(command, 2, 2)
    file = folder / "s2" / "groups.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    command.refuses("merge", "s1", "s2", code=1, saying="'s2' cannot be read, a file is missing or damaged")


@pytest.mark.parametrize("words", ["5/4", "0/4", "1", "a/b", "1/4/2", "-1/4", "1.5/4", ""])
def test_a_shard_that_is_none_is_refused(command, words):
    saying = "expected i/n with 1 <= i <= n such as 1/4"
    command.refuses("measure", *TINY, f"--shard={words}", code=2, saying=saying)


def test_a_shard_of_a_tolerance_is_refused(command):
    words = ("measure", *TINY, "--tolerance", "0.1", "--shard", "1/4", "--out", "g")
    command.refuses(*words, code=2, saying="a shard is a part of a fixed number of networks")


def test_more_shards_than_leaves_are_refused(command):
    words = ("measure", *TINY, "--networks", "64", "--shard", "1/4", "--out", "g")
    command.refuses(*words, code=2, saying="64 networks are 2 leaves of 32, too few for 4 shards: use at most 2")
