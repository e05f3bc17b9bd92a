"""The parts of a training: every disagreement between them is found before any work."""

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import Images, Split, parse_law
from scoregrain.noise import EqualSNR
from scoregrain.operators import DenseOperator
from scoregrain.training.record import record
from scoregrain.training.setup import fingerprint, prepare
from tests.training.cases import PERCEPTRON, SHAPE, config, rotation, unet

PIXELS = torch.rand(40, *SHAPE, generator=torch.Generator().manual_seed(0))


def images(shape=SHAPE, count=20):
    return Images(torch.zeros(count, *shape), "zeros")


DISAGREE = {
    "noise of another shape": (
        {"noise": DenseOperator.from_matrix((1, 5, 5), torch.eye(25, dtype=torch.float64))},
        r"built for arrays \(N, 1, 5, 5\), got \(N, 1, 4, 4\)",
    ),
    "a band left out unasked": ({"noise": "band-pass:low=0,high=0.3"}, "without noise: choose omission="),
    "an omission of nothing": ({"omission": "marginal"}, "omission='marginal' needs a noise that leaves a band out"),
    "a rotation of another shape": (
        {"rotation": rotation((1, 5, 5))},
        r"the rotation is of arrays \(1, 5, 5\), the network 'small-mlp' takes \(1, 4, 4\)",
    ),
    "a law of another shape": (
        {"data": parse_law("rank-one:basis=dct-ii,index=3", (1, 8, 8))},
        r"is of arrays \(1, 8, 8\), the network takes \(1, 4, 4\)",
    ),
    "arrays of another shape": (
        {"data": Split(images((1, 4, 5)), images((1, 4, 5)))},
        r"'zeros' holds arrays \(1, 4, 5\), the network takes \(1, 4, 4\): load_split",
    ),
    "images of another shape": ({"data": images((3, 4, 4))}, r"'zeros' holds arrays \(3, 4, 4\)"),
    "no data": ({"data": None}, "data given in memory: give them again"),
    "too few": ({"data": images(count=8), "limit": None}, "too few arrays: 6 of 'zeros' to train on, batches take 8"),
    "no such file": ({"data": "nowhere.npz"}, "nowhere.npz"),
    "no such model": ({"model": "unet-29"}, "unknown model 'unet-29'"),
    "no model at all": ({"model": 3}, "model must be a preset's name or a NetworkFamily, got int"),
    "no such rotation": ({"rotation": "nowhere"}, "'nowhere' is not a saved rotation"),
    "no such noise": ({"noise": "pinkish"}, "pink"),
    "no arrays of a law": ({"data": "rank-one:basis=dct-ii,index=3", "limit": 0}, "limit must be at least 2"),
    "nothing held out": ({"data": Split(images(), images(count=0))}, "nothing of 'zeros' is held out"),
    "no such law": ({"data": "rank-one:basis=dct-ix,index=3"}, "dct-ii"),
}


@pytest.mark.parametrize(("changes", "said"), DISAGREE.values(), ids=DISAGREE)
def test_parts_that_do_not_fit_are_refused_in_one_line(changes, said):
    changes = {"data": PIXELS, "limit": None, "held_out": 0.3} | changes
    with pytest.raises(InvalidInputError, match=said) as refused:
        prepare(config(**changes))
    assert "\n" not in str(refused.value)


def test_images_smaller_than_the_network_are_enlarged_only_when_asked():
    data = torch.rand(20, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    asked = {"model": unet(), "data": data, "limit": None}
    with pytest.raises(InvalidInputError, match="enlarge"):
        prepare(config(**asked))
    assert prepare(config(enlarge=True, **asked)).split.train.shape == (1, 8, 8)


def test_arrays_of_numpy_are_data_too():
    setup = prepare(config(data=PIXELS.numpy(), limit=None))
    assert torch.equal(setup.split.train.pixels, prepare(config(data=PIXELS, limit=None)).split.train.pixels)
    assert record(setup)["data"]["source"] is None


def test_a_noise_is_fitted_to_what_is_trained_on_and_not_to_what_is_held_out():
    setup = prepare(config(data=PIXELS, noise="equal-snr", limit=None))
    expected = EqualSNR.fit(setup.split.train.pixels)
    assert torch.allclose(setup.process.noise.weight.power, expected.power)
    assert not torch.allclose(EqualSNR.fit(PIXELS).power, expected.power)


def test_a_law_s_arrays_are_a_fixed_draw_and_the_held_out_ones_are_fresh():
    first, again = (prepare(config()).split for _ in range(2))
    assert torch.equal(first.train.pixels, again.train.pixels)
    assert len(first.train) == 60
    joint = torch.cat([first.train.pixels, first.held_out.pixels]).flatten(1)
    assert len(joint.unique(dim=0)) == len(joint)
    assert not torch.equal(prepare(config(seed=1)).split.train.pixels, first.train.pixels)


def test_nothing_that_is_held_out_is_trained_on():
    setup = prepare(config(data=PIXELS, limit=None, held_out=0.25))
    parts = [{tuple(x.flatten().tolist()) for x in part.pixels} for part in (setup.split.train, setup.split.held_out)]
    assert [len(part) for part in parts] == [30, 10]
    assert not parts[0] & parts[1]


def test_the_prediction_is_the_networks_own_unless_said():
    assert prepare(config()).process.prediction == PERCEPTRON.prediction == "epsilon"
    assert prepare(config(prediction="flow")).process.prediction == "flow"


def test_a_fingerprint_is_of_content_shape_and_kind():
    x = torch.arange(12.0).reshape(3, 1, 2, 2)
    marks = {fingerprint(each) for each in (x, x + 1e-6 * (x == 3), x.reshape(3, 1, 4, 1), x.double(), x.flip(0))}
    assert len(marks) == 5
    assert fingerprint(x) == fingerprint(x.clone().mT.contiguous().mT)
