"""The noise that equalises the signal-to-noise ratios of a data set (arXiv 2505.11278, MATH B5)."""

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.noise.equal_snr import EqualSNR
from scoregrain.noise.forward import ForwardNoise
from scoregrain.noise.weights import Custom, PowerLaw, White
from scoregrain.operators import FrequencyGrid

SIZE = (8, 7)


def even_power(size, seed=0):
    """A spectrum over two decades that is even and no function of the radius."""
    plane = torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return 10 ** (plane + FrequencyGrid(size).mirror(plane))


def gaussian_images(power, n, channels, seed=1):
    noise = ForwardNoise(Custom(power.sqrt()), "none")
    generator = torch.Generator().manual_seed(seed)
    return 5 + noise.sample((n, channels, *power.shape), generator=generator, dtype=torch.float64)


def law(weight, size=SIZE):
    """The variance of unit noise at every frequency."""
    return ForwardNoise(weight).operator((1, *size)).power


def test_the_fitted_ratio_is_the_same_at_every_frequency():
    """Each log ratio within 5 of its own standard errors, their mean square near 1: neither biased nor too good."""
    power, n, channels = even_power(SIZE), 400, 3
    fitted = EqualSNR.fit(gaussian_images(power, n, channels), eps=1e-6)
    ratio = (power / law(fitted)).log()
    real = torch.zeros(SIZE, dtype=torch.bool)
    real[0, 0] = real[4, 0] = True  # the coefficients that are their own mirror have half the freedom
    error = (ratio - ratio.mean()) * ((n - 1) * channels / (1 + real.double())).sqrt()
    assert error.abs().max() < 5
    assert 0.6 < error.square().mean() < 1.5


def test_white_data_measured_exactly():
    """Images ±a at one pixel: S is a² · 2/(N-1) · N/2 over n at every frequency, whatever the mean image."""
    images = torch.zeros(10, 1, 4, 5)
    images[:, 0, 1, 2] = torch.tensor([3.0, -3.0] * 5)
    fitted = EqualSNR.fit(images + torch.arange(20.0).reshape(1, 1, 4, 5))
    torch.testing.assert_close(fitted.power, torch.full((4, 5), 9 * 10 / 9 / 20, dtype=torch.float64))


def test_it_is_the_power_law_of_natural_images():
    """S ~ r⁻² gives α = -1 (MATH B5); γ = ½ gives α = -½, γ = 0 white."""
    grid = FrequencyGrid((16, 16))
    power = PowerLaw(-1.0)(grid) ** 2
    for gamma in (1.0, 0.5, -0.5):
        torch.testing.assert_close(law(EqualSNR(power, gamma), grid.size), law(PowerLaw(-gamma), grid.size))
    assert torch.equal(law(EqualSNR(power, 0.0), grid.size), law(White(), grid.size))


@pytest.mark.parametrize("gamma", [1.0, 2.0, 0.5, 0.001, -0.001, -1.0])
@pytest.mark.parametrize("eps", [1e-4, 0.1])
def test_eps_bounds_the_condition_number(gamma, eps):
    """Even where the data have no variance at all; without the floor this Σ would be singular."""
    power = even_power(SIZE)
    power[0, 0], power[4, 0] = 0.0, 1e9
    assert ForwardNoise(EqualSNR(power, gamma, eps)).condition_number((1, *SIZE)) == pytest.approx(1 / eps, rel=1e-9)


def test_the_share_at_the_floor_is_counted_on_both_sides():
    """S over six decades; no warning at the default bound, even where the data have no variance."""
    power = 10.0 ** -torch.tensor([0.0, 1, 2, 4, 6, 4, 2, 1], dtype=torch.float64)
    for gamma in (1.0, -1.0):
        shares = [EqualSNR(power, gamma, eps).floored_share for eps in (1e-7, 1e-6, 1e-5, 1e-3, 0.5)]
        assert shares == [0, 0, 1 / 8, 3 / 8, 7 / 8]
    assert EqualSNR(power, gamma=0.5, eps=1e-3).floored_share == 0  # w² spans three decades
    power[4] = 0.0
    fitted = EqualSNR(power)
    assert fitted.floored_share == 1 / 8
    assert ForwardNoise(fitted).condition_number((1, 8)) == pytest.approx(1e6)


def test_the_default_floor_leaves_natural_images_equal():
    """S ∝ r⁻³ at 64×64 pixels spans 9·10⁴, ten times what ε = 1e-4 lets through."""
    power = PowerLaw(-1.5)(FrequencyGrid((64, 64))) ** 2
    assert EqualSNR(power).floored_share == 0
    assert EqualSNR(power, eps=1e-4).floored_share > 0.4


def test_a_radial_fit_is_isotropic_and_keeps_the_mean_of_every_ring():
    images = gaussian_images(even_power((8, 8)), 50, 2)
    plain, radial = EqualSNR.fit(images).power, EqualSNR.fit(images, radial=True).power
    radius = FrequencyGrid((8, 8)).radius()
    for r in radius.unique():
        ring = radius == r
        torch.testing.assert_close(radial[ring], plain[ring].mean().expand(int(ring.sum())))
    assert not torch.allclose(radial, plain)


@pytest.mark.parametrize("shape", [(30, 1, 6), (30, 2, 5, 4), (20, 1, 3, 4, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_spectrum_is_exactly_even_in_every_dimension(shape, dtype):
    images = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    power = EqualSNR.fit(images).power
    assert torch.equal(power, FrequencyGrid(power.shape).mirror(power))
    assert power.sum().item() == pytest.approx(images.double().var(0).sum().item() / shape[1], rel=1e-6)  # Parseval


def test_chunks_change_nothing(monkeypatch):
    images = gaussian_images(even_power((5, 4)), 30, 1)
    whole = EqualSNR.fit(images).power
    monkeypatch.setattr("scoregrain.noise.equal_snr._CHUNK", 7)
    torch.testing.assert_close(EqualSNR.fit(images).power, whole, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EqualSNR.fit(torch.zeros(8, 8)), r"floating-point tensor \(N, C, \*space\), got torch.float32"),
        (lambda: EqualSNR.fit(torch.zeros(4, 1, 8, 8, dtype=torch.uint8)), "got torch.uint8"),
        (lambda: EqualSNR.fit([1.0]), "got list"),
        (lambda: EqualSNR.fit(torch.zeros(1, 1, 8, 8)), "at least 2 images"),
        (lambda: EqualSNR.fit(torch.full((5, 1, 8, 8), 0.1)), "all alike"),
        (lambda: EqualSNR.fit(torch.full((5, 1, 8, 8), torch.nan)), "finite images"),
        (lambda: EqualSNR(torch.ones(4), eps=0.0), r"eps of equal-snr must lie in \(0, 1\], got 0"),
        (lambda: EqualSNR(torch.ones(4), gamma=torch.inf), "gamma of equal-snr must be a finite number"),
        (lambda: EqualSNR(torch.tensor([1.0, 2.0, 1.0, 1.0])), "must be even"),
        (lambda: EqualSNR(torch.zeros(4)), "power must not all be zero"),
        (lambda: ForwardNoise(EqualSNR(torch.ones(4))).sample((1, 1, 5)), r"equal-snr noise was built .* got \(5,\)"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
