"""Training on rotated data through the wrapper: in data space, and as if the data themselves were rotated (MATH C5)."""

import copy
import math

import pytest
import torch
from diffusers import UNet2DModel
from torch import nn

import scoregrain as sg
from scoregrain.datasets import Images, Split
from scoregrain.diffusion import DiffusionProcess, GaussianScore
from scoregrain.operators import DenseOperator
from scoregrain.schedules import linear_schedule
from scoregrain.training import train
from scoregrain.training.batches import Batch, Batches
from scoregrain.training.rotated import RotatedUNet2DModel
from tests.training.cases import LINEAR, SHAPE, UNET, config, flat, relative, rotation

SIZE = math.prod(SHAPE)
PROCESSES = {
    "epsilon": DiffusionProcess(linear_schedule(50)),
    "v": DiffusionProcess(linear_schedule(50), prediction="v_prediction"),
    "flow": DiffusionProcess(linear_schedule(50), prediction="flow"),
}


class Exact(nn.Module):
    """The exact model of N(m, S)."""

    def __init__(self, mean, covariance, process):
        super().__init__()
        self.score = GaussianScore(mean, DenseOperator.from_matrix(SHAPE, covariance), process)

    def forward(self, x, t):
        return self.score(x, t)


def gaussian(w, process):
    """The exact models of x and of W x, both under white noise."""
    generator = torch.Generator().manual_seed(1)
    root = torch.randn(SIZE, SIZE, dtype=torch.float64, generator=generator) / 4
    mean = torch.randn(SIZE, dtype=torch.float64, generator=generator)
    s = root @ root.T
    models = [(mean, s), (w @ mean, w @ s @ w.T)]
    return [Exact(m.reshape(SHAPE), c, process) for m, c in models]


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("rank", [None, 3])
def test_the_wrapped_exact_model_of_rotated_data_is_the_exact_model_of_the_data(process, rank):
    """So a network that learns W x perfectly has learnt x: the same denoiser, and the same samples draw by draw."""
    turned = rotation(rank=rank)
    of_x, of_wx = gaussian(turned.matrix, process)
    wrapped = turned.wrap(of_wx)
    x = torch.randn(20, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for t in (0, 10, 49):
        ours, theirs = (process.predict(model, x, t).x0 for model in (wrapped, of_x))
        assert (ours - theirs).abs().max() < 1e-10 * theirs.abs().max()
        assert (process.predict(of_wx, x, t).x0 - theirs).abs().max() > 1e-3  # the rotation is no small one
    drawn = [
        sg.sample(m, process, 20, SHAPE, "ddim", 50, torch.Generator().manual_seed(3), dtype=torch.float64)
        for m in (wrapped, of_x)
    ]
    assert relative(*drawn) < 1e-10


def test_samples_through_the_wrapper_are_rotated_samples_of_the_network():
    """x_T and every ξ are rotated with them: white noise has the same law either way."""
    process, turned = PROCESSES["epsilon"], rotation()
    _, of_wx = gaussian(turned.matrix, process)

    class Turned(nn.Module):
        def forward(self, x, t):
            return of_wx(x, t)

    start = torch.Generator().manual_seed(3)
    through = sg.sample(turned.wrap(Turned()), process, 5, SHAPE, "ddim", 50, start, dtype=torch.float64)

    class Back(sg.ForwardNoise):
        """White noise, every draw rotated."""

        def sample(self, *arguments, **options):
            return turned(super().sample(*arguments, **options))

    rotated = DiffusionProcess(linear_schedule(50), Back(sg.White()))
    direct = sg.sample(of_wx, rotated, 5, SHAPE, "ddim", 50, torch.Generator().manual_seed(3), dtype=torch.float64)
    assert relative(turned(through), direct) < 1e-10


def test_a_network_trained_on_x_through_the_wrapper_is_the_one_trained_on_rotated_data(tmp_path, monkeypatch):
    """Data W x and noise W ξ, white again; parameters equal up to float32."""
    turned = rotation()
    pixels = torch.randn(40, *SHAPE, generator=torch.Generator().manual_seed(0))
    same = {"model": LINEAR, "limit": None, "steps": 30, "ema": 0}

    def both(x):
        return Split(Images(x, "data"), Images(x[:4].clone(), "data"))

    through = train(config(data=both(pixels), rotation=turned, out=tmp_path / "through", **same))
    plain = train(config(data=both(pixels), out=tmp_path / "plain", **same))
    get = Batches.__getitem__

    def rotated(self, k):
        batch = get(self, k)
        return Batch(batch.x0, batch.t, turned(batch.xi))

    monkeypatch.setattr(Batches, "__getitem__", rotated)
    direct = train(config(data=both(turned(pixels)), out=tmp_path / "direct", **same))
    start = flat(LINEAR.construct(0, 0))
    moved = [flat(network) - start for network in (through.model, direct.model, plain.model)]
    assert relative(moved[0], moved[1]) < 1e-3
    assert relative(moved[2], moved[1]) > 0.1


# The class of saved pipelines ------------------------------------------------------------------------------------

ARGUMENTS = {key: value for key, value in UNET.items() if not key.startswith("_")}


@pytest.fixture(params=[None, 5], ids=["dense", "low rank"])
def made(request):
    turned = rotation((1, 8, 8), rank=request.param)
    torch.manual_seed(0)
    return RotatedUNet2DModel.around(ARGUMENTS, turned).eval(), turned


def test_it_is_the_wrapped_network(made):
    model, turned = made
    x, t = torch.randn(3, 1, 8, 8), torch.tensor([0, 20, 49])
    with torch.no_grad():
        assert torch.allclose(model(x, t).sample, turned.wrap(model.unet)(x, t).sample, atol=1e-5)
        assert torch.allclose(model(x, 20, return_dict=False)[0], turned.wrap(model.unet)(x, 20).sample, atol=1e-5)
        assert not torch.allclose(model(x, 20).sample, model.unet(x, 20).sample, atol=1e-2)


def test_it_comes_back_from_its_folder(made, tmp_path):
    model, _ = made
    model.save_pretrained(tmp_path)
    again = RotatedUNet2DModel.from_pretrained(tmp_path, use_safetensors=True)
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(again(x, 20).sample, model(x, 20).sample)
    assert (again.config.in_channels, again.config.sample_size) == (1, 8)


def test_half_precision_rotates_in_single(made, tmp_path):
    """W rounded to half precision is no rotation: off by a thousandth."""
    model, turned = made
    model.save_pretrained(tmp_path)
    half = RotatedUNet2DModel.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert {p.dtype for p in half.unet.parameters()} == {torch.bfloat16}
    assert half.dtype == torch.bfloat16
    for ours, exact in zip(half.buffers(recurse=False), turned.factors, strict=True):
        assert (ours.double() - exact).abs().max() < 1e-7
    assert half(torch.randn(2, 1, 8, 8, dtype=torch.bfloat16), 20).sample.dtype == torch.bfloat16


def test_the_network_inside_is_a_plain_one(made):
    model, _ = made
    assert type(model.unet) is UNet2DModel
    assert "rotation" in model.state_dict()
    assert copy.deepcopy(model)(torch.zeros(1, 1, 8, 8), 0).sample.shape == (1, 1, 8, 8)
