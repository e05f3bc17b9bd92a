"""Oracles S1–S6 and the library most checkpoints come from."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.schedules import Schedule, cosine_schedule, linear_schedule


def test_s1_endpoints() -> None:
    schedule = linear_schedule()
    assert schedule.alpha_bar[0].item() == pytest.approx(0.9999, rel=1e-9)
    assert schedule.sigma[0].item() == pytest.approx(0.01, rel=1e-9)
    assert schedule.alpha_bar[999].item() == pytest.approx(4.035829765375676e-05, rel=1e-9)


def test_s2_inside() -> None:
    alpha_bar = linear_schedule(1000).alpha_bar
    assert alpha_bar[250].item() == pytest.approx(0.5214230306185275, rel=1e-9)
    assert alpha_bar[500].item() == pytest.approx(0.07779665836502389, rel=1e-9)


def test_s5_gain_of_the_last_step() -> None:
    assert linear_schedule().alpha_bar[999].rsqrt().item() == pytest.approx(157.41045725150065, rel=1e-9)


@pytest.mark.parametrize("steps", [20, 1, 0, -5])
def test_s6_short_linear_schedules_are_refused(steps: int) -> None:
    with pytest.raises(InvalidInputError, match=f"more than 20 steps .* got {steps}"):
        linear_schedule(steps)


def test_21_linear_steps_are_enough() -> None:
    assert linear_schedule(21).betas[-1].item() == pytest.approx(20 / 21)


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_cosine_signal_follows_its_formula_up_to_the_clip(steps: int) -> None:
    alpha_bar = cosine_schedule(steps).alpha_bar

    def f(tau: int) -> float:
        return math.cos((tau / steps + 0.008) / 1.008 * math.pi / 2) ** 2

    for tau in range(steps - 1):
        assert alpha_bar[tau].item() == pytest.approx(f(tau + 1) / f(0), rel=1e-9)
    assert cosine_schedule(steps).betas[-1].item() == 0.999


def test_cosine_needs_a_step() -> None:
    with pytest.raises(InvalidInputError, match="at least 1 step, got 0"):
        cosine_schedule(0)


@pytest.mark.parametrize("build", [linear_schedule, cosine_schedule])
def test_schedules_are_float64_and_variance_preserving(build: Callable[[int], Schedule]) -> None:
    schedule = build(50)
    assert schedule.num_steps == len(schedule.betas) == 50
    assert schedule.betas.dtype == schedule.alpha_bar.dtype == schedule.sigma.dtype == torch.float64
    torch.testing.assert_close(schedule.alpha_bar + schedule.sigma**2, torch.ones(50).double())
    assert bool((schedule.alpha_bar.diff() < 0).all())
    assert schedule.alpha_bar is schedule.alpha_bar


@pytest.mark.parametrize(("name", "build"), [("linear", linear_schedule), ("squaredcos_cap_v2", cosine_schedule)])
def test_same_as_diffusers(name: str, build: Callable[[int], Schedule]) -> None:
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(1000, beta_start=1e-4, beta_end=0.02, beta_schedule=name)
    ours = build(1000)
    torch.testing.assert_close(ours.betas.float(), theirs.betas, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.alpha_bar.float(), theirs.alphas_cumprod, rtol=0, atol=1e-6)


def test_sigmas_are_the_levels_of_diffusers_euler_scheduler() -> None:
    from diffusers import EulerDiscreteScheduler

    theirs = EulerDiscreteScheduler(1000, beta_start=1e-4, beta_end=0.02)
    ours = linear_schedule().sigmas
    assert ours.dtype == torch.float64
    torch.testing.assert_close(ours.flip(0).float(), theirs.sigmas[:-1], rtol=1e-4, atol=0)
    assert ours[0].item() == pytest.approx(math.sqrt(1e-4 / 0.9999), rel=1e-9)
    assert ours[999].item() == pytest.approx(math.sqrt(1 / 4.035829765375676e-05 - 1), rel=1e-9)


@pytest.mark.parametrize(
    ("betas", "message"),
    [
        (torch.full((5,), 0.1), "float64 tensor of shape .* got torch.float32"),
        (torch.full((5, 1), 0.1).double(), r"got torch.float64 of shape \(5, 1\)"),
        (torch.zeros(0).double(), r"of shape \(0,\)"),
        (torch.tensor([0.1, 1.0]).double(), "strictly between 0 and 1, got values from 0.1 to 1"),
        (torch.tensor([0.0, 0.1]).double(), "strictly between 0 and 1"),
        (torch.tensor([0.1, float("nan")]).double(), "strictly between 0 and 1"),
    ],
)
def test_bad_betas_are_explained(betas: torch.Tensor, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Schedule("mine", betas)


def test_schedules_are_frozen_and_compared_by_identity() -> None:
    schedule = linear_schedule(30)
    with pytest.raises(AttributeError):
        schedule.name = "other"  # type: ignore[misc]
    assert schedule == schedule
    assert schedule != linear_schedule(30)
