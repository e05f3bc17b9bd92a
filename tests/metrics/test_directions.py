"""Error per direction against closed forms of Gaussian data, and the calibration of its error bars (MATH B6)."""

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.diffusion.exact import GaussianScore
from scoregrain.diffusion.mixture import GaussianMixtureScore
from scoregrain.diffusion.parameterization import target_coefficients
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.metrics.directions import direction_error
from scoregrain.noise import BandPass, ForwardNoise
from scoregrain.operators import DenseOperator
from scoregrain.schedules import PREDICTIONS, linear_schedule

SHAPE, SIZE = (1, 2, 4), 8
BASIS = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q
DATA = torch.tensor([4, 2, 1, 1, 0.5, 0.2, 0.05, 0], dtype=torch.float64)
"""Variances of the data along the columns of the basis."""

SHAPED = torch.tensor([2.5, 0.2, 1.3, 0.5, 0.5, 1, 1, 1], dtype=torch.float64)
LEVELS = (5, 60, 180)


def law(variances):
    return (BASIS * variances) @ BASIS.T


def process_of(prediction="epsilon", noise=None):
    noise = None if noise is None else ForwardNoise(DenseOperator.from_matrix(SHAPE, law(noise)), "none")
    return DiffusionProcess(linear_schedule(200), noise, prediction)


def exact_of(process):
    return GaussianScore(torch.zeros(SHAPE, dtype=torch.float64), law(DATA), process)


