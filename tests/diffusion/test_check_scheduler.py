import inspect

import diffusers
import pytest
import torch

import scoregrain
from scoregrain import (
    InvalidInputError,
    ShapedDDIMScheduler,
    ShapedDDPMScheduler,
    ShapedDPMSolverMultistepScheduler,
    check_scheduler,
)
from scoregrain.noise import ForwardNoise, PowerLaw, White
from tests.diffusion.stock import required_arguments, stock_schedulers

NOISE = ForwardNoise(PowerLaw(alpha=-0.3))
SHAPED = [ShapedDDPMScheduler, ShapedDDIMScheduler, ShapedDPMSolverMultistepScheduler]
DETERMINISTIC = {
    "CogVideoXDDIMScheduler",  # takes eta and ignores it
    "DDIMInverseScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepInverseScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "EulerDiscreteScheduler",
    "FlowMapEulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "HeunDiscreteScheduler",
    "IPNDMScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "MiniMaxH3Scheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
}
DRAWING = {
    "CMStochasticIterativeScheduler",
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "EulerAncestralDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LCMScheduler",
    "LTXEulerAncestralRFScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UnCLIPScheduler",
}
pytestmark = pytest.mark.filterwarnings("ignore")  # the stock schedulers' own


def flow_options():
    return inspect.signature(diffusers.FlowMatchEulerDiscreteScheduler.__init__).parameters


def verdict(scheduler):
    try:
        check_scheduler(scheduler, NOISE)
    except InvalidInputError as error:
        return str(error)
    return None


def test_every_stock_scheduler_is_judged_by_what_its_steps_do():
    """Those in neither list cannot run this trial (tokens, masks, other arguments) and are refused as unknown."""
    verdicts = {kind.__name__: verdict(kind(**required_arguments(kind))) for kind in stock_schedulers()}
    passed = {name for name, message in verdicts.items() if message is None}
    assert passed == DETERMINISTIC & set(verdicts)
    for name in DRAWING & set(verdicts):
        assert f"{name} draws white noise, the model was trained with power-law:alpha=-0.3" in verdicts[name]


@pytest.mark.parametrize("kind", stock_schedulers(), ids=lambda kind: kind.__name__)
def test_white_noise_allows_every_stock_scheduler(kind):
    check_scheduler(kind(**required_arguments(kind)), ForwardNoise(White()))


@pytest.mark.parametrize(
    ("name", "options", "shaped"),
    [
        ("DDPMScheduler", {}, "ShapedDDPMScheduler"),
        ("DDIMScheduler", {}, "ShapedDDIMScheduler"),
        ("EulerAncestralDiscreteScheduler", {}, "ShapedDDIMScheduler"),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, "ShapedDPMSolverMultistepScheduler"),
        ("DPMSolverSinglestepScheduler", {"algorithm_type": "sde-dpmsolver++"}, "ShapedDPMSolverMultistepScheduler"),
    ],
)
def test_the_line_the_message_gives_makes_a_scheduler_that_passes(name, options, shaped):
    scheduler, noise = getattr(diffusers, name)(**options), NOISE
    line = f"scoregrain.{shaped}.from_config(scheduler.config, noise=noise)"
    assert verdict(scheduler).endswith(f": use {line}")
    exec(f"scheduler = {line}", names := {"scoregrain": scoregrain, "scheduler": scheduler, "noise": noise})
    check_scheduler(names["scheduler"], NOISE)


@pytest.mark.skipif("stochastic_sampling" not in flow_options(), reason="this diffusers has no stochastic flow")
def test_a_stochastic_flow_is_told_to_become_deterministic():
    stock = diffusers.FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)
    assert "take a deterministic scheduler of its kind" in verdict(stock)


def test_noise_that_comes_from_a_fixed_seed_s_value_is_seen_too():
    """Brownian trees take the generator's seed and leave its state alone."""

    class Tree(diffusers.DDIMScheduler):
        def step(self, model_output, timestep, sample, generator=None, return_dict=True):
            own = torch.Generator().manual_seed(generator.initial_seed())
            return (sample + torch.randn(sample.shape, generator=own),)

    assert "Tree draws white noise" in verdict(Tree())


def test_noise_from_the_global_generator_is_seen_too():
    class Global(diffusers.DDIMScheduler):
        def step(self, model_output, timestep, sample, return_dict=True):
            return (sample + torch.randn_like(sample),)

    assert "Global draws white noise" in verdict(Global())


def test_noise_from_a_generator_of_its_own_is_seen_too():
    class Own(diffusers.DDIMScheduler):
        own = torch.Generator().manual_seed(0)

        def step(self, model_output, timestep, sample, return_dict=True):
            return (sample + torch.randn(sample.shape, generator=self.own),)

    class OwnInstance(Own):
        def __init__(self):
            super().__init__()
            self.own = torch.Generator().manual_seed(0)

    assert "Own draws white noise" in verdict(Own())
    assert "OwnInstance draws white noise" in verdict(OwnInstance())


def test_what_cannot_be_tried_is_refused_with_its_reason():
    assert "RePaintScheduler cannot be tried (TypeError: " in verdict(diffusers.RePaintScheduler())


@pytest.mark.parametrize("kind", SHAPED)
def test_a_shaped_scheduler_passes_with_its_own_noise_only(kind):
    check_scheduler(kind(NOISE), ForwardNoise.parse("power-law:alpha=-0.3"))
    for other in ("power-law:alpha=-0.2", "white"):
        with pytest.raises(InvalidInputError, match=f"draws power-law:alpha=-0.3, the model was trained with {other}"):
            check_scheduler(kind(NOISE), ForwardNoise.parse(other))


def test_what_is_no_scheduler_or_no_noise_is_refused():
    for other in (object(), {}, diffusers.DDIMScheduler):
        with pytest.raises(InvalidInputError, match=f"{type(other).__name__} cannot be tried .* take a deterministic"):
            check_scheduler(other, NOISE)
    for kind in (diffusers.DDIMScheduler, ShapedDDIMScheduler):
        with pytest.raises(InvalidInputError, match=r"made from a Weight or an Operator .* got NoneType"):
            check_scheduler(kind(), None)


@pytest.mark.parametrize("noise", ["power-law:alpha=-0.3", PowerLaw(alpha=-0.3)])
def test_what_makes_a_noise_is_asked_as_the_noise_is(noise):
    check_scheduler(ShapedDDIMScheduler(noise), noise)
    with pytest.raises(InvalidInputError, match="DDIMScheduler draws white noise"):
        check_scheduler(diffusers.DDIMScheduler(), noise)
    check_scheduler(diffusers.DDIMScheduler(), "white")


def test_neither_the_scheduler_nor_the_generator_is_changed():
    stock = diffusers.UniPCMultistepScheduler()
    stock.set_timesteps(7)
    timesteps, state = stock.timesteps.clone(), torch.get_rng_state()
    check_scheduler(stock, NOISE)
    assert torch.equal(stock.timesteps, timesteps)
    assert stock.step_index is None
    assert torch.equal(torch.get_rng_state(), state)
