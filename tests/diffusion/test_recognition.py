import pytest
import torch

from scoregrain import InvalidInputError
from scoregrain.diffusion.recognition import Evidence, recognise
from scoregrain.noise import BandPass, ForwardNoise, PowerLaw

SHAPE = (64, 1, 28, 28)
NOISE = ForwardNoise(PowerLaw(alpha=-0.06))


def white(shape=SHAPE, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("weight", [PowerLaw(alpha=-0.06), PowerLaw(alpha=0.5), BandPass(low=0.3, high=1.0)])
def test_noise_of_either_law_is_recognised(weight, dtype):
    noise, xi = ForwardNoise(weight), white()
    assert recognise(noise, xi.to(dtype)) == "white"
    assert recognise(noise, noise.colour(xi.to(dtype))) == "shaped"


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(SHAPE),
        torch.ones(SHAPE),
        torch.full(SHAPE, float("nan")),
        2 * white(),
        0.5 * NOISE.colour(white()),
        torch.linspace(-1, 1, 28).expand(SHAPE),
        torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)),
    ],
    ids=["zeros", "ones", "nan", "louder", "quieter", "ramp", "uniform"],
)
def test_what_is_no_noise_of_unit_energy_is_neither(x):
    assert recognise(NOISE, x) is None


@pytest.mark.parametrize("alpha", [-1.5, -2.0])
@pytest.mark.parametrize("x", [torch.zeros(1, 1, 8, 8), 0.1 * white((1, 1, 8, 8)), torch.full((1, 1, 8, 8), 0.1)])
def test_one_small_array_of_little_energy_is_neither(alpha, x):
    """Under a law of many small variances even zeros are likelier than under white noise."""
    assert recognise(ForwardNoise(PowerLaw(alpha=alpha)), x) is None


def test_near_white_noise_and_few_numbers_decide_nothing():
    faint = ForwardNoise(PowerLaw(alpha=-0.001))
    assert recognise(faint, white()) is None
    assert recognise(faint, faint.colour(white())) is None
    assert recognise(NOISE, white((1, 1, 28, 28))) is None


def test_no_verdict_is_ever_wrong_in_a_thousand_draws():
    noise = ForwardNoise(PowerLaw(alpha=-0.4))
    batches = white((1000, 4, 1, 8, 8), seed=1)
    assert {recognise(noise, xi) for xi in batches} <= {"white", None}
    assert {recognise(noise, noise.colour(xi)) for xi in batches} <= {"shaped", None}


def test_one_large_array_is_enough():
    x = white((3, 3, 256, 256))
    assert recognise(NOISE, x) == "white"
    x[1:] = 0.0  # only the first is looked at
    assert recognise(NOISE, x) == "white"


def test_nothing_is_neither():
    assert recognise(NOISE, white((0, 1, 28, 28))) is None


def test_arrays_the_noise_does_not_fit_are_refused():
    with pytest.raises(InvalidInputError, match=r"\(N, C, \*space\)"):
        recognise(NOISE, white((4, 5)))


def test_a_number_under_a_faint_power_law_holds_a_quarter_of_alpha_squared_nats():
    for alpha in (-0.06, -0.01, 0.02):
        eigenvalues = ForwardNoise(PowerLaw(alpha=alpha)).operator((1, 28, 28)).eigenvalues
        nats = (1 / eigenvalues - 1 + eigenvalues.log()).mean() / 2  # of white noise against the shaped law
        assert nats == pytest.approx(alpha**2 / 4, rel=0.1)


def test_what_one_tensor_does_not_tell_several_do():
    """80/α² numbers, three times over, in tensors of several sizes."""
    white_seen, shaped_seen = Evidence(NOISE), Evidence(NOISE)
    generator = torch.Generator().manual_seed(0)
    for step in range(40):
        xi = torch.randn(2, 1, 28 + step % 3, 28, generator=generator)
        verdicts = white_seen.add(xi), shaped_seen.add(NOISE.colour(xi))
        if step < 5:
            assert verdicts == (None, None)
    assert verdicts == ("white", "shaped")
    assert white_seen.seen == shaped_seen.seen == sum(2 * 28 * (28 + step % 3) for step in range(40))


def test_no_verdict_on_the_way_is_ever_wrong():
    batches = white((100, 40, 4, 1, 8, 8), seed=1)
    noise = ForwardNoise(PowerLaw(alpha=-0.1))
    for xis in batches:
        white_seen, shaped_seen = Evidence(noise), Evidence(noise)
        assert {white_seen.add(xi) for xi in xis} <= {"white", None}
        assert {shaped_seen.add(noise.colour(xi)) for xi in xis} <= {"shaped", None}
