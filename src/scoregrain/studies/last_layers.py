"""Last layers drawn from their laws, with the geometry that Propositions 1–3 predict, and with a condition broken.

Features are random but fixed, so that nothing of the prediction is sampled (MATH A6, C1.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from scoregrain._random import stream
from scoregrain.geometry.propositions import (
    RowLaw,
    cnn_geometry,
    cnn_moments,
    mlp_geometry,
    mlp_moments,
    transformer_geometry,
)
from scoregrain.models.dit import unpatchify

SHAPE = (3, 4, 4)
"""Of all outputs: D = 48."""

FEATURES = 5
"""Arrays of features; each draw of a layer sees one of them."""

PATCH, WIDTH = 2, 6
"""Side of a token's patch; features of a token, and of a fully connected layer. Convolutions see two channels."""

SCALES = torch.linspace(0.5, 1.5, math.prod(SHAPE), dtype=torch.float64)
"""Of output coordinates, where they are not identically distributed."""

CHANNEL_SCALES = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64).repeat_interleave(math.prod(SHAPE[1:]))
"""Of output coordinates, where channels are not, but pixels of one channel are."""

MEAN = 0.3
"""Of weights and biases, where they have one; their standard deviations are 0.4 and 0.5."""

CENTRED = RowLaw(0.16, 0.25)
SHIFTED = RowLaw(0.16, 0.25, MEAN, MEAN)


@dataclass(frozen=True)
class LastLayer:
    """A last layer and what is predicted of it.

    Attributes:
        proposition: 1, 2 or 3.
        words: What it is, to follow "for".
        draw: Outputs of n layers on features of a seed, float64 (n, 48): ``draw(n, seed, generator)``.
        predict: The geometry the proposition gives for these features, (48, 48).
        holds: The prediction applies.
        keeps_form: The eigenspaces are the predicted ones, whatever the eigenvalues.
    """

    proposition: int
    words: str
    draw: Callable[[int, int, torch.Generator], Tensor]
    predict: Callable[[int], Tensor]
    holds: bool = True
    keeps_form: bool = True


def features(seed: int, *size: int) -> Tensor:
    """Random features, float64 (FEATURES, *size)."""
    return torch.randn(FEATURES, *size, generator=stream(seed, "features"), dtype=torch.float64)


def _normal(generator: torch.Generator, *size: int) -> Tensor:
    return torch.randn(*size, generator=generator, dtype=torch.float64)


def _which(n: int) -> Tensor:
    return torch.arange(n) % FEATURES


def _identity(o: Tensor) -> Tensor:
    return o


# Proposition 1 -------------------------------------------------------------------------------------------------------


def mlp_outputs(
    n: int, seed: int, generator: torch.Generator, *, mean: float = 0.0, relu: bool = False, share: float = 1.0
) -> Tensor:
    """Outputs φ(W h + b) of iid rows, Gaussian, or of the same two moments with only a share of entries not zero."""
    size = math.prod(SHAPE)
    rows = _normal(generator, n, size, WIDTH + 1)
    if share < 1:
        rows *= (torch.rand(rows.shape, generator=generator) < share) / math.sqrt(share)
    w, b = mean + 0.4 * rows[..., :-1], mean + 0.5 * rows[..., -1]
    o = torch.einsum("nij,nj->ni", w, features(seed, WIDTH)[_which(n)]) + b
    return o.relu() if relu else o


def trained_outputs(n: int, seed: int, generator: torch.Generator, steps: int = 20, rate: float = 0.05) -> Tensor:
    """Outputs of layers that have taken a few steps towards random targets, one for each array of features."""
    size, h = math.prod(SHAPE), features(seed, WIDTH)
    h = torch.cat([h, torch.ones(FEATURES, 1, dtype=torch.float64)], 1)
    target = torch.randn(FEATURES, size, generator=stream(seed, "targets"), dtype=torch.float64)
    rows = _normal(generator, n, size, WIDTH + 1) * torch.tensor([0.4] * WIDTH + [0.5], dtype=torch.float64)
    for _ in range(steps):
        rows = rows - rate * (rows @ h.T - target.T) @ h / FEATURES
    return torch.einsum("nij,nj->ni", rows, h[_which(n)])


