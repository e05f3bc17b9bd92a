"""Noise colours against the closed forms of MATH B2 to B4 (oracles N1, N2, N4, N6, N8, N11, N12, O6)."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.noise.bands import BandPass, TwoBand
from scoregrain.noise.forward import ForwardNoise
from scoregrain.noise.weight import Weight
from scoregrain.noise.weights import Blue, Brown, Custom, Exponential, Pink, PowerLaw, Product, White
from scoregrain.operators import FrequencyGrid

WEIGHTS = [
    White(),
    PowerLaw(-0.5),
    PowerLaw(0.5),
    PowerLaw(-0.5, eps=0.1, dc="formula"),
    Exponential(2.0),
    BandPass(0.0, 0.5),
    TwoBand(0.3),
    Blue(),
    Pink(),
    Brown(),
    PowerLaw(-0.5) * Exponential(1.0),
]


def power(weight, shape, normalize="none"):
    """w² of every frequency, read from Σ and not from the weight."""
    return ForwardNoise(weight, normalize).operator(shape).power


def test_a_ring_of_four():
    """N1: T and Σ of w = (2, 1, 0, 1) row by row; w against w² and the FFT's norm show here."""
    noise = ForwardNoise(Custom(torch.tensor([2.0, 1.0, 0.0, 1.0])), "none")
    delta = torch.zeros(1, 1, 4, dtype=torch.float64)
    delta[..., 0] = 1
    root = torch.tensor([1.0, 0.5, 0.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(noise.colour(delta)[0, 0], root, atol=1e-12, rtol=0)
    covariance = noise.operator((1, 4)).to_dense()
    torch.testing.assert_close(covariance[0], torch.tensor([1.5, 1, 0.5, 1], dtype=torch.float64), atol=1e-12, rtol=0)
    unit = ForwardNoise(noise.weight).operator((1, 4)).to_dense()
    torch.testing.assert_close(unit.diagonal(), torch.ones(4, dtype=torch.float64), atol=1e-12, rtol=0)


def test_uneven_gains_are_refused():
    """N2: real noise would come out complex, by up to 0.25."""
    with pytest.raises(InvalidInputError, match="gains must be even"):
        Custom(torch.tensor([1.0, 2.0, 1.0, 1.0]))


def test_a_power_law_on_a_small_plane():
    """N4: means and determinants are of the full plane, not of the half one."""
    weight = PowerLaw(-1, eps=0.1, dc="formula")
    assert power(weight, (1, 4, 4)).mean().item() == pytest.approx(10.524916138537, rel=1e-9)
    unit = ForwardNoise(weight)
    assert unit.operator((1, 4, 4)).power[0, 0].sqrt().item() == pytest.approx(3.082411937583, rel=1e-9)
    assert unit.log_det((1, 4, 4)) == pytest.approx(-12.523092364977, rel=1e-9)
    assert unit.log_det((3, 4, 4)) == pytest.approx(3 * -12.523092364977, rel=1e-9)


@pytest.mark.parametrize(("alpha", "mean"), [(-0.06, 1.14514), (-0.04, 1.09233), (0.04, 0.91896), (0.08, 0.84621)])
def test_published_exponents_change_the_amount_of_noise_unless_normalised(alpha, mean):
    """N8, with ε = 1e-8 at the constant as in the papers' formula."""
    weight = PowerLaw(alpha, eps=1e-8, dc="formula")
    assert power(weight, (1, 32, 32)).mean().item() == pytest.approx(mean, rel=1e-4)
    assert power(weight, (1, 32, 32), "unit").mean().item() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("radius", ["raw", "corner", "nyquist"])
@pytest.mark.parametrize("alpha", [-1.0, -0.06, 0.5])
def test_the_power_has_slope_two_alpha(alpha, radius):
    """N11: log w² against log r, bin by bin."""
    away = FrequencyGrid((12, 9)).radius() > 0
    logs = FrequencyGrid((12, 9)).radius(radius)[away].log()
    gains = power(PowerLaw(alpha, radius=radius), (1, 12, 9))[away].log()
    torch.testing.assert_close(gains, 2 * alpha * logs, atol=1e-12, rtol=0)


def test_drawn_noise_has_slope_two_alpha():
    """N11: least squares over the measured power of 200 images, within 4 %."""
    alpha, grid = -0.5, FrequencyGrid((64, 64))
    eps = ForwardNoise(PowerLaw(alpha)).sample((200, 1, 64, 64), generator=torch.Generator().manual_seed(0))
    measured = torch.fft.fft2(eps.double(), norm="ortho").abs().square().mean((0, 1))
    away = grid.radius() > 0
    x, y = grid.radius()[away].log(), measured[away].log()
    slope = ((x - x.mean()) * y).sum() / (x - x.mean()).square().sum()
    assert slope.item() == pytest.approx(2 * alpha, rel=0.04)


@pytest.mark.parametrize(("colour", "slope"), [(Blue, 1), (Pink, -1), (Brown, -2)])
def test_named_colours_mean_the_power_not_the_gain(colour, slope):
    """Pink is 1/f in power; blue is rough, in the papers' sign."""
    r = FrequencyGrid((16,)).radius()
    torch.testing.assert_close(colour()(FrequencyGrid((16,)))[1:] ** 2, r[1:] ** slope)
    law = PowerLaw(slope / 2, eps=0.1, radius="corner", dc="zero")
    same = colour(eps=0.1, radius="corner", dc="zero")
    assert torch.equal(same(FrequencyGrid((5, 4))), law(FrequencyGrid((5, 4))))


def test_the_rule_for_the_constant():
    grid = FrequencyGrid((4, 8))
    law = PowerLaw(-1.0, eps=0.01)(grid)
    assert law[0, 0] == law[0, 1] == pytest.approx(1 / (1 / 8 + 0.01))
    assert PowerLaw(-1.0, eps=0.01, dc="formula")(grid)[0, 0] == pytest.approx(100)
    for weight in (PowerLaw(-1.0), Exponential(1.0), BandPass(0, 1), TwoBand(0.4), Pink()):
        assert dataclasses.replace(weight, dc="zero")(grid)[0, 0] == 0
    assert Exponential(64.0, dc="floor")(grid)[0, 0] == pytest.approx(math.exp(-1))


def test_an_exponential_has_the_stated_condition_number():
    """MATH B4: e^β for square images in raw units."""
    assert ForwardNoise(Exponential(3.0)).condition_number((1, 8, 8)) == pytest.approx(math.exp(3), rel=1e-9)


def test_a_band_is_noised_alone():
    """O6: w = √(n/rank) on the support; the mask is the grid's; 401 bins of 32² lie below half the corner."""
    weight = BandPass(0, 0.5)
    noise = ForwardNoise(weight)
    gains = noise.operator((2, 32, 32)).power
    assert noise.rank((2, 32, 32)) == 2 * 401
    assert torch.equal(gains > 0, FrequencyGrid((32, 32)).band(0, 0.5, "corner"))
    torch.testing.assert_close(gains[gains > 0], torch.full((401,), 1024 / 401, dtype=torch.float64))
    delta = torch.eye(1024, dtype=torch.float64)[:3].reshape(3, 1, 32, 32)
    torch.testing.assert_close(noise.precision(delta), noise.project(delta) * 401 / 1024)


def test_two_equal_bands_are_white():
    """N12: of variance ¼ unless normalised; no bin belongs to both bands."""
    assert torch.equal(power(TwoBand(0.5), (1, 28, 28)), torch.full((28, 28), 0.25, dtype=torch.float64))
    torch.testing.assert_close(power(TwoBand(0.5), (1, 28, 28), "unit"), torch.ones(28, 28, dtype=torch.float64))


@pytest.mark.parametrize(("convention", "low"), [("sagd", 401), ("workshop", 793)])
def test_two_bands_by_convention(convention, low):
    """B3: the same edges mean different radii; the power ratio is that of squared amplitudes."""
    gains = power(TwoBand(0.2, convention=convention), (1, 32, 32))
    assert int((gains == 0.2 * 0.2).sum()) == low
    assert int((gains == 0.8 * 0.8).sum()) == 1024 - low


@pytest.mark.parametrize("convention", ["sagd", "workshop"])
@pytest.mark.parametrize("size", [(8,), (9,), (6, 6), (4, 4, 4)])
def test_no_bin_is_in_both_bands(convention, size):
    """On a ring the corner is the workshop's ½, where the low band would be closed and the high one begins."""
    gains = TwoBand(0.3, convention=convention)(FrequencyGrid(size))
    assert set(gains.flatten().tolist()) <= {0.3, 0.7}
    assert gains.flatten()[0] == 0.3


def test_a_gap_between_bands_is_omitted():
    """B12: the corrupted band has no noise, the others their own γ."""
    weight = TwoBand(1, 3, low_end=0.25, high_start=0.5)
    grid = FrequencyGrid((16, 16))
    gains = weight(grid)
    assert torch.equal(gains == 0, grid.band(0.25, 0.5))
    assert torch.equal(gains == 3, grid.band(0.5, 1))


def test_products_multiply_gains_in_any_grouping():
    grid = FrequencyGrid((6, 5))
    a, b, c = PowerLaw(-0.3), Exponential(1.0), BandPass(0, 0.7)
    torch.testing.assert_close((a * b * c)(grid), a(grid) * b(grid) * c(grid))
    assert a * (b * c) == (a * b) * c == Product((a, b, c))


@pytest.mark.parametrize("weight", WEIGHTS, ids=str)
@pytest.mark.parametrize("size", [(1,), (1, 1), (1, 4), (5, 1, 2)])
def test_degenerate_grids_give_unit_noise(weight, size):
    """One point or a line of pixels: still even, non-negative, of mean variance 1."""
    gains = weight(FrequencyGrid(size))
    assert gains.shape == size
    assert gains.dtype == torch.float64
    FrequencyGrid(size).check_even(gains)
    unit = power(weight, (2, *size), "unit")
    assert unit.mean().item() == pytest.approx(1, rel=1e-12)


def test_custom_gains_are_kept_from_later_changes_and_bound_to_their_size():
    gains = torch.ones(4, 6, dtype=torch.float64)
    weight = Custom(gains)
    gains.zero_()
    assert torch.equal(weight(FrequencyGrid((4, 6))), torch.ones(4, 6, dtype=torch.float64))
    with pytest.raises(InvalidInputError, match=r"built for arrays of size \(4, 6\), got \(6, 4\)"):
        ForwardNoise(weight).sample((1, 1, 6, 4))


def test_equal_weights_are_equal_whatever_kind_of_number_made_them():
    assert PowerLaw(-1) == PowerLaw(-1.0)
    assert repr(PowerLaw(torch.tensor(0.5).item())) == repr(PowerLaw(0.5))
    assert isinstance(TwoBand(1).gamma_low, float)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PowerLaw(math.nan), "alpha of power-law must be a finite number, got nan"),
        (lambda: PowerLaw("1"), "alpha of power-law must be a finite number, got '1'"),
        (lambda: PowerLaw(1.0, eps=-0.1), "eps of power-law must be a finite number of at least 0"),
        (lambda: PowerLaw(1.0, radius="cornr"), "unknown radius 'cornr' of power-law .did you mean 'corner'"),
        (lambda: PowerLaw(1.0, dc="flor"), "unknown dc 'flor' of power-law .did you mean 'floor'"),
        (lambda: PowerLaw(-1.0, dc="formula"), "infinite at r = 0: use dc=floor"),
        (lambda: Pink(dc="formula"), "infinite at r = 0"),
        (lambda: Brown(radius="corners"), "did you mean 'corner'"),
        (lambda: Exponential(-1.0), "beta of exponential must be a finite number of at least 0"),
        (lambda: Exponential(1.0, dc="none"), "unknown dc 'none'"),
        (lambda: BandPass(0.5, 0.2), "0 <= low < high, got low=0.5, high=0.2"),
        (lambda: BandPass(-0.5, 0.2), "0 <= low < high"),
        (lambda: BandPass(0, math.inf), "high of band-pass must be a finite number"),
        (lambda: TwoBand(1.5), "gamma_low must be at most 1 unless gamma_high"),
        (lambda: TwoBand(-0.1), "gamma_low of two-band must be a finite number of at least 0"),
        (lambda: TwoBand(0.5, -1.0), "gamma_high of two-band"),
        (lambda: TwoBand(0.0, 0.0), "both 0"),
        (lambda: TwoBand(0.5, low_end=0.6), r"overlap .* got \[0, 0.6\) and \[0.5, 1\)"),
        (lambda: TwoBand(0.5, low_start=0.7, low_end=0.8, high_start=0, high_end=0.2), "wrong order"),
        (lambda: TwoBand(0.5, high_end=0.5), "empty"),
        (lambda: TwoBand(0.5, convention="workshp"), "did you mean 'workshop'"),
        (lambda: Custom([1.0, 1.0]), "gains must be a real tensor, got list"),
        (lambda: Custom(torch.ones(4, dtype=torch.complex64)), "gains must be a real tensor"),
        (lambda: Custom(torch.tensor([1.0, math.inf, 1.0])), "gains must be finite"),
        (lambda: Custom(torch.tensor([1.0, -1.0, -1.0])), "gains must be non-negative, got -1"),
        (lambda: Custom(torch.zeros(3)), "must not all be zero"),
        (lambda: Custom(torch.ones(2, 2, 2, 2)), "one to three sizes"),
        (lambda: Product(()), "at least one weight"),
        (lambda: White() * 2, "multiplied by weights, got int"),
        (lambda: ForwardNoise(PowerLaw(-900)).operator((1, 8, 8)), "gains of power-law:alpha=-900.0 overflow"),
        (
            lambda: ForwardNoise(PowerLaw(-9)).rank((1, 32, 32)),
            "condition number .*: .*smaller .alpha. or beta, a larger eps.$",
        ),
        (
            lambda: ForwardNoise(PowerLaw(-2, eps=1e-8, dc="formula")).rank((1, 32, 32)),
            "number .*: .*smaller .alpha. or beta, a larger eps, or dc=floor.$",
        ),
        (lambda: Custom(np.ones(4)), "gains must be a real tensor, got ndarray"),
    ],
)
def test_bad_values_say_what_was_expected(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()


def test_a_weight_of_ones_own_needs_one_method():
    @dataclasses.dataclass(frozen=True)
    class Comb(Weight):
        spacing: int

        def __call__(self, grid):
            return (grid.wavenumbers[-1] % self.spacing == 0).double().expand(grid.size)

    assert ForwardNoise(Comb(2)).rank((1, 8)) == 4
    assert torch.equal((Comb(2) * Comb(4))(FrequencyGrid((8,))), Comb(4)(FrequencyGrid((8,))))
