"""What happens when training has shaped noise and the sampler's steps are white: silent, and wrong at every frequency.

The model is exact (Gaussian data with the mean and covariance of the digits), so every error is the sampler's.

python examples/one_noise_everywhere.py
"""

from __future__ import annotations

import torch
from torch import Tensor

import scoregrain as sg
from scoregrain.diffusion import DDIM, Sampler, SamplerState
from scoregrain.operators import FrequencyGrid


class WhiteSteps(Sampler):
    """The mistake: a shaped start, then DDPM steps that draw white noise, as stock schedulers do."""

    order = 0

    def step(self, state: SamplerState, t: int, s: int) -> SamplerState:
        (c_t, s_t), (c_s, s_s) = state.level(t), state.level(s)
        drawn = s_s / s_t * (s_t**2 - (c_t / c_s * s_s) ** 2) ** 0.5
        said = state.predict(state.x, t)
        white = torch.randn(state.x.shape, generator=state.run.generator)  # where DDIM has state.draw()
        return state.advance(c_s * said.x0 + (s_s**2 - drawn**2) ** 0.5 * said.eps + drawn * white)


def power(x: Tensor) -> Tensor:
    """Variance of low, middle and high frequencies."""
    grid = FrequencyGrid(x.shape[2:])
    spectrum = torch.fft.fftn(x - x.mean(0), dim=(-2, -1), norm="ortho").abs().square().mean((0, 1))
    return torch.stack([spectrum[grid.band(low, low + 1 / 3)].mean() for low in (0, 1 / 3, 2 / 3)])


def main(n: int = 1000, steps: int = 500) -> tuple[Tensor, Tensor]:
    images = sg.load_images("digits", shape=(1, 8, 8)).pixels.double()
    covariance = images.flatten(1).T.cov() + 1e-3 * torch.eye(64)
    noise = sg.ForwardNoise.parse("power-law:alpha=-0.5")
    process = sg.DiffusionProcess(sg.linear_schedule(), noise)
    model = sg.GaussianScore(images.mean(0), covariance, process)

    truth = power(model.sample(n, generator=torch.Generator().manual_seed(0)))
    ratios = []
    for name, sampler in [("one noise everywhere", DDIM(eta=1.0)), ("white steps", WhiteSteps())]:
        generator = torch.Generator().manual_seed(1)
        x = sg.sample(model, process, n, sampler=sampler, steps=steps, generator=generator)
        ratios.append(power(x) / truth)
        low, middle, high = ratios[-1].tolist()
        print(f"{name}: variance at low, middle, high frequencies {low:.2f}, {middle:.2f}, {high:.2f} times the data's")
    return ratios[0], ratios[1]


if __name__ == "__main__":
    main()
