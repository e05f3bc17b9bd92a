"""Closed-form heads against oracles R1–R3, R10, dense loops and draws of the last layer."""

import pytest
import torch
from torch import nn

from scoregrain._random import stream
from scoregrain.geometry.head import ConvHead, DenseTailHead, TokenHead
from scoregrain.geometry.structure import ChannelStructure, TokenStructure
from tests.reference.dense_geometry import conv_second_moment

F64 = torch.float64
MODES = ("zeros", "circular", "reflect", "replicate")


def conv_head(conv, space, v_w, v_b, units=None):
    shape = (conv.out_channels, *(space if units is None else (len(units),)))
    return ConvHead("layer", conv, tuple(space), ChannelStructure(shape), v_w, v_b, units)


def token_head(tokens, inner, v_w, v_b, units=None):
    structure = TokenStructure((1, tokens * inner), tokens, torch.arange(tokens * inner))
    return TokenHead("layer", structure, v_w, v_b, units)


def test_default_linear_variance_per_output():
    """R1: v_w = v_b = 1/9 and ‖h‖² = 14 give 15/9."""
    head = token_head(1, 3, 1 / 9, 1 / 9)
    moment = head.second_moment(torch.tensor([[1.0, 2.0, 3.0]]))
    torch.testing.assert_close(head.structure.matrix(moment), 15 / 9 * torch.eye(3, dtype=F64), rtol=1e-12, atol=0)


def default_conv(mode="zeros"):
    return conv_head(nn.Conv2d(1, 1, 3, padding=1, padding_mode=mode), (3, 3), 1 / 27, 1 / 27)


def test_default_conv_zero_padding():
    """R2."""
    a = 27 * default_conv().second_moment(torch.ones(1, 1, 3, 3))
    torch.testing.assert_close(a.diagonal(), torch.tensor([5.0, 7, 5, 7, 10, 7, 5, 7, 5], dtype=F64))
    torch.testing.assert_close(a[0, [1, 2, 4, 8]], torch.tensor([5.0, 3, 5, 2], dtype=F64))
    assert a[1, 7] == pytest.approx(4)
    assert float(a.trace() / 27) == pytest.approx(58 / 27, abs=1e-9)
    assert float(torch.linalg.eigvalsh(a / 27)[-1]) == pytest.approx(1.576597, abs=1e-6)


def test_default_conv_circular_padding():
    """R3."""
    a = default_conv("circular").second_moment(torch.ones(1, 1, 3, 3))
    torch.testing.assert_close(a, torch.full((9, 9), 10 / 27, dtype=F64))


@pytest.mark.parametrize(
    ("kernel", "padding", "stride", "size", "circular"),
    [(3, 1, 1, 6, False), (5, 2, 1, 6, False), (1, 0, 1, 5, False), (3, 1, 2, 12, False), (3, 1, 1, 5, True)],
)
def test_conv_shifts_equal_explicit_patches(kernel, padding, stride, size, circular):
    conv = nn.Conv2d(4, 2, kernel, stride=stride, padding=padding, padding_mode="circular" if circular else "zeros")
    out = (size + 2 * padding - kernel) // stride + 1
    head = conv_head(conv, (out, out), 0.3, 0.2)
    features = torch.randn(3, 4, size, size, generator=stream(0, "f"), dtype=F64)
    expected = sum(conv_second_moment(f, kernel, padding, stride, 0.3, 0.2, circular) for f in features)
    torch.testing.assert_close(head.second_moment(features), expected, rtol=1e-12, atol=1e-12)


def odd_conv(dims, mode, stride=1):
    """A convolution with an oblong kernel, dilation and padding, random features of two samples and its output."""
    kind = [nn.Conv1d, nn.Conv2d, nn.Conv3d][dims - 1]
    kernel, padding, size, dilation = (3, 5, 3)[:dims], (2, 2, 1)[:dims], (6, 5, 4)[:dims], (2, 1, 1)[:dims]
    conv = kind(2, 1, kernel, stride, padding, dilation=dilation, padding_mode=mode, bias=False).double()
    features = torch.randn(2, 2, *size, generator=stream(1, "f"), dtype=F64)
    return conv, features, conv(features).shape[2:]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_conv_of_any_dimension_against_autograd(dims, mode):
    """o is linear in the weights: A = v_w J Jᵀ + v_b with J its Jacobian, also for oblong kernels and dilation."""
    conv, features, space = odd_conv(dims, mode)

    def output(w):
        return torch.func.functional_call(conv, {"weight": w}, (features[:1],)).flatten()

    jacobian = torch.func.jacrev(output)(conv.weight).flatten(1)
    head = conv_head(conv, space, 0.7, 0.1)
    torch.testing.assert_close(head.second_moment(features[:1]), 0.7 * jacobian @ jacobian.T + 0.1)


