"""The diffusion under any noise: process, samplers, exact models, likelihood.

The diffusers schedulers are in ``scoregrain.diffusion.schedulers``, which imports diffusers.
"""

from scoregrain.diffusion.ddim import DDIM
from scoregrain.diffusion.dpm_solver import DPMSolverPP
from scoregrain.diffusion.euler import FlowEuler
from scoregrain.diffusion.exact import GaussianScore
from scoregrain.diffusion.heun import Heun
from scoregrain.diffusion.likelihood import LogLikelihood
from scoregrain.diffusion.mixture import GaussianMixtureScore
from scoregrain.diffusion.parameterization import Prediction
from scoregrain.diffusion.process import DiffusionProcess, Model
from scoregrain.diffusion.sampler import Sampler, SamplerState, SamplingRun
from scoregrain.diffusion.sampling import sample

__all__ = [
    "DDIM",
    "DPMSolverPP",
    "DiffusionProcess",
    "FlowEuler",
    "GaussianMixtureScore",
    "GaussianScore",
    "Heun",
    "LogLikelihood",
    "Model",
    "Prediction",
    "Sampler",
    "SamplerState",
    "SamplingRun",
    "sample",
]
