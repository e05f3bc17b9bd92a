import copy
import inspect
import json
from dataclasses import dataclass

import diffusers
import pytest
import torch

from scoregrain import (
    InvalidInputError,
    ScoregrainError,
    ShapedDDIMScheduler,
    ShapedDDPMScheduler,
    ShapedDPMSolverMultistepScheduler,
)
from scoregrain.noise import BandPass, ForwardNoise, PowerLaw, Weight, White
from scoregrain.noise.weights import Custom
from scoregrain.operators import FrequencyGrid

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


def test_a_band_left_out_stays_empty_from_the_start_on():
    noise = ForwardNoise(BandPass(low=0.4, high=1.0))
    scheduler = ShapedDDPMScheduler(noise, clip_sample=False)
    x = run(scheduler, white(), lambda x, t: noise.project(x))
    assert (x - noise.project(x)).abs().max() < 1e-3  # 1/√ᾱ_T magnifies rounding 157 times


# add_noise ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SHAPED)
def test_add_noise_takes_the_noise_as_it_is_before_during_and_after_sampling(kind):
    shaped, stock = (each() for each in SHAPED[kind])
    shaped = type(shaped).from_config(shaped.config, noise=NOISE)
    x0, eps = white(seed=2), NOISE.colour(white(seed=3))
    timesteps = torch.tensor([999, 499, 0])
    assert torch.equal(shaped.add_noise(x0, eps, timesteps), stock.add_noise(x0, eps, timesteps))
    shaped.set_timesteps(10)
    stock.set_timesteps(10)
    timesteps = stock.timesteps[[0, 4, 9]]
    assert torch.equal(shaped.add_noise(x0, eps, timesteps), stock.add_noise(x0, eps, timesteps))
    assert len(shaped.timesteps) == 11


def test_plainly_white_noise_is_refused_once_per_run(scheduler):
    x, xi = torch.zeros(64, 1, 16, 16), white((64, 1, 16, 16))
    timesteps = torch.zeros(64, dtype=torch.long)
    for _ in range(2):
        with pytest.raises(InvalidInputError, match=r"scheduler's is power-law:alpha=-0.6: draw it with"):
            scheduler.add_noise(x, xi, timesteps)
        scheduler.add_noise(x, NOISE.colour(xi), timesteps)
        scheduler.add_noise(x, xi, timesteps)  # looked at once: training is not slowed down
        scheduler.set_timesteps(5)
        timesteps = scheduler.timesteps[-1:].expand(64)


@pytest.mark.parametrize("kind", SHAPED)
def test_a_white_scheduler_takes_white_noise(kind):
    scheduler, (x, xi) = SHAPED[kind][0](), (torch.zeros(64, 1, 16, 16), white((64, 1, 16, 16)))
    scheduler.add_noise(x, xi, torch.zeros(64, dtype=torch.long))


@pytest.mark.parametrize(("kind", "arguments"), [("ddim", {"eta": 1.0}), ("dpm", {})])
def test_variance_noise_is_taken_as_it_is(kind, arguments):
    options = {"algorithm_type": "sde-dpmsolver++"} if kind == "dpm" else {}
    shaped, stock = SHAPED[kind]
    x, eps = white((64, 1, 16, 16)), NOISE.colour(white((64, 1, 16, 16), seed=3))
    results = []
    for scheduler in (shaped(NOISE, **options), stock(**options)):
        scheduler.set_timesteps(4)
        t = scheduler.timesteps[-3]
        results.append(scheduler.step(x, t, x, variance_noise=eps, **arguments).prev_sample)
    assert torch.equal(*results)
    ours = shaped(NOISE, **options)
    ours.set_timesteps(4)
    with pytest.raises(InvalidInputError, match="this noise is white"):
        ours.step(x, ours.timesteps[-3], x, variance_noise=white(x.shape, seed=3), **arguments)


def test_arrays_the_noise_was_not_built_for_are_refused(scheduler):
    fixed = type(scheduler)(ForwardNoise(Custom(NOISE.weight(FrequencyGrid((6, 5))))))
    fixed.set_timesteps(4)
    x = white((2, 1, 8, 8))
    with pytest.raises(InvalidInputError, match=r"6"):
        fixed.step(x, fixed.timesteps[0], x)


