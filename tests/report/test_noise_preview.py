"""The preview of a noise: its law against dense references, its measurement against the law's own statistics."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from scoregrain import InvalidInputError
from scoregrain._random import stream
from scoregrain.noise import ForwardNoise, PowerLaw
from scoregrain.operators import DiagonalOperator
from scoregrain.report.drawing import render
from scoregrain.report.noise_figure import _paint_correlation, _paint_gain, _paint_spectrum
from scoregrain.report.noise_preview import preview_noise


def parse(text):
    return ForwardNoise.parse(text)


class HalfColoured(ForwardNoise):
    """The mistake of taking w for w²: draws of covariance Σ^½ for a law Σ."""

    def colour(self, xi):
        return self.operator(xi.shape[1:]).sqrt().sqrt() @ xi


class WhiteDraws(ForwardNoise):
    """The mistake of drawing white noise for a shaped law."""

    def colour(self, xi):
        return xi


def dense(noise, shape):
    return noise.operator(shape).to_dense().reshape(*shape, *shape)


# the law -------------------------------------------------------------------------------------------------------------


def test_the_numbers_of_white_noise_are_those_of_white_noise():
    numbers = preview_noise(parse("white")).numbers()
    assert numbers["pixel_std"] == pytest.approx(1)
    assert (numbers["condition_number"], numbers["log_det"]) == (pytest.approx(1), pytest.approx(0, abs=1e-9))
    assert (numbers["rank"], numbers["dimension"]) == (1024, 1024)
    assert numbers["low_share"] == numbers["white_low_share"] == 401 / 1024  # oracle N6
    assert numbers["slope_law"] == pytest.approx(0, abs=1e-9)


def test_an_omitted_band_is_counted_and_stays_empty():
    preview = preview_noise(parse("band-pass:low=0,high=0.5"))
    numbers = preview.numbers()
    assert (numbers["rank"], numbers["low_share"]) == (401, pytest.approx(1))
    assert numbers["log_det"] == pytest.approx(401 * math.log(1024 / 401))  # oracle O6
    assert bool((preview.measured[~preview.noised] < 1e-25).all())
    assert 0 < int((~preview.noised).sum()) < len(preview.law)
    assert preview.deviation < 4


def test_unnormalised_noise_keeps_its_amount():
    preview = preview_noise(parse("power-law:alpha=-0.06,eps=1e-8,dc=formula,normalize=none"))
    assert preview.pixel_std**2 == pytest.approx(1.14514, rel=1e-5)  # oracle N8
    assert preview.deviation < 4


@pytest.mark.parametrize("shape", [(1, 9), (2, 4, 5), (1, 3, 4, 2)])
def test_the_power_is_the_diagonal_of_the_covariance_in_fourier_space(shape):
    """For noise that is diagonal in no Fourier basis, against the dense matrix F Σ Fᴴ."""
    size = math.prod(shape)
    basis = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=stream(0, "basis"))).Q
    noise = ForwardNoise.in_basis(DiagonalOperator(shape, torch.linspace(0.1, 2, size), basis), gamma=1.0)
    axes = tuple(range(1, len(shape)))
    columns = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    fourier = torch.fft.fftn(columns, dim=tuple(a + 1 for a in axes), norm="ortho").reshape(size, size).T
    transformed = fourier @ noise.operator(shape).to_dense().to(fourier.dtype) @ fourier.mH
    expected = transformed.diagonal().real.reshape(shape).mean(0)
    preview = preview_noise(noise, shape, samples=2000)
    torch.testing.assert_close(preview.power, expected, rtol=1e-10, atol=1e-12)
    assert not preview.stationary
    assert preview.pixel_std == pytest.approx(1)
    assert preview.deviation < 4


def test_a_preview_is_the_same_whatever_the_default_device_is():
    noise = ForwardNoise.in_basis(DiagonalOperator((1, 6), torch.linspace(0.1, 2, 6)), gamma=1.0)
    expected = preview_noise(noise, (1, 6))
    with torch.device("meta"):
        aside = preview_noise(noise, (1, 6))
    assert torch.equal(aside.power, expected.power)
    assert torch.equal(aside.measured, expected.measured)


def test_a_noise_given_as_an_operator_has_the_law_of_its_weight():
    shape = (1, 6, 7)
    weight = parse("power-law:alpha=-0.4")
    vectors = weight.operator(shape).eigh()
    operator = ForwardNoise(DiagonalOperator(shape, *vectors))
    as_weight, as_operator = preview_noise(weight, shape), preview_noise(operator, shape)
    torch.testing.assert_close(as_operator.power, as_weight.power, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(as_operator.measured, as_weight.measured, rtol=1e-9, atol=1e-12)
    assert (as_weight.stationary, as_operator.stationary) == (True, False)


@pytest.mark.parametrize("shape", [(1, 8), (2, 5, 6), (1, 3, 4, 5)])
def test_the_correlation_is_a_row_of_the_covariance(shape):
    noise = parse("power-law:alpha=-0.7,normalize=none")
    row = dense(noise, shape)[(0,) * (len(shape) + 1)]
    origin = row.flatten()[0]
    torch.testing.assert_close(preview_noise(noise, shape).correlation, row / origin, rtol=1e-10, atol=1e-12)


# the measurement -----------------------------------------------------------------------------------------------------


def test_what_is_measured_is_the_mean_of_the_draws():
    """Against the half-plane transform of the same draws."""
    noise, shape, samples = parse("exponential:beta=5"), (2, 6, 9), 50
    preview = preview_noise(noise, shape, samples, seed=7)
    generator = stream(7, "noise/preview")
    white = torch.randn(1, *shape, generator=generator, dtype=torch.float64)
    drawn = noise.sample((samples, *shape), generator, dtype=torch.float64)
    half = torch.fft.rfft2(drawn, norm="ortho").abs() ** 2
    weights = torch.tensor([1.0, 2, 2, 2, 2], dtype=torch.float64)  # nine columns from five
    for ring in range(len(preview.law)):
        inside = (preview.rings.index == ring)[:, :5] * weights
        each = (half * inside).sum((2, 3)).mean(1) / inside.sum()
        assert preview.measured[ring] == pytest.approx(each.mean())
        assert preview.error[ring] == pytest.approx(each.std() / samples**0.5)
    torch.testing.assert_close(preview.shaped, noise.colour(white)[0])


def test_many_batches_are_one_measurement(monkeypatch):
    noise = parse("pink")
    whole = preview_noise(noise, (1, 16, 16), samples=64)
    monkeypatch.setattr("scoregrain.report.rings._BATCH", 7 * 256)
    calls = []
    parts = preview_noise(noise, (1, 16, 16), samples=64, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(n, 64) for n in (7, 14, 21, 28, 35, 42, 49, 56, 63, 64)]
    torch.testing.assert_close(parts.law, whole.law)
    torch.testing.assert_close(parts.measured, whole.measured)
    torch.testing.assert_close(parts.error, whole.error)


@pytest.mark.parametrize(("shape", "text"), [((1, 8, 8), "white"), ((3, 9, 6), "pink"), ((1, 32), "blue")])
def test_error_bars_are_those_of_gaussian_noise(shape, text):
    """MATH B4: a ring's relative variance is 2/(n N), from unequal powers 2 Σ p²/(Σ p)²/N, conjugate pairs included."""
    samples = 4000
    preview = preview_noise(parse(text), shape, samples)
    squares = preview.rings.mean(preview.power.square()) / preview.rings.count
    expected = (2 * squares / (samples * shape[0])).sqrt()
    np.testing.assert_allclose(preview.error, expected, rtol=0.1)
    if text == "white":
        np.testing.assert_allclose(preview.error, (2 / (preview.rings.count * samples)).sqrt(), rtol=0.1)


