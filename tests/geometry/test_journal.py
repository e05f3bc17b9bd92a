"""The measurement on disk: whole at every moment, few files, one measurement only."""

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain._random import stream
from scoregrain.geometry import Geometry
from scoregrain.geometry.journal import Journal, holds_networks
from scoregrain.geometry.moments import LEAF, MAX_GROUPS, Group, Moments
from scoregrain.geometry.ranges import largest

IDENTITY = {"scoregrain": "1", "seed": 3, "probe": "zero"}


def leaf(i):
    return Group(
        i * LEAF, (i + 1) * LEAF, torch.randn(4, 4, generator=stream(0, "leaf", i), dtype=torch.float64).square()
    )


def measured(folder, leaves, journal=None):
    """A process that measures some leaves into a folder."""
    journal = journal or Journal(folder, IDENTITY)
    moments = Moments(journal.groups)
    for i in leaves:
        moments.add(leaf(i))
        journal.store(moments.groups)
    return moments


def same(first, second):
    assert [(g.start, g.stop) for g in first.groups] == [(g.start, g.stop) for g in second.groups]
    assert all(torch.equal(a.total, b.total) for a, b in zip(first.groups, second.groups, strict=True))
    assert torch.equal(first.total(), second.total())


def files(folder):
    return sorted(path.name for path in folder.glob("networks-*"))


@pytest.mark.parametrize("leaves", [1, 7, 64, 65, 200])
def test_what_is_stored_is_read_bit_for_bit(tmp_path, leaves):
    plain = Moments(map(leaf, range(leaves)))
    measured(tmp_path / "s", range(leaves))
    same(Moments(Journal(tmp_path / "s", IDENTITY).groups), plain)
    assert len(files(tmp_path / "s")) == len(plain.groups)


def test_a_finished_leaf_is_on_disk_at_once_under_its_range(tmp_path):
    measured(tmp_path / "s", [5])
    assert files(tmp_path / "s") == ["networks-0000000160-0000000192.safetensors"]
    assert torch.equal(load_file(tmp_path / "s" / files(tmp_path / "s")[0])["total"], leaf(5).total)


def test_disk_stays_small_and_every_file_is_written_about_twice(tmp_path, monkeypatch):
    writes = []
    write = Journal._write
    monkeypatch.setattr(Journal, "_write", lambda *arguments: (writes.append(1), write(*arguments)))
    measured(tmp_path / "s", range(600))
    assert len(files(tmp_path / "s")) <= MAX_GROUPS
    assert len(writes) < 2 * 600


