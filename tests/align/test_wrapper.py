"""``rotation.wrap(model)``: the network Wᵀ f(W x, t) as a module (MATH C5)."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scoregrain._errors import InvalidInputError
from scoregrain.align import Rotation
from scoregrain.geometry import GaussianProbe, measure_geometry
from scoregrain.models import NetworkFamily
from scoregrain.schedules import linear_schedule
from tests.align.cases import orthonormal
from tests.networks import Tiny

SHAPE = (1, 6, 6)
MEAN_OMEGA = 32.05434524985  # MATH A2, linear schedule


def dense(seed: int = 0) -> Rotation:
    return Rotation(orthonormal(36, torch.Generator().manual_seed(seed)), SHAPE, "minimize")


def low_rank() -> Rotation:
    generator = torch.Generator().manual_seed(1)
    return Rotation(orthonormal(4, generator), SHAPE, "minimize", orthonormal(36, generator)[:, :4], rank=2)


each = pytest.mark.parametrize("rotation", [dense(), low_rank()], ids=["dense", "low rank"])


class Identity(nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x


class Linear(nn.Module):
    """A x for a fixed A up to a sign that depends on the noise level, and a parameter that says nothing."""

    def __init__(self, a: Tensor) -> None:
        super().__init__()
        self.register_buffer("a", a)
        self.unused = nn.Parameter(torch.randn(1, dtype=a.dtype))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return (x.flatten(1) @ self.a.T * torch.where(t < 300, 1, -1)[:, None]).reshape(x.shape)


class Scaled(nn.Module):
    """Returns 2 x in some form, and remembers how it was called."""

    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.form, self.config = form, {"sample_size": 6}
        self.weight = nn.Parameter(torch.full((), 2.0))

    def forward(self, x: Tensor, *arguments: Any, **options: Any) -> Any:
        self.called = arguments, options
        self.seen = x
        return self.form(self.weight * x)


def noise(count: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


@each
def test_the_identity_stays_the_identity(rotation: Rotation) -> None:
    x = noise()
    torch.testing.assert_close(rotation.wrap(Identity())(x, torch.zeros(3)), x, rtol=0, atol=1e-12)
    with torch.no_grad():
        x = noise(dtype=torch.float32)
        torch.testing.assert_close(rotation.wrap(Identity())(x, torch.zeros(3)), x, rtol=0, atol=1e-5)


@each
def test_a_linear_map_becomes_its_conjugate(rotation: Rotation) -> None:
    a = torch.randn(36, 36, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    w = rotation.matrix
    x = noise()
    expected = (x.flatten(1) @ (w.T @ a @ w).T).reshape(x.shape)
    torch.testing.assert_close(rotation.wrap(Linear(a))(x, torch.zeros(3)), expected, rtol=0, atol=1e-10)


@each
def test_its_geometry_under_isotropic_probes_is_the_conjugate(rotation: Rotation) -> None:
    """The probe s z has the same law as W s z, so that G of the wrapped network is Wᵀ (s² ω A Aᵀ) W (G2)."""
    a = torch.randn(36, 36, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    family = NetworkFamily(lambda: rotation.wrap(Linear(a)), SHAPE)
    geometry = measure_geometry(
        family, 64, probe=GaussianProbe(SHAPE, 0.5), probes_per_network=256, estimator="plain"
    ).matrix()
    w = rotation.matrix
    expected = 0.25 * MEAN_OMEGA * w.T @ a @ a.T @ w
    assert float((geometry - expected).norm() / expected.norm()) < 0.1
    assert float((geometry - 0.25 * MEAN_OMEGA * a @ a.T).norm() / expected.norm()) > 0.3


@each
def test_the_geometry_of_a_wrapped_family_is_rotated_back(rotation: Rotation) -> None:
    """Zero probe: W 0 = 0, so that network by network F becomes WᵀF. Networks run under vmap."""

    def measured(build: Callable[[], nn.Module]) -> Any:
        family = NetworkFamily(build, SHAPE)
        return measure_geometry(family, 64, estimator="plain", schedule=linear_schedule(100))

    plain = measured(lambda: Tiny(timed=True))
    wrapped = measured(lambda: rotation.wrap(Tiny(timed=True)))
    w = rotation.matrix
    assert "loop" not in str(wrapped.info.get("execution"))
    torch.testing.assert_close(wrapped.matrix(), w.T @ plain.matrix() @ w, rtol=1e-4, atol=1e-4 * plain.trace / 36)


def test_vmap_over_stacked_weights_is_a_loop() -> None:
    rotation = dense()
    networks = [rotation.wrap(Tiny().double()) for _ in range(3)]
    names = dict(networks[0].named_parameters())
    stacked = {name: torch.stack([dict(n.named_parameters())[name] for n in networks]) for name in names}
    x, t = noise(2), torch.zeros(2)

    def call(parameters: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(networks[0], parameters, (x, t))

    expected = torch.stack([n(x, t) for n in networks])
    torch.testing.assert_close(torch.func.vmap(call)(stacked), expected, rtol=0, atol=1e-12)


@dataclass
class Output(OrderedDict[str, Any]):
    """As diffusers makes them."""

    sample: Tensor
    extra: int = 7


@each
def test_every_kind_of_output_comes_back_as_it_was(rotation: Rotation) -> None:
    x = noise()
    expected = 2 * x

    def returned(form: Callable[[Tensor], Any]) -> Any:
        return rotation.wrap(Scaled(form).double())(x, 5)

    def close(y: Tensor) -> None:
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)

    close(returned(lambda y: y))
    output = returned(lambda y: (y, "more"))
    assert output[1:] == ("more",)
    close(output[0])
    output = returned(lambda y: SimpleNamespace(sample=y, extra=7))
    assert (type(output), output.extra) == (SimpleNamespace, 7)
    close(output.sample)
    output = returned(lambda y: Output(sample=y))
    assert (type(output), output.extra) == (Output, 7)
    close(output.sample)
    for wrong in (lambda y: [y], lambda y: {"sample": y}, lambda y: None, lambda y: ()):
        with pytest.raises(InvalidInputError, match="expected a tensor, a tuple"):
            returned(wrong)


def test_what_the_network_returned_is_not_changed() -> None:
    kept = []
    rotation = dense()
    wrapped = rotation.wrap(Scaled(lambda y: kept.append(SimpleNamespace(sample=y)) or kept[-1]).double())
    wrapped(noise(), 0)
    torch.testing.assert_close(kept[0].sample, 2 * rotation(noise()), rtol=0, atol=1e-12)


def test_other_arguments_are_passed_on_and_attributes_are_the_network_s() -> None:
    network = Scaled(lambda y: y).double()
    rotation = dense()
    wrapped = rotation.wrap(network)
    wrapped(noise(), 5, "second", label=3)
    assert network.called == ((5, "second"), {"label": 3})
    torch.testing.assert_close(network.seen, rotation(noise()), rtol=0, atol=1e-12)
    assert wrapped.config == {"sample_size": 6}
    assert wrapped.rotation is rotation
    with pytest.raises(AttributeError, match="nothing"):
        _ = wrapped.nothing
    with pytest.raises(InvalidInputError, match=r"\(\.\.\., 1, 6, 6\), got torch.float64 \(3, 6, 6\)"):
        wrapped(noise()[:, 0], 0)
    with pytest.raises(InvalidInputError, match=r"expected an nn\.Module to wrap, got function"):
        rotation.wrap(lambda x, t: x)  # type: ignore[arg-type]


@each
def test_it_follows_its_network_s_precision_without_losing_its_own(rotation: Rotation) -> None:
    wrapped = rotation.wrap(Tiny())
    assert {b.dtype for b in wrapped.buffers()} == {torch.float32}
    wrapped.half()
    assert {b.dtype for b in wrapped.buffers()} == {torch.float32}
    assert next(wrapped.parameters()).dtype == torch.float16
    wrapped.double()
    for buffer, factor in zip(wrapped.buffers(), rotation.factors, strict=True):
        assert torch.equal(buffer, factor)
    wrapped.to("meta")
    assert {b.device.type for b in wrapped.buffers()} == {"meta"}


def test_half_precision_rotates_in_float32() -> None:
    """Rotated in half precision, an array would lose 36 roundings instead of one."""
    rotation = dense()
    wrapped = rotation.wrap(Scaled(lambda y: y).to(torch.bfloat16))
    x = noise(dtype=torch.bfloat16)
    z = wrapped(x, 0)
    assert z.dtype == torch.bfloat16
    assert torch.equal(wrapped.model.seen, rotation(x))
    torch.testing.assert_close(z.double(), 2 * x.double(), rtol=0.02, atol=0.02)


def test_only_the_network_is_in_the_state_and_learns() -> None:
    network = Tiny()
    wrapped = dense().wrap(network)
    assert list(wrapped.state_dict()) == [f"model.{name}" for name in network.state_dict()]
    loss = wrapped(noise(dtype=torch.float32), torch.zeros(3)).square().sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
    twin = copy.deepcopy(wrapped)
    assert twin.model is not network
    torch.testing.assert_close(
        twin(noise(dtype=torch.float32), torch.zeros(3)), wrapped(noise(dtype=torch.float32), torch.zeros(3))
    )


def test_a_diffusers_pipeline_samples_in_the_coordinates_of_the_data() -> None:
    """DDIM is linear in noise and network output: the samples of the wrapped network are Wᵀ those of the plain one."""
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    ).eval()
    rotation = Rotation(orthonormal(64, torch.Generator().manual_seed(0)), (1, 8, 8), "minimize")
    scheduler = DDIMScheduler(clip_sample=False)
    pipeline = DDIMPipeline(rotation.wrap(network), scheduler)
    pipeline.set_progress_bar_config(disable=True)
    with torch.no_grad():
        images = pipeline(
            batch_size=2, generator=torch.Generator().manual_seed(1), num_inference_steps=3, output_type="np"
        )
        start = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        x = rotation(start)
        scheduler.set_timesteps(3)
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t).sample, t, x).prev_sample
    expected = (rotation.inverse(x) / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    torch.testing.assert_close(torch.from_numpy(images.images), expected, rtol=0, atol=1e-4)
