"""Dense float64 references of the geometry's fast paths: explicit loops, nothing shared with the library."""

import itertools

import torch
from torch import Tensor


def conv_second_moment(
    features: Tensor, kernel: int, padding: int, stride: int, v_w: float, v_b: float, circular: bool = False
) -> Tensor:
    """E[o oᵀ | h] of one output channel, by looping over output pixels, offsets and channels; features (C, H, W)."""
    channels, height, width = features.shape
    rows = (height + 2 * padding - kernel) // stride + 1
    columns = (width + 2 * padding - kernel) // stride + 1
    patches = torch.zeros(rows * columns, channels * kernel * kernel, dtype=torch.float64)
    for (i, j), c, (a, b) in itertools.product(
        itertools.product(range(rows), range(columns)),
        range(channels),
        itertools.product(range(kernel), range(kernel)),
    ):
        y, x = i * stride + a - padding, j * stride + b - padding
        if circular:
            y, x = y % height, x % width
        if 0 <= y < height and 0 <= x < width:
            patches[i * columns + j, (c * kernel + a) * kernel + b] = features[c, y, x]
    return v_w * patches @ patches.T + v_b


def eigen_reference(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Descending eigenvalues and eigenvectors of the whole matrix, no sectors."""
    values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0), vectors.flip(1)
