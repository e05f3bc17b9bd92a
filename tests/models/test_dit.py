"""The transformer's parts against MATH A9: initialisation, rearrangement, attention."""

import math

import torch
from torch import nn

from scoregrain.models import DiT
from scoregrain.models.dit import Attention, position_embedding, time_embedding, unpatchify


def test_initialisation_laws():
    """Xavier-uniform layers, N(0, 0.02²) time MLP, zero modulation, zero biases."""
    torch.manual_seed(0)
    net = DiT(16, channels=1, patch=2).requires_grad_(False)
    for name, parameter in net.named_parameters():
        if name.endswith("bias") or "modulation" in name:
            assert not parameter.any(), name
    for layer in (net.final, net.blocks[3].mlp[0], net.blocks[0].attention.qkv):
        bound = math.sqrt(6 / sum(layer.weight.shape))
        assert bound * 0.97 < float(layer.weight.abs().max()) <= bound
    assert float(net.embed.weight.abs().max()) <= math.sqrt(6 / (4 + 48))
    assert abs(float(net.time[0].weight.std()) / 0.02 - 1) < 0.05
    assert (len(net.blocks), net.blocks[0].attention.heads, net.final.out_features) == (8, 4, 4)


def test_blocks_are_the_identity_at_initialisation():
    torch.manual_seed(0)
    net = DiT(16, patch=4)
    h, c = torch.randn(2, 16, 48), torch.randn(2, 48)
    assert torch.equal(net.blocks[0](h, c), h)


def test_unpatchify_by_its_formula():
    """Token (i, j), inner index (a·p+b)·C+c goes to pixel (c, ip+a, jp+b)."""
    o = torch.arange(16 * 12, dtype=torch.float32).reshape(1, 16, 12)
    image = unpatchify(o, 2)
    for i, j, a, b, c in [(0, 0, 0, 0, 0), (1, 2, 0, 1, 2), (3, 3, 1, 1, 1), (2, 0, 1, 0, 0)]:
        assert image[0, c, i * 2 + a, j * 2 + b] == o[0, i * 4 + j, (a * 2 + b) * 3 + c]


def test_positions_by_their_formula():
    """First half from the column, second from the row; [sin…, cos…] with ω_k = 10000^(-k/(d/4))."""
    p = position_embedding(4, 48)
    row, column, k = 2, 3, 5
    omega = 10000 ** (-k / 12)
    token = p[row * 4 + column]
    expected = [math.sin(column * omega), math.cos(column * omega), math.sin(row * omega), math.cos(row * omega)]
    torch.testing.assert_close(token[[k, 12 + k, 24 + k, 36 + k]], torch.tensor(expected, dtype=torch.float64))


def test_time_embedding_by_its_formula():
    e = time_embedding(torch.tensor([7]), 8)[0]
    omega = [10000 ** (-i / 4) for i in range(4)]
    torch.testing.assert_close(e, torch.tensor([math.cos(7 * w) for w in omega] + [math.sin(7 * w) for w in omega]))


def test_attention_equals_torch():
    """The written-out attention against nn.MultiheadAttention with the same weights."""
    torch.manual_seed(0)
    ours, theirs = Attention(12, 3), nn.MultiheadAttention(12, 3, batch_first=True)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.qkv.weight.data, ours.qkv.bias.data
    theirs.out_proj.weight.data, theirs.out_proj.bias.data = ours.out.weight.data, ours.out.bias.data
    h = torch.randn(2, 5, 12)
    torch.testing.assert_close(ours(h), theirs(h, h, h, need_weights=False)[0], rtol=1e-5, atol=1e-6)