def test_half_of_the_previews_deviate_more_than_is_usual():
    """Binomial(200, 1/2): 100 ± 7, allowed 4 of those."""
    noise = parse("power-law:alpha=-0.3")
    previews = [preview_noise(noise, (4, 12, 12), samples=64, seed=seed) for seed in range(200)]
    above = sum(preview.deviation > preview.usual_deviation for preview in previews)
    assert abs(above - 100) < 28
    assert max(preview.deviation for preview in previews) < 6


@pytest.mark.parametrize("mistake", [HalfColoured, WhiteDraws])
@pytest.mark.parametrize("text", ["power-law:alpha=-0.5", "two-band:gamma-low=0.3", "exponential:beta=2"])
def test_draws_of_another_law_are_found_out(text, mistake):
    right = parse(text)
    assert preview_noise(right).deviation < 4
    assert preview_noise(mistake(right.weight)).deviation > 10


@pytest.mark.parametrize("alpha", [-1.0, -0.5, -0.06, 0.5])
def test_the_slope_is_twice_alpha(alpha):
    """Oracle N11; the mistakes have the slopes α and 0."""
    noise = parse(f"power-law:alpha={alpha}")
    slope = preview_noise(noise, (1, 64, 64), samples=200).slope
    assert slope.law == pytest.approx(2 * alpha, rel=0.02)
    assert abs(slope.measured - slope.law) < 4 * slope.error
    assert slope.measured == pytest.approx(2 * alpha, rel=0.04)
    assert slope.error < 0.02 * abs(alpha) + 0.01
    half = preview_noise(HalfColoured(noise.weight), (1, 64, 64), samples=200).slope
    assert half.measured == pytest.approx(alpha, abs=0.02)
    assert preview_noise(WhiteDraws(noise.weight), (1, 64, 64), samples=200).slope.measured == pytest.approx(
        0, abs=0.02
    )


