"""What a run folder says of itself, and what may differ when it is resumed."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

import scoregrain as sg
from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.align import Rotation
from scoregrain.models import MLP, NetworkFamily
from scoregrain.training import Run, train
from scoregrain.training.record import read_config, read_record, record
from scoregrain.training.setup import prepare
from tests.training.cases import LINEAR, PERCEPTRON, SHAPE, config, rotation


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(config(out=folder, noise="power-law:alpha=-0.5", rotation=rotation()))
    return folder


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "run")


def again(folder, **changes):
    same = {"noise": "power-law:alpha=-0.5", "rotation": rotation()}
    return train(config(out=folder, **(same | changes)), resume=True)


OTHER = {
    "learning_rate": ({"learning_rate": 2e-3}, "learning_rate 0.001, now it is 0.002"),
    "seed": ({"seed": 1}, "seed 0, now it is 1"),
    "batch_size": ({"batch_size": 4}, "batch_size 8, now it is 4"),
    "ema": ({"ema": 0}, "ema 0.999, now it is 0"),
    "prediction": ({"prediction": "sample"}, "prediction"),
    "mixed_precision": ({"mixed_precision": "bf16"}, "mixed_precision 'no', now it is 'bf16'"),
    "timesteps": ({"timesteps": 60}, "timesteps 50, now it is 60"),
    "noise": ({"noise": "power-law:alpha=-0.6"}, "noise 'power-law:alpha=-0.5', now it is 'power-law:alpha=-0.6'"),
    "no rotation": ({"rotation": None}, "now it is None"),
    "another rotation": ({"rotation": rotation(seed=1)}, "rotation"),
    "data": ({"data": "rank-one:basis=dct-ii,index=4"}, "another set of arrays (fingerprint "),
    "fewer data": ({"limit": 50}, "limit 60, now it is 50"),
    "model": ({"model": LINEAR}, "another network (fingerprint "),
    "init": ({"model": replace(PERCEPTRON, init="unzero-head")}, "init 'as-is', now it is 'unzero-head'"),
}


@pytest.mark.parametrize(("changes", "said"), OTHER.values(), ids=OTHER)
def test_a_run_is_not_continued_otherwise_and_the_difference_is_named(folder, changes, said):
    with pytest.raises(InvalidInputError) as refused:
        again(folder, **changes)
    text = str(refused.value)
    assert text.startswith(f"'{folder}' was trained with ")
    assert said in text
    assert text.endswith(": continue with the same, or choose another --out")
    assert "\n" not in text


def test_a_rotation_of_low_rank_is_compared_with_its_basis(tmp_path):
    first, other = rotation(rank=2), rotation(seed=1, rank=2)
    train(config(out=tmp_path / "run", rotation=first))
    with pytest.raises(InvalidInputError, match="was trained with rotation"):
        train(config(out=tmp_path / "run", rotation=replace(other, core=first.core)), resume=True)


def test_a_run_is_not_continued_to_fewer_steps_than_it_has_made(copy):
    with pytest.raises(InvalidInputError, match=r"'.*run' has made 12 steps: --steps must be at least that, got 6"):
        again(copy, steps=6)
    assert Run.load(copy, family=PERCEPTRON).config.steps == 12


def test_refusing_changes_nothing(copy):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(InvalidInputError):
        again(copy, learning_rate=1)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "changes",
    [{"steps": 13}, {"checkpoint_every": 2}, {"keep": 1}, {"sample_every": 5}, {"log_every": 1}, {"device": None}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_changes_no_update_may_differ(copy, changes):
    assert again(copy, **changes).finished


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_a_rate_that_depends_on_the_steps_binds_them(name, tmp_path):
    train(config(out=tmp_path / "run", lr_schedule=name))
    with pytest.raises(InvalidInputError, match="was trained with steps 12, now it is 20"):
        train(config(out=tmp_path / "run", lr_schedule=name, steps=20), resume=True)


def test_a_record_is_read_as_it_was_written(folder):
    settings = config(out=folder, noise="power-law:alpha=-0.5", rotation=rotation())
    expected = json.loads(json.dumps(record(prepare(settings)), default=str))
    assert read_record(folder) == expected


def test_a_configuration_comes_back_from_the_folder(folder):
    found = read_config(folder, read_record(folder), PERCEPTRON)
    assert str(found.noise) == "power-law:alpha=-0.5"
    assert isinstance(found.rotation, Rotation)
    assert torch.equal(found.rotation.core, rotation().core)
    for name in ("steps", "batch_size", "learning_rate", "seed", "timesteps", "limit"):
        assert getattr(found, name) == getattr(config(), name)
    ours, theirs = (record(prepare(each)) for each in (found, config(noise=found.noise, rotation=rotation())))
    assert (ours["data"].pop("source"), theirs["data"].pop("source")) == (None, "rank-one:basis=dct-ii,index=3")
    assert ours == theirs


def test_a_family_that_no_file_may_name_is_asked_for(folder):
    with pytest.raises(InvalidInputError, match="'small-mlp' was built by code that no file may name"):
        Run.load(folder)


def test_a_family_of_another_shape_is_refused(folder):
    other = NetworkFamily(lambda: MLP((1, 4, 5), width=8), (1, 4, 5))
    with pytest.raises(InvalidInputError, match=r"is of arrays \(1, 4, 4\), the family 'custom' of \(1, 4, 5\)"):
        Run.load(folder, family=other)


def test_a_family_of_other_networks_is_refused(folder):
    other = NetworkFamily(lambda: MLP(SHAPE, width=8), SHAPE, name="thin")
    with pytest.raises(ScoregrainError, match="step-00000012"):
        Run.load(folder, family=other)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[1]", "holds no run, expected a run of format 1"),
        ("{}", "holds no run"),
        ('{"kind": "geometry", "format": 1}', "holds 'geometry' of format 1"),
        ('{"kind": "run", "format": 99}', "holds 'run' of format 99"),
        ("[" * 100_000, "cannot be read"),
        ('{"kind": "run", "format": 1}', "cannot be read, a file is missing or damaged"),
        ('{"kind": "run", "format": 1, "model": 3, "data": [], "training": {}}', "missing or damaged"),
    ],
)
def test_a_folder_of_something_else_or_damaged_is_said_in_one_line(copy, text, said):
    (copy / "config.json").write_text(text)
    with pytest.raises(ScoregrainError, match=said) as refused:
        Run.load(copy, family=PERCEPTRON)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("entry", ["rotation", "noise", "model", "training", "data"])
def test_an_entry_that_is_gone_or_no_section_is_damage_to_whoever_reads_it(copy, entry):
    found = json.loads((copy / "config.json").read_text())
    for text in (found | {entry: 3}, {key: value for key, value in found.items() if key != entry}):
        (copy / "config.json").write_text(json.dumps(text))
        with pytest.raises(ScoregrainError):
            again(copy)
        if entry in ("model", "training", "data") or (entry == "rotation" and entry not in text):
            with pytest.raises(ScoregrainError, match="missing or damaged"):
                Run.load(copy, family=PERCEPTRON)


def test_a_record_without_the_configuration_of_its_network_is_damage(copy):
    found = json.loads((copy / "config.json").read_text())
    found["model"]["config"] = None
    (copy / "config.json").write_text(json.dumps(found))
    with pytest.raises(ScoregrainError, match="missing or damaged"):
        Run.load(copy)


@pytest.mark.parametrize("part", ["noise", "rotation"])
def test_a_part_that_is_gone_is_said(copy, part):
    shutil.rmtree(copy / part)
    with pytest.raises(ScoregrainError, match=f"run/{part}"):
        Run.load(copy, family=PERCEPTRON)


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(InvalidInputError, match=r"is not a run: it has no config\.json"):
        Run.load(tmp_path)
    with pytest.raises(InvalidInputError, match="is not a run: it does not exist"):
        Run.load(tmp_path / "gone")


def test_a_class_that_a_file_names_is_never_imported(tmp_path):
    """Only the library's own networks and those of diffusers that it knows are built."""
    train(config(out=tmp_path / "run", model=sg.NetworkFamily.from_preset("linear-16"), data="digits", enlarge=True))
    file = tmp_path / "run" / "config.json"
    for name in ("os.system", "diffusers.DiffusionPipeline", "scoregrain.Geometry"):
        found = json.loads(file.read_text())
        found["model"]["config"]["class"] = name
        file.write_text(json.dumps(found))
        with pytest.raises(InvalidInputError):
            Run.load(tmp_path / "run")
