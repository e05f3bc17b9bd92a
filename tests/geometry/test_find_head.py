"""Heads and the maps behind them, found in networks' graphs; what is none says why."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from scoregrain._random import stream
from scoregrain.geometry.find_head import find_head
from scoregrain.geometry.head import ConvHead, DenseTailHead, TokenHead
from scoregrain.models import NetworkFamily, evaluate, verify_laws
from tests import networks

F64 = torch.float64
SHAPE, LARGE = (2, 4, 4), (2, 50, 50)


class Net(nn.Module):
    """Time-dependent convolutional features, a last layer, and a tail ``(o, x, t, h) -> output`` behind it."""

    def __init__(self, last=None, tail=None, width=3, dims=2):
        super().__init__()
        conv = [nn.Conv1d, nn.Conv2d, nn.Conv3d][dims - 1]
        self.first = conv(2, width, 3, padding=1)
        self.last = last() if last else conv(width, 2, 3, padding=1)
        self.tail = tail or (lambda o, x, t, h: o)

    def features(self, x, t):
        phase = (t / 300).cos().reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)
        return torch.tanh(self.first(x + phase))

    def forward(self, x, t):
        h = self.features(x, t)
        return self.tail(self.last(h), x, t, h)


class Tokens(Net):
    """The features become tokens before a linear last layer; the first token may be an extra one."""

    def __init__(self, inner, tail, extra=0):
        super().__init__(lambda: nn.Linear(12, inner), tail)
        self.extra = extra

    def features(self, x, t):
        h = super().features(x, t).unfold(2, 2, 2).unfold(3, 2, 2)  # (N, 3, 2, 2, 2, 2): patches of 2 × 2
        tokens = h.permute(0, 2, 3, 1, 4, 5).reshape(len(x), 4, 12)
        return torch.cat([tokens[:, : self.extra].cos(), tokens], dim=1)


def column(t, x):
    return t.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)


def unpatchify(o, x, t, h):
    """Token (i, j), entry (a·2+b)·C+c to pixel (c, 2i+a, 2j+b); entries beyond C are cut (learned sigma)."""
    image = o[:, -4:].reshape(len(o), 2, 2, 2, 2, -1).permute(0, 5, 1, 3, 2, 4).reshape(len(o), -1, 4, 4)
    return image[:, :2]


def edm(o, x, t, h):
    """c_skip x + c_out F."""
    sigma = (column(t, x) + 1) / 100
    return x / (1 + sigma**2) + o * sigma / (1 + sigma**2).sqrt()


def in_place(o, x, t, h):
    return o.mul_(2 + column(t, x) / 1000).add_(h[:, :2])


def matrix_behind(o, x, t, h):
    """A fixed linear layer that is no parameter."""
    matrix = torch.randn(32, 32, generator=stream(0, "matrix"), dtype=F64).to(o)
    return (o.flatten(1) @ matrix).reshape(o.shape)


def shuffled(o, x, t, h):
    return o.flatten(1)[:, torch.randperm(32, generator=stream(0, "perm"))].reshape(o.shape)


def conv(out, kernel=3, dims=2, **options):
    kind = [nn.Conv1d, nn.Conv2d, nn.Conv3d][dims - 1]
    return lambda: kind(3, out, kernel, padding=kernel // 2, **options)


def bilinear(o, x, t, h):
    return nn.functional.interpolate(o, scale_factor=2, mode="bilinear")


STATISTICS = torch.tensor([0.5, 2.0])[:, None, None]
# what is built, its head, its structure, s is 1, offset at x = 0, offset at other x
FOUND = {
    "plain": (Net, ConvHead, "channel", True, False, False),
    "swapped channels": (lambda: Net(tail=lambda o, x, t, h: o.flip(1)), ConvHead, "channel", True, False, False),
    "learned sigma": (lambda: Net(conv(4), lambda o, x, t, h: o[:, :2]), ConvHead, "channel", True, False, False),
    "every other channel": (
        lambda: Net(conv(4), lambda o, x, t, h: o[:, ::2]), ConvHead, "channel", True, False, False,
    ),
    "cropped": (
        lambda: Net(lambda: nn.Conv2d(3, 2, 3, padding=2), lambda o, x, t, h: o[..., 1:5, 2:].flip(2)),
        ConvHead, "channel", True, False, False,
    ),
    "strided, pixel shuffle": (
        lambda: Net(conv(8, stride=2), lambda o, x, t, h: nn.functional.pixel_shuffle(o, 2)),
        ConvHead, "token", True, False, False,
    ),
    "pixels in disorder": (lambda: Net(tail=shuffled), ConvHead, "token", True, False, False),
    "patches": (lambda: Tokens(8, unpatchify), TokenHead, "token", True, False, False),
    "patches, learned sigma": (lambda: Tokens(16, unpatchify), TokenHead, "token", True, False, False),
    "patches, one token more": (lambda: Tokens(8, unpatchify, extra=1), TokenHead, "token", True, False, False),
    "entries unequal between tokens": (
        lambda: Tokens(9, lambda o, x, t, h: o.flatten(1)[:, :32].reshape(x.shape)),
        DenseTailHead, "dense", True, False, False,
    ),
    "skip": (lambda: Net(tail=lambda o, x, t, h: x + o), ConvHead, "channel", True, False, True),
    "minus": (lambda: Net(tail=lambda o, x, t, h: -o / 3), ConvHead, "channel", False, False, False),
    "features beside": (lambda: Net(tail=lambda o, x, t, h: o + h[:, :2]), ConvHead, "channel", True, True, True),
    "edm": (lambda: Net(tail=edm), ConvHead, "channel", False, False, True),
    "scaled in place": (lambda: Net(tail=in_place), ConvHead, "channel", False, True, True),
    "edm, learned sigma": (
        lambda: Net(conv(4), lambda o, x, t, h: edm(o[:, :2], x, t, h)), ConvHead, "channel", False, False, True,
    ),
    "channel statistics": (
        lambda: Net(tail=lambda o, x, t, h: o * STATISTICS), DenseTailHead, "dense", True, False, False,
    ),
    "up-sampled": (lambda: Net(conv(2, stride=2), bilinear), DenseTailHead, "dense", True, False, False),
    "up-sampled, edm": (
        lambda: Net(conv(2, stride=2), lambda o, x, t, h: edm(bilinear(o, x, t, h), x, t, h)),
        DenseTailHead, "dense", False, False, True,
    ),
    "fixed linear layer": (lambda: Net(tail=matrix_behind), DenseTailHead, "dense", True, False, False),
    "patches, blurred": (
        lambda: Tokens(8, lambda o, x, t, h: nn.functional.avg_pool2d(unpatchify(o, x, t, h), 3, 1, 1)),
        DenseTailHead, "dense", True, False, False,
    ),
    "1-D": (lambda: Net(conv(4, 5, 1), lambda o, x, t, h: o[:, :2], dims=1), ConvHead, "channel", True, False, False),
    "3-D": (lambda: Net(conv(2, 3, 3), lambda o, x, t, h: x + 2 * o, dims=3), ConvHead, "channel", False, False, True),
}  # fmt: skip


def head_of(build, shape=SHAPE):
    family = NetworkFamily(build, shape)
    network = family.construct(0, 0)
    return network, *find_head(network, family.construct(0, 1), shape, verify_laws(family))


def moment_by_jacobian(network, x, t, v_w, v_b):
    """The output is affine in the last layer's weights: E[Q o oᵀ Qᵀ | h] s² = v_w J_w J_wᵀ + v_b J_b J_bᵀ."""
    last = {f"last.{name}": p for name, p in network.last.named_parameters()}
    jacobian = jacrev(lambda p: functional_call(network, p, (x, t)).flatten())(last)
    w, b = jacobian["last.weight"].flatten(1), jacobian["last.bias"].flatten(1)
    return v_w * w @ w.T + v_b * b @ b.T


