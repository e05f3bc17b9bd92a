"""Measured geometries: of untrained networks and of data, with error bars."""

from scoregrain.geometry.core import Cluster, Geometry
from scoregrain.geometry.data import data_geometry, mean_image
from scoregrain.geometry.measure import MeasurementFailedError, MeasurementInterruptedError, measure_geometry
from scoregrain.geometry.merging import merge_geometries
from scoregrain.geometry.probe import DataProbe, GaussianProbe, Probe, ZeroProbe, score_from_output
from scoregrain.geometry.ranges import shard_range
from scoregrain.geometry.storage import summary, write_geometry

__all__ = [
    "Cluster",
    "DataProbe",
    "GaussianProbe",
    "Geometry",
    "MeasurementFailedError",
    "MeasurementInterruptedError",
    "Probe",
    "ZeroProbe",
    "data_geometry",
    "mean_image",
    "measure_geometry",
    "merge_geometries",
    "score_from_output",
    "shard_range",
    "summary",
    "write_geometry",
]
