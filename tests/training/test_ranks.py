"""Two real gloo ranks under torchrun are one process with the joint batch."""

import os
import subprocess
import sys

import pytest
import torch

from scoregrain.training import Run, train
from tests.training.cases import PERCEPTRON, config, flat, relative
from tests.training.ranks import CASES


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    paths = [path or os.getcwd() for path in sys.path]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    process = subprocess.run(
        [*torchrun, "-m", "tests.training.ranks", folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_are_one_process_with_the_joint_batch(results, name, tmp_path):
    """Up to the order in which gradients are added; bf16 rounds the two orders apart."""
    alone = train(config(out=tmp_path / "run", **CASES[name]))
    both = Run.load(results / name, family=PERCEPTRON)
    start = flat(PERCEPTRON.construct(0, 0))
    moved = [flat(run.model) - start for run in (both, alone)]
    assert relative(*moved) < (0.05 if "mixed_precision" in CASES[name] else 1e-4)
    losses = [[line["loss"] for line in run.history] for run in (both, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2 if "mixed_precision" in CASES[name] else 1e-5)
    assert [line["step"] for line in both.history] == [line["step"] for line in alone.history]


def test_a_rank_s_slice_is_not_the_whole_batch(results, tmp_path):
    """Else the comparison would pass with every rank training on its own half."""
    half = train(config(out=tmp_path / "half", batch_size=4))
    both = Run.load(results / "plain", family=PERCEPTRON)
    assert relative(flat(half.model), flat(both.model)) > 1e-3


def test_resumed_ranks_are_ranks_that_were_not_stopped(results):
    whole, resumed = (Run.load(results / name, family=PERCEPTRON) for name in ("plain", "resumed"))
    assert torch.equal(flat(whole.model), flat(resumed.model))


def test_every_rank_refuses_a_batch_that_cannot_be_cut(results):
    for rank in (0, 1):
        said = (results / f"refused-{rank}").read_text()
        assert said.startswith("a batch of 9 cannot be cut into 2 processes times 1 parts: choose a multiple of 2")
