"""Wrappers of other conventions against exactly solvable denoisers: levels, times, scales and geometries."""

import math

import pytest
import torch
from torch import nn

from scoregrain._errors import InvalidInputError, ZeroOutputError
from scoregrain.geometry import GaussianProbe, measure_geometry, score_from_output
from scoregrain.models import (
    AzulaNetwork,
    NetworkFamily,
    NetworkStack,
    SigmaNetwork,
    TimeNetwork,
    evaluate,
    verify_laws,
)
from scoregrain.schedules import linear_schedule
from tests import networks

F64 = torch.float64
SHAPE = (1, 4, 4)
SCHEDULE = linear_schedule()
SIGMAS, ALPHA_BAR = SCHEDULE.sigmas, SCHEDULE.alpha_bar
STEPS = torch.tensor([0, 1, 10, 250, 500, 998, 999])
SIZE, FEATURES = 16, 8


def column(values):
    return values.reshape(-1, 1, 1, 1)


def inputs(dtype=F64):
    return torch.randn(len(STEPS), *SHAPE, generator=torch.Generator().manual_seed(0), dtype=F64).to(dtype)


class Recorder(nn.Module):
    """Returns ``gain · x`` and keeps what it was told."""

    def __init__(self, gain=0.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain, dtype=F64), requires_grad=False)

    def forward(self, x, level):
        self.x, self.level = x, level
        return self.gain * x


class EDM(nn.Module):
    """The preconditioning of arXiv 2206.00364, Table 1, around ``F(c_in x, c_noise)``."""

    def __init__(self, model, sigma_data=1.0):
        super().__init__()
        self.model, self.sigma_data = model, sigma_data

    def forward(self, x, sigma, class_labels=None):
        s, d = sigma.reshape(-1, 1, 1, 1), self.sigma_data
        total = s**2 + d**2
        inner = self.model(x / total.sqrt(), sigma.flatten().log() / 4)
        return d**2 / total * x + s * d / total.sqrt() * inner