def draws(n=4000, seed=0):
    xi = torch.randn(n, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return ((xi * DATA.sqrt()) @ BASIS.T).view(n, *SHAPE)


def shrunk(model, factor, column=1):
    """The model's output, shrunk along one direction."""
    u = BASIS[:, column]

    def f(x_t, t):
        out = model(x_t, t).flatten(1)
        return (out - (1 - factor) * (out @ u.to(out))[:, None] * u.to(out)).view_as(x_t)

    return f


def within(found, expected, sigmas=4.5):
    off = (found.value - expected).abs()
    assert bool((off <= sigmas * found.standard_error + 1e-12).all()), (off / found.standard_error).max()
    assert bool((found.standard_error <= 0.06 * expected + 1e-12).all()), "the bars say something"


def levels_of(process):
    """c and s, (L, 1) each."""
    return torch.tensor([process.level(t) for t in LEVELS], dtype=torch.float64).T[..., None]


every_noise = pytest.mark.parametrize("noise", [None, SHAPED], ids=["white", "shaped"])


@every_noise
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_known_defect_is_found_along_its_direction_and_nowhere_else(prediction, noise):
    """o shrunk to a o* along u: ε̂ - ε* = ∂ε/∂o (1 - a) u·o*, u·o* ~ N(0, (a₀ c λ + b₀ s w)²/(c²λ + s²w))."""
    process = process_of(prediction, noise)
    exact, x0 = exact_of(process), draws()
    found = direction_error(shrunk(exact, 0.6), process, x0, BASIS, exact, LEVELS)
    (c, s), w = levels_of(process), torch.ones(SIZE) if noise is None else noise
    a, b = target_coefficients(prediction, c, s)
    output = (a * c * DATA + b * s * w) ** 2 / (c**2 * DATA + s**2 * w)
    expected = ((c / (c * b - s * a)) * 0.4) ** 2 * output
    others = torch.arange(SIZE) != 1
    assert found.excess.value[:, others].max() < 1e-20
    expected[:, others] = 0
    within(found.excess, expected)
    bayes = w * c**2 * DATA / (c**2 * DATA + s**2 * w)
    within(found.bayes, bayes)
    within(found.error, bayes + expected)


@every_noise
def test_the_whitened_error_counts_in_units_of_the_noise(noise):
    """Along an eigenvector of Σ the error in ξ is that in ε over its variance; in x0 it is (s/c)² times it."""
    process = process_of("v_prediction", noise)
    exact, x0 = exact_of(process), draws(200)
    plain, whitened, clean = (
        direction_error(shrunk(exact, 0.6), process, x0, BASIS, exact, LEVELS, quantity)
        for quantity in ("epsilon", "whitened", "x0")
    )
    (c, s), w = levels_of(process), torch.ones(SIZE) if noise is None else noise
    for name in ("error", "bayes", "excess"):
        value = getattr(plain, name).value
        torch.testing.assert_close(getattr(whitened, name).value, value / w, rtol=1e-9, atol=1e-20)
        torch.testing.assert_close(getattr(clean, name).value, (s / c) ** 2 * value, rtol=1e-9, atol=1e-18)


def test_the_exact_model_has_no_excess():
    for dtype, floor in ((torch.float64, 1e-12), (torch.float32, 1e-11)):
        process = process_of("flow", SHAPED)
        exact = exact_of(process)
        found = direction_error(exact, process, draws(100).to(dtype), BASIS, exact)
        assert found.excess.value.max() <= floor
        torch.testing.assert_close(found.error.value, found.bayes.value, rtol=1e-6, atol=1e-9)


def test_a_mixtures_bayes_error_is_below_any_linear_models():
    """Two far points: at a low level the mixture knows which, the Gaussian of the same moments does not."""
    process = process_of()
    means = torch.stack((BASIS[:, 0], -BASIS[:, 0])).view(2, *SHAPE) * 2
    covariance = 0.01 * torch.eye(SIZE, dtype=torch.float64)
    mixture = GaussianMixtureScore([1, 1], means, covariance.expand(2, -1, -1), process)
    linear = GaussianScore(torch.zeros(SHAPE, dtype=torch.float64), mixture.covariance(), process)
    x0 = mixture.sample(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = direction_error(linear, process, x0, BASIS[:, :2], mixture, [15])
    c, s = process.level(15)
    assert found.bayes.value[0, 0] == pytest.approx(c**2 * 0.01 / (c**2 * 0.01 + s**2), rel=0.15)
    assert found.error.value[0, 0] == pytest.approx(c**2 * 4.01 / (c**2 * 4.01 + s**2), rel=0.15)
    assert found.excess.value[0, 1] < 1e-6


def test_the_excess_is_much_less_noisy_than_the_difference_of_two_errors():
    """A model 10 % off: the same arrays, the same noise."""
    process = process_of()
    exact, x0 = exact_of(process), draws(500)
    direct = direction_error(shrunk(exact, 0.9), process, x0, BASIS[:, 1], exact, [60])
    again = [
        direction_error(shrunk(exact, 0.9), process, draws(500, seed), BASIS[:, 1], exact, [60]) for seed in range(40)
    ]
    differences = torch.stack([each.error.value - each.bayes.value for each in again]).flatten()
    assert differences.std() > 3 * direct.excess.standard_error.item()


def test_error_bars_are_calibrated_at_levels_and_over_them():
    """120 repetitions of 150 arrays: the spread over the bars is 1, also of the mean over levels that share arrays."""
    process = process_of("v_prediction", SHAPED)
    exact = exact_of(process)
    model = shrunk(exact, 0.5, 0)
    runs = [direction_error(model, process, draws(150, i), BASIS[:, :3], exact, LEVELS, seed=i) for i in range(120)]
    for name in ("error", "bayes"):
        for value, error in (("value", "standard_error"), ("mean", "mean_standard_error")):
            values = torch.stack([getattr(getattr(run, name), value) for run in runs])
            bars = torch.stack([getattr(getattr(run, name), error) for run in runs])
            ratio = (values.var(0) / bars.square().mean(0)).mean().item()
            assert 0.75 < ratio < 1.3, (name, value, ratio)


def test_what_errs_alike_at_every_level_is_no_more_certain_over_them():
    """x̂0 = 0 everywhere: every level shows the same squares of the same arrays."""
    found = direction_error(lambda x, t: 0 * x, process_of("sample"), draws(50), BASIS, levels=LEVELS, quantity="x0")
    torch.testing.assert_close(found.error.mean_standard_error, found.error.standard_error[0], rtol=1e-12, atol=1e-12)


def test_the_mean_over_the_default_levels_is_that_of_the_loss():
    """Ten middles of equal parts stand for the uniform t; Σ over all directions is D times the loss's mean square."""
    process = process_of()
    exact, x0 = exact_of(process), draws(2000)
    found = direction_error(exact, process, x0, BASIS)
    assert found.levels == (10, 30, 50, 70, 90, 110, 130, 150, 170, 190)
    torch.testing.assert_close(found.error.mean, found.error.value.mean(0))
    c, s = torch.stack((process.signal, process.sigma))[..., None]
    loss = (c**2 * DATA / (c**2 * DATA + s**2)).mean()
    assert found.error.mean.mean() == pytest.approx(loss.item(), rel=0.03)


def test_it_is_a_function_of_the_seed_and_not_of_the_batches():
    process = process_of()
    exact, x0 = exact_of(process), draws(50)
    model = shrunk(exact, 0.5)
    first, second, other = (
        direction_error(model, process, x0, BASIS, levels=levels, seed=seed, batch_size=size).error.value
        for levels, seed, size in (([5, 60], 0, 50), ([60], 0, 7), ([60], 1, 50))
    )
    torch.testing.assert_close(first[1:], second, rtol=1e-12, atol=1e-20)
    assert not torch.allclose(second, other, rtol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("arrays", ["cpu", "cuda"])
def test_a_cuda_device_finds_the_same(arrays):
    process = process_of("v_prediction", SHAPED)
    exact, x0 = exact_of(process), draws(20)
    expected = direction_error(shrunk(exact, 0.5), process, x0, BASIS, exact)
    model, there = shrunk(exact, 0.5), x0.to(arrays)
    with torch.device("cuda"):
        found = direction_error(model, process, there, BASIS, exact)
    for name in ("error", "bayes", "excess"):
        torch.testing.assert_close(getattr(found, name).value, getattr(expected, name).value, rtol=1e-9, atol=1e-20)


@pytest.mark.parametrize("omission", ["conditional", "marginal"])
@pytest.mark.parametrize("quantity", ["epsilon", "whitened", "x0"])
def test_under_omission_the_bayes_error_is_that_of_the_best_regression(omission, quantity):
    """Of the noise on what the model sees, which of Gaussians is linear; the rest is the excess, but for the cross
    term."""
    noise = BandPass(low=0.3, high=1.0)
    process = DiffusionProcess(linear_schedule(200), noise, "v_prediction", omission)
    exact, x0 = exact_of(process), draws(20_000)
    found = direction_error(lambda x, t: 0.8 * exact(x, t), process, x0, BASIS, exact, [60], quantity, batch_size=5000)
    xi = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x_t, eps = process.noised(x0, 60, xi)
    seen = (process.noise.project(x_t) if omission == "marginal" else x_t).flatten(1)
    clean = process.noise.project(x0)  # what is left out is known
    truth = {"epsilon": eps, "whitened": process.noise.whiten(eps), "x0": clean}[quantity].flatten(1)
    rest = truth - seen @ torch.linalg.lstsq(seen, truth, driver="gelsd").solution
    torch.testing.assert_close(found.bayes.value[0], (rest @ BASIS).square().mean(0), rtol=0.06, atol=1e-12)
    torch.testing.assert_close(found.error.value, found.bayes.value + found.excess.value, rtol=0.02, atol=1e-12)


def test_what_the_noise_leaves_out_has_no_error():
    process = DiffusionProcess(linear_schedule(200), BandPass(low=0.5, high=1.0), omission="conditional")
    constant = torch.full((SIZE,), SIZE**-0.5)  # the mean of the array, which is never noised
    found = direction_error(lambda x, t: x, process, draws(20), constant, levels=[60])
    assert found.error.value.item() < 1e-20
    assert (found.excess, found.bayes) == (None, None)


class Wrapped(torch.nn.Module):
    def forward(self, x, t):
        return (x,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"directions": torch.eye(7)}, r"the columns of a \(8, K\) tensor, got shape \(7, 7\)"),
        ({"directions": 2 * torch.eye(8)}, "their lengths lie between 2 and 2"),
        ({"directions": [1, 2]}, "directions must be of type Tensor, got list"),
        ({"quantity": "eps"}, "did you mean 'epsilon'"),
        ({"levels": [200]}, "step 200 is outside the schedule"),
        ({"levels": 60}, "levels must be of type Iterable, got int"),
        ({"levels": []}, "one step or several different ones"),
        ({"levels": [5, 5]}, "one step or several different ones"),
        ({"x0": torch.full((3, *SHAPE), torch.nan)}, "x0 must be finite"),
        ({"x0": draws(1)}, "too few samples: 1"),
        ({"model": lambda x, t: x * torch.inf}, "NaN or infinity at step 60"),
        ({"model": lambda x, t: x[:, :, :1]}, "one array of the same shape"),
        ({"exact": exact_of(process_of("flow"))}, "belongs to DiffusionProcess"),
        ({"exact": exact_of(process_of("epsilon", SHAPED))}, "belongs to DiffusionProcess"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_what_cannot_be_measured_is_named(changes, message):
    arguments = {"model": Wrapped(), "process": process_of(), "x0": draws(4), "directions": BASIS, "levels": [60]}
    with pytest.raises(InvalidInputError, match=message):
        direction_error(**{**arguments, **changes})


def test_wrapped_outputs_and_half_precision_will_do():
    found = direction_error(Wrapped(), process_of(), draws(8).bfloat16(), BASIS.float(), levels=[60])
    assert bool(found.error.value.isfinite().all())
    assert found.error.value.dtype == torch.float64
