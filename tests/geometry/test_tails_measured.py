"""What follows or surrounds the last layer: the closed form agrees with plain outer products and is more certain."""

import math

import pytest
import torch
from torch import nn

from scoregrain.geometry import DataProbe, GaussianProbe, ZeroProbe, measure_geometry
from scoregrain.models import NetworkFamily
from scoregrain.schedules import linear_schedule
from tests.networks import Tiny

pytestmark = pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
SHAPE = (2, 4, 4)
SIGMA = linear_schedule().sigmas


class Timed(Tiny):
    def __init__(self):
        super().__init__(channels=2, timed=True)


class Skip(Timed):
    def forward(self, x, t):
        return x + super().forward(x, t)


class Preconditioned(Timed):
    """EDM: ``c_skip x + c_out F(c_in x)``."""

    def forward(self, x, t):
        s = SIGMA[t].to(x.dtype)[:, None, None, None]
        total = (1 + s * s).sqrt()
        return x / total**2 + s / total * super().forward(x / total, t)


class LearnedVariance(Timed):
    """Four channels, of which the first two are the output."""

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, x, t):
        return super().forward(x, t)[:, :2]


class Upsampled(Timed):
    """The last layer runs at half the size."""

    def forward(self, x, t):
        half = super().forward(nn.functional.avg_pool2d(x, 2), t)
        return nn.functional.interpolate(half, scale_factor=2)


class FixedOutput(Timed):
    """A fixed linear map of the whole image behind the last layer."""

    def __init__(self):
        super().__init__()
        matrix = torch.randn(32, 32, generator=torch.Generator().manual_seed(5)) / 6
        self.register_buffer("matrix", matrix * torch.linspace(0.2, 2, 32)[:, None])

    def forward(self, x, t):
        return (super().forward(x, t).flatten(1) @ self.matrix.T).reshape(x.shape)


GAUSSIAN, ZERO = GaussianProbe(SHAPE, 0.7), ZeroProbe(SHAPE)


@pytest.mark.parametrize(
    ("build", "prediction", "probe", "structure"),
    [
        (Timed, "v_prediction", GAUSSIAN, "dense"),
        (Timed, "sample", GAUSSIAN, "dense"),
        (Timed, "flow", GAUSSIAN, "dense"),
        (Skip, "epsilon", GAUSSIAN, "dense"),
        (Skip, "epsilon", ZERO, "channel"),
        (Preconditioned, "edm", GAUSSIAN, "dense"),
        (Preconditioned, "edm", ZERO, "channel"),
        (LearnedVariance, "epsilon", GAUSSIAN, "channel"),
        (Upsampled, "epsilon", ZERO, "dense"),
        (FixedOutput, "epsilon", ZERO, "dense"),
        (FixedOutput, "v_prediction", GAUSSIAN, "dense"),
    ],
)
def test_the_closed_form_agrees_with_plain_outer_products(build, prediction, probe, structure):
    family = NetworkFamily(build, SHAPE, prediction=prediction)
    head = measure_geometry(family, 1024, probe=probe)
    plain = measure_geometry(family, 4096, probe=probe, estimator="plain")
    assert head.info["head"] == "last", head.info["head_reason"]
    assert head.structure.kind == structure
    distance = float((head.matrix() - plain.matrix()).norm() / plain.matrix().norm())
    assert distance < 1.5 * math.hypot(head.relative_error, plain.relative_error)
    assert abs(head.trace - plain.trace) < 4 * math.hypot(head.trace_error, plain.trace_error)
    # the error of one network; the base keeps its outer products where it is not known in closed form
    assert head.relative_error * 1024**0.5 < 1.1 * plain.relative_error * 4096**0.5


