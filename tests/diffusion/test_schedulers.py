import copy
import inspect

import diffusers
import pytest
import torch

from scoregrain import (
    InvalidInputError,
    ShapedDDIMScheduler,
    ShapedDDPMScheduler,
    ShapedDPMSolverMultistepScheduler,
)
from scoregrain.noise import ForwardNoise, PowerLaw, White

NOISE = ForwardNoise(PowerLaw(alpha=-0.6))
SHAPED = {
    "ddpm": (ShapedDDPMScheduler, diffusers.DDPMScheduler),
    "ddim": (ShapedDDIMScheduler, diffusers.DDIMScheduler),
    "dpm": (ShapedDPMSolverMultistepScheduler, diffusers.DPMSolverMultistepScheduler),
}
RUNS = {
    "ddpm": ("ddpm", {"clip_sample": False}, {}),
    "ddpm-large": ("ddpm", {"clip_sample": False, "variance_type": "fixed_large"}, {}),
    "ddpm-log": ("ddpm", {"clip_sample": False, "variance_type": "fixed_small_log"}, {}),
    "ddpm-sample": ("ddpm", {"clip_sample": False, "prediction_type": "sample"}, {}),
    "ddpm-v": ("ddpm", {"clip_sample": False, "prediction_type": "v_prediction"}, {}),
    "ddim": ("ddim", {"clip_sample": False}, {}),
    "ddim-0.5": ("ddim", {"clip_sample": False, "timestep_spacing": "trailing"}, {"eta": 0.5}),
    "ddim-1": ("ddim", {"clip_sample": False, "prediction_type": "v_prediction"}, {"eta": 1.0}),
    "dpm": ("dpm", {}, {}),
    "dpm-3": ("dpm", {"solver_order": 3, "prediction_type": "sample"}, {}),
    "dpm-karras": ("dpm", {"use_karras_sigmas": True, "beta_schedule": "scaled_linear"}, {}),
    "dpm-sde": ("dpm", {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"}, {}),
}
"""Linear runs: no clipping."""

CLIPPED = {
    "ddpm-clip": ("ddpm", {"clip_sample_range": 0.5}, {}),
    "ddpm-threshold": ("ddpm", {"thresholding": True, "sample_max_value": 2.0}, {}),
    "ddim-clip": ("ddim", {}, {"eta": 1.0, "use_clipped_model_output": True}),
    "dpm-threshold": ("dpm", {"thresholding": True}, {}),
}
SHAPE = (3, 2, 6, 5)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # diffusers' own


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def white(shape=SHAPE, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


MIX = white((60, 60), seed=9, dtype=torch.float64) / 20


def model(x, t):
    """Linear, and of another basis than the noise's."""
    mixed = (x.flatten(1).double() @ MIX).view(x.shape)
    return (0.4 * x + (1 + t / 1000) * mixed).to(x.dtype)


def run(scheduler, start, f=model, steps=6, generator=None, **options):
    scheduler.set_timesteps(steps)
    x = start
    for t in scheduler.timesteps:
        x = scheduler.step(f(x, t), t, x, generator=generator or seeded(1), **options, return_dict=False)[0]
    return x


# White noise, and the equivalence that settles every other -------------------------------------------------


@pytest.mark.parametrize("name", RUNS | CLIPPED)
def test_white_noise_is_plain_diffusers(name):
    kind, options, arguments = (RUNS | CLIPPED)[name]
    shaped, stock = SHAPED[kind]
    ours, theirs = shaped(ForwardNoise(White()), **options), stock(**options)
    left, right = (run(each, white(), generator=seeded(5), **arguments) for each in (ours, theirs))
    assert ours.timesteps.tolist() == theirs.timesteps.tolist()
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)
    if kind != "ddpm":
        assert torch.equal(left, right)


@pytest.mark.parametrize("generators", [1, 3])
@pytest.mark.parametrize("name", ["ddpm", "ddim-1", "dpm-sde"])
def test_a_list_of_generators_is_read_as_diffusers_reads_it(name, generators):
    kind, options, arguments = RUNS[name]
    shaped, stock = SHAPED[kind]
    left, right = (
        run(each, white(), generator=[seeded(i) for i in range(generators)], **arguments)
        for each in (shaped(**options), stock(**options))
    )
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [6, 14, 15])
@pytest.mark.parametrize("name", RUNS)
def test_a_shaped_run_is_the_colour_of_a_stock_run_on_whitened_data(name, steps):
    """MATH B11, D5: pathwise, through the start; 14 and 15 are where DPM-Solver changes its last steps."""
    kind, options, arguments = RUNS[name]
    shaped, stock = SHAPED[kind]
    dtype = torch.float32 if kind == "dpm" else torch.float64  # the solver steps in float32
    start, tolerance = white(dtype=dtype), 1e-3 if kind == "dpm" else 1e-5

    def whitened(y, t):
        return NOISE.whiten(model(NOISE.colour(y), t))

    x = run(shaped(NOISE, **options), start, steps=steps, **arguments)
    y = run(stock(**options), start, whitened, steps=steps, **arguments)
    assert (x - NOISE.colour(y)).abs().max() < tolerance * y.abs().max()
    assert (x - y).abs().max() > 10 * tolerance * y.abs().max()


# The start ------------------------------------------------------------------------------------------------


@pytest.fixture(params=SHAPED)
def scheduler(request):
    return SHAPED[request.param][0](NOISE)


def test_the_extra_first_step_returns_the_coloured_start_whatever_the_model_says(scheduler):
    scheduler.set_timesteps(5)
    assert len(scheduler.timesteps) == 6
    assert scheduler.timesteps[0] == scheduler.timesteps[1]
    assert len(scheduler) == 1000
    assert scheduler.num_inference_steps == 5
    x = white()
    nonsense = torch.full(SHAPE, 7.0)
    assert torch.equal(scheduler.step(nonsense, scheduler.timesteps[0], x).prev_sample, NOISE.colour(x))


@pytest.mark.parametrize("kind", SHAPED)
def test_the_first_output_has_the_stock_form(kind):
    scheduler = SHAPED[kind][0](NOISE)
    scheduler.set_timesteps(5)
    output = scheduler.step(white(), scheduler.timesteps[0], white(), return_dict=False)
    assert len(output) == (1 if kind == "dpm" else 2)
    assert output[1:] in ((), (None,))


def test_a_start_of_one_s_own_takes_the_extra_timestep_away(scheduler):
    scheduler.set_timesteps(5)
    stock = scheduler.timesteps[1:].tolist()
    start = scheduler.start_noise(SHAPE, seeded(0))
    assert scheduler.timesteps.tolist() == stock
    assert torch.equal(start, NOISE.colour(white()))
    x = start
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, t), t, x, generator=seeded(1)).prev_sample
    torch.testing.assert_close(x, run(scheduler, white(), steps=5), rtol=1e-4, atol=1e-4)


