"""Checkpoints: bit for bit there and back; ``latest`` names only what is whole and inside the run."""

import json
import resource

import pytest
import torch
from torch import nn

from scoregrain._errors import ScoregrainError
from scoregrain.training.average import Average
from scoregrain.training.checkpoint import LATEST, State, checkpoint_name, latest, read_state, write_atomically
from tests.training.cases import SHAPE, Odd


def trained(updates, seed=0, kind=torch.optim.Adam, ema=True, network=Odd):
    """A state after some updates of a network with dropout, buffers and tied weights."""
    torch.manual_seed(seed)
    network = network()
    average = Average(network, 0.9) if ema else None
    optimizer = kind(network.parameters(), lr=1e-2)
    for k in range(updates):
        optimizer.param_groups[0]["lr"] = 1e-2 / (k + 1)
        network(torch.randn(8, *SHAPE), torch.arange(8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if average is not None:
            average.update_parameters(network)
    return State(network, average, optimizer)


def tensors(state):
    found = dict(state.network.state_dict())
    if state.average is not None:
        found |= {f"ema.{name}": value for name, value in state.average.state_dict().items()}
    for index, values in state.optimizer.state_dict()["state"].items():
        found |= {f"{index}.{name}": value for name, value in values.items()}
    return found


def same(a, b):
    one, other = tensors(a), tensors(b)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("ema", [True, False])
def test_a_checkpoint_comes_back_bit_for_bit(run, kind, ema):
    written, read = trained(3, kind=kind, ema=ema), trained(1, seed=1, kind=kind, ema=ema)
    assert not same(written, read)
    written.save(run, 3, keep=1)
    assert read.restore(run) == 3
    assert same(written, read)
    one, other = (state.optimizer.state_dict()["param_groups"] for state in (written, read))
    assert one == other


def test_an_optimizer_restored_before_its_first_step_takes_the_same_one(run):
    """Its moments arrive although it had none."""
    written, read = trained(3), trained(0, seed=1)
    written.save(run, 3, keep=1)
    read.restore(run)
    for state in (written, read):
        for p in state.network.parameters():
            p.grad = torch.ones_like(p)
        state.optimizer.step()
    assert same(written, read)


def test_tied_weights_stay_tied(run):
    trained(2).save(run, 2, keep=1)
    read = trained(0, seed=1)
    read.restore(run)
    assert read.network.middle.weight is read.network.again.weight
    assert read.average.module.middle.weight is read.average.module.again.weight


def test_nothing_is_pickled_and_all_can_read_it(run):
    folder = trained(1).save(run, 1, keep=1)
    assert sorted(path.name for path in folder.iterdir()) == [
        "ema.safetensors",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.safetensors")} == {0o644}
    assert json.loads((folder / "state.json").read_text())["step"] == 1


def test_the_newest_stay_and_latest_names_the_last(run):
    state = trained(1)
    for step in (5, 10, 15):
        state.save(run, step, keep=2)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-00000010", "step-00000015"]
    assert latest(run).name == checkpoint_name(15)


def test_one_that_no_latest_names_is_ignored_and_replaced(run):
    """A kill between the rename and the name leaves a checkpoint beyond the one that counts."""
    good, unnamed = trained(1), trained(4, seed=2)
    good.save(run, 5, keep=1)
    name = (run / LATEST).read_text()
    unnamed.save(run, 10, keep=2)
    (run / LATEST).write_text(name)
    read = trained(0)
    assert read.restore(run) == 5
    assert same(read, good)
    good.save(run, 10, keep=1)
    read.restore(run)
    assert same(read, good)


def test_a_checkpoint_beyond_never_pushes_out_the_one_that_counts(run):
    """After such a kill a run may go on in other strides: what lies ahead is old and goes first."""
    state = trained(1)
    state.save(run, 5, keep=1)
    name = (run / LATEST).read_text()
    state.save(run, 10, keep=2)
    (run / LATEST).write_text(name)
    state.save(run, 7, keep=1)
    assert latest(run).name == checkpoint_name(7)
    assert [path.name for path in (run / "checkpoints").iterdir()] == [checkpoint_name(7)]


def test_what_a_killed_save_left_goes_with_the_next(run):
    left = run / "checkpoints" / f".{checkpoint_name(5)}.scoregrain-abcdefgh"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    trained(1).save(run, 5, keep=1)
    assert not left.exists()


def test_before_the_first_checkpoint_there_is_none(run):
    assert latest(run) is None
    with pytest.raises(ScoregrainError, match="has no checkpoint"):
        trained(0).restore(run)


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc", "step-00000099", "", "step-1", "..", "\x00", "\xff"])
def test_a_latest_that_names_something_else_is_refused(run, name):
    (run.parent / "elsewhere").mkdir(exist_ok=True)
    trained(1).save(run, 5, keep=1)
    (run / LATEST).write_text(name)
    with pytest.raises(ScoregrainError, match="which is not there: the run is damaged"):
        latest(run)


@pytest.mark.parametrize("name", ["model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_a_damaged_file_is_said_in_one_line(run, name, damage):
    file = trained(2).save(run, 5, keep=1) / name
    if damage == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"{}" + bytes(100))
    with pytest.raises(ScoregrainError, match=r"step-00000005' cannot be read, a file is missing or damaged") as said:
        trained(0).restore(run)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("text", ["[]", "{}", '{"step": null}', '{"step": "many"}'])
def test_a_state_that_says_no_step_is_damaged(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(ScoregrainError, match="missing or damaged"):
        read_state(tmp_path)


def other_size():
    return nn.Linear(3, 3)


def test_a_checkpoint_of_another_network_is_refused(run):
    trained(1).save(run, 5, keep=1)
    network = other_size()
    with pytest.raises(ScoregrainError, match="missing or damaged"):
        State(network, None, torch.optim.Adam(network.parameters())).restore(run)


def test_a_full_disk_leaves_the_last_good_checkpoint_and_nothing_beside_it(run):
    state = trained(1)
    state.save(run, 5, keep=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(ScoregrainError, match=r"cannot write '.*step-00000010': .*File too large"):
            state.save(run, 10, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (run / "checkpoints").iterdir()] == [checkpoint_name(5)]
    assert trained(0, seed=1).restore(run) == 5


def test_a_small_file_is_replaced_whole_or_not_at_all(tmp_path):
    file = tmp_path / "latest"
    write_atomically(file, "old\n")
    resource_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, resource_limit[1]))
    try:
        with pytest.raises(ScoregrainError, match="cannot write"):
            write_atomically(file, "newer than that\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, resource_limit)
    assert file.read_text() == "old\n"
