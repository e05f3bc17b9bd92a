"""Float64 noise schedules, the map from outputs to scores, and sub-sampled steps."""

from scoregrain._predictions import PREDICTIONS
from scoregrain.schedules.prediction import concentration, noising_coefficients, score_coefficients, score_weight
from scoregrain.schedules.schedule import SCHEDULES, Schedule, cosine_schedule, linear_schedule, named_schedule
from scoregrain.schedules.steps import subsampled_steps

__all__ = [
    "PREDICTIONS",
    "SCHEDULES",
    "Schedule",
    "concentration",
    "cosine_schedule",
    "linear_schedule",
    "named_schedule",
    "noising_coefficients",
    "score_coefficients",
    "score_weight",
    "subsampled_steps",
]
