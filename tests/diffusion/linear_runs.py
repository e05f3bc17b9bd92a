"""Samplers on linear models without Monte Carlo: rows of basis vectors in, matrices out; and a random network."""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from scoregrain.diffusion.process import DiffusionProcess
from scoregrain.diffusion.sampler import SamplerState, SamplingRun
from scoregrain.diffusion.sampling import SAMPLERS
from scoregrain.noise import ForwardNoise, PowerLaw
from scoregrain.schedules import PREDICTIONS, linear_schedule
from tests.reference.gaussian_diffusion import DenseGaussian

SHAPE = (1, 8)
RING = PowerLaw(alpha=-0.5, eps=0.05, dc="formula")
CASES = [(name, p) for name in SAMPLERS for p in PREDICTIONS if name != "euler" or p == "flow"]
EYE = torch.eye(8, dtype=torch.float64)


def gaussian(weight=RING, prediction="epsilon", S=None, T=1000, omission=None):
    """A process on a ring of 8, and the perfect network for data whose covariance commutes with no noise."""
    noise = ForwardNoise(weight)
    process = DiffusionProcess(linear_schedule(T), noise, prediction, omission)
    return process, DenseGaussian(process, data_covariance() if S is None else S, noise.operator(SHAPE).to_dense())


def data_covariance():
    A = torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return A @ A.T / 8 + 0.1 * EYE


def start_factor(process):
    return process.start_sigma * process.noise.colour(EYE.unflatten(1, SHAPE))


def network(shape, T):
    """A fixed random ε-network that depends on x and t, nothing linear."""
    size = math.prod(shape)
    generator = torch.Generator().manual_seed(7)
    A, B = (torch.randn(size, size, dtype=torch.float64, generator=generator) / size**0.5 for _ in range(2))

    def epsilon(x, t):
        time = torch.as_tensor(t).to(x).reshape(-1, 1) / T
        return (torch.tanh(x.flatten(1) @ A.to(x) + torch.sin(7 * time)) @ B.to(x)).reshape(x.shape)

    return epsilon


class ScriptedNoise(ForwardNoise):
    """The noise T ξ of the ξ it is told; ``mistaken`` forgets the T."""

    def __init__(self, noise, mistaken=False):
        super().__init__(noise.weight, noise.normalize)
        self.xi, self.mistaken = None, mistaken

    def sample(self, shape, generator=None, dtype=None, device=None):
        return self.xi if self.mistaken else self.colour(self.xi)


def scripted(process, mistaken=False):
    noise = ScriptedNoise(process.noise, mistaken)
    return DiffusionProcess(process.schedule, noise, process.prediction, process.omission)


def walk(sampler, model, process, x, visited, null_content=None, generator=None):
    """x after the steps visited."""
    state = SamplerState(SamplingRun(model, process, generator, null_content), x)
    for t, s in pairwise(visited):
        state = sampler.step(state, t, s)
    return state.x


def covariance_after(sampler, model, process, factor, visited, null_content=None, white_steps=False):
    """FᵀF after the steps visited, of arrays with the covariance FᵀF of ``factor`` (R, C, *space), for m = 0.

    A linear step maps the rows of F, and adds a row for each direction of ξ: exact. A QR keeps them few.
    """
    shape = factor.shape[1:]
    rows = factor.flatten(1)
    if getattr(sampler, "eta", 0.0) == 0:
        rows = walk(sampler, model, process, factor, visited, null_content).flatten(1)
        return rows.T @ rows
    process, basis = scripted(process, mistaken=white_steps), torch.eye(rows.shape[1], dtype=rows.dtype)
    for step in pairwise(visited):
        start = torch.cat([rows, torch.zeros_like(basis)]).unflatten(1, shape)
        process.noise.xi = torch.cat([torch.zeros_like(rows), basis]).unflatten(1, shape)
        rows = torch.linalg.qr(walk(sampler, model, process, start, step, null_content).flatten(1)).R
    return rows.T @ rows


def relative(got, expected):
    return ((got - expected).norm() / expected.norm()).item()
