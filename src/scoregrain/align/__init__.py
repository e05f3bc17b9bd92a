"""How data run with or against the grain of a network: alignment and its optimal rotations (MATH A5)."""

from scoregrain.align.alignment import Alignment, mean_image_share, measure_alignment
from scoregrain.align.cross_fitting import CrossFit, cross_fit
from scoregrain.align.optimum import find_rotation
from scoregrain.align.ranking import NOT_VALIDATED, Ranked, Ranking, check_same_shape, rank_geometries
from scoregrain.align.rotation import Rotation
from scoregrain.align.storage import write_rotation

__all__ = [
    "NOT_VALIDATED",
    "Alignment",
    "CrossFit",
    "Ranked",
    "Ranking",
    "Rotation",
    "check_same_shape",
    "cross_fit",
    "find_rotation",
    "mean_image_share",
    "measure_alignment",
    "rank_geometries",
    "write_rotation",
]
