"""The vision transformer: what it shares with the paper's, and where it differs."""

import pytest
import torch
from torch import nn

from scoregrain.geometry import measure_geometry
from scoregrain.models import DiT, NetworkFamily, ViT
from scoregrain.models.dit import unpatchify

OMEGA = 32.05434524985


def built(seed=0, **options):
    torch.manual_seed(seed)
    return ViT(16, **options).requires_grad_(False)


def test_width_depth_heads_and_ratio_are_those_of_the_dit():
    ours, theirs = built(), DiT(16, patch=4)
    assert len(ours.blocks) == len(theirs.blocks)
    assert ours.blocks[0].attention.heads == theirs.blocks[0].attention.heads
    for a, b in ((ours.blocks[0].mlp, theirs.blocks[0].mlp), (ours.final, theirs.final), (ours.embed, theirs.embed)):
        assert [p.shape for p in a.parameters()] == [p.shape for p in b.parameters()]


def test_nothing_starts_at_zero_but_the_shifts_of_normalisation():
    network = built()
    for name, parameter in network.named_parameters():
        assert parameter.any() != (".norm" in f".{name}" and name.endswith("bias")), name
    assert float(network.position.weight.std()) == pytest.approx(0.02, rel=0.1)
    assert float(network.final.weight.abs().max()) == pytest.approx(48**-0.5, rel=0.01)


def test_blocks_are_not_the_identity_at_initialisation():
    network = built()
    h = torch.randn(2, 16, 48, generator=torch.Generator().manual_seed(0))
    change = network.blocks[0](h) - h
    assert float(change.std()) > 0.1 * float(h.std())


def test_a_block_is_pre_norm_residual():
    block = built().blocks[0]
    h = torch.randn(2, 16, 48, generator=torch.Generator().manual_seed(0))
    middle = h + block.attention(nn.functional.layer_norm(h, (48,)))
    torch.testing.assert_close(block(h), middle + block.mlp(nn.functional.layer_norm(middle, (48,))))


def test_only_the_position_embedding_tells_patches_apart():
    """Moving patches and positions alike moves the output's patches alike."""
    network = built()
    generator = torch.Generator().manual_seed(0)
    patches, order = torch.randn(2, 16, 16, generator=generator), torch.randperm(16, generator=generator)
    t = torch.tensor([3, 700])
    before = network(unpatchify(patches, 4), t)
    network.position.weight.copy_(network.position.weight[order])
    after = network(unpatchify(patches[:, order], 4), t)
    tokens = nn.functional.unfold(before, 4, stride=4).transpose(1, 2)
    torch.testing.assert_close(nn.functional.unfold(after, 4, stride=4).transpose(1, 2), tokens[:, order])
    assert not torch.allclose(before, network(unpatchify(patches, 4), t), atol=1e-4)


def test_neighbouring_patches_are_no_more_alike_than_distant_ones():
    """Positions are iid over tokens, so A = a I + b 11ᵀ: mostly the constant, and every difference weighs the same.

    The final norm fixes the trace: v = 1/(3d) and features of norm² d give mean ω · D (d + 1)/(3d) up to its eps.
    """
    geometry = measure_geometry(NetworkFamily.from_preset("vit-16/4"), 128)
    assert geometry.trace == pytest.approx(256 * OMEGA * 49 / 144, rel=1e-3)
    assert float(geometry.eigenvalues[:16].sum()) > 0.99 * geometry.trace
    values = []
    for other in (1, 5, 15):
        patches = torch.zeros(1, 16, 16, dtype=torch.float64)
        patches[0, 0], patches[0, other] = 1, -1
        u = unpatchify(patches, 4).flatten()
        values.append(geometry.contract(torch.outer(u, u)))
    for a, b in ((values[0], values[2]), (values[1], values[2])):
        assert abs(float((a - b).mean())) < 4 * float((a - b).std()) / len(a) ** 0.5 < 0.2 * float(a.mean())


def test_a_patch_that_does_not_divide_the_size_is_refused():
    with pytest.raises(ValueError, match="patch 3 does not divide the image size 16"):
        ViT(16, patch=3)
