"""The table of laws: moments against integrals and draws, and layers that users register."""

import math

import pytest
import torch
from torch import nn

from scoregrain._errors import InvalidInputError
from scoregrain.models import NetworkFamily, TensorLaw, register_law, verify_laws
from scoregrain.models import named_laws as laws
from tests import networks

DENSITIES = {
    "uniform": lambda z: torch.full_like(z, 0.5) * (z.abs() <= 1),
    "normal": lambda z: torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi),
    "truncated": lambda z: torch.exp(-(z**2) / 2) * (z.abs() <= 2),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_moments_and_quantiles_are_integrals_of_the_density(name):
    z = torch.linspace(-12, 12, 2_400_001, dtype=torch.float64)
    p = DENSITIES[name](z)
    p = p / p.sum()
    law = laws.DISTRIBUTIONS[name]
    variance = float((p * z**2).sum())
    assert law.variance == pytest.approx(variance, rel=1e-4)
    assert law.fourth == pytest.approx(float((p * z**4).sum()) / variance**2, rel=1e-4)
    assert law.mean_size == pytest.approx(float((p * z.abs()).sum()) / math.sqrt(variance), rel=1e-4)
    for inside in (0.1, 0.9, 0.999):
        q = law.quantile(inside) * math.sqrt(variance)
        assert float(p[z.abs() < q].sum()) == pytest.approx(inside, abs=1e-4)


@pytest.mark.parametrize("name", DENSITIES)
def test_draws_have_the_laws_moments(name):
    """400,000 entries: five standard errors of mean, variance and fourth moment, and no entry beyond the edge."""
    law, n = TensorLaw(name, 0.3), 400_000
    draws = law.fill_(torch.empty(n), torch.Generator().manual_seed(0)).double()
    z = draws / math.sqrt(law.variance)
    fourth = laws.DISTRIBUTIONS[name].fourth
    assert abs(float(z.mean())) < 5 / math.sqrt(n)
    assert abs(float(z.square().mean()) - 1) < 5 * math.sqrt((fourth - 1) / n)
    assert abs(float((z**4).mean()) - fourth) < 5 * float((z**4).std()) / math.sqrt(n)
    assert float(draws.abs().max()) <= {"uniform": 0.3, "normal": 2.0, "truncated": 0.6}[name] * (1 + 1e-6)


class Layer(nn.Conv2d):
    """A user's layer with an initialisation of its own: N(0, 1/fan_in), a third in size."""

    def reset_parameters(self):
        nn.init.normal_(self.weight, std=math.sqrt(1 / 9 / self.weight[0].numel()))
        nn.init.zeros_(self.bias)


class WithLayer(networks.Tiny):
    def __init__(self):
        super().__init__()
        self.middle[0] = Layer(6, 6, 3, padding=1)


def test_a_registered_layer_is_drawn_in_place(monkeypatch):
    monkeypatch.setattr(laws, "_REGISTRY", dict(laws._REGISTRY))
    family = NetworkFamily(WithLayer, (1, 6, 6))
    assert "middle.0.weight and 1 more is not a known layer's" in verify_laws(family).reason
    register_law(Layer, "weight", lambda layer: [TensorLaw("normal", 1 / 3 / math.sqrt(layer.weight[0].numel()))])
    register_law(Layer, "bias", lambda layer: [])
    found = verify_laws(family)
    assert found.in_place, found.reason
    assert found.tensors["middle.0.weight"].variance == pytest.approx(1 / 9 / 54)
    assert found.tensors["middle.0.bias"].is_zero


def test_a_registered_law_that_is_not_the_layers_is_refused(monkeypatch):
    """A tenth too large, and of another distribution."""
    monkeypatch.setattr(laws, "_REGISTRY", dict(laws._REGISTRY))
    register_law(Layer, "bias", lambda layer: [])
    for wrong in (TensorLaw("normal", 1.1 / 3 / math.sqrt(54)), TensorLaw("uniform", math.sqrt(3 / 54) / 3)):
        register_law(Layer, "weight", lambda layer, wrong=wrong: [wrong])
        assert "middle.0.weight is not" in verify_laws(NetworkFamily(WithLayer, (1, 6, 6))).reason


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TensorLaw("gaussian", 1.0), "unknown distribution 'gaussian'.*known: uniform, normal"),
        (lambda: TensorLaw("norml", 1.0), "did you mean 'normal'"),
        (lambda: TensorLaw("normal", 0.0), "scale of a normal law cannot be 0"),
        (lambda: TensorLaw("uniform", math.inf), "cannot be inf"),
        (lambda: TensorLaw("constant", 1.0), "scale of a constant law cannot be 1"),
        (lambda: register_law("Conv2d", "weight", lambda layer: []), "a type of module.*got 'Conv2d'"),
        (lambda: TensorLaw("constant").fill_(torch.zeros(1), torch.Generator()), "nothing to draw"),
    ],
)
def test_bad_laws_are_refused(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