def mlp_prediction(seed: int, law: RowLaw = CENTRED, activation: str = "linear") -> Tensor:
    """Proposition 1."""
    return mlp_geometry(SHAPE, *mlp_moments(features(seed, WIDTH), law, activation)).to_dense()


# Proposition 2 -------------------------------------------------------------------------------------------------------


def patches(seed: int, mode: str = "zeros") -> Tensor:
    """Patches of 3 × 3 of two channels of features, (FEATURES, 18, 16)."""
    h = features(seed, 2, *SHAPE[1:])
    padded = functional.pad(h, (1, 1, 1, 1), mode="circular") if mode == "circular" else functional.pad(h, (1, 1, 1, 1))
    found: Tensor = functional.unfold(padded, 3)
    return found


def cnn_outputs(
    n: int,
    seed: int,
    generator: torch.Generator,
    *,
    mean: float = 0.0,
    mode: str = "zeros",
    last: Callable[[Tensor], Tensor] = _identity,
) -> Tensor:
    """Outputs of convolutions with iid filters, and of what follows them, (n, 48)."""
    w = mean + 0.4 * _normal(generator, n, SHAPE[0], 18)
    b = mean + 0.5 * _normal(generator, n, SHAPE[0], 1)
    return last(w @ patches(seed, mode)[_which(n)] + b).flatten(1)


def group_norm(o: Tensor) -> Tensor:
    """One group of all channels and pixels."""
    return functional.group_norm(o, 1)


def cnn_prediction(seed: int, law: RowLaw = CENTRED, mode: str = "zeros") -> Tensor:
    """Proposition 2."""
    return cnn_geometry(SHAPE, *cnn_moments(patches(seed, mode), law)).to_dense()


# Proposition 3 -------------------------------------------------------------------------------------------------------


def token_outputs(
    n: int,
    seed: int,
    generator: torch.Generator,
    *,
    mean: float = 0.0,
    own_bias: bool = False,
    last: Callable[[Tensor], Tensor] = _identity,
) -> Tensor:
    """Unpatchified outputs of tokens that share one linear layer, (n, 48)."""
    tokens, length = token_layout(SHAPE, PATCH)
    w = mean + 0.4 * _normal(generator, n, length, WIDTH)
    b = 0.5 * _normal(generator, n, tokens if own_bias else 1, length)
    o = last(features(seed, tokens, WIDTH)[_which(n)] @ w.mT + b)
    return unpatchify(o, PATCH).flatten(1)


def token_prediction(seed: int, *, shared_bias: bool = True) -> Tensor:
    """Proposition 3."""
    h = features(seed, token_layout(SHAPE, PATCH)[0], WIDTH)
    places = token_places(SHAPE, PATCH)
    return transformer_geometry(SHAPE, h, places, CENTRED, shared_bias=shared_bias).to_dense()


def token_layout(shape: tuple[int, ...], patch: int) -> tuple[int, int]:
    """Tokens, and entries of each."""
    length = shape[0] * patch**2
    return math.prod(shape) // length, length


def token_places(shape: tuple[int, ...], patch: int) -> Tensor:
    """Where entry l of token i lands in the flattened image, int64 (D,), at i·L + l."""
    order = torch.arange(math.prod(shape)).reshape(1, *token_layout(shape, patch))
    return unpatchify(order, patch).flatten().argsort()


def scaled(
    draw: Callable[[int, int, torch.Generator], Tensor], scales: Tensor = SCALES
) -> Callable[[int, int, torch.Generator], Tensor]:
    """Outputs whose coordinates are not identically distributed any more."""
    return lambda n, seed, generator: draw(n, seed, generator) * scales


# Forms ---------------------------------------------------------------------------------------------------------------


