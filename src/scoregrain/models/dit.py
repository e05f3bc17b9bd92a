"""The first paper's diffusion transformer with adaLN-zero conditioning (arXiv 2510.22899; MATH A9)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYER_NORM_EPS = 1e-6
FREQUENCIES = 256


def position_embedding(grid: int, width: int) -> Tensor:
    """Fixed sin-cos embedding of a ``grid × grid`` array of tokens, float64 ``(grid², width)`` (MATH A9).

    The first half of the entries comes from the column index, the second from the row index; each half is
    ``[sin(jω_k)…, cos(jω_k)…]`` with ``ω_k = 10000^(-k/(width/4))``.
    """
    quarter = width // 4
    omega = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * omega
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns = axis.repeat(grid, 1)
    rows = axis.repeat_interleave(grid, dim=0)
    return torch.cat([columns, rows], dim=1)


def time_embedding(t: Tensor, size: int = FREQUENCIES) -> Tensor:
    """Sinusoidal embedding ``[cos(tω_i), sin(tω_i)]`` of noise levels ``(N,)``, shape ``(N, size)``."""
    half = size // 2
    omega = torch.exp(-math.log(10000.0) * torch.arange(half, device=t.device) / half)
    angles = t[:, None].to(omega.dtype) * omega
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Adaptive layer normalisation: ``(1 + scale) · LN(h) + shift`` with one shift and scale per sample."""
    normed = functional.layer_norm(h, h.shape[-1:], eps=LAYER_NORM_EPS)
    return normed * (1 + scale[:, None]) + shift[:, None]


class Attention(nn.Module):
    """Multi-head self-attention, written out so that it runs under ``torch.func.vmap``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        """Attend over tokens: ``(N, T, width)`` to ``(N, T, width)``."""
        n, tokens, width = h.shape
        q, k, v = self.qkv(h).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)
        mixed: Tensor = self.out((weights @ v).transpose(1, 2).reshape(n, tokens, width))
        return mixed


def feed_forward(width: int, ratio: int) -> nn.Sequential:
    """A block's MLP: linear, tanh-GELU, linear, with ``ratio · width`` hidden units."""
    hidden = ratio * width
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))


def unpatchify(o: Tensor, patch: int) -> Tensor:
    """Tokens ``(N, g², p²C)`` to images ``(N, C, gp, gp)`` (MATH A9).

    Token (i, j), inner index (a·p+b)·C+c goes to pixel (c, ip+a, jp+b).
    """
    n, g = o.shape[0], math.isqrt(o.shape[1])
    image = o.reshape(n, g, g, patch, patch, -1).permute(0, 5, 1, 3, 2, 4)
    return image.reshape(n, -1, g * patch, g * patch)


class Block(nn.Module):
    """Transformer block with adaLN-zero conditioning: the identity at initialisation."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.mlp = feed_forward(width, mlp_ratio)
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """Map tokens ``(N, T, width)`` under conditioning ``(N, width)``."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(c).chunk(6, dim=1)
        attended: Tensor = self.attention(modulate(h, shift_a, scale_a))
        h = h + gate_a[:, None] * attended
        mlp: Tensor = gate_m[:, None] * self.mlp(modulate(h, shift_m, scale_m))
        return h + mlp


class DiT(nn.Module):
    """Diffusion transformer of MATH A9: d = 48, depth 8, 4 heads, MLP ratio 2, adaLN-zero.

    All linear layers are Xavier-uniform with zero bias, the time MLP is N(0, 0.02²), the modulation layers are
    zero and the last layer is NOT zeroed.

    Args:
        size: side of the square image, a multiple of ``patch``.
        channels: image channels C.
        patch: side of one patch.
        width: token width d, a multiple of 4 and of ``heads``.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the block's MLP over d.
    """

    position: Tensor

    def __init__(
        self,
        size: int,
        channels: int = 1,
        patch: int = 2,
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
        self.time = nn.Sequential(nn.Linear(FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(depth))
        self.modulation = nn.Linear(width, 2 * width)
        self.final = nn.Linear(width, patch**2 * channels)
        # kept in float64 so that a float64 network has float64 positions: the closed form of C1.4 needs them
        self.register_buffer("position", position_embedding(size // patch, width), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initialisation of MATH A9."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight.view(module.weight.shape[0], -1))
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        for layer in (self.time[0], self.time[2]):
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=0.02)
        for layer in [self.modulation] + [b.modulation for b in self.blocks if isinstance(b, Block)]:
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Map noisy images ``(N, C, H, W)`` at noise levels ``(N,)`` to the prediction, same shape."""
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = tokens + self.position.to(tokens.dtype)
        embedded: Tensor = self.time(time_embedding(t).to(x.dtype))
        c = functional.silu(embedded)
        for block in self.blocks:
            tokens = block(tokens, c)
        shift, scale = self.modulation(c).chunk(2, dim=1)
        return unpatchify(self.final(modulate(tokens, shift, scale)), self.patch)
