"""The trainer: from data, a network, a noise and a rotation to a run folder, and back."""

from scoregrain.training.config import TrainConfig
from scoregrain.training.launch import train
from scoregrain.training.run import Run

__all__ = ["Run", "TrainConfig", "train"]