def off_form(matrix: Tensor, proposition: int, shape: tuple[int, ...], patch: int = PATCH) -> Tensor:
    """What a matrix has besides the form of a proposition, (D, D): the remainder of an orthogonal projection.

    The forms are α I + β 1 1ᵀ; I_C ⊗ A + 1 1ᵀ ⊗ B; Q (A ⊗ I_L) Qᵀ.
    """
    if proposition == 1:
        return matrix - _exchangeable(matrix[:, :, None, None])[:, :, 0, 0]
    if proposition == 2:
        channels, pixels = shape[0], math.prod(shape[1:])
        blocks = matrix.reshape(channels, pixels, channels, pixels).permute(0, 2, 1, 3)
        return matrix - _exchangeable(blocks).permute(0, 2, 1, 3).reshape(matrix.shape)
    places, (tokens, length) = token_places(shape, patch), token_layout(shape, patch)
    blocks = matrix[places][:, places].reshape(tokens, length, tokens, length)
    a = torch.einsum("iljl->ij", blocks) / length
    back = places.argsort()
    return matrix - torch.kron(a, torch.eye(length, dtype=matrix.dtype))[back][:, back]


def _exchangeable(blocks: Tensor) -> Tensor:
    """Blocks (C, C, n, n) with those on the diagonal, and those off it, replaced by their means."""
    count = len(blocks)
    own = torch.eye(count, dtype=torch.bool)
    found = torch.empty_like(blocks)
    found[own] = blocks[own].mean(0)
    if count > 1:
        found[~own] = blocks[~own].mean(0)
    return found


LAYERS: dict[str, LastLayer] = {
    "mlp": LastLayer(1, "a fully connected layer of iid rows", mlp_outputs, mlp_prediction),
    "mlp-relu-mean": LastLayer(
        1,
        "iid Gaussian rows with a mean, behind a ReLU",
        partial(mlp_outputs, mean=MEAN, relu=True),
        partial(mlp_prediction, law=SHIFTED, activation="relu"),
    ),
    "cnn": LastLayer(2, "a convolution of iid filters", cnn_outputs, cnn_prediction),
    "cnn-mean": LastLayer(
        2, "filters with a mean", partial(cnn_outputs, mean=MEAN), partial(cnn_prediction, law=SHIFTED)
    ),
    "cnn-circular": LastLayer(
        2, "circular padding", partial(cnn_outputs, mode="circular"), partial(cnn_prediction, mode="circular")
    ),
    "tokens": LastLayer(3, "a layer shared by tokens", token_outputs, token_prediction),
    "tokens-own-bias": LastLayer(
        3,
        "a bias drawn for each token",
        partial(token_outputs, own_bias=True),
        partial(token_prediction, shared_bias=False),
    ),
    "mlp-sparse": LastLayer(
        1,
        "sparse rows behind a ReLU, by the formula of Gaussian ones",
        partial(mlp_outputs, relu=True, share=0.1),
        partial(mlp_prediction, activation="relu"),
        holds=False,
    ),
    "mlp-scaled": LastLayer(1, "rows of unequal size", scaled(mlp_outputs), mlp_prediction, False, False),
    "mlp-trained": LastLayer(1, "a layer after 20 steps of training", trained_outputs, mlp_prediction, False, False),
    "cnn-forgotten-mean": LastLayer(
        2, "filters with a mean, by the formula without", partial(cnn_outputs, mean=MEAN), cnn_prediction, holds=False
    ),
    "cnn-wrong-padding": LastLayer(
        2,
        "circular padding, by the formula of zeros",
        partial(cnn_outputs, mode="circular"),
        cnn_prediction,
        holds=False,
    ),
    "cnn-tanh": LastLayer(
        2, "tanh outputs, by the linear formula", partial(cnn_outputs, last=torch.tanh), cnn_prediction, holds=False
    ),
    "cnn-group-norm": LastLayer(
        2, "a GroupNorm behind the convolution", partial(cnn_outputs, last=group_norm), cnn_prediction, holds=False
    ),
    "cnn-scaled": LastLayer(
        2, "channels of unequal size", scaled(cnn_outputs, CHANNEL_SCALES), cnn_prediction, False, False
    ),
    "tokens-mean": LastLayer(
        3, "weights with a mean", partial(token_outputs, mean=MEAN), token_prediction, False, False
    ),
    "tokens-wrong-bias": LastLayer(
        3,
        "a bias drawn for each token, by the formula of a shared one",
        partial(token_outputs, own_bias=True),
        token_prediction,
        holds=False,
    ),
    "tokens-scaled": LastLayer(3, "entries of unequal size", scaled(token_outputs), token_prediction, False, False),
}
"""By name, those whose prediction applies first."""
