"""Gaussian laws for tests: processes of every kind, data, and points whose moments are exact."""

from __future__ import annotations

import torch

from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.noise import BandPass, ForwardNoise, PowerLaw, White
from scoregrain.schedules import linear_schedule
from tests.reference.dense_operators import random_psd

SHAPE = (2, 3, 2)
SIZE = 12
NOISES = {"white": White(), "smooth": PowerLaw(alpha=-1.2), "rough": PowerLaw(alpha=0.4)}
BAND = BandPass(low=0.5, high=1.0)
"""Leaves out the mean and the lowest waves of arrays of ``SHAPE``."""


def process_of(prediction="epsilon", weight=NOISES["smooth"], T=200, omission=None, normalize="unit"):
    return DiffusionProcess(linear_schedule(T), ForwardNoise(weight, normalize), prediction, omission)


def data_law(rank=SIZE, size=SIZE, seed=3):
    """A mean and a covariance that commutes with no noise."""
    mean = torch.linspace(-1, 1, size, dtype=torch.float64)
    return mean, random_psd(size, rank, seed)


def dense(noise, shape=SHAPE):
    """Σ as the noise acts, from its draws alone."""
    size = torch.Size(shape).numel()
    root = noise.colour(torch.eye(size, dtype=torch.float64).view(size, *shape)).flatten(1)
    return root.T @ root


def random_arrays(n, shape=SHAPE, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=generator, dtype=torch.float64).to(dtype)


def exact_points(mean, covariance, shape=SHAPE):
    """x0 and ξ, (4D, C, *space) each, whose joint mean and covariance are exactly those of data and white noise.

    The mean of a function of second degree over them is its expectation.
    """
    size = len(mean)
    values, vectors = torch.linalg.eigh(covariance)
    joint = torch.block_diag(vectors * values.clamp(min=0).sqrt(), torch.eye(size, dtype=torch.float64))
    points = torch.cat((joint, -joint), 1).T * (2 * size) ** 0.5
    x0, xi = points.split(size, 1)
    return (mean + x0).view(-1, *shape), xi.reshape(-1, *shape)


def moments(x):
    """The mean (D,) and the covariance (D, D) of arrays (N, …), over N."""
    flat = x.flatten(1)
    return flat.mean(0), torch.cov(flat.T, correction=0)


def close(actual, expected, rtol=1e-10, atol=1e-10):
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype), rtol=rtol, atol=atol)
