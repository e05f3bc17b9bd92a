"""Arrays side by side as one picture."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

GAP = 4
STRIP = 12  # pixels of height of a signal


def tile(arrays: Tensor, columns: int = 8, side: int = 64) -> Image.Image:
    """Return arrays (n, C, *space) in [-1, 1] as one RGB picture, ``columns`` in a row.

    Values outside are clipped. Of images other than RGB the first channel is shown, of volumes the middle slice;
    signals are strips.

    Args:
        arrays: At least one.
        columns: How many in a row.
        side: Pixels of the longer side of one, which is enlarged a whole number of times.
    """
    pixels = _planes(arrays)
    pixels = pixels if pixels.shape[1] == 3 else pixels[:, :1].expand(-1, 3, -1, -1)
    height, width = pixels.shape[2:]
    scale = max(1, side // max(height, width))
    rows, step = -(-len(pixels) // columns), (height * scale + GAP, width * scale + GAP)
    size = (step[1] * min(columns, len(pixels)) - GAP, step[0] * rows - GAP)
    sheet = Image.new("RGB", size, "white")
    for i, image in enumerate(pixels):
        levels = ((image.float().nan_to_num().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).contiguous()
        one = Image.fromarray(levels.numpy()).resize((width * scale, height * scale), Image.Resampling.NEAREST)
        sheet.paste(one, (i % columns * step[1], i // columns * step[0]))
    return sheet


def _planes(arrays: Tensor) -> Tensor:
    """Arrays of any number of space dimensions as images (n, C, H, W)."""
    arrays = arrays.detach().cpu()
    if arrays.ndim == 3:
        return arrays[:, :, None].expand(-1, -1, STRIP, -1)
    if arrays.ndim == 5:
        return torch.select(arrays, 2, arrays.shape[2] // 2)
    return arrays
