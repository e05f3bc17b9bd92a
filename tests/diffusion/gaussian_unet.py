"""The exact ε-prediction for stationary Gaussian data as a diffusers model; it knows nothing of scoregrain."""

from types import SimpleNamespace

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config


class GaussianUNet(ModelMixin, ConfigMixin):
    """E[ε | x_t] = σ P / (ᾱ S + σ² P) x_t per frequency: S the data's power, P the noise's."""

    @register_to_config
    def __init__(self, sample_size, beta_end, num_steps, in_channels=1):
        super().__init__()
        betas = torch.linspace(beta_end / 200, beta_end, num_steps)
        self.data = torch.nn.Parameter(torch.ones(sample_size))
        self.noise = torch.nn.Parameter(torch.ones(sample_size))
        self.alpha_bar = torch.nn.Parameter((1 - betas).cumprod(0))

    def forward(self, x, timestep):
        alpha_bar = self.alpha_bar[timestep]
        gain = (1 - alpha_bar).sqrt() * self.noise / (alpha_bar * self.data + (1 - alpha_bar) * self.noise)
        half = gain[..., : x.shape[-1] // 2 + 1]
        return SimpleNamespace(sample=torch.fft.irfft2(half * torch.fft.rfft2(x), s=x.shape[-2:]))