def test_the_error_of_the_slope_is_its_spread():
    """60 draws: the ratio of spread to error is known to 9 %."""
    slopes = [preview_noise(parse("pink"), (1, 16, 16), samples=32, seed=seed).slope for seed in range(60)]
    spread = np.std([slope.measured for slope in slopes], ddof=1)
    assert spread == pytest.approx(np.mean([slope.error for slope in slopes]), rel=0.3)


@pytest.mark.parametrize("text", ["two-band:gamma-low=0.3", "exponential:beta=6", "band-pass:low=0.2,high=0.3"])
def test_what_is_no_power_law_has_no_slope(text):
    assert preview_noise(parse(text)).slope is None


def test_draws_are_a_function_of_the_seed():
    noise = parse("pink")
    one, same, other = (preview_noise(noise, (1, 8, 8), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.measured, same.measured)
    assert torch.equal(one.shaped, same.shaped)
    assert not torch.equal(one.measured, other.measured)


# the figure ----------------------------------------------------------------------------------------------------------


def painted(paint, preview):
    """The axes that a painter fills, the colour bar's last."""
    found = []

    def keep(canvas):
        paint(canvas, preview)
        found.extend(canvas.axes)

    render(keep, "png", 4, 3)
    return found


@pytest.mark.parametrize("shape", [(1, 12, 8), (1, 7, 9)])
def test_the_gain_is_shown_at_its_frequency(shape):
    """Every pixel of the plane at (column, row) = frequency, rows of the first axis down."""
    preview = preview_noise(parse("power-law:alpha=-0.5"), shape)
    image = painted(_paint_gain, preview)[0].images[0]
    left, right, bottom, top = image.get_extent()
    rows, columns = shape[1:]
    for i, j in itertools.product(range(rows), range(columns)):
        x = left + (j + 0.5) * (right - left) / columns
        y = top + (i + 0.5) * (bottom - top) / rows
        k, m = round(y * rows) % rows, round(x * columns) % columns
        assert (y * rows, x * columns) == (pytest.approx(round(y * rows)), pytest.approx(round(x * columns)))
        assert float(image.get_array()[i, j]) == pytest.approx(float(preview.power[k, m].sqrt()))


def test_the_correlation_is_shown_at_its_lag():
    preview = preview_noise(parse("power-law:alpha=-0.5"), (1, 40, 9))
    image = painted(_paint_correlation, preview)[0].images[0]
    left, right, bottom, top = image.get_extent()
    assert (left, right, bottom, top) == (-4.5, 4.5, 12.5, -12.5)
    assert float(image.get_array()[12, 4]) == pytest.approx(1)
    assert float(image.get_array()[12 + 3, 4 - 2]) == pytest.approx(float(preview.correlation[3, -2]))


def test_the_spectrum_shows_the_measurement_on_the_law():
    preview = preview_noise(parse("band-pass:low=0.25,high=0.75"), (1, 20, 20))

    def paint(canvas, preview):
        _paint_spectrum(canvas.subplots(), preview)

    (axes,) = painted(paint, preview)
    (bars,) = axes.containers
    shown = preview.noised
    np.testing.assert_allclose(bars[0].get_xdata(), preview.rings.radius[shown])
    np.testing.assert_allclose(bars[0].get_ydata(), preview.measured[shown])
    law = next(line for line in axes.lines if line.get_label() == "the law")
    np.testing.assert_allclose(law.get_ydata(), preview.law[1:].masked_fill(~shown[1:], torch.nan))
    assert axes.get_ylim()[0] < float(preview.measured[shown].min())
    assert len(axes.patches) == int((~shown).sum())  # shaded where there is no noise


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("white", (2, 1, 1)),
        ("white", (1, 8, 8)),
        ("brown", (1, 32)),
        ("brown", (3, 16, 64)),
        ("brown", (2, 6, 7, 8)),
        ("band-pass:low=0.1,high=0.6", (1, 33)),
        ("band-pass:low=0.1,high=0.6", (1, 33, 7)),
        ("power-law:alpha=2,dc=zero", (1, 6, 6, 6)),
    ],
)
def test_every_noise_on_every_shape_has_a_figure(text, shape):
    """Warnings are errors: no empty logarithmic axis, no missing letter, no layout that fails."""
    image = preview_noise(parse(text), shape, samples=16).figure()
    assert image.startswith(b"\x89PNG")


