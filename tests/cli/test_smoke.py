"""The command as a process of its own, once each."""

import json
import os
import subprocess
import sys

from scoregrain.geometry import Geometry


def scoregrain(*words):
    # one thread: several fight over the cores that the tests share
    paths = [path for path in sys.path if path]
    return subprocess.run(
        [sys.executable, "-m", "scoregrain", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )


def test_measure():
    process = scoregrain("measure", "dit-16/8", "--out", "g", "--json")
    assert (process.returncode, process.stderr) == (0, "")
    assert json.loads(process.stdout)["exact"] is True
    assert Geometry.load("g").exact


def test_analyze(folder):
    process = scoregrain("analyze", "dit-16/8", "--out", "g")
    assert process.returncode == 0
    assert len(process.stdout.splitlines()) == 3
    assert process.stdout.endswith("report: g/report.html\n")
    assert (folder / "g" / "report.html").stat().st_size > 10_000