@pytest.mark.parametrize("case", FOUND)
def test_the_moment_behind_any_tail_is_that_of_the_jacobian(case):
    """s² times the full moment against the Jacobian with respect to the weights, at two noise levels."""
    build, kind, structure, unscaled, offset_at_zero, offset_elsewhere = FOUND[case]
    shape = {"1-D": (2, 6), "3-D": (2, 3, 3, 3)}.get(case, SHAPE)
    network, head, why = head_of(build, shape)
    assert type(head) is kind, why
    assert head.structure.kind == structure
    assert head.tail.scaled != unscaled
    assert (head.tail.offset_at_zero, head.tail.offset_elsewhere) == (offset_at_zero, offset_elsewhere)
    assert head.tail.trivial == (unscaled and not offset_at_zero and not offset_elsewhere)
    network = network.double()
    for level in (0, 321):
        x, t = torch.randn(1, *shape, generator=stream(level, "x"), dtype=F64), torch.tensor([level])
        found = head.structure.matrix(head.second_moment(network.features(x, t))) * head.tail.scale(t).square()
        expected = moment_by_jacobian(network, x, t, head.weight_variance, head.bias_variance)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("case", FOUND)
def test_the_output_less_the_placed_layer_is_what_zero_weights_leave(case):
    """out - s Q o = the output of the network whose last layer is zero."""
    shape = {"1-D": (2, 6), "3-D": (2, 3, 3, 3)}.get(case, SHAPE)
    network, head, _ = head_of(FOUND[case][0], shape)
    network = network.double()
    x, t = torch.randn(3, *shape, generator=stream(1, "x"), dtype=F64), torch.tensor([3, 321, 999])
    o = network.last(network.features(x, t))
    offset = evaluate(network, x, t).flatten(1) - head.tail.scale(t)[:, None] * head.tail.place(o)
    for parameter in network.last.parameters():
        parameter.data.zero_()
    torch.testing.assert_close(offset, evaluate(network, x, t).flatten(1), rtol=1e-6, atol=1e-7)


