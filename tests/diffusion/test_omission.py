"""A noise that leaves a band out: what comes back in the band, and which law beside it (MATH B12, O1-O5)."""

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.diffusion.ddim import DDIM
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.diffusion.sampling import SAMPLERS, sample
from scoregrain.noise import BandPass, ForwardNoise, draw_white
from scoregrain.schedules import linear_schedule, subsampled_steps
from tests.diffusion.linear_runs import (
    CASES,
    EYE,
    SHAPE,
    covariance_after,
    data_covariance,
    gaussian,
    network,
    relative,
    scripted,
    start_factor,
    walk,
)
from tests.reference.gaussian_diffusion import DenseGaussian

HIGH = BandPass(low=0.4, high=1.0)  # on a ring of 8 it leaves out k = 0 and ±1
NOISE = ForwardNoise(HIGH)
MODES = ("conditional", "marginal")
GENERAL = [name for name in SAMPLERS if name != "euler"]
ALL_STEPS = [*range(999, -1, -1), -1]
HALF_THE_STEPS = [*subsampled_steps(1000, 500), -1]
NETWORK = network(SHAPE, 1000)

FREQUENCIES = torch.fft.fftfreq(8, dtype=torch.float64).abs()
FOURIER = torch.fft.fft(EYE, norm="ortho")
BAND = (FOURIER.conj().T * (FREQUENCIES < 0.2) @ FOURIER).real  # N, independent of the noise's own projector
REST = EYE - BAND  # Π
S = data_covariance()
MEAN = torch.linspace(-1, 2, 8, dtype=torch.float64)
CONTENT = torch.randn(1, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def law(mode):
    """A process and the perfect network for N(m, S): in ``marginal`` mode for the noised part alone."""
    process = DiffusionProcess(linear_schedule(1000), NOISE, omission=mode)
    P = REST if mode == "marginal" else EYE
    return process, DenseGaussian(process, P @ S @ P, NOISE.operator(SHAPE).to_dense(), P @ MEAN)


def centred(mode):
    process, model = law(mode)
    model.m = torch.zeros(8, dtype=torch.float64)
    return process, model


def conditional_law():
    """Mean and covariance of q(Πx | Nx = m) in full coordinates, by brute force in bases of both parts."""
    inside, outside = (torch.linalg.eigh(P).eigenvectors[:, -r:] for P, r in ((BAND, 3), (REST, 5)))
    cross = outside.T @ S @ inside @ torch.linalg.inv(inside.T @ S @ inside)
    mean = outside @ (outside.T @ MEAN + cross @ inside.T @ (CONTENT.flatten() - MEAN))
    covariance = outside @ (outside.T @ S @ outside - cross @ inside.T @ S @ outside) @ outside.T
    return mean, covariance


def draw(model, process, n=3, **options):
    generator = torch.Generator().manual_seed(9)
    options = {"steps": 20, "generator": generator, "dtype": torch.float64} | options
    return sample(model, process, n, SHAPE, **options)


def test_the_band_of_these_tests_is_the_one_left_out():
    assert relative(NOISE.operator(SHAPE).to_dense(), 8 / 5 * REST) < 1e-14
    assert NOISE.rank(SHAPE) == 5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "prediction"), CASES)
def test_o1_the_band_holds_exactly_what_was_put_in(name, prediction, mode):
    """The network is no denoiser at all, and leaks."""
    process = DiffusionProcess(linear_schedule(1000), NOISE, prediction, mode)
    empty = draw(NETWORK, process, sampler=SAMPLERS[name])
    assert (empty @ BAND).square().sum(-1).max() < 1e-20 * 8
    filled = draw(NETWORK, process, sampler=SAMPLERS[name], null_content=CONTENT[0])
    assert (filled @ BAND - CONTENT @ BAND).abs().max() < 1e-12
    assert (filled @ REST).norm() > 0.1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", GENERAL)
def test_a_network_that_leaks_into_the_band_changes_nothing(name, mode):
    process, model = law(mode)
    leaking = lambda x, t: model(x, t) + 5 * NETWORK(x, t) @ BAND  # noqa: E731
    tight = draw(model, process, sampler=name, null_content=CONTENT[0])
    assert relative(draw(leaking, process, sampler=name, null_content=CONTENT[0]), tight) < 1e-11


@pytest.mark.parametrize("mode", MODES)
def test_a_sampler_that_leaks_into_the_band_leaves_nothing_there(mode):
    class Leaking(DDIM):
        def step(self, state, t, s):
            after = super().step(state, t, s)
            return after.advance(after.x + 0.1 * draw_white(after.x.shape, state.run.generator, after.x.dtype))

    process, model = law(mode)
    out = draw(model, process, sampler=Leaking(), null_content=CONTENT[0])
    assert (out @ BAND - CONTENT @ BAND).abs().max() < 1e-12


def test_only_the_part_of_the_content_in_the_band_counts():
    process, model = law("conditional")
    alone = draw(model, process, null_content=(CONTENT @ BAND)[0])
    assert relative(draw(model, process, null_content=CONTENT[0]), alone) < 1e-12
    assert relative(draw(model, process, null_content=CONTENT.expand(3, *SHAPE)), alone) < 1e-12
    assert relative(draw(model, process), alone) > 0.01


