"""Noises as strings: what is written is read back exactly, and every mistake is named."""

import dataclasses
from pathlib import Path

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.noise.bands import BandPass, TwoBand
from scoregrain.noise.equal_snr import EqualSNR
from scoregrain.noise.forward import ForwardNoise
from scoregrain.noise.parsing import KINDS, describe_weight, names_folder, parse_noise, parse_weight
from scoregrain.noise.weight import Weight
from scoregrain.noise.weights import Blue, Brown, Custom, Exponential, Pink, PowerLaw, White
from scoregrain.operators import DenseOperator, DiagonalOperator, FourierOperator, FrequencyGrid

WRITTEN = [
    (White(), "white"),
    (PowerLaw(-0.06), "power-law:alpha=-0.06"),
    (PowerLaw(1, eps=1e-8, radius="corner", dc="zero"), "power-law:alpha=1.0,eps=1e-08,radius=corner,dc=zero"),
    (Exponential(2), "exponential:beta=2.0"),
    (BandPass(0, 0.5), "band-pass:low=0.0,high=0.5"),
    (TwoBand(0.3), "two-band:gamma-low=0.3"),
    (
        TwoBand(1, 2, low_end=0.25, convention="workshop"),
        "two-band:gamma-low=1.0,gamma-high=2.0,low-end=0.25,convention=workshop",
    ),
    (Blue(), "blue"),
    (Pink(eps=0.1), "pink:eps=0.1"),
    (Brown(dc="zero"), "brown:dc=zero"),
    (PowerLaw(1 / 3) * White() * Exponential(0.1), "power-law:alpha=0.3333333333333333*white*exponential:beta=0.1"),
]
WHITE_PLANE = torch.ones(4, 4, dtype=torch.float64)


@pytest.mark.parametrize(("weight", "text"), WRITTEN)
def test_weights_are_written_and_read_back(weight, text):
    """Required keys always, others when they differ from the default, numbers exactly."""
    assert describe_weight(weight) == str(ForwardNoise(weight)) == text
    assert parse_weight(text) == weight
    assert parse_noise(text) == ForwardNoise(weight)


@pytest.mark.parametrize(("weight", "text"), WRITTEN)
def test_the_normalisation_is_written_when_it_is_not_unit(weight, text):
    noise = ForwardNoise(weight, "none")
    assert str(noise) in (f"{text}:normalize=none", f"{text},normalize=none")
    assert parse_noise(str(noise)) == noise != ForwardNoise(weight)
    assert parse_noise(str(noise)).normalize == "none"


def test_every_weight_with_a_string_is_among_the_examples():
    assert {type(weight) for weight, _ in WRITTEN[:-1]} | {Custom, EqualSNR} == set(KINDS.values())


