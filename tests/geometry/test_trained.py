"""A trained network: the expectation is over data and noise levels alone (MATH A1-A2, P2)."""

import pytest
import torch
from torch import nn

from scoregrain._errors import InvalidInputError
from scoregrain.geometry import DataProbe, GaussianProbe, measure_geometry
from scoregrain.models import NetworkFamily
from scoregrain.schedules import linear_schedule, noising_coefficients, score_coefficients

SHAPE = (1, 2, 3)
pytestmark = pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")


class Linear(nn.Module):
    """``o = A x`` with one given A."""

    def __init__(self):
        super().__init__()
        weight = torch.randn(6, 6, generator=torch.Generator().manual_seed(3)) / 3
        self.map = nn.Linear(6, 6, bias=False)
        self.map.weight.data = weight

    def forward(self, x, t):
        return self.map(x.flatten(1)).reshape(x.shape)


def images(count=64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, *SHAPE, generator=generator) * torch.linspace(0.2, 1.5, 6).reshape(SHAPE) + 0.3


def trained(prediction="epsilon"):
    return NetworkFamily(Linear, SHAPE, prediction=prediction, name="linear", trained=True)


def expected(prediction):
    """Mean over levels of ``B (c² M + s² I) Bᵀ`` with ``B = a I + b A``."""
    schedule, x = linear_schedule(), images().flatten(1).double()
    a, b = score_coefficients(schedule, prediction)
    c, s = noising_coefficients(schedule, prediction)
    weight, m, eye = Linear().map.weight.detach().double(), x.T @ x / len(x), torch.eye(6, dtype=torch.float64)
    maps = a[:, None, None] * eye + b[:, None, None] * weight
    inner = c.square()[:, None, None] * m + s.square()[:, None, None] * eye
    return (maps @ inner @ maps.mT).mean(0)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample", "flow", "edm"])
def test_the_geometry_of_a_linear_network_is_that_of_its_formula(prediction):
    geometry = measure_geometry(trained(prediction), 16384, probe=DataProbe(images(), prediction))
    target = expected(prediction)
    distance = float((geometry.matrix() - target).norm() / target.norm())
    assert distance < 2.5 * geometry.relative_error
    assert geometry.relative_error < 0.1
    assert abs(geometry.trace - float(target.trace())) < 4 * geometry.trace_error
    assert geometry.info["trained"]
    assert "trained" in geometry.info["head_reason"]


def test_noisings_are_those_of_the_predictions():
    """Tweedie: the exact denoiser of x0 = 0 gives the score ``-x / s²`` for x = s ε."""
    schedule = linear_schedule()
    for prediction, output in {
        "epsilon": lambda x, c, s: x / s,
        "sample": lambda x, c, s: 0 * x,
        "v_prediction": lambda x, c, s: c * x / s,
        "flow": lambda x, c, s: x / s,
        "edm": lambda x, c, s: 0 * x,
    }.items():
        a, b = score_coefficients(schedule, prediction)
        c, s = noising_coefficients(schedule, prediction)
        x = s * 1.7
        torch.testing.assert_close(a * x + b * output(x, c, s), -x / s.square())


def test_shards_and_batches_change_nothing():
    whole = measure_geometry(trained(), 128, probe=DataProbe(images()))
    first = measure_geometry(trained(), 64, probe=DataProbe(images()))
    assert torch.equal(first.groups[0].total, whole.groups[0].total)
    assert whole.info["execution"] == "batched (one network)"


def test_a_trained_network_needs_inputs():
    with pytest.raises(InvalidInputError, match="is trained: its geometry is an expectation over its inputs"):
        measure_geometry(trained(), 64)
    assert measure_geometry(trained(), 64, probe=GaussianProbe(SHAPE)).count == 64


def test_a_probe_for_another_noising_is_refused():
    with pytest.raises(
        InvalidInputError, match="noises its images for variance-preserving networks, 'flow' needs flow"
    ):
        measure_geometry(trained("flow"), 64, probe=DataProbe(images()))
