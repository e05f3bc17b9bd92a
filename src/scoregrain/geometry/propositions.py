"""Propositions 1–3: which last layers give which structure of the geometry, with their conditions (MATH A6).

They are statements about last layers ``o(h)`` whose weights are independent of the features h, not about networks
that are called MLP, CNN or transformer; G here is ``E[o oᵀ]``, without the weight ω of the noise level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.operators import ChannelKronecker, DenseOperator, LowRankOperator, Operator, TokenKronecker


@dataclass(frozen=True)
class RowLaw:
    """Moments of one row ``(w, b)`` of a last layer: entries of w iid, b independent of them.

    Attributes:
        weight_variance: v_w of one weight.
        bias_variance: v_b.
        weight_mean: m_w of one weight.
        bias_mean: m_b.

    Raises:
        InvalidInputError: a variance is negative, or a number is not finite.
    """

    weight_variance: float
    bias_variance: float = 0.0
    weight_mean: float = 0.0
    bias_mean: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.weight_variance, self.bias_variance, self.weight_mean, self.bias_mean)
        if min(numbers[:2]) < 0 or not all(map(math.isfinite, numbers)):
            raise InvalidInputError(f"a law of rows needs finite means and variances of at least 0, got {self}")

    @property
    def centred(self) -> bool:
        """True when weights and bias have mean zero."""
        return self.weight_mean == 0 and self.bias_mean == 0


def mlp_moments(features: Tensor, law: RowLaw, activation: str = "linear") -> tuple[float, float]:
    """Proposition 1: α and β of a fully connected last layer ``o = φ(W h + b)`` (MATH A6, P1).

    Conditions: the rows of ``[W, b]`` are iid, and independent of h. Then, for any law and any elementwise φ,
    ``G = α I + β 1 1ᵀ`` with ``α = E_h Var(o_1 | h)`` and ``β = E_h (E[o_1 | h])²``. For ``linear`` the two moments
    of the entries decide: ``α = E[v_w ‖h‖² + v_b]``, ``β = E(m_w Σh + m_b)²``. For ``relu`` the entries must be
    Gaussian; the output is then a rectified Gaussian.

    Args:
        features: h, ``(m, d)``; the expectation over h is their mean.
        law: of one row.
        activation: φ, ``linear`` or ``relu``.

    Raises:
        InvalidInputError: features of another shape, or an unknown activation.
    """
    h = _features(features, 2, "(m, d)")
    mean = law.weight_mean * h.sum(1) + law.bias_mean
    variance = law.weight_variance * h.square().sum(1) + law.bias_variance
    if activation == "relu":
        mean, variance = _rectified(mean, variance)
    elif activation != "linear":
        raise InvalidInputError(f"unknown activation '{activation}'; known: linear, relu")
    return float(variance.mean()), float(mean.square().mean())


def _rectified(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of ``max(z, 0)`` for z ~ N(mean, variance)."""
    deviation = variance.sqrt()
    ratio = (mean / deviation).nan_to_num()
    density = torch.exp(-ratio.square() / 2) / math.sqrt(2 * math.pi)
    below = torch.special.ndtr(ratio)
    first = torch.where(deviation > 0, mean * below + deviation * density, mean.clamp_min(0))
    second = torch.where(deviation > 0, (mean.square() + variance) * below + mean * deviation * density, first.square())
    return first, second - first.square()


def mlp_geometry(shape: Sequence[int], alpha: float, beta: float) -> Operator:
    """Return ``α I + β 1 1ᵀ``: eigenvalue α + Dβ along ``1/√D``, α along all others (MATH A6, P1).

    Args:
        shape: ``(C, *space)``, D entries.
        alpha: α ≥ 0.
        beta: β ≥ 0.
    """
    size = math.prod(shape)
    flat = torch.full((size, 1), size**-0.5, dtype=torch.float64)
    return LowRankOperator(shape, torch.tensor([alpha + size * beta], dtype=torch.float64), flat, residual=alpha)