@pytest.mark.parametrize("prediction", ["v_prediction", "flow"])
def test_the_moment_of_the_input_is_exact(prediction):
    """Without a head the score's ``a x`` dominates the error; in closed form it has none."""
    family = NetworkFamily(Timed, SHAPE, prediction=prediction)
    images = torch.randn(50, *SHAPE, generator=torch.Generator().manual_seed(0))
    for probe in (GAUSSIAN, DataProbe(images, prediction)):
        head, plain = (measure_geometry(family, 1024, probe=probe, estimator=e) for e in ("auto", "plain"))
        assert head.relative_error < 0.2 * plain.relative_error
        assert abs(head.trace - plain.trace) < 4 * plain.trace_error


def test_a_sketch_of_a_score_with_its_input_is_that_of_the_matrix():
    family = NetworkFamily(lambda: Tiny(1, timed=True), (1, 12, 12), prediction="v_prediction")
    probe = GaussianProbe((1, 12, 12), 0.05)  # more would put a floor under the spectrum
    whole, part = (measure_geometry(family, 512, probe=probe, rank=rank) for rank in ("all", 4))
    assert math.isclose(part.trace, whole.trace, rel_tol=1e-9)
    torch.testing.assert_close(part.eigenvalues, whole.eigenvalues[:4], rtol=0.05, atol=0)


def early(t, x):
    """1 at the levels 1 … 29, which carry most of the weight and are not among those a head is found at."""
    return ((t > 0) & (t < 30)).to(x.dtype)[:, None, None, None]


class FactorAtTimes(Timed):
    def forward(self, x, t):
        return super().forward(x, t) * (1 + 3 * early(t, x))


class MixedAtTimes(Timed):
    def forward(self, x, t):
        return torch.lerp(o := super().forward(x, t), o.flip(1), early(t, x))


class AddedAtTimes(Timed):
    def __init__(self):
        super().__init__()
        self.beside = nn.Conv2d(2, 2, 1)

    def forward(self, x, t):
        return early(t, x) * self.beside(x) + super().forward(x, t)


class AddedLate(Timed):
    def forward(self, x, t):
        return super().forward(x, t) + 5 * x * (t > 600)[:, None, None, None]


class FactorOfInput(Timed):
    def forward(self, x, t):
        return super().forward(x, t) * (1 + t[:, None, None, None] / 100 * x.square().mean((1, 2, 3), keepdim=True))


@pytest.mark.parametrize(
    ("build", "probe", "reason"),
    [
        (FactorAtTimes, ZERO, "the factor behind it is another one"),
        (MixedAtTimes, ZERO, "changes with the input or the noise level by more than a factor"),
        (AddedLate, GAUSSIAN, "something is added to its output"),
        (FactorOfInput, GAUSSIAN, "the factor behind it is another one"),
        (AddedAtTimes, ZERO, "something is added to its output"),
    ],
)
def test_what_changes_at_levels_or_inputs_of_the_measurement_is_no_head(build, probe, reason):
    """It looks like a head at the few levels at which heads are found."""
    family = NetworkFamily(build, SHAPE)
    found = measure_geometry(family, 32, probe=probe)
    assert reason in found.info["head_reason"]
    assert found.structure.kind == "dense"


def test_the_input_alone_may_change_the_factor_where_the_probe_is_zero():
    assert measure_geometry(NetworkFamily(FactorOfInput, SHAPE), 32).info["head"] == "last"


def test_levels_are_drawn_where_the_output_is_large():
    """Outputs that grow with a raw time: without it a few late levels, hardly drawn, would carry everything."""

    class RawTime(Tiny):
        def __init__(self):
            super().__init__(2)
            self.time = nn.Linear(1, 6)

        def forward(self, x, t):
            h = self.first(x) + self.time(t[:, None].to(x.dtype))[:, :, None, None]
            return self.last(nn.functional.silu(h))

    family = NetworkFamily(RawTime, SHAPE, prediction="sample")
    some, more = measure_geometry(family, 1024), measure_geometry(family, 4096, estimator="plain", seed=1)
    assert some.relative_error < 0.05
    assert more.relative_error < 0.15
    assert abs(some.trace - more.trace) < 4 * math.hypot(some.trace_error, more.trace_error)
