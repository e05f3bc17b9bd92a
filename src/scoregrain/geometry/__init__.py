"""Measured geometries: of untrained networks and of data, with error bars."""

from scoregrain.geometry.core import Cluster, Geometry
from scoregrain.geometry.data import data_geometry, mean_image
from scoregrain.geometry.measure import MeasurementInterruptedError, measure_geometry
from scoregrain.geometry.probe import DataProbe, GaussianProbe, Probe, ZeroProbe, score_from_output
from scoregrain.geometry.storage import merge_geometries, summary, write_geometry

__all__ = [
    "Cluster",
    "DataProbe",
    "GaussianProbe",
    "Geometry",
    "MeasurementInterruptedError",
    "Probe",
    "ZeroProbe",
    "data_geometry",
    "mean_image",
    "measure_geometry",
    "merge_geometries",
    "score_from_output",
    "summary",
    "write_geometry",
]
