"""How data run with or against the grain of a network: alignment and its optimal rotations (MATH A5)."""

from scoregrain.align.alignment import Alignment, mean_image_share, measure_alignment
from scoregrain.align.rotation import Rotation, find_rotation

__all__ = ["Alignment", "Rotation", "find_rotation", "mean_image_share", "measure_alignment"]
