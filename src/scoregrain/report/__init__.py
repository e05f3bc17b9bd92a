"""Reports: measure, align, judge, and say it in sentences, figures and one HTML page."""

from scoregrain.report.analysis import analyze
from scoregrain.report.evaluation import Evaluation
from scoregrain.report.judging import evaluate
from scoregrain.report.noise_preview import NoisePreview, preview_noise
from scoregrain.report.ranking import rank
from scoregrain.report.result import ImagesSummary, Report

__all__ = ["Evaluation", "ImagesSummary", "NoisePreview", "Report", "analyze", "evaluate", "preview_noise", "rank"]