def cnn_moments(patches: Tensor, law: RowLaw) -> tuple[Tensor, Tensor]:
    """Proposition 2: A and B of a convolution as last layer, ``o_c = w_c * h + b_c`` (MATH A6, P2).

    Conditions: the filters ``(w_c, b_c)`` are iid over the output channels c, and independent of h; any padding.
    Then ``G = I_C ⊗ A + 1 1ᵀ ⊗ B`` with ``A = E[Cov(o_1 | h)] = v_w E[Φᵀ Φ] + v_b 1 1ᵀ`` and ``B = E[μ μᵀ]``,
    ``μ = m_w Φᵀ 1 + m_b``. For a law with mean zero B = 0, and every eigenvalue has multiplicity C or more.

    Args:
        patches: Φ, ``(m, C_in·k², n)``: what ``torch.nn.functional.unfold`` gives for the features.
        law: of one filter.

    Returns:
        A and B, float64 ``(n, n)`` each.

    Raises:
        InvalidInputError: patches of another shape.
    """
    phi = _features(patches, 3, "(m, C_in·k², n)")
    a = law.weight_variance * torch.einsum("mkp,mkq->pq", phi, phi) / len(phi) + law.bias_variance
    mean = law.weight_mean * phi.sum(1) + law.bias_mean
    return a, mean.T @ mean / len(phi)


def cnn_geometry(shape: Sequence[int], a: Tensor, b: Tensor | None = None) -> Operator:
    """Return ``I_C ⊗ A + 1 1ᵀ ⊗ B``, channels first (MATH A6, P2); D × D is formed only where B is not zero.

    It also holds behind any φ that acts entry by entry, with A and B the moments of ``φ(o_1)``.

    Args:
        shape: ``(C, *space)`` with n pixels.
        a: A, ``(n, n)``, symmetric PSD.
        b: B, ``(n, n)``, symmetric PSD; None for zero.
    """
    channels = shape[0]
    if b is None or not b.any():
        return ChannelKronecker.from_matrix(shape, a)
    eye, ones = torch.eye(channels, dtype=torch.float64), torch.ones(channels, channels, dtype=torch.float64)
    return DenseOperator.from_matrix(shape, torch.kron(eye, a.double()) + torch.kron(ones, b.double()))


def cnn_spectrum(channels: int, a: Tensor, b: Tensor) -> Tensor:
    """Eigenvalues of ``I_C ⊗ A + 1 1ᵀ ⊗ B``: those of A, C-1 times each, and those of ``A + C B`` (MATH A6, P2).

    Returns:
        Float64 ``(C·n,)``, descending; no ``C·n × C·n`` matrix is formed.
    """
    a, b = a.double(), b.double()
    repeated = torch.linalg.eigvalsh(a).repeat_interleave(channels - 1)
    return torch.cat([repeated, torch.linalg.eigvalsh(a + channels * b)]).sort(descending=True).values


def transformer_geometry(
    shape: Sequence[int], tokens: Tensor, permutation: Tensor, law: RowLaw, *, shared_bias: bool = True
) -> TokenKronecker:
    """Proposition 3: tokens that share one linear last layer, ``o_i = W h_i + b`` (MATH A6, P3).

    Conditions: the L × d entries of W are iid with mean ZERO, those of b too, both are independent of the tokens,
    and the output is a fixed permutation Q of all tokens' entries (an unpatchify). Then ``G = Q (A ⊗ I_L) Qᵀ``,
    ``A_ij = v_w E[h_i·h_j] + v_b``, or ``+ v_b δ_ij`` for a bias drawn per token: at most T distinct eigenvalues,
    of multiplicity L or more. A mean m of the weights would add ``m² (Σh)(Σh)ᵀ ⊗ 1 1ᵀ`` and break that count.

    Args:
        shape: ``(C, *space)`` of the output, ``D = T L``.
        tokens: h, ``(m, T, d)``; expectations over h are their means.
        permutation: int64 ``(D,)``: entry l of token i lands at ``permutation[i·L + l]``.
        law: of one row of ``[W, b]``.
        shared_bias: one bias for all tokens, as real networks have it.

    Raises:
        InvalidInputError: a law whose mean is not zero, or shapes that do not fit.
    """
    if not law.centred:
        raise InvalidInputError("Proposition 3 needs weights and biases with mean zero: no Kronecker form without")
    h = _features(tokens, 3, "(m, T, d)")
    a = law.weight_variance * torch.einsum("mid,mjd->ij", h, h) / len(h)
    a = a + law.bias_variance * (1.0 if shared_bias else torch.eye(len(a), dtype=torch.float64))
    return TokenKronecker.from_matrix(shape, a, permutation)


def _features(h: Tensor, ndim: int, expected: str) -> Tensor:
    """Features in float64 after a look at their shape."""
    if h.ndim != ndim or not len(h):
        raise InvalidInputError(f"features must have shape {expected}, got {tuple(h.shape)}")
    return h.double()
