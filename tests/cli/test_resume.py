"""``--resume``: after kill -9 at any moment nothing but the running leaves is lost, and the bits are the same."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import scoregrain.cli.parsing  # noqa: F401  (before anything is patched: commands import from each other)
from scoregrain._folders import work_folder
from scoregrain.geometry import Geometry, data_geometry
from scoregrain.geometry.journal import holds_networks
from tests.cli.command import TINY

DEFAULT = "scoregrain-measure-tests.networks-Tiny"
pytestmark = pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")


def same(one, other):
    """Two folders hold the same geometry, to the byte."""
    for file in ("groups.safetensors", "geometry.safetensors"):
        assert Path(one, file).read_bytes() == Path(other, file).read_bytes()
    first, second = (json.loads(Path(folder, "config.json").read_text()) for folder in (one, other))
    del first["info"]["seconds"], second["info"]["seconds"]
    assert first == second


def environment():
    paths = [path for path in sys.path if path]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_loses_at_most_the_running_leaves(command, folder, workers):
    """Killed at random moments, resumed each time, without ever finishing a round: the bits of a plain run."""
    (folder / "net.py").write_text("from tests.networks import Tiny\n")
    words = ["measure", "net.py:Tiny", "--shape", "1", "6", "6", "--networks", "1200"]
    process = subprocess.run(
        [sys.executable, "-B", "-m", "tests.cli.killed", str(workers), str(workers), *words, "--out", "g", "--resume"],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
        env=environment(),
    )
    rounds = [tuple(map(int, line.split())) for line in process.stdout.splitlines()]
    assert len(rounds) >= 3
    for kills, (kept, begun) in enumerate(rounds, 1):
        assert begun - kept <= kills * (workers + 1)  # one more may have ended just before it was written
    if not Path("g").exists():
        command.runs(*words, "--out", "g", "--resume")
    command.runs(*words, "--out", "plain")
    same("g", "plain")
    assert not Path("g.partial").exists()


class KilledError(BaseException):
    """The process is gone: nothing is caught, nothing is cleaned up."""


@pytest.fixture
def killed(monkeypatch):
    """Run a command that dies after so many leaves."""

    def run(command, leaves, *words):
        @contextmanager
        def bar(unit):
            calls = []

            def update(done, total):
                calls.append(done)
                if len(calls) == leaves:
                    raise KilledError

            yield update

        with monkeypatch.context() as patch:
            patch.setattr("scoregrain.cli.measure.progress_bar", bar)
            with pytest.raises(KilledError):
                command(*words)

    return run


MEASURE = ("measure", *TINY, "--networks", "640")


def test_a_resumed_command_is_a_plain_one(command, killed):
    killed(command, 5, *MEASURE, "--out", "a/g")
    assert not Path("a/g").exists()
    killed(command, 6, *MEASURE, "--out", "a/g", "--resume")
    command.runs(*MEASURE, "--out", "a/g", "--resume")
    command.runs(*MEASURE, "--out", "plain")
    same("a/g", "plain")
    assert [path.name for path in Path("a").iterdir()] == ["g"]


def test_a_tolerance_is_reached_with_the_same_decisions(command, killed):
    words = ("measure", *TINY, "--tolerance", "0.0006")
    killed(command, 18, *words, "--out", "g")
    assert json.loads(Path("g.partial/target.json").read_text())["networks"] > 512
    killed(command, 2, *words, "--out", "g", "--resume")
    command.runs(*words, "--out", "g", "--resume")
    command.runs(*words, "--out", "plain")
    same("g", "plain")


def test_resume_where_nothing_was_begun_begins(command):
    command.runs(*MEASURE, "--out", "g", "--resume")
    command.runs(*MEASURE, "--out", "plain")
    same("g", "plain")


def test_a_resume_that_has_nothing_to_do_says_so(command):
    started = command.runs(*MEASURE, "--out", "g", "--resume")
    assert "note: there is no measurement 'g' to continue: a new one is started" in started.err.splitlines()
    before = [Path("g", name).read_bytes() for name in ("groups.safetensors", "geometry.safetensors")]
    for fewer in ("640", "64"):
        again = command.runs("measure", *TINY, "--networks", fewer, "--out", "g", "--resume")
        assert "note: 'g' holds 640 networks already: nothing was left to measure" in again.err.splitlines()
        assert [Path("g", name).read_bytes() for name in ("groups.safetensors", "geometry.safetensors")] == before
    assert "note:" not in command.runs("measure", *TINY, "--networks", "672", "--out", "g", "--resume").err


def test_a_kill_while_the_result_is_written_leaves_nothing_behind(command, killed):
    killed(command, 5, *MEASURE, "--out", "g")
    leftover = Path(".g.scoregrain-abcd1234")
    leftover.mkdir()
    (leftover / "groups.safetensors").write_bytes(b"half")
    command.runs(*MEASURE, "--out", "g", "--resume")
    assert [path.name for path in Path().iterdir()] == ["g"]


def test_another_model_is_named_beside_its_fingerprint(command, folder, killed):
    (folder / "wide.py").write_text("from tests.networks import Tiny\ndef build(): return Tiny(width=7)\n")
    for run in (command.runs, lambda *words: killed(command, 5, *words)):
        run(*MEASURE, "--out", "g")
        saying = ("another fingerprint", "'tests.networks:Tiny' and 'wide.py:build'")
        words = ("measure", "wide.py:build", *MEASURE[2:], "--out", "g", "--resume")
        command.refuses(*words, code=2, saying=saying)
        if Path("g").exists():
            shutil.rmtree("g")


def test_what_is_unfinished_is_not_begun_again_by_accident(command, killed):
    killed(command, 5, *MEASURE, "--out", "g")
    saying = ("'g.partial' holds an unfinished measurement", "--resume", "--overwrite")
    command.refuses(*MEASURE, "--out", "g", code=2, saying=saying)
    command.runs(*MEASURE, "--seed", "1", "--out", "g", "--overwrite")
    assert Geometry.load("g").info["seed"] == 1
    assert not Path("g.partial").exists()


def test_a_kill_before_the_first_leaf_leaves_nothing_to_decide(command):
    Path("g.partial").mkdir()
    command.runs(*MEASURE, "--out", "g")
    assert not Path("g.partial").exists()


def test_the_newest_unfinished_default_folder_is_found(command, killed):
    for seed in ("1", "2", "3"):
        killed(command, 3, *MEASURE, "--seed", seed)
    os.utime(f"{DEFAULT}-1.partial", ns=(0, 2**62))
    assert command.runs(*MEASURE, "--seed", "1", "--resume", "--json").json["out"] == f"{DEFAULT}-1"
    assert command.runs(*MEASURE, "--seed", "3", "--resume", "--json").json["out"] == f"{DEFAULT}-3"
    assert command.runs(*MEASURE, "--json").json["out"] == f"{DEFAULT}-4"
    assert command.runs(*MEASURE, "--seed", "2", "--resume", "--json").json["out"] == f"{DEFAULT}-2"
    command.runs(*MEASURE, "--seed", "2", "--out", "plain")
    same(f"{DEFAULT}-2", "plain")


def test_without_an_unfinished_one_it_is_said(command):
    command.runs(*MEASURE)
    Path(f"{DEFAULT}-2").mkdir()
    saying = (f"no unfinished measurement {DEFAULT}-N here", "--out", "without --resume")
    command.refuses(*MEASURE, "--resume", code=2, saying=saying)


def test_a_finished_measurement_grows(command):
    """1000 networks to 2000: only what is missing is measured, the last leaf of 8 networks again as a whole."""
    command.runs("measure", *TINY, "--networks", "1000", "--out", "g")
    command.runs("measure", *TINY, "--networks", "2000", "--out", "g", "--resume")
    command.runs("measure", *TINY, "--networks", "2000", "--out", "plain")
    same("g", "plain")
    assert {path.name for path in Path().iterdir()} == {"g", "plain"}


def test_an_extension_that_is_killed_leaves_the_old_result(command, killed):
    command.runs("measure", *TINY, "--networks", "320", "--out", "g")
    killed(command, 3, *MEASURE, "--out", "g", "--resume")
    assert Geometry.load("g").count == 320
    command.runs(*MEASURE, "--out", "g", "--resume")
    command.runs(*MEASURE, "--out", "plain")
    same("g", "plain")


def test_an_interrupted_measurement_goes_on(command, monkeypatch):
    @contextmanager
    def bar(unit):
        def update(done, total):
            if done == 96:
                raise KeyboardInterrupt

        yield update

    with monkeypatch.context() as patch:
        patch.setattr("scoregrain.cli.measure.progress_bar", bar)
        assert command(*MEASURE).code == 130
    assert Geometry.load(f"{DEFAULT}-1").count == 96
    assert not Path(f"{DEFAULT}-1.partial").exists()
    assert command.runs(*MEASURE, "--resume", "--json").json["out"] == f"{DEFAULT}-1"
    command.runs(*MEASURE, "--out", "plain")
    same(f"{DEFAULT}-1", "plain")


def test_an_extension_that_is_interrupted_keeps_the_longer_one(command, monkeypatch):
    command.runs("measure", *TINY, "--networks", "64", "--out", "g")

    @contextmanager
    def bar(unit):
        def update(done, total):
            if done == 96:
                raise KeyboardInterrupt

        yield update

    monkeypatch.setattr("scoregrain.cli.measure.progress_bar", bar)
    outcome = command(*MEASURE, "--out", "g", "--resume")
    assert outcome.err.splitlines()[-1] == "scoregrain: interrupted; the 96 networks measured are kept in 'g'"
    assert Geometry.load("g").count == 96
    assert {path.name for path in Path().iterdir()} == {"g"}


LATE = """
from tests.networks import Tiny