# Configuration and files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SHAPED)
def test_the_noise_comes_as_an_object_a_string_or_not_at_all(kind):
    shaped = SHAPED[kind][0]
    assert shaped(NOISE).forward_noise is NOISE
    assert shaped(noise="power-law:alpha=-0.6").forward_noise == NOISE
    assert shaped().forward_noise == ForwardNoise(White())
    with pytest.raises(InvalidInputError, match="did you mean 'power-law'"):
        shaped("power-lav:alpha=1")
    for other in (1000, PowerLaw(alpha=-0.6)):  # the first argument of the stock class; a weight
        with pytest.raises(InvalidInputError, match=f"ForwardNoise or its string, got {type(other).__name__}"):
            shaped(other)


@pytest.mark.parametrize("kind", SHAPED)
def test_the_configuration_names_noise_and_schedule(kind):
    scheduler = SHAPED[kind][0](NOISE, beta_schedule="shaped:scaled_linear", num_train_timesteps=50)
    stock = SHAPED[kind][1](beta_schedule="scaled_linear", num_train_timesteps=50)
    assert scheduler.config["noise"] == "power-law:alpha=-0.6"
    assert scheduler.config["beta_schedule"] == "shaped:scaled_linear"
    assert scheduler.config.beta_schedule == "scaled_linear"
    assert torch.equal(scheduler.betas, stock.betas)


def test_the_stock_code_still_reads_the_stock_schedule():
    """Its Karras timesteps are rounded unless the schedule is the cosine one."""
    options = {"use_karras_sigmas": True, "beta_schedule": "squaredcos_cap_v2"}
    shaped, stock = (kind(**options) for kind in SHAPED["dpm"])
    for scheduler in (shaped, stock):
        scheduler.set_timesteps(12)
    assert torch.equal(shaped.timesteps, stock.timesteps)


@pytest.mark.parametrize("source", SHAPED)
@pytest.mark.parametrize("target", SHAPED)
def test_from_config_goes_from_any_to_any(source, target):
    """From stock with ``noise=``, from shaped with what it has; arguments that were given are kept."""
    given = {"beta_end": 0.01, "prediction_type": "v_prediction", "beta_schedule": "scaled_linear"}
    kind = SHAPED[target][0]
    from_stock = kind.from_config(SHAPED[source][1](**given).config, noise=NOISE)
    from_shaped = kind.from_config(SHAPED[source][0](NOISE, **given).config)
    for scheduler in (from_stock, from_shaped, kind.from_config(dict(from_shaped.config))):
        assert type(scheduler) is kind
        assert scheduler.forward_noise == NOISE
        assert {key: getattr(scheduler.config, key) for key in given} == given
    other = kind.from_config(from_shaped.config, noise="white")
    assert other.forward_noise == ForwardNoise(White())


@pytest.mark.parametrize("kind", SHAPED)
def test_a_configuration_without_noise_is_refused(kind, tmp_path):
    shaped, stock = SHAPED[kind]
    stock().save_pretrained(tmp_path)
    for make in (lambda: shaped.from_config(stock().config), lambda: shaped.from_pretrained(tmp_path)):
        with pytest.raises(InvalidInputError, match=rf"write {shaped.__name__}\.from_config\(config, noise=noise\)"):
            make()
    assert shaped.from_pretrained(tmp_path, noise=NOISE).forward_noise == NOISE


@pytest.mark.parametrize("kind", SHAPED)
def test_a_saved_scheduler_comes_back(kind, tmp_path):
    shaped = SHAPED[kind][0]
    original = shaped(NOISE, beta_schedule="squaredcos_cap_v2", num_train_timesteps=60)
    original.save_pretrained(tmp_path / "scheduler")
    assert [path.name for path in (tmp_path / "scheduler").iterdir()] == ["scheduler_config.json"]
    for again in (
        shaped.from_pretrained(tmp_path, subfolder="scheduler"),
        shaped.from_pretrained(tmp_path / "scheduler"),
    ):
        assert again.forward_noise == NOISE
        assert again.to_json_string() == original.to_json_string()
        assert torch.equal(again.betas, original.betas)


def tensor_noise(seed=0):
    return ForwardNoise(Custom(1 + FrequencyGrid((6, 5)).radius("raw") * (1 + seed)))