# files and errors ----------------------------------------------------------------------------------------------------


def test_a_preview_is_a_folder_of_numbers_and_a_picture(tmp_path):
    preview = preview_noise(parse("power-law:alpha=-0.06"), (1, 8, 8))
    folder = preview.save(tmp_path / "seen")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "preview.json", "preview.png"]
    assert json.loads((folder / "preview.json").read_text(), parse_constant=lambda name: 1 / 0) == preview.numbers()
    config = json.loads((folder / "config.json").read_text())
    assert (config["kind"], config["format"], config["noise"]) == ("noise preview", 1, "power-law:alpha=-0.06")
    picture = (folder / "preview.png").read_bytes()
    with pytest.raises(InvalidInputError, match="exists"):
        preview.save(folder)
    preview.save(folder, overwrite=True)
    assert (folder / "preview.png").read_bytes() == picture  # no dates in it


@pytest.mark.parametrize(
    ("shape", "samples", "saying"),
    [
        ((1, 0), 16, "all at least 1"),
        ((8,), 16, r"\(C, \*space\)"),
        ((1, 2, 2, 2, 2), 16, "one to three space dimensions"),
        ((1, 2.0), 16, "all at least 1"),
        ((1, 2049, 2048), 16, "at most 4194304 numbers such as 2048×2048, got 1×2049×2048"),
        ((10**9, 10**9), 16, "at most 4194304"),
        (8, 16, r"\(C, \*space\)"),
        ((1, 8), 15, "samples is 15, expected at least 16"),
        ((1, 8), 20.5, "samples must be an integer, got 20.5"),
    ],
)
def test_what_cannot_be_previewed(shape, samples, saying):
    with pytest.raises(InvalidInputError, match=saying):
        preview_noise(parse("white"), shape, samples)


@pytest.mark.parametrize("made_of", ["power-law:alpha=-0.5", PowerLaw(-0.5)])
def test_what_makes_a_noise_is_previewed_as_that_noise(made_of):
    expected = preview_noise(ForwardNoise(PowerLaw(-0.5)), (1, 8), 16)
    assert preview_noise(made_of, (1, 8), 16).numbers() == expected.numbers()
    with pytest.raises(InvalidInputError, match=r"made from a Weight or an Operator .* got NoneType"):
        preview_noise(None, (1, 8))


def test_a_noise_of_another_shape_says_so():
    noise = ForwardNoise.in_basis(DiagonalOperator((1, 4), torch.ones(4)), gamma=0.5)
    with pytest.raises(InvalidInputError, match="was built for arrays"):
        preview_noise(noise, (1, 5))
