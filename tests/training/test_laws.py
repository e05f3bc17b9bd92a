"""A law on disk draws what it drew, for ever."""

import json

import pytest
import torch

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.datasets import Gaussian, GaussianMixture, Law, RankOne, Sphere, parse_law
from scoregrain.operators import DenseOperator, IdentityOperator
from scoregrain.training import Run, train
from scoregrain.training.laws import read_law, stored_law, write_law
from tests.training.cases import PERCEPTRON, SHAPE, config


def dense(seed):
    root = torch.randn(16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) / 8
    return DenseOperator.from_matrix(SHAPE, root @ root.T)


MEAN = torch.arange(16.0).reshape(SHAPE) / 16
LAWS = {
    "parsed": parse_law("rank-one:basis=dct-ii,index=3", SHAPE),
    "parsed sphere": parse_law("sphere:basis=hadamard,indices=0+3", SHAPE),
    "rank one": RankOne(MEAN, scale=2.5),
    "rank one of a parsed one's name": RankOne(MEAN, name="rank-one:basis=dct-ii,index=3"),
    "sphere": Sphere(torch.eye(16)[:, :3], SHAPE),
    "gaussian": Gaussian(MEAN, dense(0)),
    "mixture": GaussianMixture([3, 1], torch.stack([MEAN, -MEAN]), [dense(0), 0.25]),
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_a_law_comes_back_and_draws_the_same_bits(law, tmp_path):
    stored = stored_law(law)
    write_law(stored, tmp_path / "law")
    again = read_law(tmp_path / "law")
    draws = [each.sample(5, torch.Generator().manual_seed(0)) for each in (stored, again)]
    assert torch.equal(*draws)
    assert type(again) is type(law)
    assert (again.name, again.shape) == (law.name, law.shape)
    assert torch.allclose(again.mean, law.mean)
    assert torch.allclose(again.covariance.to_dense(), law.covariance.to_dense(), atol=1e-10)


def test_what_is_stored_is_stored_again_as_it_is():
    stored = stored_law(LAWS["gaussian"])
    assert stored_law(stored) is stored


def test_where_there_is_none_there_is_none(tmp_path):
    assert read_law(tmp_path / "law") is None


class Own(Law):
    mean, covariance = torch.zeros(SHAPE), IdentityOperator(SHAPE, 1.0)

    def __init__(self):
        super().__init__(SHAPE, "own", ())

    def _draw(self, n, generator):
        return torch.randn(n, *SHAPE, generator=generator)


def test_a_law_of_the_caller_s_own_class_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInputError, match=r"your own class Own cannot be stored .* data=law.sample\(10_000\)"):
        train(config(data=Own(), out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"law": "rank-one:basis=none,index=3", "shape": [1, 4, 4]}', "{}"])
def test_a_damaged_law_is_said_in_one_line(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ScoregrainError, match="missing or damaged") as said:
        read_law(tmp_path)
    assert "\n" not in str(said.value)


def test_tensors_of_another_law_are_damage(tmp_path):
    write_law(stored_law(LAWS["gaussian"]), tmp_path / "law")
    said = json.loads((tmp_path / "law" / "config.json").read_text())
    (tmp_path / "law" / "config.json").write_text(json.dumps(said | {"shape": [1, 3, 3]}))
    (tmp_path / "law" / "law.safetensors").write_bytes(b"no")
    with pytest.raises(ScoregrainError, match="missing or damaged"):
        read_law(tmp_path / "law")


@pytest.mark.parametrize("law", [LAWS["gaussian"], LAWS["mixture"], LAWS["sphere"]], ids=lambda law: law.name)
def test_a_run_on_a_law_knows_it_and_its_data_for_ever(law, tmp_path):
    run = train(config(data=law, out=tmp_path / "run"))
    again = Run.load(tmp_path / "run", family=PERCEPTRON)
    assert torch.allclose(again.law.mean, law.mean)
    assert torch.equal(again.data().train.pixels, run.data().train.pixels)
    resumed = train(config(data=law, out=tmp_path / "run", steps=13), resume=True)
    assert resumed.step == 13
