import pytest
import torch

from scoregrain.studies.power_law_arms import KINDS, energy, noise_of

SHAPE = (1, 8, 8)


@pytest.mark.parametrize(("alpha", "mean"), [(-0.06, 1.14514), (-0.04, 1.09233), (0.04, 0.91896), (0.08, 0.84621)])
def test_the_printed_formula_has_the_published_energy(alpha, mean):
    assert energy(noise_of("literal", alpha, (1, 32, 32)), (1, 32, 32)) == pytest.approx(mean, abs=5e-6)


@pytest.mark.parametrize("alpha", [-0.2, -0.06, 0.06])
def test_colour_and_amount_are_what_both_is_made_of(alpha):
    made = {kind: noise_of(kind, alpha, SHAPE).operator(SHAPE).to_dense() for kind in KINDS}
    identity = torch.eye(64, dtype=torch.float64)
    amount = float(made["amount"][0, 0])
    assert torch.allclose(made["white"], identity)
    assert torch.allclose(made["amount"], amount * identity)
    assert torch.allclose(made["both"], amount * made["colour"])
    assert float(made["colour"].trace()) == pytest.approx(64)
    assert float((made["colour"] - identity).norm()) > 0.1
    assert (amount > 1) == (alpha < 0)