@pytest.mark.parametrize(
    "text",
    [
        " power-law : alpha = -1 , dc=floor * band-pass : low=0,high=.50 , normalize = none ",
        "power-law:normalize=none,alpha=-1*band-pass:low=0,high=0.5",
        "power-law:alpha=-1.0*band-pass:low=0.0,high=0.5,normalize=none",
    ],
)
def test_there_is_some_freedom_in_writing(text):
    """Spaces, defaults, other spellings of a number, normalize in any factor."""
    assert str(parse_noise(text)) == "power-law:alpha=-1.0*band-pass:low=0.0,high=0.5,normalize=none"
    assert parse_noise("two-band:gamma_low=0.3") == parse_noise("two-band:gamma-low=0.3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the noise is empty: expected NAME:key=value"),
        ("  ", "the noise is empty"),
        ("white*", "one factor of the noise 'white\\*' is empty"),
        ("powr-law:alpha=1", "unknown noise 'powr-law' .did you mean 'power-law'.*known: white, power-law"),
        ("equal-snrs", "did you mean 'equal-snr'"),
        ("saved-noise", "or the folder of a saved one, whose path starts with"),
        ("power-law", "power-law needs alpha: write power-law:alpha=NUMBER"),
        ("band-pass:low=0", "band-pass needs high"),
        ("power-law:alfa=1", "power-law has no key 'alfa' .did you mean 'alpha'.*its keys: alpha, eps, radius, dc"),
        ("white:normalise=none", "white has no key 'normalise' .did you mean 'normalize'"),
        ("power-law:alpha=1,dc=flor", "unknown dc 'flor' of power-law .did you mean 'floor'"),
        ("two-band:gamma-low=.5,convention=sgd", "unknown convention 'sgd' of two-band .did you mean 'sagd'"),
        ("white:normalize=unt", "unknown normalisation 'unt' .did you mean 'unit'"),
        ("power-law:alpha=one", "alpha of power-law must be a number, got 'one'"),
        ("power-law:alpha=nan", "alpha of power-law must be a finite number"),
        ("power-law:alpha=1,alpha=2", "alpha is given twice"),
        ("two-band:gamma-low=1,gamma_low=1", "gamma-low is given twice"),
        ("white:normalize=unit*white:normalize=unit", "normalize is given twice"),
        ("power-law:alpha", "expected key=value after 'power-law:', got 'alpha'"),
        ("power-law:alpha=", "expected key=value after 'power-law:', got 'alpha='"),
        ("power-law:alpha=1,", "expected key=value after 'power-law:', got ''"),
        ("band-pass:low=0.5,high=0.2", "0 <= low < high"),
        ("custom", "the noise 'custom' holds gains of its own: load it from its folder"),
        ("white*custom@1a2b3c4d5e6f", "the noise 'custom@1a2b3c4d5e6f' holds gains of its own: load it"),
        ("operator@1a2b3c4d5e6f", "holds an operator: load it from its folder"),
        ("equal-snr:gamma=0.5", "the noise 'equal-snr' needs data: EqualSNR.fit.images., or --data"),
        ("./nowhere", "is not a saved noise: it has no config.json"),
        ("./nowhere*pink", "'nowhere' is not a saved noise: it has no config.json"),
        (None, "a noise to parse must be of type str or PathLike, got NoneType"),
    ],
)
def test_mistakes_are_named_in_one_line(text, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        parse_noise(text)
    assert "\n" not in str(caught.value)


def test_a_saved_noise_is_a_factor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gains = 1 + torch.arange(16.0).reshape(4, 4)
    weight = Custom(gains + FrequencyGrid((4, 4)).mirror(gains))
    ForwardNoise(weight).save("a")
    ForwardNoise(weight, "none").save("b")
    assert parse_noise("./a*pink:dc=zero") == ForwardNoise(weight * Pink(dc="zero"))
    assert parse_noise(f"blue:normalize=none*{tmp_path}/b") == ForwardNoise(Blue() * weight, "none")
    assert parse_noise("./b*blue:normalize=unit") == ForwardNoise(weight * Blue())
    with pytest.raises(InvalidInputError, match=r"'./b' was saved with normalize=none: say which .* \*white:normalize"):
        parse_noise("./b*pink")
    ForwardNoise(DiagonalOperator((1, 4, 4), torch.ones(16))).save("c")
    with pytest.raises(InvalidInputError, match=r"'./c' holds an operator: it has no product"):
        parse_noise("./c*pink")


def test_a_folder_is_named_by_a_path(tmp_path, monkeypatch):
    """An object of the kind, or a string that starts like one; the name alone says how to write it."""
    monkeypatch.chdir(tmp_path)
    ForwardNoise(Pink()).save("x/noise")
    assert parse_noise(Path("x/noise")) == parse_noise("./x/noise") == ForwardNoise(Pink())
    with pytest.raises(InvalidInputError, match=r"unknown noise 'x/noise': to load the folder .* write ./x/noise"):
        parse_noise("x/noise")


def test_the_data_of_equal_snr_may_be_handed_over():
    power = 2 * WHITE_PLANE
    assert parse_noise("equal-snr:gamma=0.5*pink", power) == ForwardNoise(EqualSNR(power, 0.5) * Pink())


def test_a_weight_has_no_normalisation():
    with pytest.raises(InvalidInputError, match="normalize belongs to a noise"):
        parse_weight("white:normalize=unit")


def test_tensors_are_named_by_a_hash_of_their_values_and_shape():
    plane = 1 + WHITE_PLANE
    texts = {describe_weight(Custom(gains)) for gains in (WHITE_PLANE, plane, plane.flatten(), plane[:2], plane[:, :2])}
    assert len(texts) == 5
    assert all(len(text) == len("custom@") + 12 and text.startswith("custom@") for text in texts)
    assert describe_weight(Custom(plane)) == describe_weight(Custom(plane.float()))
    assert ForwardNoise(Custom(plane)) == ForwardNoise(Custom(plane.clone())) != ForwardNoise(Custom(WHITE_PLANE))
    fitted = describe_weight(PowerLaw(-1.0) * EqualSNR(plane, gamma=0.5))
    assert fitted.startswith("power-law:alpha=-1.0*equal-snr@")
    assert fitted.endswith(":gamma=0.5")


def test_an_operator_is_named_by_its_eigenvalues_and_eigenvectors():
    values = torch.tensor([3.0, 2.0, 1.0, 0.5], dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    noise = ForwardNoise(DenseOperator((1, 2, 2), values, basis))
    assert str(noise).startswith("operator@")
    assert noise == ForwardNoise(DiagonalOperator((1, 2, 2), values.flip(0), basis.flip(1)))
    assert noise != ForwardNoise(DenseOperator((1, 2, 2), values, basis.flip(1)))
    assert noise != ForwardNoise(DenseOperator((1, 2, 2), 2 * values, basis))
    assert str(ForwardNoise(noise.weight, "none")) == f"{noise}:normalize=none"


def test_a_large_operator_is_named_without_its_eigenvectors():
    """Equal eigenvalues do not make equal names."""

    def noise(power):
        return ForwardNoise(FourierOperator((3, 64, 64), power))

    down, across = FrequencyGrid((64, 64)).wavenumbers
    power = torch.exp(-0.1 * down.abs() - 0.05 * across.abs())
    assert noise(power) == noise(power.clone()) != noise(power.T)
    slanted = torch.ones(64, 64, dtype=torch.float64)
    slanted[3, 5] = slanted[-3, -5] = 4.0
    assert noise(slanted) != noise(FrequencyGrid((64, 64)).mirror(slanted.flip(0).roll(1, 0)))


@dataclasses.dataclass(frozen=True, eq=False)
class ColdNoise(Weight):
    plane: torch.Tensor
    strength: float = 1.0
    kind: str = "cold"

    def __call__(self, grid):
        return self.plane**self.strength


class Plain(Weight):
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, grid):
        return torch.full(grid.size, self.scale, dtype=torch.float64)


def test_a_weight_of_ones_own_names_itself():
    text = describe_weight(ColdNoise(WHITE_PLANE, 2.0))
    assert text.startswith("cold-noise@")
    assert text.endswith(":strength=2.0")
    assert ForwardNoise(ColdNoise(WHITE_PLANE)) != ForwardNoise(ColdNoise(2 * WHITE_PLANE))
    assert describe_weight(Plain(0.5)) == "plain:scale=0.5"


@dataclasses.dataclass(frozen=True, eq=False)
class Holder(Weight):
    held: object

    def __call__(self, grid):
        return torch.ones(grid.size, dtype=torch.float64)


LARGE = torch.ones(64, 64, dtype=torch.float64)
SPOT = LARGE.index_fill(0, torch.tensor([32]), 2.0)  # where a printed tensor has an ellipsis


@pytest.mark.parametrize(
    "hold",
    [
        lambda plane: plane,
        lambda plane: plane.numpy(),
        lambda plane: (plane, 1.0),
        lambda plane: {"plane": [plane]},
        lambda plane: Custom(plane) * White(),
    ],
)
def test_whatever_a_weight_of_ones_own_holds_is_told_apart(hold):
    """All of it, on one line."""
    noise, same, other = (ForwardNoise(Holder(hold(plane))) for plane in (LARGE, LARGE.clone(), SPOT))
    assert noise == same != other
    assert "\n" not in str(noise)


def test_classes_of_one_name_are_told_apart():
    own = type("White", (Weight,), {"__call__": lambda _, grid: 1 + grid.radius()})
    assert str(ForwardNoise(own())) == "white"
    assert ForwardNoise(own()) == ForwardNoise(own()) != ForwardNoise(White())


@pytest.mark.parametrize(
    ("text", "answer"),
    [("./a", True), (" /a", True), ("pink* ../a", True), ("/a:x=1*pink", True), ("pink*blue:eps=1e-3", False)],
)
def test_a_string_that_takes_from_a_folder_is_told_apart(text, answer):
    assert names_folder(text) == answer
