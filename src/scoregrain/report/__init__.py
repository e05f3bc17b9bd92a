"""Reports: measure, align, and say it in sentences, figures and one HTML page."""

from scoregrain.report.analysis import analyze
from scoregrain.report.ranking import rank
from scoregrain.report.result import ImagesSummary, Report

__all__ = ["ImagesSummary", "Report", "analyze", "rank"]