def check_sketch(head, features, size):
    """Products and trace equal those of the whole matrix, for samples that count 0.5 and 2 times."""
    weight = torch.tensor([0.5, 2.0], dtype=F64)
    weighted = weight.sqrt().reshape(-1, *[1] * (features.ndim - 1)) * features
    omega = torch.randn(size, 4, generator=stream(2, "omega"), dtype=F64)
    whole = head.finish(head.gram(weighted), float(weight.sum()))
    product, trace = head.sketch(weighted, float(weight.sum()), omega)
    torch.testing.assert_close(product, whole @ omega, rtol=1e-10, atol=1e-10)
    assert trace == pytest.approx(float(whole.trace()), rel=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_sketches_of_convolutions_equal_products_with_the_whole_matrix(dims, mode, stride):
    conv, features, space = odd_conv(dims, mode, stride)
    check_sketch(conv_head(conv, space, 0.7, 0.1), features, space.numel())


def test_sketches_of_tokens_and_kept_units_equal_products_with_the_whole_matrix():
    features = torch.randn(2, 5, 3, generator=stream(3, "f"), dtype=F64)
    check_sketch(token_head(5, 2, 0.7, 0.1), features, 5)
    check_sketch(token_head(3, 2, 0.7, 0.1, torch.tensor([4, 1, 2])), features, 3)
    conv, features, space = odd_conv(2, "zeros")
    kept = torch.randperm(space.numel(), generator=stream(4, "kept"))[:9]
    check_sketch(conv_head(conv, space, 0.7, 0.1, kept), features, 9)
    dense = DenseTailHead(conv_head(conv, space, 0.7, 0.1), torch.randn(7, space.numel(), dtype=F64), (1, 7))
    check_sketch(dense, features, 7)


def test_kept_units_are_rows_and_columns_of_the_whole():
    conv, features, space = odd_conv(2, "zeros")
    kept = torch.randperm(space.numel(), generator=stream(4, "kept"))[:9]
    whole = conv_head(conv, space, 0.7, 0.1).second_moment(features)
    part = conv_head(conv, space, 0.7, 0.1, kept).second_moment(features)
    assert torch.equal(part, whole[kept][:, kept])
    tokens = torch.randn(2, 5, 3, generator=stream(3, "f"), dtype=F64)
    whole = token_head(5, 2, 0.7, 0.1).second_moment(tokens)
    part = token_head(3, 2, 0.7, 0.1, torch.tensor([4, 1, 2])).second_moment(tokens)
    torch.testing.assert_close(part, whole[[4, 1, 2]][:, [4, 1, 2]])


def test_conv_head_equals_the_mean_over_draws_of_the_layer():
    """R10 for a convolution with two output channels: block diagonal, equal blocks."""
    head = conv_head(nn.Conv2d(3, 3, 3, padding=1), (4, 4), 1 / 81, 1 / 81)
    features = torch.randn(1, 3, 4, 4, generator=stream(1, "h"))
    exact = head.structure.matrix(head.second_moment(features))
    total, n, bound = torch.zeros(48, 48, dtype=F64), 200_000, 27**-0.5
    generator = stream(2, "w")
    for _ in range(10):
        w = bound * (2 * torch.rand(n // 10 * 3, 3, 3, 3, generator=generator) - 1)
        b = bound * (2 * torch.rand(n // 10 * 3, generator=generator) - 1)
        o = nn.functional.conv2d(features, w, b, padding=1).reshape(n // 10, 48).double()
        total += o.T @ o
    assert float((total / n - exact).norm() / exact.norm()) < 0.02


def test_a_matrix_behind_the_layer_stands_on_both_sides_of_its_moment():
    """Q E[o oᵀ] Qᵀ with the layer's own second moment written out in full."""
    tokens = torch.randn(2, 5, 3, generator=stream(3, "f"), dtype=F64)
    matrix = torch.randn(12, 10, generator=stream(5, "q"), dtype=F64)
    head = DenseTailHead(token_head(5, 2, 0.7, 0.1), matrix, (1, 12))
    a = 0.7 * torch.einsum("mtd,mud->tu", tokens, tokens) + 2 * 0.1
    whole = torch.einsum("tu,kl->tkul", a, torch.eye(2, dtype=F64)).reshape(10, 10)
    torch.testing.assert_close(head.second_moment(tokens), matrix @ whole @ matrix.T)


def test_partial_trace_of_a_token_structure():
    """tr(matrix(A) B) = sum(A ⊙ reduce(B)), and columns() diagonalise matrix()."""
    structure = TokenStructure((1, 3, 4), 3, torch.randperm(12, generator=stream(0, "p")))
    a, b = (torch.randn(n, n, generator=stream(1, str(n)), dtype=F64) for n in (3, 12))
    a, b = a @ a.T, b + b.T
    assert float((structure.matrix(a) * b).sum()) == pytest.approx(float((a * structure.reduce(b)).sum()))
    values, vectors = torch.linalg.eigh(a)
    full = structure.columns(vectors, range(structure.size))
    torch.testing.assert_close(full @ torch.diag(values.repeat_interleave(4)) @ full.T, structure.matrix(a))
    torch.testing.assert_close(structure.operator(values, vectors).to_dense(), structure.matrix(a))
