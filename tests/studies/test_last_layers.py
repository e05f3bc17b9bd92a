"""Drawn last layers and the forms of Propositions 1–3 (oracles P1, P3, P4)."""

import math

import pytest
import torch

from scoregrain._random import stream
from scoregrain.models.dit import unpatchify
from scoregrain.studies.last_layers import (
    CHANNEL_SCALES,
    LAYERS,
    SCALES,
    SHAPE,
    features,
    group_norm,
    mlp_outputs,
    off_form,
    patches,
    token_layout,
    token_places,
)

F64 = torch.float64


def normal(*size, name="w"):
    return torch.randn(*size, generator=stream(0, name), dtype=F64)


def psd(n, name):
    root = normal(n, n, name=name)
    return root @ root.T


def forms():
    """A matrix of each form, and one that is none."""
    a, b = psd(16, "a"), psd(16, "b")
    tokens, length = token_layout(SHAPE, 2)
    places = token_places(SHAPE, 2)
    dense = torch.zeros(48, 48, dtype=F64)
    dense[places[:, None], places[None]] = torch.kron(psd(tokens, "t"), torch.eye(length, dtype=F64))
    return {
        1: 0.7 * torch.eye(48, dtype=F64) + 0.2,
        2: torch.kron(torch.eye(3, dtype=F64), a) + torch.kron(torch.ones(3, 3, dtype=F64), b),
        3: dense,
    }


@pytest.mark.parametrize("proposition", [1, 2, 3])
def test_a_matrix_of_the_form_leaves_nothing(proposition):
    assert off_form(forms()[proposition], proposition, SHAPE).abs().max() < 1e-12


@pytest.mark.parametrize(("matrix", "proposition"), [(2, 1), (3, 1), (1, 3), (2, 3)])
def test_a_matrix_of_another_form_leaves_something(matrix, proposition):
    assert off_form(forms()[matrix], proposition, SHAPE).norm() > 0.1


@pytest.mark.parametrize("matrix", [1, 3])
def test_the_form_of_convolutions_contains_the_others(matrix):
    """Tokens too: their entries of different channels are not correlated, and all channels are alike."""
    assert off_form(forms()[matrix], 2, SHAPE).abs().max() < 1e-12


@pytest.mark.parametrize("proposition", [1, 2, 3])
def test_what_is_left_is_orthogonal_to_the_form(proposition):
    """A projection: nothing more is left of the remainder, and Pythagoras holds."""
    matrix = psd(48, "m")
    rest = off_form(matrix, proposition, SHAPE)
    torch.testing.assert_close(off_form(rest, proposition, SHAPE), rest)
    kept = matrix - rest
    assert float((kept * rest).sum()) == pytest.approx(0, abs=1e-9 * float(matrix.square().sum()))


def test_places_are_those_of_unpatchify():
    o = normal(1, 4, 12)
    image = unpatchify(o, 2).flatten()
    torch.testing.assert_close(image[token_places(SHAPE, 2)], o.flatten())


def test_patches_differ_at_the_border_alone():
    zero, circular = patches(0).reshape(5, 18, 4, 4), patches(0, "circular").reshape(5, 18, 4, 4)
    torch.testing.assert_close(zero[..., 1:3, 1:3], circular[..., 1:3, 1:3])
    assert not torch.allclose(zero[..., 0, :], circular[..., 0, :])


def test_sparse_rows_have_the_moments_of_dense_ones():
    n = 8000
    for share in (1.0, 0.1):
        o = mlp_outputs(n, 0, stream(0, "layers"), share=share)
        h = features(0, 6)
        assert float(o.square().mean()) == pytest.approx(float(0.16 * h.square().sum(1).mean() + 0.25), rel=0.03)
        assert float(o.mean()) == pytest.approx(0, abs=0.02)


def test_a_group_norm_centres_all_of_an_array():
    assert group_norm(normal(2, 3, 16)).flatten(1).mean(1).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("case", "scales"),
    [("mlp-scaled", SCALES), ("cnn-scaled", CHANNEL_SCALES), ("tokens-scaled", SCALES)],
)
def test_unequal_sizes_break_the_formula_and_the_form(case, scales):
    """S G S, S the sizes, is the geometry then; its squared deviation from G, and from the form, is above a tenth."""
    layer, n = LAYERS[case], 4000
    predicted = layer.predict(0)
    broken = scales[:, None] * predicted * scales
    u = torch.nn.functional.normalize(normal(20, 48, name="u"), dim=1)
    energy = (layer.draw(n, 0, stream(0, "layers")) @ u.T).square()
    z = (energy.mean(0) - torch.einsum("ki,ij,kj->k", u, broken, u)) / energy.std(0) * math.sqrt(n)
    assert z.abs().max() < 4
    assert (broken - predicted).square().sum() > 0.1 * predicted.square().sum()
    assert off_form(broken, layer.proposition, SHAPE).square().sum() > 0.1 * broken.square().sum()


def test_sizes_of_channels_are_equal_within_a_channel():
    """So that it is the channels, and not the pixels, that break the form."""
    sizes = CHANNEL_SCALES.reshape(SHAPE).flatten(1)
    assert (sizes == sizes[:, :1]).all()
    assert len(set(sizes[:, 0].tolist())) == 3


@pytest.mark.parametrize("case", [case for case, layer in LAYERS.items() if layer.holds])
def test_drawn_layers_have_the_predicted_geometry(case):
    """uᵀ Ĝ u of 20 random u within 4 standard errors, 8000 layers."""
    layer, n = LAYERS[case], 8000
    outputs, predicted = layer.draw(n, 1, stream(1, "layers")), layer.predict(1)
    u = torch.nn.functional.normalize(normal(20, 48, name="u"), dim=1)
    energy = (outputs @ u.T).square()
    z = (energy.mean(0) - torch.einsum("ki,ij,kj->k", u, predicted, u)) / energy.std(0) * math.sqrt(n)
    assert z.abs().max() < 4


@pytest.mark.parametrize("case", [case for case, layer in LAYERS.items() if layer.keeps_form])
def test_predictions_have_their_form(case):
    assert off_form(LAYERS[case].predict(0), LAYERS[case].proposition, SHAPE).abs().max() < 1e-12
