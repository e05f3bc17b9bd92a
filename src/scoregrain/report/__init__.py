"""Reports: measure, align, and say it in sentences, figures and one HTML page."""

from scoregrain.report.analysis import analyze
from scoregrain.report.noise_preview import NoisePreview, preview_noise
from scoregrain.report.ranking import rank
from scoregrain.report.result import ImagesSummary, Report

__all__ = ["ImagesSummary", "NoisePreview", "Report", "analyze", "preview_noise", "rank"]