def test_a_noise_with_tensors_lies_beside_the_configuration(tmp_path, scheduler):
    kind, noise = type(scheduler), tensor_noise()
    original = kind(noise)
    assert kind.from_config(original.config).forward_noise is noise
    original.save_pretrained(tmp_path)
    again = kind.from_pretrained(tmp_path)
    assert again.forward_noise == noise
    assert torch.equal(again.forward_noise.colour(white()), noise.colour(white()))
    with pytest.raises(InvalidInputError, match="load it from its folder"):
        kind.from_config(json.loads((tmp_path / "scheduler_config.json").read_text()))


def test_a_noise_with_tensors_is_found_from_the_path_of_the_configuration_too(tmp_path, scheduler):
    type(scheduler)(tensor_noise()).save_pretrained(tmp_path)
    assert type(scheduler).from_pretrained(tmp_path / "scheduler_config.json").forward_noise == tensor_noise()


def test_another_noise_saved_in_the_same_folder_leaves_no_tensors_behind(tmp_path):
    for noise in (tensor_noise(0), tensor_noise(1), NOISE):
        ShapedDDPMScheduler(noise).save_pretrained(tmp_path)
        assert ShapedDDPMScheduler.from_pretrained(tmp_path).forward_noise == noise
    assert [path.name for path in tmp_path.iterdir()] == ["scheduler_config.json"]


@pytest.mark.parametrize("values", [(), (1.0, 2.0)])
def test_a_noise_that_no_file_can_hold_is_refused_before_anything_is_written(tmp_path, values):
    @dataclass(frozen=True)
    class Mine(Weight):
        values: torch.Tensor | None = None

        def __call__(self, grid):
            return 1 + grid.radius("raw")

    noise = ForwardNoise(Mine(torch.tensor(values) if values else None))
    with pytest.raises(InvalidInputError, match="of your own class Mine, which no file can name"):
        ShapedDDPMScheduler(noise).save_pretrained(tmp_path / "scheduler")
    assert not (tmp_path / "scheduler").exists()


@pytest.mark.parametrize("noise", ["./other", "../other", "/other", 5])
def test_a_configuration_that_names_a_path_or_no_string_is_refused(tmp_path, noise):
    """It may come from anywhere; the caller's own argument may be a path."""
    NOISE.save(tmp_path / "noise")
    ShapedDDPMScheduler(NOISE).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "scheduler_config.json").read_text()) | {"noise": noise}
    (tmp_path / "scheduler_config.json").write_text(json.dumps(config))
    for make in (
        lambda **noise: ShapedDDPMScheduler.from_config(config, **noise),
        lambda **noise: ShapedDDPMScheduler.from_pretrained(tmp_path, **noise),
    ):
        with pytest.raises(InvalidInputError, match=r"the configuration names the noise .*: expected one such as"):
            make()
        assert make(noise=str(tmp_path / "noise")).forward_noise == NOISE


def test_saved_noise_and_scheduler_that_disagree_are_refused(tmp_path):
    ShapedDDPMScheduler(tensor_noise(0)).save_pretrained(tmp_path / "a")
    ShapedDDPMScheduler(tensor_noise(1)).save_pretrained(tmp_path / "b")
    (tmp_path / "a" / "scheduler_config.json").replace(tmp_path / "b" / "scheduler_config.json")
    with pytest.raises(ScoregrainError, match=r"the saved noise and the scheduler in .* disagree: custom@"):
        ShapedDDPMScheduler.from_pretrained(tmp_path / "b")


def test_missing_tensors_are_named(tmp_path):
    ShapedDDPMScheduler(tensor_noise()).save_pretrained(tmp_path)
    (tmp_path / "noise_config.json").unlink()
    with pytest.raises(InvalidInputError, match=r"noise_config\.json"):
        ShapedDDPMScheduler.from_pretrained(tmp_path)


@pytest.mark.parametrize("variance", ["learned", "learned_range", "fixed_large_log"])
def test_variances_without_a_colour_are_refused(variance):
    with pytest.raises(InvalidInputError, match=f"variance_type='{variance}': use fixed_small, "):
        ShapedDDPMScheduler(NOISE, variance_type=variance)


def test_predictions_that_the_scheduler_does_not_know_are_refused():
    with pytest.raises(InvalidInputError, match="prediction_type='flow': use epsilon, sample, v_prediction"):
        ShapedDDPMScheduler(NOISE, prediction_type="flow")