def test_each_sample_has_its_own_content_in_batches_too():
    process, model = law("conditional")
    contents = torch.randn(5, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    out = draw(model, process, n=5, null_content=contents, batch_size=2)
    assert (out @ BAND - contents @ BAND).abs().max() < 1e-12


def band_variance(covariance):
    return (torch.trace(BAND @ covariance) / 3).item()


def test_o2_a_white_start_fills_the_band_when_its_content_is_read_from_it():
    """Nothing else removes it: N x_s = (c_s/c_t) N x_t, so a white x_T leaves 1/√ᾱ_T."""
    process, model = centred("conditional")
    covariance = covariance_after(DDIM(), model, process, EYE.unflatten(1, SHAPE), ALL_STEPS)
    assert band_variance(covariance) ** 0.5 == pytest.approx(157.41045725, rel=1e-6)
    given = covariance_after(DDIM(), model, process, EYE.unflatten(1, SHAPE), ALL_STEPS, torch.zeros_like(CONTENT))
    assert abs(band_variance(given)) < 1e-14


def test_o3_white_steps_fill_the_band():
    process, model = centred("conditional")
    start = start_factor(process)
    covariance = covariance_after(DDIM(eta=1.0), model, process, start, ALL_STEPS, white_steps=True)
    assert band_variance(covariance) ** 0.5 == pytest.approx(155.907, rel=1e-5)
    right = covariance_after(DDIM(eta=1.0), model, process, start, ALL_STEPS)
    assert abs(band_variance(right)) < 1e-14


def mean_of_samples(sampler, model, process, content):
    """Every ξ is zero: x_T = √ᾱ_T m."""
    process = scripted(process)
    process.noise.xi = torch.zeros_like(content)
    return walk(sampler, model, process, process.level(999)[0] * content, HALF_THE_STEPS, content).flatten()


@pytest.mark.parametrize("name", GENERAL)
def test_o4_conditional_mode_draws_the_rest_given_the_band(name):
    content, sampler = CONTENT @ BAND, SAMPLERS[name]
    mean, covariance = conditional_law()
    process, model = law("conditional")
    assert relative(mean_of_samples(sampler, model, process, content) @ REST, mean) < 0.02
    process, model = centred("conditional")
    drawn = covariance_after(sampler, model, process, start_factor(process), HALF_THE_STEPS, torch.zeros_like(content))
    assert relative(drawn, covariance) < 0.02
    assert relative(REST @ S @ REST, covariance) > 0.1  # what it is not: the marginal law


@pytest.mark.parametrize("name", GENERAL)
def test_o5_marginal_mode_draws_the_clean_law_of_the_rest_whatever_the_band_holds(name):
    content, sampler = CONTENT @ BAND, SAMPLERS[name]
    process, model = law("marginal")
    assert relative(mean_of_samples(sampler, model, process, content) @ REST, MEAN @ REST) < 0.02
    process, model = centred("marginal")
    drawn = covariance_after(sampler, model, process, start_factor(process), HALF_THE_STEPS, torch.zeros_like(content))
    assert relative(drawn, REST @ S @ REST) < 0.02


def test_o5_a_network_that_sees_the_band_does_not_draw_the_marginal_law():
    process, _ = centred("marginal")
    _, model = centred("conditional")
    start = start_factor(process)
    drawn = covariance_after(DDIM(), model, process, start, HALF_THE_STEPS, torch.zeros_like(CONTENT))
    assert relative(drawn, REST @ S @ REST) > 0.1


@pytest.mark.parametrize(("mode", "restored"), [("conditional", True), ("marginal", False)])
def test_content_drawn_from_data_gives_back_the_joint_law_in_conditional_mode(mode, restored):
    """x_T = T ξ + √ᾱ_T N x0 with x0 ~ N(0, S): rows for the directions of ξ, then rows for those of x0."""
    process, model = centred(mode)
    nothing = torch.zeros(8, *SHAPE, dtype=torch.float64)
    content = torch.cat([nothing, (torch.linalg.cholesky(S).T @ BAND).unflatten(1, SHAPE)])
    start = torch.cat([start_factor(process), nothing]) + process.level(999)[0] * content
    rows = walk(DDIM(), model, process, start, HALF_THE_STEPS, content).flatten(1)
    joint = rows.T @ rows
    assert relative(BAND @ joint @ BAND, BAND @ S @ BAND) < 1e-12
    assert (relative(joint, S) < 0.02) == restored
    assert relative(REST @ joint @ REST, REST @ S @ REST) < 0.02


def test_single_precision_keeps_the_band():
    process, model = law("conditional")
    narrow = lambda x, t: model(x.double(), t).float()  # noqa: E731
    out = draw(narrow, process, null_content=CONTENT[0], dtype=torch.float32)
    assert out.dtype == torch.float32
    assert (out @ BAND.float() - (CONTENT @ BAND).float()).abs().max() < 1e-6


def test_what_makes_no_sense_is_refused():
    process, model = law("conditional")
    with pytest.raises(InvalidInputError, match=r"leaves 3 of 8 dimensions without noise.*choose omission="):
        draw(model, DiffusionProcess(linear_schedule(1000), NOISE))
    with pytest.raises(InvalidInputError, match=r"clip would change what the omitted band holds"):
        draw(model, process, clip=(-1, 1))
    with pytest.raises(InvalidInputError, match=r"shape \(1, 8\) or \(3, 1, 8\), got \(2, 1, 8\)"):
        draw(model, process, null_content=CONTENT.expand(2, *SHAPE))
    with pytest.raises(InvalidInputError, match="null_content holds infinite or NaN"):
        draw(model, process, null_content=CONTENT[0] / 0)
    with pytest.raises(InvalidInputError, match="this process omits none"):
        draw(*reversed(gaussian()), null_content=CONTENT[0])
