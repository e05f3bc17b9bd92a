"""Pictures of samples, written while a network trains."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from scoregrain._folders import explained
from scoregrain.datasets import tile


def save_grid(samples: Tensor, file: Path) -> None:
    """Write samples (n, C, *space) side by side as a PNG file; the range shown is [-1, 1].

    Raises:
        ScoregrainError: It cannot be written.
    """
    with explained(file):
        file.parent.mkdir(exist_ok=True)
        temporary = file.with_name(f".{file.name}.new")
        tile(samples).save(temporary, "PNG")
        temporary.replace(file)