class Late(Tiny):
    def forward(self, x, t):
        return super().forward(x / (self.last.bias[0] > -0.134).to(x.dtype), t)
"""


@pytest.mark.parametrize("name", ["measure", "analyze"])
def test_a_network_that_fails_late_loses_nothing(command, folder, images, name):
    (folder / "late.py").write_text(LATE)
    data = ["images.npz"] if name == "analyze" else []
    words = ("late.py:Late", *data, "--shape", "1", "6", "6", "--networks", "6400", "--out", "g")
    outcome = command(name, *words)
    assert (outcome.code, outcome.out) == (1, "")
    last = outcome.err.splitlines()[-1]
    assert "gave a non-finite output; the " in last
    kept = Geometry.load("g")
    assert last.endswith(f"; the {kept.count} networks measured are kept in 'g'")
    assert kept.count >= 32
    assert {path.name for path in Path().iterdir() if path.is_dir()} == {"g"}


# what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["--seed", "1"], "another seed (0 and 1)"),
        (["--init", "unzero-all"], "another init ('as-is' and 'unzero-all')"),
    ],
)
@pytest.mark.parametrize("where", ["finished", "unfinished"])
def test_another_measurement_is_not_continued(command, killed, where, words, saying):
    if where == "finished":
        command.runs(*MEASURE, "--out", "g")
    else:
        killed(command, 5, *MEASURE, "--out", "g")
    command.refuses(*MEASURE, *words, "--out", "g", "--resume", code=2, saying=saying)


def test_a_shard_is_not_continued_as_another(command):
    command.runs(*MEASURE, "--shard", "1/2", "--out", "g")
    saying = "the earlier measurement is shard 1/2 of 640 networks, not shard 2/2 of 640 networks"
    command.refuses(*MEASURE, "--shard", "2/2", "--out", "g", "--resume", code=2, saying=saying)


def test_a_damaged_leaf_says_what_to_do(command, killed):
    killed(command, 5, *MEASURE, "--out", "g")
    file = sorted(Path("g.partial").glob("networks-*"))[2]
    file.write_bytes(file.read_bytes()[:50])
    saying = (f"'{file}' is damaged", "delete it: only networks 64 to 95 are measured again")
    command.refuses(*MEASURE, "--out", "g", "--resume", code=1, saying=saying)
    file.unlink()
    command.runs(*MEASURE, "--out", "g", "--resume")
    command.runs(*MEASURE, "--out", "plain")
    same("g", "plain")


@pytest.mark.parametrize("option", [(), ("--resume",), ("--overwrite",)])
def test_a_measurement_that_runs_is_left_alone(command, killed, option):
    """Two processes would do the same work, and the first to end would take the journal from the other."""
    killed(command, 3, *MEASURE, "--out", "g")
    with work_folder(Path("g.partial"), holds=holds_networks):
        saying = "another process is working in 'g.partial': wait for it, or choose another --out"
        command.refuses(*MEASURE, "--out", "g", *option, code=2, saying=saying)
    assert command.runs(*MEASURE, "--out", "g", "--resume", "--json").json["networks"] == 640


def test_a_measurement_before_its_first_leaf_is_left_alone(command):
    with work_folder(Path("g.partial"), holds=holds_networks):
        command.refuses(*MEASURE, "--out", "g", code=2, saying="another process is working in 'g.partial'")


def test_resume_and_overwrite_exclude_each_other(command):
    saying = ("--resume continues", "--overwrite starts it again")
    command.refuses(*MEASURE, "--out", "g", "--resume", "--overwrite", code=2, saying=saying)


def test_what_is_no_measurement_is_not_resumed(command, folder, images):
    data_geometry(images.astype("float32")).save("data")
    command.refuses(*MEASURE, "--out", "data", "--resume", code=2, saying="a data geometry has no networks")
    command.runs("analyze", "dit-16/8", "--out", "report")
    saying = "'report' holds more than a geometry (analysis.json, report.html)"
    command.refuses(*MEASURE, "--out", "report", "--resume", code=2, saying=saying)
    (folder / "own").mkdir()
    (folder / "own" / "thesis.txt").write_text("precious")
    command.refuses(*MEASURE, "--out", "own", "--resume", code=2, saying="not a folder that scoregrain wrote")
    (folder / "own").rename("g.partial")
    for words in (["--resume"], ["--overwrite"]):
        command.refuses(*MEASURE, "--out", "g", *words, code=2, saying="not a folder that scoregrain wrote")


def test_an_exact_geometry_is_resumed_at_once(command):
    for _ in range(2):
        command.runs("measure", "dit-16/8", "--out", "g", "--resume")
    assert Geometry.load("g").exact
    assert [path.name for path in Path().iterdir()] == ["g"]


# torchrun ------------------------------------------------------------------------------------------------------------


def torchrun(*words):
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "scoregrain", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env=environment(),
    )


def test_torchrun_is_a_plain_run(command, killed):
    """Two gloo ranks continue what one process began; one of them prints and writes."""
    killed(command, 5, *MEASURE)
    process = torchrun(*MEASURE, "--resume", "--json")
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout)["networks"] == 640
    assert process.stderr.count("time-blind") == 1
    command.runs(*MEASURE, "--out", "plain")
    same(f"{DEFAULT}-1", "plain")
    assert {path.name for path in Path().iterdir()} == {f"{DEFAULT}-1", "plain"}


def test_bad_arguments_under_torchrun_are_said_once(command):
    Path("g").mkdir()
    process = torchrun(*MEASURE, "--out", "g")
    assert process.returncode != 0
    assert process.stdout == ""
    assert process.stderr.count("scoregrain: 'g' exists") == 1


def test_other_commands_do_not_run_under_torchrun(command, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    command.refuses("analyze", "dit-16/8", code=2, saying="only measure and train can use torchrun")
    command.refuses(*MEASURE, code=1, saying="the other ranks cannot be reached, start them with torchrun")