class KilledError(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("seed", range(8))
def test_a_kill_at_any_operation_of_the_disk_loses_at_most_the_leaf_being_stored(tmp_path, monkeypatch, seed):
    """A process dies before or after any rename or deletion, again and again; another one continues."""
    rng = random.Random(seed)
    left = [10**9]

    def counted(action):
        def act(*arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                raise KilledError
            return action(*arguments, **options)

        return act

    for name in ("replace", "unlink"):
        monkeypatch.setattr(f"pathlib.Path.{name}", counted(getattr(type(tmp_path), name)))
    monkeypatch.setattr("scoregrain.geometry.journal.save_file", counted(save_file))
    begun = done = 0
    while done < 100:
        left[0] = rng.randint(0, 150)
        try:
            journal = Journal(tmp_path / "s", IDENTITY)
            done = Moments(journal.groups).count // LEAF
            assert done >= begun - 1
            moments = Moments(journal.groups)
            for i in range(done, 100):
                moments.add(leaf(i))
                begun = i + 1
                journal.store(moments.groups)
        except KilledError:
            continue
    left[0] = 10**9
    same(Moments(Journal(tmp_path / "s", IDENTITY).groups), Moments(map(leaf, range(100))))
    assert not list((tmp_path / "s").glob("*.tmp"))


@pytest.mark.parametrize("seed", range(4))
def test_processes_may_share_a_folder(tmp_path, seed):
    """Their leaves interleave; one of them opens it late, one sums what the others wrote."""
    rng = random.Random(seed)
    parts = [list(range(70)), list(range(70, 90)), list(range(90, 200))]
    journals = [Journal(tmp_path / "s", IDENTITY) for _ in parts]
    moments = [Moments() for _ in parts]
    while any(parts):
        k = rng.choice([k for k, part in enumerate(parts) if part])
        moments[k].add(leaf(parts[k].pop(0)))
        journals[k].store(moments[k].groups)
        if rng.random() < 0.02:
            late = Journal(tmp_path / "s", IDENTITY)
            late.absorb(Moments(late.groups).groups)
    journals[0].absorb(Moments(largest(Journal(tmp_path / "s", IDENTITY).groups)).groups)
    whole = Moments(map(leaf, range(200)))
    same(Moments(Journal(tmp_path / "s", IDENTITY).groups), whole)
    assert len(files(tmp_path / "s")) == len(whole.groups)


def test_a_temporary_file_of_a_killed_process_is_ignored_and_removed(tmp_path):
    measured(tmp_path / "s", [0])
    half = tmp_path / "s" / "networks-0000000032-0000000064.safetensors.0.tmp"
    half.write_bytes(b"half")
    assert len(Journal(tmp_path / "s", IDENTITY).groups) == 1
    assert not half.exists()


def test_a_temporary_file_taken_for_a_leftover_is_written_again(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "s", IDENTITY)
    times = []

    def swept(tensors, file):
        save_file(tensors, file)
        if not times:
            file.unlink()
        times.append(1)

    monkeypatch.setattr("scoregrain.geometry.journal.save_file", swept)
    journal.store([leaf(0)])
    assert len(times) == 2
    assert files(tmp_path / "s") == ["networks-0000000000-0000000032.safetensors"]


def test_a_file_summed_by_another_process_while_it_is_read_is_looked_for_again(tmp_path, monkeypatch):
    measured(tmp_path / "s", range(2))
    other = Journal(tmp_path / "s", IDENTITY)
    times = []

    def read(file):
        if not times:
            times.append(1)
            other.store([Group(0, 64, leaf(0).total + leaf(1).total)])
        return load_file(file)

    monkeypatch.setattr("scoregrain.geometry.journal.load_file", read)
    assert [(g.start, g.stop) for g in Journal(tmp_path / "s", IDENTITY).groups] == [(0, 64)]


def test_a_folder_that_another_process_names_meanwhile_is_taken(tmp_path, monkeypatch):
    """Ranks open it at the same time."""
    listed = Path.iterdir

    def beaten(folder):
        monkeypatch.setattr(Path, "iterdir", listed)
        measured(folder, [0])
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", beaten)
    same(Moments(Journal(tmp_path, IDENTITY).groups), Moments([leaf(0)]))


def test_the_target_of_a_tolerance_is_remembered(tmp_path):
    journal = Journal(tmp_path / "s", IDENTITY)
    assert journal.recall_target(0.02, 0) is None
    journal.record_target(0.02, 0, 2048)
    again = Journal(tmp_path / "s", IDENTITY)
    assert again.recall_target(0.02, 0) == 2048
    assert again.recall_target(0.03, 0) is None
    assert again.recall_target(0.02, 32) is None
    (tmp_path / "s" / "target.json").write_text('{"tolerance": 0.02, "first": 0}')
    assert again.recall_target(0.02, 0) is None


# what is refused ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    measured(tmp_path / "s", range(3))
    return tmp_path / "s"


@pytest.mark.parametrize("key", list(IDENTITY))
def test_another_measurement_is_refused_by_name(folder, key):
    with pytest.raises(InvalidInputError) as caught:
        Journal(folder, IDENTITY | {key: "other"})
    assert f"holds a measurement of another {key} ({IDENTITY[key]!r} and 'other')" in str(caught.value)
    assert len(files(folder)) == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "renamed", "foreign"])
def test_a_damaged_leaf_is_named_with_what_to_do(folder, damage):
    file = folder / files(folder)[1]
    content = bytearray(file.read_bytes())
    match damage:
        case "cut":
            file.write_bytes(content[: len(content) // 2])
        case "empty":
            file.write_bytes(b"")
        case "flipped":
            content[-20] ^= 1
            file.write_bytes(content)
        case "renamed":
            file = file.rename(folder / "networks-0000000320-0000000352.safetensors")
        case "foreign":
            save_file({"weight": torch.zeros(3)}, file)
    first, last = (320, 351) if damage == "renamed" else (32, 63)
    with pytest.raises(ScoregrainError) as caught:
        Journal(folder, IDENTITY)
    text = str(caught.value)
    assert text.startswith(f"'{file}' is damaged (")
    assert text.endswith(f"); delete it: only networks {first} to {last} are measured again")
    assert "\n" not in text
    file.unlink()
    assert Moments(Journal(folder, IDENTITY).groups).count in (64, 96)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_name_is_told(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(
        ScoregrainError, match=r"config.json' is damaged .*; delete '.*' to start the measurement again"
    ):
        Journal(folder, IDENTITY)


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InvalidInputError, match="holds no measurement to continue"):
        Journal(tmp_path, IDENTITY)
    (tmp_path / "config.json").write_text(json.dumps({"kind": "network geometry", "format": 1}))
    with pytest.raises(InvalidInputError, match="holds 'network geometry' of format 1, expected a measurement"):
        Journal(tmp_path, IDENTITY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "thesis.txt"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ScoregrainError, match=f"^cannot write '{tmp_path}/file/s': "):
        Journal(tmp_path / "file" / "s", IDENTITY)


def test_a_journal_is_no_geometry(folder):
    with pytest.raises(InvalidInputError, match="holds 'measurement' of format 1, expected a geometry"):
        Geometry.load(folder)


def test_only_networks_are_worth_keeping(tmp_path):
    assert not holds_networks(tmp_path / "nowhere")
    Journal(tmp_path / "s", IDENTITY)
    assert not holds_networks(tmp_path / "s")
    measured(tmp_path / "s", [4])
    assert holds_networks(tmp_path / "s")
