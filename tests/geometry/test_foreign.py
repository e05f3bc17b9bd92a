"""Networks that would fool a shortcut: the measured geometry is that of directly constructed networks."""

import math

import pytest
import torch
from torch import nn

from scoregrain import TimeBlindWarning, ZeroProbe
from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.geometry import DataProbe, GaussianProbe, measure_geometry, merge_geometries
from scoregrain.models import NetworkFamily
from scoregrain.schedules import linear_schedule
from tests import networks

OMEGA = 32.05434524985
SHAPE = (1, 6, 6)
pytestmark = pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")


class FoldedChannels(nn.Module):
    """All channels share one filter: I_C ⊗ A is false."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x, t):
        n, c, *space = x.shape
        return self.last(torch.tanh(self.first(x.reshape(n * c, 1, *space)))).reshape(x.shape)


class SequenceFirst(nn.Module):
    """Tokens in the first dimension, the batch in the second."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(4, 1, 8))
        self.last = nn.Linear(8, 9)

    def forward(self, x, t):
        h = torch.tanh(self.token.expand(-1, len(x), -1))
        return self.last(h).transpose(0, 1).reshape(x.shape)


class TiedByFunction(networks.Tiny):
    """The last layer's weights also act, transposed, inside."""

    def forward(self, x, t):
        h = torch.tanh(self.first(x))
        h = torch.tanh(nn.functional.conv_transpose2d(self.last(h), 3 * self.last.weight, padding=1))
        return self.last(h)


class TiedInside(networks.Tiny):
    """As before, but the layer itself runs once."""

    def forward(self, x, t):
        h = torch.tanh(nn.functional.conv_transpose2d(1 + x, 3 * self.last.weight, padding=1))
        return self.last(h)


class Hooked(networks.Tiny):
    """A forward hook triples the last layer's output."""

    def __init__(self):
        super().__init__()
        self.last.register_forward_hook(lambda module, args, output: 3 * output)


class PlainAttribute(networks.Tiny):
    """Random, but neither a parameter nor a buffer."""

    def __init__(self):
        super().__init__()
        self.pattern = torch.randn(1, 6, 6, 6)

    def forward(self, x, t):
        h = self.first(x) + 2 * self.pattern[0].to(x.dtype)
        return self.last(torch.tanh(self.middle[0](torch.tanh(h))))


class NegatedCopy(networks.Tiny):
    """Two layers start as each other's negative."""

    def __init__(self):
        super().__init__()
        self.middle[1].weight = nn.Parameter(-self.middle[0].weight.detach())


class SmallBias(networks.Tiny):
    """A last bias far smaller than the default."""

    def __init__(self):
        super().__init__()
        nn.init.normal_(self.last.bias, std=1e-3)


class Keyword(networks.Tiny):
    """The last layer is called by keyword."""

    def forward(self, x, t):
        return self.last(input=torch.tanh(self.first(x)))