def per_channel_and_level(o, x, t, h):
    return torch.cat([o[:, :1], o[:, 1:] * (1 + column(t, x))], dim=1)


class RandomScale(Net):
    """The factor behind the last layer is random, and no linear layer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("factor", torch.rand(()))
        self.tail = lambda o, x, t, h: self.factor * o


class WeightsBeside(Net):
    """The last layer's weights also act beside it."""

    def forward(self, x, t):
        h = self.features(x, t)
        return self.last(h) + nn.functional.conv2d(h.cos(), self.last.weight, padding=1)


class Twice(Net):
    """The last layer runs twice."""

    def forward(self, x, t):
        h = self.features(x, t)
        return self.last(h) + self.last(h.flip(2))


class StartsAsCopy(Net):
    """The last layer starts as a copy of an inner one, whose output it sees."""

    def __init__(self):
        super().__init__(width=2)
        self.inner = nn.Conv2d(2, 2, 3, padding=1)
        self.last.weight = nn.Parameter(-self.inner.weight.detach())

    def features(self, x, t):
        return torch.tanh(self.inner(super().features(x, t)))


class ForwardOnly(torch.autograd.Function):
    """Linear, but its backward pass fails."""

    @staticmethod
    def forward(ctx, o):
        return o.cumsum(-1)

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("no backward pass")


class TiedByReference(Net):
    """The last layer's weights also act inside, by a reference that is no parameter."""

    def __init__(self):
        super().__init__(width=2)
        self.kept = [self.last.weight]

    def features(self, x, t):
        return torch.tanh(nn.functional.conv2d(super().features(x, t), self.kept[0].to(x.dtype), padding=1))


class TiedByClosure(Net):
    """The same by a function, which a copy of the network shares with it."""

    def __init__(self):
        super().__init__(width=2)
        last = self.last
        self.inner = lambda h: torch.tanh(nn.functional.conv2d(h, last.weight.to(h.dtype), padding=1))

    def features(self, x, t):
        return self.inner(super().features(x, t))


class BiasApart(Net):
    """The last layer's bias is random, but no parameter."""

    def __init__(self):
        super().__init__()
        bias = self.last.bias.detach()
        del self.last.bias
        self.last.register_buffer("bias", bias)


class Copied(Net):
    """The last layer starts as a copy of what acts inside: a parameter of no known layer, or a buffer."""

    def __init__(self, buffer):
        super().__init__(width=2)
        copy = self.last.weight.detach().clone()
        if buffer:
            self.register_buffer("inner", copy)
        else:
            self.inner = nn.Parameter(copy)

    def features(self, x, t):
        return torch.tanh(nn.functional.conv2d(super().features(x, t), self.inner, padding=1))


