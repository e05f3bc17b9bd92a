"""The one function that samples: arguments, defaults, randomness, errors."""

import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.align import Rotation
from scoregrain.diffusion.ddim import DDIM
from scoregrain.diffusion.exact import GaussianScore
from scoregrain.diffusion.heun import Heun
from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.diffusion.sampler import Sampler
from scoregrain.diffusion.sampling import SAMPLERS, find_sampler, sample
from scoregrain.noise import BandPass, ForwardNoise, PowerLaw
from scoregrain.operators import DiagonalOperator
from scoregrain.schedules import linear_schedule
from tests.configurations import SIGNAL, UNET
from tests.diffusion.linear_runs import CASES, gaussian, network, relative

SHAPE = (2, 5)
PROCESS = DiffusionProcess(linear_schedule(1000), ForwardNoise(PowerLaw(alpha=-0.3)))
MODEL = network(SHAPE, 1000)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(n=4, model=MODEL, process=PROCESS, shape=SHAPE, **options):
    return sample(model, process, n, shape, **{"steps": 6, "generator": seeded()} | options)


class Linear(nn.Module):
    """A module with parameters and dropout."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, dtype=dtype))
        self.register_parameter("label", nn.Parameter(torch.zeros(1, dtype=torch.int64), requires_grad=False))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x, t):
        return self.dropout(x) * self.scale


# What the model is asked ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ddpm", "ddim", "dpm-solver++"])
def test_s7_the_model_is_called_at_the_subsampled_steps(name):
    asked = []
    draw(model=lambda x, t: asked.append(t) or MODEL(x, t), sampler=name, steps=7)
    assert [t.tolist() for t in asked] == [[t] * 4 for t in [999, 832, 666, 499, 333, 166, 0]]
    assert all(t.dtype == torch.int64 for t in asked)


def test_heun_asks_twice_a_step_but_at_the_last():
    asked = []
    draw(model=lambda x, t: asked.append(int(t[0])) or MODEL(x, t), sampler="heun", steps=4)
    assert asked == [999, 666, 666, 333, 333, 0, 0]


@pytest.mark.parametrize("prediction", ["epsilon", "flow", "edm"])
@pytest.mark.parametrize("omission", [None, "conditional"])
def test_the_start_is_the_noise_at_its_level_and_the_content_at_its_own(prediction, omission):
    noise = ForwardNoise(BandPass(0.5, 1.0)) if omission else PROCESS.noise
    process = DiffusionProcess(PROCESS.schedule, noise, prediction, omission)
    content = torch.randn(SHAPE, generator=seeded(1), dtype=torch.float64) if omission else None
    seen = []
    draw(
        model=lambda x, t: seen.append(x.clone()) or torch.zeros_like(x),
        process=process,
        null_content=content,
        dtype=torch.float64,
    )
    scale = {"epsilon": 1.0, "flow": 1.0, "edm": process.schedule.sigmas[-1].item()}[prediction]
    expected = scale * noise.sample((4, *SHAPE), seeded(), torch.float64)
    if content is not None:
        c = {"epsilon": process.schedule.alpha_bar[-1].sqrt(), "flow": 0.0, "edm": 1.0}[prediction]
        expected = expected + c * (content - noise.project(content[None]))
    assert relative(seen[0], expected) < 1e-14


def test_clipping_holds_the_data_and_keeps_the_noise_consistent():
    """DDIM: every ε̂ is that of the clipped x̂0 (MATH B7)."""
    clipped = draw(clip=(-0.5, 0.4), steps=3, dtype=torch.float64)
    signal, sigma = PROCESS.signal.tolist(), PROCESS.sigma.tolist()
    x = PROCESS.noise.sample((4, *SHAPE), seeded(), torch.float64)
    for t, s in [(999, 499), (499, 0), (0, None)]:
        x0 = ((x - sigma[t] * MODEL(x, torch.full((4,), t))) / signal[t]).clamp(-0.5, 0.4)
        x = x0 if s is None else signal[s] * x0 + sigma[s] * (x - signal[t] * x0) / sigma[t]
    assert relative(clipped, x) < 1e-12
    assert clipped.min() >= -0.5
    assert clipped.max() <= 0.4


@pytest.mark.parametrize(("name", "prediction"), CASES)
def test_memory_does_not_grow_with_the_steps(name, prediction):
    alive = []
    arrays = []

    def watched(x, t):
        arrays.append(weakref.ref(x))
        alive.append(sum(array() is not None for array in arrays))
        return torch.zeros_like(x)

    draw(model=watched, process=DiffusionProcess(PROCESS.schedule, None, prediction), sampler=name, steps=40)
    assert max(alive) <= 3


# Names and defaults ---------------------------------------------------------------------------------------------


def test_samplers_by_name_are_the_objects():
    assert find_sampler("ddpm") == DDIM(eta=1.0)
    assert find_sampler(Heun()) == Heun()
    assert torch.equal(draw(sampler="ddpm"), draw(sampler=DDIM(eta=1.0)))
    assert set(SAMPLERS) == {"ddpm", "ddim", "heun", "dpm-solver++", "euler"}


@pytest.mark.parametrize(("word", "meant"), [("dpm-solver", "dpm-solver++"), ("dimm", "ddim"), ("hun", "heun")])
def test_a_mistyped_sampler_gets_the_nearest_word(word, meant):
    with pytest.raises(InvalidInputError, match=rf"unknown sampler '{word}' \(did you mean '{meant}") as error:
        draw(sampler=word)
    assert "known: ddpm, ddim, heun, dpm-solver++, euler" in str(error.value)


def test_the_shape_comes_from_whoever_knows_it():
    class Known:
        shape = torch.Size((2, 5))

        def __call__(self, x, t):
            return MODEL(x, t)

    assert torch.equal(draw(model=Known(), shape=None), draw())
    built_for = DiffusionProcess(PROCESS.schedule, ForwardNoise(DiagonalOperator(SHAPE, torch.linspace(1, 2, 10))))
    assert draw(process=built_for, shape=None).shape == (4, *SHAPE)
    rectangular = Known()
    rectangular.shape, rectangular.config = None, SimpleNamespace(in_channels=2, sample_size=[5])
    assert torch.equal(draw(model=rectangular, shape=None), draw())
    with pytest.raises(InvalidInputError, match=r"does not say the shape of its arrays: give shape=\(C, \*space\)"):
        draw(shape=None)
    rotation = Rotation(torch.eye(10).flip(0), SHAPE, "minimize")
    assert draw(model=rotation.wrap(Linear()), shape=None, dtype=torch.float32).shape == (4, *SHAPE)


def test_the_exact_model_that_ships_is_sampled_as_the_dense_reference():
    process, reference = gaussian()
    shipped = GaussianScore(torch.zeros(1, 8), reference.S, process)
    options = {"process": process, "sampler": "ddpm", "steps": 50, "dtype": torch.float64}
    out = draw(model=shipped, shape=None, **options)
    assert relative(out, draw(model=reference, shape=(1, 8), **options)) < 1e-9


def test_networks_of_diffusers_are_sampled_as_they_are():
    from diffusers import UNet1DModel, UNet2DModel

    network = UNet2DModel.from_config(UNET).eval()
    out = draw(n=2, model=network, shape=None, steps=2)
    assert out.shape == (2, 1, 4, 4)
    bare = draw(n=2, model=lambda x, t: network(x, t).sample, shape=(1, 4, 4), steps=2)
    assert torch.equal(out, bare)
    signal = UNet1DModel.from_config(SIGNAL)  # its sample_size is a length: not guessed
    with pytest.raises(InvalidInputError, match="does not say the shape"):
        draw(model=signal, shape=None)


def test_dtype_and_device_are_the_models():
    assert draw(model=Linear(torch.float64).eval()).dtype == torch.float64
    assert draw(model=Linear().eval()).dtype == torch.float32
    assert draw().dtype == torch.get_default_dtype()
    assert draw(model=lambda x, t: MODEL(x, t), dtype=torch.float64).dtype == torch.float64
    assert draw(device="cpu").device.type == "cpu"
    assert draw(n=2, generator=None).shape == (2, *SHAPE)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_keeps_its_mode_and_the_result_no_graph(training):
    model = Linear().train(training)
    seen = []
    out = draw(model=lambda x, t: seen.append((model.training, x.is_inference())) or model(x, t))
    assert set(seen) == {(training, False)}  # inference tensors break modules that keep what they saw
    assert model.training == training
    assert not out.requires_grad


# Randomness -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ddpm", "ddim", "heun", "dpm-solver++"])
def test_with_its_own_generator_a_sample_depends_on_nothing_else(name):
    generators = [seeded(k) for k in range(5)]
    together = draw(n=5, generator=generators, sampler=name, dtype=torch.float64)
    in_batches = draw(n=5, generator=[seeded(k) for k in range(5)], batch_size=2, sampler=name, dtype=torch.float64)
    alone = draw(n=1, generator=[seeded(3)], sampler=name, dtype=torch.float64)
    assert relative(in_batches, together) < 1e-13
    assert relative(alone[0], together[3]) < 1e-13
    assert relative(together[2], together[3]) > 0.1


def test_one_generator_serves_the_batches_in_turn():
    generator = seeded()
    parts = [draw(n=n, generator=generator, sampler="ddpm") for n in (3, 3, 1)]
    assert torch.equal(draw(n=7, batch_size=3, sampler="ddpm"), torch.cat(parts))


def test_equal_seeds_give_equal_samples():
    assert torch.equal(draw(sampler="ddpm"), draw(sampler="ddpm"))
    assert not torch.equal(draw(sampler="ddpm"), draw(sampler="ddpm", generator=seeded(1)))


# Errors ---------------------------------------------------------------------------------------------------------


class Returning(Sampler):
    """The mistake of returning x instead of the state after it."""

    def step(self, state, t, s):
        return state.x


OMITTING = {"process": DiffusionProcess(linear_schedule(1000), ForwardNoise(BandPass(0.5, 1.0)), omission="marginal")}


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("clip", [None, (-1, 1)])
@pytest.mark.parametrize("name", ["ddpm", "heun", "dpm-solver++"])
def test_a_model_that_breaks_stops_the_run_and_names_the_step(name, bad, clip):
    def breaks(x, t):
        output = MODEL(x, t)
        output[1, 0, 3] += bad if int(t[0]) < 500 else 0
        return output

    with pytest.raises(ScoregrainError, match="infinite or NaN at step 399 of 1000") as error:
        draw(model=breaks, sampler=name, clip=clip)
    assert not isinstance(error.value, InvalidInputError)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "number of samples must be at least 1, got 0"),
        ({"batch_size": 0}, "batch size must be at least 1, got 0"),
        ({"steps": 0}, "steps must lie between 1 and 1000, got 0"),
        ({"steps": 1001}, "steps must lie between 1 and 1000, got 1001"),
        ({"generator": [seeded(), seeded()]}, "one generator or 4 of them, one for each sample, got 2"),
        ({"generator": [seeded(), seeded()], "batch_size": 2}, "one generator or 4 of them"),
        ({"n": 2.5}, "number of samples must be an integer, got 2.5"),
        ({"batch_size": 1.5}, "batch size must be an integer, got 1.5"),
        ({"steps": 2.5}, "number of steps must be an integer, got 2.5"),
        ({"steps": None}, "number of steps must be an integer, got None"),
        ({"generator": 0}, r"must be a torch.Generator or a list of them, got 0: torch.Generator\(\).manual_seed"),
        ({"generator": [0, 1, 2, 3]}, r"must be a torch.Generator or a list of them, got \[0, 1, 2, 3\]"),
        ({"clip": (1.0, -1.0)}, r"clip must be \(low, high\), numbers with low < high, got \(1.0, -1.0\)"),
        ({"clip": 1}, r"clip must be \(low, high\), .* got 1$"),
        ({"clip": (0, 1, 2)}, r"clip must be \(low, high\), .* got \(0, 1, 2\)"),
        ({"clip": ("a", "b")}, r"clip must be \(low, high\)"),
        ({"sampler": 3}, "sampler must be of type str or Sampler, got int"),
        ({"sampler": ["ddim"]}, "sampler must be of type str or Sampler, got list"),
        ({"sampler": Heun}, r"the sampler Heun is a class: give an instance, Heun\(\)"),
        ({"sampler": Returning()}, r"Returning.step must return state.advance\(x\), got Tensor"),
        ({"process": linear_schedule(1000)}, "process must be of type DiffusionProcess, got Schedule"),
        ({"model": lambda x, t: x[:, :1]}, "returned .4, 1, 5. for arrays .4, 2, 5."),
        ({"shape": (5,)}, r"shape must be \(C, \*space\) .* got \(5,\)"),
        ({"shape": 8}, r"shape must be \(C, \*space\) .* got \(8,\)"),
        ({"shape": (1, 4.0)}, r"shape must be \(C, \*space\) .* got \(1, 4.0\)"),
        (OMITTING | {"null_content": 0.5}, "null_content must be of type Tensor, got float"),
        (
            OMITTING | {"null_content": np.zeros(SHAPE)},
            r"Tensor, got ndarray \(torch.from_numpy makes a tensor of it\)",
        ),
    ],
)
def test_impossible_arguments_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        draw(**options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_numbers_of_numpy_are_numbers():
    assert draw(n=np.int64(2), steps=np.int64(3), clip=(np.float32(-1), np.float64(1))).shape == (2, *SHAPE)


def test_a_bar_is_silent_where_there_is_no_terminal(capsys):
    draw(progress=True)
    assert capsys.readouterr() == ("", "")