class FlatTail(nn.Module):
    """A strided convolution whose output is reshaped into the image."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, stride=2)

    def forward(self, x, t):
        return self.last(torch.tanh(self.first(x))).reshape(x.shape)


class OldWeightNorm(networks.Tiny):
    """Parameters that are recomputed before each forward pass."""

    def __init__(self):
        super().__init__()
        nn.utils.parametrizations.weight_norm(self.last)


def directly(build, shape, count):
    """ω E[o oᵀ] at x = 0 and its relative error, from constructed modules alone."""
    torch.manual_seed(7)
    rows = []
    with torch.no_grad():
        for _ in range(count):
            rows.append(build().eval()(torch.zeros(1, *shape), torch.zeros(1, dtype=torch.long)).flatten().double())
    o = torch.stack(rows)
    g = OMEGA * o.T @ o / count
    spread = (OMEGA**2 * o.square().sum(1).square().mean() - g.square().sum()) / count
    return g, math.sqrt(float(spread / g.square().sum()))


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (FoldedChannels, (3, 6, 6)),
        (SequenceFirst, SHAPE),
        (TiedByFunction, SHAPE),
        (TiedInside, SHAPE),
        (Hooked, SHAPE),
        (PlainAttribute, SHAPE),
        (NegatedCopy, SHAPE),
        (SmallBias, SHAPE),
        (Keyword, SHAPE),
        (FlatTail, SHAPE),
        (OldWeightNorm, SHAPE),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_measured_geometry_is_that_of_constructed_networks(build, shape):
    truth, error = directly(build, shape, 4000)
    geometry = measure_geometry(NetworkFamily(build, shape), 2048)
    distance = float((geometry.matrix() - truth).norm() / truth.norm())
    assert distance < 2.5 * math.hypot(error, geometry.relative_error), geometry.info


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (FoldedChannels, "batch in the first dimension"),
        (SequenceFirst, "batch in the first dimension"),
        (TiedByFunction, "more than once"),
        (TiedInside, "act elsewhere"),
        (Hooked, "hook"),
    ],
)
def test_what_is_no_head_says_why(build, reason):
    shape = (3, 6, 6) if build is FoldedChannels else SHAPE
    assert reason in measure_geometry(NetworkFamily(build, shape), 32).info["head_reason"]


def test_randomness_outside_parameters_runs_the_modules_themselves():
    info = measure_geometry(NetworkFamily(PlainAttribute, SHAPE), 32).info
    assert info["draw"] == "constructor"
    assert "outside their parameters" in info["draw_reason"]
    assert info["execution"].startswith("loop")


def test_constructor_draws_do_not_depend_on_threads():
    """Global seeding is one thread's at a time, and the caller's random state is left alone."""
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one = measure_geometry(NetworkFamily(SequenceFirst, SHAPE), 256)
    torch.set_num_threads(2)
    two = measure_geometry(NetworkFamily(SequenceFirst, SHAPE), 256)
    torch.set_num_threads(1)
    assert one.info["draw"] == "constructor"
    assert torch.equal(one.reduced, two.reduced)
    assert torch.equal(torch.get_rng_state(), before)


def test_any_moment_weight_gives_the_same_mean():
    """A probe that weighs all levels alike, or only says what it must, is less precise and no less right."""

    class Flat(ZeroProbe):
        name = "flat"

        def moment_weight(self, schedule, prediction):
            return 1 + 1e-3 * super().moment_weight(schedule, prediction)

    family = NetworkFamily(lambda: networks.Tiny(timed=True), SHAPE)
    best, flat = measure_geometry(family, 2048), measure_geometry(family, 4096, probe=Flat(SHAPE), seed=1)
    distance = float((best.matrix() - flat.matrix()).norm() / best.matrix().norm())
    assert distance < 2.5 * math.hypot(best.relative_error, flat.relative_error)
    assert flat.relative_error < 0.3
    blind = NetworkFamily(networks.Tiny, SHAPE)
    torch.testing.assert_close(
        measure_geometry(blind, 64, probe=Flat(SHAPE)).reduced, measure_geometry(blind, 64).reduced
    )


@pytest.mark.parametrize(
    "weight", [torch.ones(7), -torch.ones(1000), torch.full((1000,), torch.nan), torch.zeros(1000)]
)
def test_bad_moment_weights_are_refused(weight):
    class Bad(ZeroProbe):
        name = "bad"

        def moment_weight(self, schedule, prediction):
            return weight

    with pytest.raises(InvalidInputError, match="1000 finite numbers, positive"):
        measure_geometry(NetworkFamily(networks.Tiny, SHAPE), 32, probe=Bad(SHAPE))


@pytest.mark.parametrize("prediction", ["flow", "edm"])
def test_data_probes_refuse_other_noising(prediction):
    with pytest.raises(InvalidInputError, match="data probe noises its images"):
        measure_geometry(
            NetworkFamily(networks.Tiny, SHAPE, prediction=prediction), 32, probe=DataProbe(torch.ones(3, *SHAPE))
        )


def test_different_probes_and_schedules_do_not_merge():
    family = NetworkFamily(networks.Tiny, SHAPE)
    first = measure_geometry(family, 32, probe=GaussianProbe(SHAPE, 1.0))
    with pytest.raises(InvalidInputError, match="different probe"):
        merge_geometries([first, measure_geometry(family, 32, first=32, probe=GaussianProbe(SHAPE, 5.0))])
    first = measure_geometry(family, 32)
    with pytest.raises(InvalidInputError, match="different steps"):
        merge_geometries([first, measure_geometry(family, 32, first=32, schedule=linear_schedule(200))])


def test_networks_are_told_levels_of_a_thousand():
    """At step t of T a network hears t·1000/T (MATH 0)."""
    heard = set()

    class Listening(networks.Tiny):
        def forward(self, x, t):
            if not torch._C._functorch.is_batchedtensor(t):
                heard.update(t.tolist())
            return super().forward(x, t)

    measure_geometry(NetworkFamily(Listening, SHAPE), 32, schedule=linear_schedule(100))
    assert {0, 100, 990} <= heard
    assert max(heard) <= 999


def test_a_weak_asymmetry_at_zero_input_is_seen():
    """A tiny row pattern decides everything at x = 0 and nothing at a Gaussian input."""

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.Conv2d(8, 1, 3, padding=1, bias=False)
            self.register_buffer("rows", 1e-5 * torch.arange(6.0)[None, None, :, None].expand(1, 1, 6, 6))

        def forward(self, x, t):
            return self.last(torch.tanh(self.first(x + self.rows)))

    assert measure_geometry(NetworkFamily(Rows, SHAPE), 32).info["symmetry"] in ("", "flip -1")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.LazyConv2d(1, 3, padding=1), "lazy layers"),
        (lambda: Random(), "different outputs for equal inputs.*switch randomness off"),
        (lambda: Complex(), "returned torch.complex64"),
    ],
)
def test_networks_that_cannot_be_measured_say_why(build, message):
    with pytest.raises(ScoregrainError, match=message):
        measure_geometry(NetworkFamily(build, SHAPE), 32)


class Random(networks.Tiny):
    """Dropout that is always on."""

    def forward(self, x, t):
        return nn.functional.dropout(super().forward(x, t), 0.5)


class Complex(networks.Tiny):
    """Complex outputs."""

    def forward(self, x, t):
        return super().forward(x, t).to(torch.complex64)


def test_half_precision_networks_are_measured():
    """bfloat16 parameters: the same law up to bfloat16's rounding, 3 decimal digits."""

    def build():
        return networks.Tiny().to(torch.bfloat16)

    with pytest.warns(TimeBlindWarning):
        half = measure_geometry(NetworkFamily(build, SHAPE), 1024)
    full = measure_geometry(NetworkFamily(networks.Tiny, SHAPE), 1024)
    distance = float((half.matrix() - full.matrix()).norm() / full.matrix().norm())
    assert distance < 3 * math.hypot(half.relative_error, full.relative_error) + 0.01
