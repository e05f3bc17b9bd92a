"""Small trainings, and what is left of them."""

import torch
from torch import nn

from scoregrain.align import Rotation
from scoregrain.models import MLP, LinearMap, NetworkFamily
from scoregrain.training import TrainConfig
from scoregrain.training.checkpoint import latest

SHAPE = (1, 4, 4)
UNET = {
    "_class_name": "UNet2DModel",
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "layers_per_block": 1,
    "block_out_channels": [8, 8],
    "down_block_types": ["DownBlock2D"] * 2,
    "up_block_types": ["UpBlock2D"] * 2,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}


class Odd(nn.Module):
    """What a user may bring: dropout, batch normalisation, tied weights."""

    def __init__(self):
        super().__init__()
        self.first, self.time, self.last = nn.Linear(16, 24), nn.Linear(1, 24), nn.Linear(24, 16)
        self.norm, self.drop = nn.BatchNorm1d(24), nn.Dropout(0.3)
        self.middle, self.again = nn.Linear(24, 24), nn.Linear(24, 24)
        self.again.weight = self.middle.weight

    def forward(self, x, t):
        h = self.norm(self.first(x.flatten(1)) + self.time(t[:, None] / 50))
        for layer in (self.middle, self.again):
            h = self.drop(nn.functional.silu(layer(h)))
        return self.last(h).view_as(x)


def small_mlp():
    return MLP(SHAPE, width=16, depth=2)


def small_map():
    return LinearMap(SHAPE)


PERCEPTRON = NetworkFamily(small_mlp, SHAPE, name="small-mlp")
LINEAR = NetworkFamily(small_map, SHAPE, name="small-map")
ODD = NetworkFamily(Odd, SHAPE, name="odd")


def unet(**changes):
    return NetworkFamily.from_config(UNET | changes, name="tiny-unet")


def config(**changes):
    """A training of a fraction of a second."""
    small = {
        "model": PERCEPTRON,
        "data": "rank-one:basis=dct-ii,index=3",
        "limit": 60,
        "timesteps": 50,
        "steps": 12,
        "batch_size": 8,
        "checkpoint_every": 5,
        "log_every": 3,
        "device": "cpu",
    }
    return TrainConfig(**(small | changes))


def rotation(shape=SHAPE, seed=0, rank=None):
    """A random one; with a rank, of low rank."""
    size = torch.Size(shape).numel()
    white = torch.randn(2, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    turned = torch.linalg.qr(white[0])[0]
    if rank is None:
        return Rotation(turned, shape, "minimize")
    core = torch.linalg.qr(white[1, : 2 * rank, : 2 * rank])[0]
    return Rotation(core, shape, "minimize", turned[:, : 2 * rank].contiguous(), rank)


def left(run):
    """All that a run has in its last checkpoint and its log, but for times: bytes and numbers."""
    files = sorted(latest(run.folder).glob("*.safetensors"))
    lines = [{key: value for key, value in line.items() if key != "images_per_second"} for line in run.history]
    return {file.name: file.read_bytes() for file in files} | {"lines": lines, "step": run.step}


def flat(module):
    """All parameters in one vector."""
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def relative(a, b):
    return float((a - b).norm() / b.norm())
