"""Laws and quick judgements, for the tests of ``evaluate``."""

import torch

from scoregrain.datasets import Gaussian, Images, Split
from scoregrain.operators import DiagonalOperator
from scoregrain.report import evaluate

SHAPE = (1, 4, 4)
VARIANCES = torch.linspace(0.1, 2, 16, dtype=torch.float64)
QUICK = {"features": None, "projections": 128}  # importing torchmetrics takes seconds


def law(shape=SHAPE):
    """Independent pixels of variance 0.1 to 2."""
    return Gaussian(torch.zeros(shape, dtype=torch.float64), DiagonalOperator(shape, VARIANCES), "pixels")


def draws(data, n=300, seed=7):
    return data.sample(n, torch.Generator().manual_seed(seed))


def judged(samples, data, **options):
    return evaluate(samples=samples, data=data, **(QUICK | options))


def split(pixels, train):
    return Split(Images(pixels[:train], "set"), Images(pixels[train:], "set"))
