"""Closed-form heads against oracles R1–R3, R10, dense loops and draws of the last layer."""

import pytest
import torch
from torch import nn

from scoregrain._random import stream
from scoregrain.geometry.head import ConvHead, TokenHead, find_head
from scoregrain.geometry.structure import TokenStructure
from scoregrain.models import NetworkFamily, verify_laws
from tests.reference.dense_geometry import conv_second_moment

F64 = torch.float64


class Last(nn.Module):
    """An activation in front of one layer, and a rearrangement behind it."""

    def __init__(self, layer, before=None, after=None):
        super().__init__()
        self.layer = layer
        self.before, self.after = before or nn.Tanh(), after or nn.Identity()

    def forward(self, x, t):
        return self.after(self.layer(self.before(x)))


class Scale(nn.Module):
    """One random factor: parameters, but no linear layer."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.randn(1))

    def forward(self, x):
        return self.factor * x


def head_of(build, shape):
    family = NetworkFamily(build, shape)
    network = family.construct(0, 0)
    return find_head(network, shape, verify_laws(family))


def test_default_linear_variance_per_output():
    """R1: v_w = v_b = 1/9 and ‖h‖² = 14 give 15/9."""
    head, _ = head_of(lambda: Last(nn.Linear(3, 3)), (1, 3))
    assert isinstance(head, TokenHead)
    moment = head.second_moment(torch.tensor([[1.0, 2.0, 3.0]]))
    torch.testing.assert_close(head.structure.matrix(moment), 15 / 9 * torch.eye(3, dtype=F64), rtol=1e-12, atol=0)


def conv_head(mode="zeros", **options):
    options = {"kernel_size": 3, "padding": 1} | options
    head, why = head_of(lambda: Last(nn.Conv2d(1, 1, padding_mode=mode, **options)), (1, 3, 3))
    assert isinstance(head, ConvHead), why
    return head


def test_default_conv_zero_padding():
    """R2."""
    a = 27 * conv_head().second_moment(torch.ones(1, 1, 3, 3))
    torch.testing.assert_close(a.diagonal(), torch.tensor([5.0, 7, 5, 7, 10, 7, 5, 7, 5], dtype=F64))
    torch.testing.assert_close(a[0, [1, 2, 4, 8]], torch.tensor([5.0, 3, 5, 2], dtype=F64))
    assert a[1, 7] == pytest.approx(4)
    assert float(a.trace() / 27) == pytest.approx(58 / 27, abs=1e-9)
    assert float(torch.linalg.eigvalsh(a / 27)[-1]) == pytest.approx(1.576597, abs=1e-6)


def test_default_conv_circular_padding():
    """R3."""
    a = conv_head("circular").second_moment(torch.ones(1, 1, 3, 3))
    torch.testing.assert_close(a, torch.full((9, 9), 10 / 27, dtype=F64))


@pytest.mark.parametrize(
    ("kernel", "padding", "stride", "size", "circular"),
    [(3, 1, 1, 6, False), (5, 2, 1, 6, False), (1, 0, 1, 5, False), (3, 1, 2, 12, False), (3, 1, 1, 5, True)],
)
def test_conv_shifts_equal_explicit_patches(kernel, padding, stride, size, circular):
    conv = nn.Conv2d(4, 2, kernel, stride=stride, padding=padding, padding_mode="circular" if circular else "zeros")
    out = (size + 2 * padding - kernel) // stride + 1
    head = ConvHead("layer", conv, (2, out, out), 0.3, 0.2)
    features = torch.randn(3, 4, size, size, generator=stream(0, "f"), dtype=F64)
    expected = sum(conv_second_moment(f, kernel, padding, stride, 0.3, 0.2, circular) for f in features)
    torch.testing.assert_close(head.second_moment(features), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("dims", "mode"),
    [(d, mode) for d in (1, 2, 3) for mode in ("zeros", "circular", "reflect", "replicate")],
)
def test_conv_of_any_dimension_against_autograd(dims, mode):
    """o is linear in the weights: A = v_w J Jᵀ + v_b with J its Jacobian, also for oblong kernels and dilation."""
    kind = [nn.Conv1d, nn.Conv2d, nn.Conv3d][dims - 1]
    kernel, padding, size = (3, 5, 3)[:dims], (2, 2, 1)[:dims], (6, 5, 4)[:dims]
    dilation = (2, 1, 1)[:dims]
    conv = kind(2, 1, kernel, padding=padding, dilation=dilation, padding_mode=mode, bias=False).double()
    features = torch.randn(1, 2, *size, generator=stream(1, "f"), dtype=F64)

    def output(w):
        return torch.func.functional_call(conv, {"weight": w}, (features,)).flatten()

    jacobian = torch.func.jacrev(output)(conv.weight).flatten(1)
    space = conv(features).shape[2:]
    head = ConvHead("layer", conv, (1, *space), 0.7, 0.1)
    torch.testing.assert_close(head.second_moment(features), 0.7 * jacobian @ jacobian.T + 0.1)


def test_token_head_finds_the_permutation_behind_the_layer():
    """A (A ⊗ I) law with a shuffled output equals the second moment of 200,000 draws of the layer (R10)."""
    place = torch.randperm(12, generator=stream(0, "perm"))

    def shuffle(o):
        return o.flatten(1)[:, place].reshape(-1, 1, 12)

    class Shuffled(Last):
        def forward(self, x, t):
            return shuffle(self.layer(torch.tanh(x).reshape(-1, 4, 3)))

    head, why = head_of(lambda: Shuffled(nn.Linear(3, 3)), (1, 12))
    assert isinstance(head, TokenHead), why
    features = torch.randn(1, 4, 3, generator=stream(1, "h"))
    exact = head.structure.matrix(head.second_moment(features))
    n, bound = 200_000, 3**-0.5
    w = bound * (2 * torch.rand(n, 3, 3, generator=stream(2, "w")) - 1)
    b = bound * (2 * torch.rand(n, 3, generator=stream(3, "b")) - 1)
    o = shuffle(torch.einsum("td,nld->ntl", features[0], w) + b[:, None]).reshape(n, 12).double()
    plain = o.T @ o / n
    assert float((plain - exact).norm() / exact.norm()) < 0.02


def test_conv_head_equals_the_mean_over_draws_of_the_layer():
    """R10 for a convolution with two output channels: block diagonal, equal blocks."""
    head, _ = head_of(lambda: Last(nn.Conv2d(3, 3, 3, padding=1)), (3, 4, 4))
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


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: Last(nn.Conv2d(1, 1, 3, padding=1), after=nn.Tanh()), "rearrangement"),
        (lambda: Last(Scale()), "no linear or convolutional layer"),
    ],
)
def test_what_is_no_head_says_why(build, why):
    head, reason = head_of(build, (1, 4, 4))
    assert head is None
    assert why in reason


def test_a_residual_connection_around_the_last_layer_is_no_head():
    class Residual(Last):
        def forward(self, x, t):
            return x + self.layer(x)

    head, reason = head_of(lambda: Residual(nn.Conv2d(1, 1, 3, padding=1)), (1, 4, 4))
    assert head is None
    assert "rearrangement" in reason


@pytest.mark.parametrize("what", ["constant bias", "normal weights", "shared"])
def test_unknown_laws_are_refused(what):
    def build():
        network = Last(nn.Conv2d(2, 2, 3, padding=1))
        if what == "constant bias":
            nn.init.constant_(network.layer.bias, 0.5)
        elif what == "normal weights":
            nn.init.normal_(network.layer.weight, std=0.1)
        else:
            network.before = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Tanh())
            network.before[0].weight = network.layer.weight
        return network

    head, reason = head_of(build, (2, 4, 4))
    assert head is None
    assert ("shared" if what == "shared" else "zero mean") in reason


def test_partial_trace_of_a_token_structure():
    """tr(matrix(A) B) = sum(A ⊙ reduce(B)), and vectors() diagonalise matrix()."""
    structure = TokenStructure((1, 3, 4), 3, torch.randperm(12, generator=stream(0, "p")))
    a, b = (torch.randn(n, n, generator=stream(1, str(n)), dtype=F64) for n in (3, 12))
    a, b = a @ a.T, b + b.T
    assert float((structure.matrix(a) * b).sum()) == pytest.approx(float((a * structure.reduce(b)).sum()))
    values, vectors = torch.linalg.eigh(a)
    full = structure.vectors(vectors)
    torch.testing.assert_close(full @ torch.diag(values.repeat_interleave(4)) @ full.T, structure.matrix(a))
    torch.testing.assert_close(structure.operator(values, vectors).to_dense(), structure.matrix(a))