def batch_mean(o, x, t, h):
    return o - o.mean(0, keepdim=True)


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: Net(tail=lambda o, x, t, h: o.tanh()), "not linear"),
        (lambda: Net(tail=lambda o, x, t, h: o.abs()), "not linear"),
        (lambda: Net(tail=lambda o, x, t, h: o.clamp(-500, 500)), "not linear"),
        (lambda: Net(tail=lambda o, x, t, h: o * (1 + x.square())), "not one matrix"),
        (lambda: Net(tail=lambda o, x, t, h: o * (1 + x.mean((1, 2, 3), keepdim=True).square())), "not one matrix"),
        (lambda: Net(tail=lambda o, x, t, h: o * h[:, :2]), "not one matrix"),
        (lambda: Net(tail=per_channel_and_level), "not one matrix"),
        (lambda: Net(tail=batch_mean), "not one matrix"),
        (lambda: Net(tail=lambda o, x, t, h: h[:, :2] + 0 * o), "does not depend on it"),
        (lambda: Net(tail=lambda o, x, t, h: bilinear(o[..., ::2, ::2].detach(), x, t, h)), "cannot be differentiated"),
        (lambda: Net(tail=lambda o, x, t, h: ForwardOnly.apply(o)), "cannot be differentiated"),
        (RandomScale, "differs from network to network"),
        (WeightsBeside, "act elsewhere"),
        (Twice, "more than once"),
        (StartsAsCopy, "law of its weights"),
        (TiedByReference, "act elsewhere"),
        (TiedByClosure, "act elsewhere"),
        (BiasApart, "law of its bias"),
        (lambda: Copied(buffer=False), "law of its weights"),
        (lambda: Copied(buffer=True), "law of its weights"),
    ],
)
def test_what_is_no_head_says_why(build, why):
    _, head, reason = head_of(build)
    assert head is None
    assert why in reason


def test_grouped_convolutions_and_networks_without_layers_say_why():
    _, head, reason = head_of(lambda: Net(lambda: nn.Conv2d(2, 2, 3, padding=1, groups=2), width=2))
    assert head is None
    assert "grouped Conv2d has no closed form" in reason

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.randn(1))

        def forward(self, x, t):
            return self.factor * x

    assert head_of(Scale)[1:] == (None, "no linear or convolutional layer runs in the forward pass")


def test_a_map_too_large_to_extract_says_so():
    class Large(Net):
        def __init__(self):
            super().__init__(conv(2, 1, stride=2), bilinear)

    _, head, reason = head_of(Large, LARGE)
    assert head is None
    assert "D = 5000" in reason
    assert "exceeds 4096" in reason
    scattered = torch.randperm(10_000, generator=stream(0, "scattered"))[:5000]
    _, head, reason = head_of(
        lambda: Net(conv(4), lambda o, x, t, h: o.flatten(1)[:, scattered].reshape(x.shape)), LARGE
    )
    assert head is None
    assert "its output, 10000, exceeds 4096" in reason
    assert head_of(lambda: Net(conv(4), lambda o, x, t, h: o[:, :2]), LARGE)[1].structure.reduced == 2500


@pytest.mark.parametrize("what", ["constant bias", "unusual weights", "shared"])
def test_unknown_laws_are_refused(what):
    def build():
        network = Net(width=2)
        if what == "constant bias":
            nn.init.constant_(network.last.bias, 0.5)
        elif what == "unusual weights":
            nn.init.normal_(network.last.weight, std=0.1)
        else:
            network.first.weight = network.last.weight
        return network

    _, head, reason = head_of(build)
    assert head is None
    assert ("shared" if what == "shared" else "zero mean") in reason


def test_normal_weights_are_a_head_with_their_variance():
    def build():
        network = Net()
        nn.init.xavier_normal_(network.last.weight)
        nn.init.zeros_(network.last.bias)
        return network

    _, head, why = head_of(build)
    assert head is not None, why
    assert head.weight_variance == pytest.approx(2 / (27 + 18))
    assert head.bias_variance == 0


def test_networks_are_left_as_they_were():
    """No hook stays, no parameter changes, and a half-precision network is found as its double is."""
    network, head, _ = head_of(lambda: Net(tail=edm).to(torch.bfloat16))
    assert head is not None
    assert head.structure.kind == "channel"
    assert next(network.parameters()).dtype == torch.bfloat16
    fresh = NetworkFamily(lambda: Net(tail=edm).to(torch.bfloat16), SHAPE).construct(0, 0)
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), fresh.parameters(), strict=True))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_network_that_cannot_be_copied_is_looked_at_itself():
    class Uncopiable(networks.Tiny):
        def __deepcopy__(self, memo):
            raise TypeError("no copies")

    _, head, why = head_of(Uncopiable, (1, 6, 6))
    assert isinstance(head, ConvHead), why
    assert head.tail.trivial
