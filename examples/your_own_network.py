"""Bring your own network: anything called as f(x, t) that returns the shape it is given.

python examples/your_own_network.py
scoregrain analyze examples/your_own_network.py:build --shape 1 8 8
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import scoregrain as sg


class SmallCNN(nn.Module):
    """Three convolutions; the noise level enters as an extra channel."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        level = (t / 1000).to(x.dtype)[:, None, None, None].expand(-1, 1, *x.shape[2:])
        h = nn.functional.silu(self.first(torch.cat([x, level], dim=1)))
        prediction: Tensor = self.last(nn.functional.silu(self.second(h)))
        return prediction


def build() -> nn.Module:
    """A freshly initialised network: scoregrain calls this again for every draw it cannot make in place."""
    return SmallCNN()


def main(networks: int = 4000) -> sg.Geometry:
    family = sg.NetworkFamily(build, shape=(1, 8, 8), prediction="epsilon", name="small-cnn")
    geometry = sg.measure_geometry(family, networks=networks)
    info = geometry.info
    print(geometry)
    print(f"drawn {info['draw']}, run by {info['execution']}, last layer '{info['head']}', symmetry {info['symmetry']}")
    return geometry


if __name__ == "__main__":
    main()