def test_timesteps_read_before_the_start_lose_the_extra_one_too(scheduler):
    """As one does with what diffusers' ``retrieve_timesteps`` returns."""
    scheduler.set_timesteps(5)
    timesteps = scheduler.timesteps
    x = scheduler.start_noise(SHAPE, seeded(0))
    assert len(timesteps) == 5
    for t in timesteps:
        x = scheduler.step(model(x, t), t, x, generator=seeded(1)).prev_sample
    torch.testing.assert_close(x, run(scheduler, white(), steps=5), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("setting", "starting"), [(True, True), (True, False), (False, True)])
def test_the_extra_timestep_goes_under_inference_mode_too(scheduler, setting, starting):
    with torch.inference_mode(setting):
        scheduler.set_timesteps(5)
        stock = scheduler.timesteps[1:].tolist()
    with torch.inference_mode(starting):
        scheduler.start_noise(SHAPE)
    assert [int(t) for t in scheduler.timesteps] == stock
    assert repr(scheduler.timesteps)


def test_moved_timesteps_are_coloured_too(scheduler):
    expected = run(scheduler, white(), steps=5)
    scheduler.set_timesteps(5)
    scheduler.timesteps = scheduler.timesteps.clone()  # as .to(device) returns them
    x = white()
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, t), t, x, generator=seeded(1)).prev_sample
    assert torch.equal(x, expected)