class EpsDenoiser(nn.Module):
    """k-diffusion's denoiser around an ε-network: ``x - σ ε(x/√(σ²+1), t(σ))``."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.register_buffer("sigmas", SIGMAS)

    def forward(self, x, sigma, **kwargs):
        s = sigma.reshape(-1, *[1] * (x.ndim - 1))
        t = (sigma[:, None] - self.sigmas).abs().argmin(dim=1).to(x.dtype)
        return x - s * self.model(x / (s**2 + 1).sqrt(), t, **kwargs)


class Clock(nn.Module):
    """``o = W h + b`` with features of the noise level alone, ``‖h‖² = 4``; the layer starts at zero on request."""

    def __init__(self, zero=False):
        super().__init__()
        self.last = nn.Linear(FEATURES, SIZE)
        if zero:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    def forward(self, x, level):
        angles = level[:, None] * torch.arange(1, 5, device=x.device)
        return self.last(torch.cat([angles.cos(), angles.sin()], dim=1).to(x.dtype)).view_as(x)


class Zeroed(Clock):
    """A random body that a zero layer hides."""

    def __init__(self):
        super().__init__(zero=True)
        self.first = nn.Linear(SIZE, FEATURES)

    def forward(self, x, level):
        return self.last(torch.tanh(self.first(x.flatten(1)))).view_as(x)


class Uniform(GaussianProbe):
    """The Gaussian probe where the network takes most of its input back, so that all levels matter alike."""

    def moment_weight(self, schedule, prediction):
        return torch.ones(schedule.num_steps, dtype=F64)


def trace_of(geometry):
    """The trace and its standard error, from the groups."""
    values = geometry.contract(torch.eye(geometry.size, dtype=F64))
    if geometry.exact:
        return float(values), 0.0
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


# what the network is told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_sigma_is_that_of_the_schedule_at_t(dtype):
    recorder = Recorder()
    SigmaNetwork(recorder, SIGMAS)(inputs(dtype), STEPS)
    assert recorder.level.dtype == recorder.x.dtype == dtype
    torch.testing.assert_close(recorder.level, SIGMAS[STEPS].to(dtype), rtol=0, atol=0)
    assert torch.equal(recorder.x, inputs(dtype))


def test_the_score_of_standard_normal_data_through_edm():
    """F = 0 and σ_data = 1: D = x/(1+σ²), the exact denoiser; the score is that of N(0, 1+σ²)."""
    x = inputs()
    denoised = SigmaNetwork(EDM(Recorder()), SIGMAS)(x, STEPS)
    score = score_from_output(denoised, x, STEPS, SCHEDULE, "edm")
    torch.testing.assert_close(score, -x / (1 + column(SIGMAS[STEPS]) ** 2), rtol=1e-6, atol=1e-12)


def test_an_epsilon_network_behind_k_diffusions_denoiser_gives_the_same_score():
    """x/√ᾱ has noise σ/√ᾱ, and its score is √ᾱ times that of x: pathwise, for any network."""
    torch.manual_seed(0)
    network, x = networks.Tiny(timed=True).double().requires_grad_(False), inputs()
    plain = score_from_output(network(x, STEPS.double()), x, STEPS, SCHEDULE, "epsilon")
    signal = column(ALPHA_BAR[STEPS].sqrt())
    scaled = x / signal
    denoised = SigmaNetwork(EpsDenoiser(network), SIGMAS)(scaled, STEPS)
    score = score_from_output(denoised, scaled, STEPS, SCHEDULE, "edm")
    torch.testing.assert_close(score, signal * plain, rtol=1e-6, atol=1e-9)


def test_the_score_of_standard_normal_data_through_a_flow():
    """E[ε - x0 | x_t] = (2t-1)/(t²+(1-t)²) x for x_t = (1-t) x0 + t ε; the score is -x/(t²+(1-t)²)."""

    class Velocity(nn.Module):
        def forward(self, x, t):
            t = column(t)
            return (2 * t - 1) / (t**2 + (1 - t) ** 2) * x

    x, times = inputs(), torch.arange(1, 1001, dtype=F64) / 1000
    velocity = TimeNetwork(Velocity(), times)(x, STEPS)
    score = score_from_output(velocity, x, STEPS, SCHEDULE, "flow")
    t = column(times[STEPS])
    torch.testing.assert_close(score, -x / (t**2 + (1 - t) ** 2), rtol=1e-9, atol=1e-12)


# geometries ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ["plain", "auto"])
def test_geometry_of_an_edm_network_under_the_zero_probe(estimator):
    """G = mean of c_out²/σ⁴ · v (‖h‖² + 1) I with v = 1/(3·8) once the zero head is re-drawn."""
    sigma_data = 0.5
    c_out = SIGMAS * sigma_data / (SIGMAS**2 + sigma_data**2).sqrt()

    def build():
        return SigmaNetwork(EDM(Clock(zero=True), sigma_data), SIGMAS)

    family = NetworkFamily(build, SHAPE, prediction="edm", init="unzero-head")
    geometry = measure_geometry(family, 1024, estimator=estimator)
    expected = float((c_out**2 / SIGMAS**4).mean()) * 5 / (3 * FEATURES)
    trace, error = trace_of(geometry)
    assert abs(trace / SIZE - expected) < 4 * error / SIZE + 1e-9 * expected
    assert error < 0.02 * trace
    off = geometry.matrix() - trace / SIZE * torch.eye(SIZE, dtype=F64)
    assert float(off.norm()) < 1.5 * math.sqrt(SIZE * (SIZE + 1) / 1024) * expected
    assert geometry.exact == (estimator == "auto")  # the layer behind c_out is found, its features are not random


def test_a_zero_head_behind_preconditioning_is_named():
    family = NetworkFamily(lambda: SigmaNetwork(EDM(Clock(zero=True)), SIGMAS), SHAPE, prediction="edm")
    with pytest.raises(ZeroOutputError, match=r"'network\.model\.last' starts at zero.*unzero-head"):
        measure_geometry(family, 32)
    network = NetworkFamily(family.build, SHAPE, prediction="edm", init="unzero-head").construct(0, 0)
    assert network.network.model.last.weight.any()


def test_geometry_of_an_edm_network_under_the_gaussian_probe():
    """Zero head, σ_data = 1: F = -ᾱ x for every network, so G = s² mean ᾱ² I."""
    family = NetworkFamily(lambda: SigmaNetwork(EDM(Zeroed()), SIGMAS), SHAPE, prediction="edm")
    trace, error = trace_of(measure_geometry(family, 2048, probe=Uniform(SHAPE, 0.5)))
    expected = 0.25 * SIZE * float(ALPHA_BAR.square().mean())
    assert abs(trace - expected) < 4 * error < 0.1 * expected


def test_wrapped_networks_run_by_vmap_as_one_by_one():
    family = NetworkFamily(lambda: SigmaNetwork(EDM(networks.Tiny(timed=True)), SIGMAS), SHAPE, prediction="edm")
    laws = verify_laws(family)
    assert laws.in_place
    agrees_one_by_one(family, NetworkStack(family, laws, seed=0))
    agrees_one_by_one(family, NetworkStack(family, type(laws)(laws.tensors, "asked for"), seed=0))


def agrees_one_by_one(family, stack):
    parameters = stack.parameters(range(len(STEPS)))
    x, t = inputs(torch.float32)[:, None], STEPS[:, None]
    output, _ = stack.outputs(parameters, x, t, None)
    assert stack.execution == "vmap"
    network = family.construct(0, 0)
    for i in range(len(STEPS)):
        network.load_state_dict({n: value[i] for n, value in parameters.items()}, strict=False)
        torch.testing.assert_close(output[i], evaluate(network, x[i], t[i]), rtol=1e-4, atol=1e-6)


def test_the_table_is_part_of_the_fingerprint():
    families = [
        NetworkFamily(lambda s=s: SigmaNetwork(EDM(Clock()), s), SHAPE, prediction="edm")
        for s in (SIGMAS, SIGMAS + 1e-3)
    ]
    assert families[0].fingerprint() != families[1].fingerprint()


# bad tables ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (linear_schedule(100).sigmas, r"1000 finite numbers, one for each t from 0 to 999, got shape \(100,\)"),
        (SIGMAS[:, None], r"got shape \(1000, 1\)"),
        (SIGMAS.log() / 0, "finite"),
        (SIGMAS.flip(0), "increase with t"),
        (SIGMAS - SIGMAS[0], "must be positive"),
    ],
)
@pytest.mark.parametrize("wrapper", [SigmaNetwork, AzulaNetwork])
def test_bad_tables_are_explained(wrapper, table, message):
    with pytest.raises(InvalidInputError, match=message):
        wrapper(Recorder(), table)


@pytest.mark.parametrize("wrapper", [SigmaNetwork, AzulaNetwork, TimeNetwork])
def test_arguments_of_another_kind_are_explained(wrapper):
    with pytest.raises(InvalidInputError, match="the first argument is a Tensor, expected the network; the table"):
        wrapper(SIGMAS, Recorder())
    with pytest.raises(InvalidInputError, match=r"the table is a Schedule.*: linear_schedule\(\).sigmas"):
        wrapper(Recorder(), SCHEDULE)
    with pytest.raises(InvalidInputError, match="the table is a list, expected a tensor of 1000 numbers"):
        wrapper(Recorder(), SIGMAS.tolist())


def test_times_may_run_either_way_but_must_be_1000_numbers():
    recorder = Recorder()
    TimeNetwork(recorder, torch.linspace(1, 0, 1000))(inputs(), STEPS)
    assert recorder.level[0] == 1
    with pytest.raises(InvalidInputError, match="1000 finite numbers"):
        TimeNetwork(recorder, torch.linspace(0, 1, 50))


# azula -----------------------------------------------------------------------------------------------------------

SCHEDULES = ["VPSchedule", "CosineSchedule", "RectifiedSchedule", "DecaySchedule", "VESchedule"]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_azula_networks_get_our_signal_to_noise_ratio_and_scale(schedule):
    """Azula's own preconditioning tells the backbone log(σ/α) and unit-variance inputs: ours, whatever its schedule."""
    denoise = pytest.importorskip("azula.denoise")
    noise = pytest.importorskip("azula.noise")
    recorder, x = Recorder(1.0), inputs()
    output = AzulaNetwork(denoise.SimpleDenoiser(recorder, getattr(noise, schedule)()), SIGMAS)(x, STEPS)
    torch.testing.assert_close(recorder.level, SIGMAS[STEPS].log(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(recorder.x, x, rtol=1e-9, atol=1e-12)  # c_in α x0 + … has ᾱ + σ² = 1 as ours has
    assert torch.equal(output, recorder.x)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_score_of_standard_normal_data_through_azula(schedule):
    """Its skip connection alone is the exact denoiser √ᾱ x of N(0, I), whose score is -x at every level."""
    denoise = pytest.importorskip("azula.denoise")
    noise = pytest.importorskip("azula.noise")
    x = inputs()
    mean = AzulaNetwork(denoise.KarrasDenoiser(Recorder(), getattr(noise, schedule)()), SIGMAS)(x, STEPS)
    torch.testing.assert_close(mean, column(ALPHA_BAR[STEPS].sqrt()) * x, rtol=1e-9, atol=1e-12)
    score = score_from_output(mean, x, STEPS, SCHEDULE, "sample")
    torch.testing.assert_close(score, -x, rtol=1e-4, atol=1e-6)


def test_geometry_of_an_azula_network():
    """Its c_out is our σ, so G = mean of ᾱ/σ² · v (‖h‖² + 1) I; run by vmap."""
    denoise = pytest.importorskip("azula.denoise")
    noise = pytest.importorskip("azula.noise")

    def build():
        return AzulaNetwork(denoise.KarrasDenoiser(Clock(), noise.VPSchedule()), SIGMAS)

    family = NetworkFamily(build, SHAPE, prediction="sample")
    agrees_one_by_one(family, NetworkStack(family, verify_laws(family), seed=0))
    geometry = measure_geometry(family, 512, estimator="plain")
    expected = float((ALPHA_BAR / SCHEDULE.sigma**2).mean()) * SIZE * 5 / (3 * FEATURES)
    trace, error = trace_of(geometry)
    assert abs(trace - expected) < 4 * error < 0.1 * expected


def test_an_azula_schedule_that_does_not_reach_our_levels_is_refused():
    denoise = pytest.importorskip("azula.denoise")
    noise = pytest.importorskip("azula.noise")
    denoiser = denoise.KarrasDenoiser(Recorder(), noise.VESchedule(0.02, 80.0))
    with pytest.raises(InvalidInputError, match=r"from 0\.01 to 157 leave .* runs from 0\.02 to 80; widen"):
        AzulaNetwork(denoiser, SIGMAS)
