"""A fixed layer behind a network makes the geometry A G Aᵀ, exactly, and is not trained."""

import pytest
import torch
from torch import nn

from scoregrain._errors import InvalidInputError
from scoregrain.geometry import measure_geometry
from scoregrain.models import NetworkFamily
from scoregrain.studies import interventions
from scoregrain.studies.directions import haar
from scoregrain.studies.interventions import (
    LAYERS,
    OutputLayer,
    exchanging,
    flipping,
    inverting,
    layer_of,
    moved,
    permuting,
    rotation_of,
    whitening,
    with_output,
)
from scoregrain.training import TrainConfig
from scoregrain.training.fit import fit

SHAPE = (1, 2, 3)


class Tiny(nn.Module):
    """Of two layers; its output depends on x and t, and is not zero at x = 0."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(7, 5), nn.Linear(5, 6)

    def forward(self, x, t):
        seen = torch.cat([x.flatten(1), t.reshape(-1, 1).to(x) / 1000], 1)
        return self.second(self.first(seen).tanh()).reshape(x.shape)


FAMILY = NetworkFamily(Tiny, SHAPE, name="tiny")


def random_geometry(seed=0):
    """Eigenvalues 6, 5, … 1 along Haar-random directions."""
    u = haar(6, seed)
    return u * torch.arange(6, 0, -1, dtype=torch.float64) @ u.T


def spectrum_along(layer, geometry):
    """The eigenvalues of A G Aᵀ along the eigenvectors of G, largest λ of G first."""
    _, u = interventions.spectrum(geometry)
    changed = u.T @ layer @ geometry @ layer.T @ u
    assert torch.allclose(changed, changed.diagonal().diag(), atol=1e-10), "the eigenvectors moved"
    return changed.diagonal()


def test_whitening_gives_every_direction_the_mean_eigenvalue():
    geometry = random_geometry()
    assert torch.allclose(spectrum_along(whitening(geometry), geometry), torch.tensor(3.5, dtype=torch.float64))


def test_inversion_reverses_the_spectrum():
    geometry = random_geometry()
    expected = torch.arange(1, 7, dtype=torch.float64)
    assert torch.allclose(spectrum_along(inverting(geometry), geometry), expected)


def test_permutation_is_one_of_the_same_eigenvalues_and_another_for_another_seed():
    geometry = random_geometry()
    first, second = (spectrum_along(permuting(geometry, seed), geometry) for seed in (0, 1))
    for found in (first, second):
        assert torch.allclose(found.sort().values, torch.arange(1, 7, dtype=torch.float64))
    assert not torch.allclose(first, second)
    assert torch.allclose(first, spectrum_along(permuting(geometry, 0), geometry))


def test_signs_change_the_layer_and_not_the_geometry():
    geometry = random_geometry()
    layer = flipping(geometry, seed=0)
    assert torch.allclose(layer @ geometry @ layer.T, geometry)
    assert torch.allclose(layer @ layer, torch.eye(6, dtype=torch.float64))
    assert not torch.allclose(layer.abs(), torch.eye(6, dtype=torch.float64), atol=0.1)


def test_an_exchange_swaps_two_eigenvalues_and_leaves_the_others():
    geometry = random_geometry()
    _, u = interventions.spectrum(geometry)
    found = spectrum_along(exchanging(u[:, 1], u[:, 4]), geometry)
    assert torch.allclose(found, torch.tensor([6, 2, 4, 3, 5, 1], dtype=torch.float64))


def test_a_geometry_with_a_null_space_is_refused():
    geometry = torch.diag(torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64))
    with pytest.raises(InvalidInputError, match="eigenvalue zero"):
        whitening(geometry)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("estimator", ["auto", "plain"])
def test_the_measured_geometry_of_networks_behind_a_layer_is_the_product(estimator, skip):
    layer = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before, after = (
        measure_geometry(family, 64, estimator=estimator).matrix()
        for family in (FAMILY, with_output(FAMILY, layer, "random", skip=skip))
    )
    assert torch.allclose(after, layer @ before @ layer.T, rtol=1e-5, atol=1e-5 * float(after.abs().max()))


def test_inverting_a_measured_spectrum_inverts_what_is_measured():
    mixed = with_output(FAMILY, random_geometry(), "mixed")  # a linear last layer alone prefers no direction
    geometry = measure_geometry(mixed, 64)
    assert float(geometry.eigenvalues[0] / geometry.eigenvalues[-1]) == pytest.approx(36, rel=1e-3)
    inverted = measure_geometry(with_output(mixed, inverting(geometry.matrix()), "invert"), 64)
    assert torch.allclose(inverted.eigenvalues, geometry.eigenvalues, rtol=1e-4)
    overlap = (inverted.eigenvectors.flip(1) * geometry.eigenvectors).sum(0).abs()
    assert torch.allclose(overlap, torch.ones(6, dtype=torch.float64), atol=1e-3)


def test_all_arms_share_the_initial_parameters_and_the_layer_is_not_trained():
    geometry, (top, *_, bottom) = random_geometry(), interventions.spectrum(random_geometry())[1].T
    data = torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    start = FAMILY.trainable(3).state_dict()
    for arm in LAYERS:
        layer = layer_of(arm, geometry, top, bottom, 0)
        family = with_output(FAMILY, layer, arm)
        fresh = family.trainable(3)
        assert all(torch.equal(value, start[key]) for key, value in fresh.network.state_dict().items())
        assert [name for name, _ in fresh.named_parameters()] == [f"network.{name}" for name in start]
        trained = fit(TrainConfig(model=family, data=data, steps=2, batch_size=8, ema=0.0, seed=3, device="cpu")).model
        found = next(module for module in trained.modules() if isinstance(module, OutputLayer))
        assert torch.equal(found.matrix, layer.float())
        assert not torch.equal(found.network.second.weight, start["second.weight"])


def test_the_output_is_the_matrix_times_the_networks_and_the_skip_adds_the_input():
    network, matrix = Tiny(), torch.randn(6, 6)
    x, t = torch.randn(4, *SHAPE), torch.tensor([0, 1, 500, 999])
    expected = torch.stack([(matrix @ each.flatten()).reshape(SHAPE) for each in network(x, t)])
    assert torch.allclose(OutputLayer(network, matrix)(x, t), expected, atol=1e-6)
    assert torch.allclose(OutputLayer(network, matrix, skip=True)(x, t), x + expected, atol=1e-6)


def test_under_the_rotation_the_network_meets_the_other_direction_and_the_geometry_follows():
    geometry = random_geometry()
    _, u = interventions.spectrum(geometry)
    top, bottom = u[:, 0].reshape(SHAPE), u[:, 5].reshape(SHAPE)
    assert torch.allclose(rotation_of(top, bottom)(top), bottom)
    assert torch.allclose(rotation_of(top, bottom)(bottom), top)
    rotated = moved("rotate", geometry, top, bottom, 0)
    assert torch.allclose(rotated @ u[:, 0], 1.0 * u[:, 0])
    assert torch.allclose(rotated @ u[:, 5], 6.0 * u[:, 5])


def test_arms_with_the_input_added_have_the_geometry_of_those_without():
    geometry = random_geometry()
    _, u = interventions.spectrum(geometry)
    for arm in ("identity", "whiten", "invert"):
        plain, skipping = (moved(name, geometry, u[:, 0], u[:, 5], 0) for name in (arm, arm + interventions.SKIP))
        assert torch.equal(plain, skipping)