def test_a_white_start_that_no_step_is_left_to_colour_is_refused(scheduler):
    """After a run that was interrupted behind the extra step, or without the ``start_noise`` of the runs before."""
    x = white((64, 1, 16, 16))
    scheduler.set_timesteps(5)
    scheduler.step(x, scheduler.timesteps[0], x)
    with pytest.raises(InvalidInputError, match=r"the start is white, .* call set_timesteps before each run"):
        scheduler.step(x, scheduler.timesteps[0], x)
    scheduler.set_timesteps(5)
    scheduler.start_noise(x.shape)
    with pytest.raises(InvalidInputError, match=r"the start is white, .* draw with scheduler\.start_noise"):
        scheduler.step(x, scheduler.timesteps[0], x)
    scheduler.set_timesteps(5)
    assert torch.equal(scheduler.step(x, scheduler.timesteps[0], x).prev_sample, NOISE.colour(x))


def test_setting_the_timesteps_again_colours_again(scheduler):
    first = run(scheduler, white())
    assert torch.equal(run(scheduler, white()), first)


@pytest.mark.parametrize("kind", ["ddpm", "ddim"])
def test_a_second_run_over_the_same_timesteps_is_coloured_too(kind):
    """As the stock ones, which keep no state, allow."""
    scheduler = SHAPED[kind][0](NOISE)
    first = run(scheduler, white())
    x = white()
    timesteps = scheduler.timesteps
    assert len(timesteps) == 7
    for t in timesteps:
        x = scheduler.step(model(x, t), t, x, generator=seeded(1)).prev_sample
    assert torch.equal(x, first)


@pytest.mark.parametrize("kind", ["ddpm", "dpm"])
def test_timesteps_of_one_s_own_get_the_extra_one(kind):
    scheduler = SHAPED[kind][0](NOISE)
    scheduler.set_timesteps(timesteps=[900, 500, 20])
    assert scheduler.timesteps.tolist() == [900, 900, 500, 20]


@pytest.mark.parametrize("kind", SHAPED)
def test_set_timesteps_keeps_the_stock_signature(kind):
    """Pipelines look for ``timesteps`` among its arguments before they pass them."""
    shaped, stock = SHAPED[kind]
    assert inspect.signature(shaped.set_timesteps) == inspect.signature(stock.set_timesteps)
    assert list(inspect.signature(shaped.step).parameters) == list(inspect.signature(stock.step).parameters)


def test_a_start_that_is_already_shaped_is_refused(scheduler):
    scheduler.set_timesteps(5)
    x = NOISE.sample((64, 1, 16, 16), seeded(3))
    with pytest.raises(InvalidInputError, match=r"would get it twice: .* scheduler\.start_noise\(shape\)"):
        scheduler.step(x, scheduler.timesteps[0], x)
    y = white(x.shape)  # the refused call was none
    assert torch.equal(scheduler.step(y, scheduler.timesteps[0], y).prev_sample, NOISE.colour(y))


@pytest.mark.parametrize("kind", SHAPED)
def test_image_to_image_goes_as_the_refusal_of_its_start_says(kind):
    """At the first timestep ``add_noise`` makes nearly noise; to skip the extra one by hand is not enough."""
    options = {"clip_sample": False} if kind != "dpm" else {}
    shaped, stock = SHAPED[kind][0](NOISE, **options), SHAPED[kind][1](**options)
    x0, xi = torch.zeros(64, 1, 16, 16), white((64, 1, 16, 16))
    shaped.set_timesteps(5)
    x = shaped.add_noise(x0, NOISE.colour(xi), shaped.timesteps[:1])
    with pytest.raises(InvalidInputError, match=r"start_noise\(shape\), .* before you read scheduler\.timesteps"):
        shaped.step(x0, shaped.timesteps[1:][0], x)

    def change(scheduler, eps):
        x = scheduler.add_noise(x0, eps, scheduler.timesteps[:1])
        for t in scheduler.timesteps:
            x = scheduler.step(0 * x, t, x, generator=seeded(1)).prev_sample
        return x

    stock.set_timesteps(5)
    expected = NOISE.colour(change(stock, xi))  # all is linear
    assert (change(shaped, shaped.start_noise(x0.shape, seeded())) - expected).norm() < 1e-5 * expected.norm()


def test_a_batch_of_none_runs(scheduler):
    assert run(scheduler, white((0, 1, 6, 5)), lambda x, t: x).shape == (0, 1, 6, 5)


@pytest.mark.parametrize("start", [torch.zeros(8, 1, 16, 16), torch.ones(8, 1, 16, 16)])
def test_a_start_that_is_no_noise_is_let_through(scheduler, start):
    scheduler.set_timesteps(5)
    torch.testing.assert_close(scheduler.step(start, scheduler.timesteps[0], start).prev_sample, NOISE.colour(start))


