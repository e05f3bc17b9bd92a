"""kill -9 at random moments: the last good checkpoint stays, and the end is that of a training nobody touched."""

import os
import shutil
import subprocess
import sys

from scoregrain.training import Run, train
from tests.training.cases import ODD, config, left
from tests.training.killed import SETTINGS


def test_a_training_that_is_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path):
    paths = [path or os.getcwd() for path in sys.path]
    process = subprocess.run(
        [sys.executable, "-m", "tests.training.killed", tmp_path / "killed"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr
    seen = [line.split() for line in process.stdout.splitlines()]
    kills = [int(step) for step, killed in seen if killed == "True"]
    assert len(kills) >= 4
    assert kills == sorted(kills)  # nothing good was lost
    assert len(set(kills)) >= 3  # in different places
    ours, theirs = (
        left(run)
        for run in (
            Run.load(tmp_path / "killed", family=ODD),
            train(config(out=tmp_path / "whole", **SETTINGS)),
        )
    )
    assert ours == theirs
    assert [path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()] == ["step-00000090"]


def test_what_a_kill_left_beside_the_last_checkpoint_goes_when_the_run_goes_on(tmp_path):
    settings = config(out=tmp_path / "run", keep=1)
    train(settings)
    newest = next((tmp_path / "run" / "checkpoints").iterdir())
    shutil.copytree(newest, newest.with_name("step-00000001"))  # killed before it was pruned
    train(settings, resume=True)
    assert [path.name for path in newest.parent.iterdir()] == [newest.name]
