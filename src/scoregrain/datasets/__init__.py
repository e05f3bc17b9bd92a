"""Image data: the embedded digits, ``.npz`` files, folders and arrays, as float32 pixels in [-1, 1]."""

from scoregrain.datasets.images import Images, data_name, load_images

__all__ = ["Images", "data_name", "load_images"]
