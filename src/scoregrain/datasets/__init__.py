"""Data: images and signals as float32 in [-1, 1], and laws that are known exactly."""

from scoregrain.datasets.bands import corrupt_band, limit_band
from scoregrain.datasets.bases import PROBING_BASES, frequencies, probing_basis, probing_vector
from scoregrain.datasets.images import Images, data_name, load_images
from scoregrain.datasets.laws import Gaussian, GaussianMixture, Law, RankOne, Sphere
from scoregrain.datasets.parsing import LAWS, is_law, parse_law, split_law
from scoregrain.datasets.split import Split, load_split, split_images
from scoregrain.datasets.tiles import tile

__all__ = [
    "LAWS",
    "PROBING_BASES",
    "Gaussian",
    "GaussianMixture",
    "Images",
    "Law",
    "RankOne",
    "Sphere",
    "Split",
    "corrupt_band",
    "data_name",
    "frequencies",
    "is_law",
    "limit_band",
    "load_images",
    "load_split",
    "parse_law",
    "probing_basis",
    "probing_vector",
    "split_images",
    "split_law",
    "tile",
]
