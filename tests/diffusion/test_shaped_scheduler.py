"""Under every shaped scheduler: the noise of add_noise, the configuration, the files."""

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
from scoregrain.diffusion import shaped_scheduler
from scoregrain.noise import ForwardNoise, PowerLaw, Weight, White
from scoregrain.noise.weights import Custom
from scoregrain.operators import FrequencyGrid

NOISE = ForwardNoise(PowerLaw(alpha=-0.6))
SHAPED = {
    "ddpm": (ShapedDDPMScheduler, diffusers.DDPMScheduler),
    "ddim": (ShapedDDIMScheduler, diffusers.DDIMScheduler),
    "dpm": (ShapedDPMSolverMultistepScheduler, diffusers.DPMSolverMultistepScheduler),
}
SHAPE = (3, 2, 6, 5)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # diffusers' own


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def white(shape=SHAPE, seed=0):
    return torch.randn(shape, generator=seeded(seed))


@pytest.fixture(params=SHAPED)
def scheduler(request):
    return SHAPED[request.param][0](NOISE)


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


def test_plainly_white_noise_is_refused_in_every_run(scheduler):
    x, xi = torch.zeros(64, 1, 16, 16), white((64, 1, 16, 16))
    timesteps = torch.zeros(64, dtype=torch.long)
    for _ in range(2):
        with pytest.raises(InvalidInputError, match=r"scheduler's is power-law:alpha=-0.6: draw it with"):
            scheduler.add_noise(x, xi, timesteps)
        scheduler.add_noise(x, NOISE.colour(xi), timesteps)
        scheduler.add_noise(x, xi, timesteps)  # found right once: training is not slowed down
        scheduler.set_timesteps(5)
        timesteps = scheduler.timesteps[-1:].expand(64)


@pytest.mark.parametrize("batch", [1, 8, 64])
def test_white_noise_of_which_no_batch_holds_enough_is_refused_a_little_later(scheduler, batch):
    """α²/4 nats for each number: 20 after 93 images of 16 x 16."""
    faint = type(scheduler)("power-law:alpha=-0.06")
    x, timesteps, generator = torch.zeros(batch, 1, 16, 16), torch.zeros(batch, dtype=torch.long), seeded(4)

    def forget(steps):
        for _ in range(steps):
            faint.add_noise(x, torch.randn(x.shape, generator=generator), timesteps)

    forget(1)
    with pytest.raises(InvalidInputError, match="this noise is white"):
        forget(256 // batch)


def test_noise_drawn_as_it_should_be_is_never_refused_and_looked_at_no_longer_than_needed(scheduler, monkeypatch):
    faint = type(scheduler)("power-law:alpha=-0.06")
    x, timesteps, generator = torch.zeros(64, 1, 16, 16), torch.zeros(64, dtype=torch.long), seeded(4)
    for _ in range(5):
        faint.add_noise(x, faint.forward_noise.sample(x.shape, generator), timesteps)
    monkeypatch.setattr(shaped_scheduler.Evidence, "add", None)
    faint.add_noise(x, faint.forward_noise.sample(x.shape, generator), timesteps)


def test_noise_that_never_tells_is_looked_at_up_to_a_limit(scheduler, monkeypatch):
    """``set_timesteps`` of a validation in between loses nothing of what was seen."""
    monkeypatch.setattr(shaped_scheduler, "ENOUGH", 3 * 64 * 256)
    x, xi, timesteps = torch.zeros(64, 1, 16, 16), white((64, 1, 16, 16)), torch.zeros(64, dtype=torch.long)
    scheduler.add_noise(x, 2 * xi, timesteps)
    scheduler.set_timesteps(5)
    timesteps = scheduler.timesteps[-1:].expand(64)
    for _ in range(2):
        scheduler.add_noise(x, 2 * xi, timesteps)
    scheduler.add_noise(x, xi, timesteps)


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
def test_the_noise_comes_as_an_object_a_weight_a_string_or_not_at_all(kind):
    shaped = SHAPED[kind][0]
    assert shaped(NOISE).forward_noise is NOISE
    assert shaped(noise="power-law:alpha=-0.6").forward_noise == NOISE
    assert shaped().forward_noise == ForwardNoise(White())
    assert shaped(PowerLaw(alpha=-0.6)).forward_noise == NOISE
    with pytest.raises(InvalidInputError, match="did you mean 'power-law'"):
        shaped("power-lav:alpha=1")
    with pytest.raises(InvalidInputError, match=r"made from a Weight or an Operator .* got int"):
        shaped(1000)  # the first argument of the stock class


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


@pytest.mark.parametrize("noise", ["./other", "../other", "/other", " ./other", "white*./other", "/other*pink", 5])
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
