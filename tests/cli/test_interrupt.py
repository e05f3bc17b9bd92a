"""Ctrl-C: exit code 130, what was measured is kept, and said."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch

from scoregrain.geometry import Geometry, measure_geometry, storage
from scoregrain.models import NetworkFamily
from tests import networks
from tests.cli.command import TINY

SLOW = """
import time
from pathlib import Path
from tests.networks import Tiny

class Slow(Tiny):
    calls = 0

    def forward(self, x, t):
        Slow.calls += 1
        time.sleep(0.01)
        if Slow.calls > 100:  # a few dozen checks come before the measurement
            Path("measuring").touch()
        return super().forward(x, t)
"""


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C after 96 networks."""

    @contextmanager
    def bar(unit):
        def update(done, total):
            if done >= 96:
                raise KeyboardInterrupt

        yield update

    for name in ("measure", "analyze"):
        monkeypatch.setattr(f"scoregrain.cli.{name}.progress_bar", bar)


def same(first, second):
    """Two geometries are equal to the bit."""
    assert first.moments.ranges == second.moments.ranges
    for one, other in zip(first.groups, second.groups, strict=True):
        assert torch.equal(one.total, other.total)
    assert torch.equal(first.eigenvectors, second.eigenvectors)


@pytest.mark.usefixtures("interrupted")
@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_what_was_measured_is_kept(command):
    outcome = command("measure", *TINY, "--networks", "320", "--out", "part", "--json")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err.splitlines()[-1] == "scoregrain: interrupted; the 96 networks measured are kept in 'part'"
    kept = Geometry.load("part")
    assert kept.info["interrupted"] is True
    same(kept, measure_geometry(NetworkFamily(networks.Tiny, (1, 6, 6)), 96))


@pytest.mark.usefixtures("interrupted")
def test_an_interrupted_analysis_keeps_its_geometry(command, images):
    outcome = command("analyze", TINY[0], "images.npz", *TINY[1:], "--networks", "320")
    target = "scoregrain-analyze-tests.networks-Tiny-images-1"
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err == f"scoregrain: interrupted; the 96 networks measured are kept in '{target}'\n"
    assert Geometry.load(target).count == 96


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize("out", [[], ["--out", "g"]])
def test_an_interrupted_measurement_does_not_replace_a_whole_one(command, out):
    command.runs("measure", "dit-16/8", "--out", "g")
    outcome = command("measure", *TINY, "--networks", "320", "--overwrite", *out)
    assert outcome.code == 130
    assert "kept in 'scoregrain-measure-tests.networks-Tiny-1'" in outcome.err
    assert Geometry.load("g").exact
    assert Geometry.load("scoregrain-measure-tests.networks-Tiny-1").count == 96


@pytest.mark.parametrize("name", ["measure", "analyze"])
def test_before_the_first_networks_nothing_is_written(command, monkeypatch, name):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("scoregrain.geometry.plan.Plan.measure", stop)
    saying = "scoregrain: interrupted before the first 32 networks; nothing was written"
    command.refuses(name, *TINY, "--networks", "320", "--out", "a/b", code=130, saying=saying)


@pytest.mark.parametrize(
    "where", ["models.family.NetworkFamily.construct", "cli.options.resolve_model", "cli.parsing.parse"]
)
def test_before_measuring_nothing_is_written(command, monkeypatch, where):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"scoregrain.{where}", stop)
    saying = "scoregrain: interrupted; nothing was written"
    command.refuses("measure", "dit-16/8", "--out", "a/b", code=130, saying=saying)


def interrupt_writing(monkeypatch, times):
    """Ctrl-C while files are written, so many times."""
    left = [KeyboardInterrupt] * times

    def write(geometry, folder):
        (folder / "geometry.safetensors").write_text("half of it")
        if left:
            raise left.pop()
        write_geometry(geometry, folder)

    write_geometry = storage.write_geometry
    monkeypatch.setattr("scoregrain.geometry.storage.write_geometry", write)
    monkeypatch.setattr("scoregrain.cli.analyze.write_geometry", write)


@pytest.mark.parametrize("name", ["measure", "analyze"])
def test_a_measurement_interrupted_while_it_is_written_is_kept(command, monkeypatch, name):
    interrupt_writing(monkeypatch, 1)
    outcome = command(name, *TINY, "--networks", "64", "--out", "g")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err.splitlines()[-1] == "scoregrain: interrupted; the 64 networks measured are kept in 'g'"
    assert Geometry.load("g").count == 64
    assert {path.name for path in command.files()} == {
        "g",
        "config.json",
        "geometry.safetensors",
        "groups.safetensors",
    }


def test_an_exact_geometry_interrupted_while_it_is_written_is_kept(command, monkeypatch):
    interrupt_writing(monkeypatch, 1)
    outcome = command("measure", "dit-16/8", "--out", "g")
    assert outcome.err == "scoregrain: interrupted; the exact geometry is kept in 'g'\n"
    assert Geometry.load("g").exact


def test_a_second_one_stops_at_once_and_leaves_the_journal(command, monkeypatch):
    interrupt_writing(monkeypatch, 2)
    words = ("measure", *TINY, "--networks", "64", "--out", "g")
    outcome = command(*words)
    last = "scoregrain: interrupted; what was measured is kept in 'g.partial', continue with --resume"
    assert (outcome.code, outcome.out, outcome.err.splitlines()[-1]) == (130, "", last)
    command.runs(*words, "--resume")
    assert Geometry.load("g").count == 64
    assert {path.name for path in command.files() if path.is_dir()} == {"g"}


def test_a_second_one_of_an_exact_geometry_leaves_nothing(command, monkeypatch):
    interrupt_writing(monkeypatch, 2)
    words = ("measure", "dit-16/8", "--out", "g")
    command.refuses(*words, code=130, saying="scoregrain: interrupted; nothing was written")


def test_a_real_signal(command, folder):
    """SIGINT to a process that measures ten million networks."""
    (folder / "slow.py").write_text(SLOW)
    words = ("measure", "slow.py:Slow", "--shape", "1", "6", "6")
    paths = [path for path in sys.path if path]
    process = subprocess.Popen(
        [sys.executable, "-B", "-m", "scoregrain", *words, "--networks", "10000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        # a shell that starts the tests in the background has them, and what they start, ignore the signal
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not (folder / "measuring").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    last = err.splitlines()[-1]
    found = re.fullmatch(r"scoregrain: interrupted; the (\d+) networks measured are kept in '(.*)'", last)
    assert found is not None, err
    count, kept = int(found[1]), found[2]
    assert Geometry.load(kept).count == count
    assert count % 32 == 0
    command.runs(*words, "--networks", str(count), "--out", "whole")
    same(Geometry.load(kept), Geometry.load("whole"))
    assert "interrupted" not in Geometry.load("whole").info