def test_a_start_before_the_timesteps_is_refused(scheduler):
    with pytest.raises(InvalidInputError, match="call set_timesteps before it"):
        scheduler.start_noise(SHAPE)


def test_ddpm_without_timesteps_is_refused_unless_white():
    x = white()
    with pytest.raises(InvalidInputError, match="call set_timesteps first"):
        ShapedDDPMScheduler(NOISE).step(x, 999, x)
    left, right = (each.step(x, 999, x, seeded(0)).prev_sample for each in (SHAPED["ddpm"][0](), SHAPED["ddpm"][1]()))
    torch.testing.assert_close(left, right)


@pytest.mark.parametrize("kind", SHAPED)
def test_a_run_that_begins_in_the_middle_colours_nothing(kind):
    """Image-to-image: the start is made by ``add_noise``."""
    shaped, stock = (each(clip_sample=False) if kind != "dpm" else each() for each in SHAPED[kind])
    shaped = type(shaped).from_config(shaped.config, noise=NOISE)
    results = []
    for scheduler, extra in ((shaped, 1), (stock, 0)):
        scheduler.set_timesteps(8)
        timesteps = scheduler.timesteps[3 + extra :]
        if kind == "dpm":
            scheduler.set_begin_index(3 + extra)
        x = scheduler.add_noise(torch.ones(SHAPE), torch.full(SHAPE, 0.5), timesteps[:1].expand(3))
        for t in timesteps[: 1 if kind == "ddpm" else 5]:
            x = scheduler.step(torch.zeros(SHAPE), t, x, generator=seeded(1)).prev_sample
        results.append(x)
    drawn = white(seed=1)
    deviation = stock._get_variance(timesteps[0]).sqrt() if kind == "ddpm" else 0.0
    torch.testing.assert_close(results[0] - deviation * (NOISE.colour(drawn) - drawn), results[1], rtol=1e-5, atol=1e-5)


def test_a_copy_goes_on_where_the_original_stood(scheduler):
    scheduler.set_timesteps(4)
    x = white()
    twin = copy.deepcopy(scheduler)
    for t in scheduler.timesteps:
        x = scheduler.step(x, t, x, generator=seeded(1)).prev_sample
    assert len(twin.timesteps) == 5
    assert twin.config == scheduler.config
    y = white()
    for t in twin.timesteps:
        y = twin.step(y, t, y, generator=seeded(1)).prev_sample
    assert torch.equal(x, y)


@pytest.mark.parametrize("shape", [(2, 3, 9), (2, 1, 4, 5, 6)])
def test_signals_and_volumes_run(scheduler, shape):
    start = white(shape)
    scheduler.set_timesteps(4)
    assert torch.equal(scheduler.step(start, scheduler.timesteps[0], start).prev_sample, NOISE.colour(start))
    x = NOISE.colour(start)
    for t in scheduler.timesteps[-4:]:
        x = scheduler.step(0.5 * x, t, x, generator=seeded(1)).prev_sample
    assert x.shape == shape


def test_half_precision_stays_and_follows_single(scheduler):
    half = run(scheduler, white().half(), lambda x, t: 0.5 * x, generator=seeded(1))
    single = run(scheduler, white().half().float(), lambda x, t: 0.5 * x, generator=seeded(1))
    assert half.dtype == torch.float16
    if not isinstance(scheduler, ShapedDDPMScheduler):  # its draws differ: torch draws halves otherwise
        torch.testing.assert_close(half.float(), single, rtol=0.05, atol=0.05)


# Options ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", ["learned", "learned_range", "fixed_large_log"])
def test_variances_without_a_colour_are_refused(variance):
    with pytest.raises(InvalidInputError, match=f"variance_type='{variance}'.*: use fixed_small, "):
        ShapedDDPMScheduler(NOISE, variance_type=variance)


@pytest.mark.parametrize("kind", [ShapedDDPMScheduler, ShapedDDIMScheduler, ShapedDPMSolverMultistepScheduler])
def test_predictions_that_the_scheduler_does_not_know_are_refused(kind):
    message = r"prediction_type='v_predict' \(did you mean 'v_prediction'\?\): use epsilon, sample, v_prediction"
    with pytest.raises(InvalidInputError, match=message):
        kind(NOISE, prediction_type="v_predict")
