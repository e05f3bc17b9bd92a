"""A plain vision transformer as a score network: nothing in it starts at zero."""

from __future__ import annotations

from torch import Tensor, nn

from scoregrain.models.dit import FREQUENCIES, Attention, feed_forward, time_embedding, unpatchify

POSITION_STD = 0.02


class PreNormBlock(nn.Module):
    """Transformer block with layer normalisation before attention and MLP (arXiv 2002.04745)."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm_attention, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm_mlp, self.mlp = nn.LayerNorm(width), feed_forward(width, mlp_ratio)

    def forward(self, h: Tensor) -> Tensor:
        """Map tokens ``(N, T, width)`` to the same shape."""
        attended: Tensor = self.attention(self.norm_attention(h))
        h = h + attended
        mlp: Tensor = self.mlp(self.norm_mlp(h))
        return h + mlp


class ViT(nn.Module):
    """Vision transformer (arXiv 2010.11929) with a linear head on every token and the noise level added to all.

    Width, depth, heads and MLP ratio are those of :class:`DiT`, from which it differs in three ways: the noise level
    enters by addition instead of adaLN-zero, the position embedding is learned and starts at N(0, 0.02²), and all
    layers keep the framework's default initialisation, so that its blocks are not the identity.

    Args:
        size: side of the square image, a multiple of ``patch``.
        channels: image channels C.
        patch: side of one patch.
        width: token width d, a multiple of ``heads``.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the block's MLP over d.
    """

    def __init__(
        self,
        size: int,
        channels: int = 1,
        patch: int = 4,
        width: int = 48,
        depth: int = 8,
        heads: int = 4,
        mlp_ratio: int = 2,
    ) -> None:
        super().__init__()
        if size % patch:
            raise ValueError(f"patch {patch} does not divide the image size {size}")
        self.patch = patch
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        self.position = nn.Embedding((size // patch) ** 2, width)
        self.time = nn.Sequential(nn.Linear(FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.Sequential(*(PreNormBlock(width, heads, mlp_ratio) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.final = nn.Linear(width, patch**2 * channels)
        nn.init.normal_(self.position.weight, std=POSITION_STD)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Map noisy images ``(N, C, H, W)`` at noise levels ``(N,)`` to the prediction, same shape."""
        level: Tensor = self.time(time_embedding(t).to(x.dtype))
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.position.weight + level[:, None]
        return unpatchify(self.final(self.norm(self.blocks(tokens))), self.patch)
