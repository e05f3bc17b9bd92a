"""``scoregrain measure``: where networks are evaluated, and how many directions are measured."""

import math

import pytest
import torch

from scoregrain.geometry import GaussianProbe, Geometry, measure_geometry
from scoregrain.models import NetworkFamily
from tests import networks
from tests.cli.command import TINY

pytestmark = pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
WIDE = ("tests.networks:Tiny", "--shape", "1", "10", "10")


def test_a_gaussian_probe_is_the_library_s(command):
    command.runs("measure", *TINY, "--networks", "64", "--probe", "gaussian:0.5", "--out", "g")
    expected = measure_geometry(NetworkFamily(networks.Tiny, (1, 6, 6)), 64, probe=GaussianProbe((1, 6, 6), 0.5))
    assert torch.equal(Geometry.load("g").eigenvalues, expected.eigenvalues)
    assert Geometry.load("g").info["probe"] == "gaussian, scale 0.5"


def test_data_are_resized_and_recorded(command):
    command.runs("measure", *TINY, "--networks", "64", "--data", "digits", "--out", "g")
    assert Geometry.load("g").info["probe"].startswith("data, ")


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (("--probe", "gausian"), ("--probe is 'gausian'", "did you mean 'gaussian'?")),
        (("--probe", "zero:2"), "--probe is 'zero:2'"),
        (("--probe", "gaussian:x"), "expected a positive scale"),
        (("--probe", "gaussian:-1"), "expected a positive scale"),
        (("--probe", "data"), "--probe data and --data DATA belong together"),
        (("--probe", "gaussian", "--data", "digits"), "belong together"),
        (("--range", "0", "1"), "--range says what the values in --data DATA are"),
        (("--data", "nothing.npz"), "nothing.npz"),
        (("--directions", "few"), "--directions is 'few', expected a number or all"),
        (("--directions", "0"), "too small for a rank"),
        (("--directions", "7"), "too small for a rank"),
    ],
)
def test_what_makes_no_sense_is_refused(command, words, saying):
    command.refuses("measure", *TINY, "--networks", "64", *words, code=2, saying=saying)


def test_leading_directions_are_described_and_written(command):
    outcome = command.runs("measure", *WIDE, "--networks", "512", "--directions", "2", "--out", "g")
    assert "leading directions   2 of 100; eigenvalue 1 is" in outcome.out
    assert "smallest eigenvalue" not in outcome.out
    numbers = command.runs("measure", *WIDE, "--networks", "64", "--directions", "2", "--json").json
    assert (numbers["known"], numbers["dimension"], numbers["lambda_min"]) == (2, 100, None)
    loaded = Geometry.load("g")
    whole = measure_geometry(NetworkFamily(networks.Tiny, (1, 10, 10)), 512)
    assert math.isclose(loaded.trace, whole.trace, rel_tol=1e-9)
    assert loaded.eigenvectors.shape == (100, 2)


def test_leading_directions_resume_and_merge_to_the_same_bits(command):
    for i in (1, 2):
        command.runs("measure", *WIDE, "--networks", "128", "--directions", "2", "--shard", f"{i}/2", "--out", f"s{i}")
    command.runs("merge", "s2", "s1", "--out", "merged")
    command.runs("measure", *WIDE, "--networks", "64", "--directions", "2", "--out", "grown")
    command.runs("measure", *WIDE, "--networks", "128", "--directions", "2", "--out", "grown", "--resume")
    plain = measure_geometry(NetworkFamily(networks.Tiny, (1, 10, 10)), 128, rank=2)
    for folder in ("merged", "grown"):
        assert torch.equal(Geometry.load(folder).moments.total(), plain.moments.total())
    command.runs("measure", *WIDE, "--networks", "64", "--directions", "1", "--out", "other")
    command.refuses("merge", "s1", "other", code=2, saying="rank (2 and 1)")
    words = ("measure", *WIDE, "--networks", "64", "--like", "s1")
    command.runs(*words, "--directions", "2", "--out", "alike")
    assert Geometry.load("alike").info["test_matrix"] == Geometry.load("s1").info["test_matrix"]
    command.refuses(*words, "--directions", "1", code=2, saying="like= measured 2 leading directions")
    command.refuses(*words[:-1], "nowhere", "--directions", "2", code=2, saying="'nowhere'")
