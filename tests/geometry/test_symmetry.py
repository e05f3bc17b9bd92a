"""Symmetries are verified by acting on kernels: oracles Y1–Y2 of MATH Part D, and their sectors."""

import pytest
import torch
from torch import nn

from scoregrain._random import stream
from scoregrain.geometry import GaussianProbe, measure_geometry
from scoregrain.geometry.symmetry import TOLERANCE, Flip, Transposition, find_symmetry
from scoregrain.models import NetworkFamily

F64 = torch.float64
pytestmark = pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")


class Timeless(nn.Sequential):
    """Layers called as f(x, t)."""

    def forward(self, x, t):
        return super().forward(x)


class Downsampling(nn.Module):
    """A 3×3 stride-2 pad-1 convolution, its output spread over the input's size by repetition."""

    def __init__(self, size):
        super().__init__()
        self.conv, self.size = nn.Conv2d(1, 1, 3, stride=2, padding=1), size

    def forward(self, x, t):
        return nn.functional.interpolate(torch.tanh(self.conv(x)), size=(self.size, self.size), mode="nearest")


def stride_free():
    return Timeless(nn.Conv2d(1, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 1, 3, padding=1))


def test_transposing_all_kernels_transposes_the_unet():
    """Y1, for the time-aware and the time-blind U-Net."""
    for name in ("unet-16", "iddpm-16"):
        family = NetworkFamily.from_preset(name)
        assert Transposition().verify(family.construct(0, 0).double(), family.shape) < 1e-10
        assert Transposition().verify(family.construct(0, 0), family.shape) < TOLERANCE


@pytest.mark.parametrize("axis", [-1, -2])
def test_flips_need_a_stride_free_network_or_an_odd_size(axis):
    """Y2: a stride-2 convolution breaks the flip on size 16, not on 15; a U-Net without stride-2 keeps it."""
    assert Flip(axis).verify(NetworkFamily.from_preset("unet-16").construct(0, 0), (1, 16, 16)) > 0.1
    torch.manual_seed(0)
    even, odd, free = Downsampling(16).double(), Downsampling(15).double(), stride_free().double()
    assert Flip(axis).verify(even, (1, 16, 16)) > 0.1
    assert Flip(axis).verify(free, (1, 16, 16)) < 1e-12
    # nearest interpolation from 8 to 15 is not symmetric itself, so the odd case looks at the convolution alone
    x = torch.randn(1, 1, 15, 15, dtype=F64)
    kernel, bias = odd.conv.weight, odd.conv.bias
    straight = nn.functional.conv2d(x, kernel, bias, stride=2, padding=1)
    flipped = nn.functional.conv2d(x.flip(axis), kernel.flip(axis), bias, stride=2, padding=1)
    torch.testing.assert_close(flipped.flip(axis), straight, rtol=0, atol=1e-12)


def test_an_oblong_kernel_or_image_has_no_transposition():
    torch.manual_seed(0)
    oblong = Timeless(nn.Conv2d(1, 1, (3, 1), padding=(1, 0)))
    assert Transposition().verify(oblong, (1, 4, 4)) == float("inf")
    assert Transposition().verify(stride_free(), (1, 4, 6)) == float("inf")
    assert isinstance(find_symmetry([stride_free()], (1, 4, 6)), Flip)
    assert isinstance(find_symmetry([stride_free()], (1, 4, 4)), Transposition)


def test_no_symmetry_where_positions_differ():
    class Positional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bias = nn.Conv2d(1, 1, 3, padding=1), nn.Parameter(torch.randn(4, 4))

        def forward(self, x, t):
            return self.conv(x) + self.bias

    torch.manual_seed(0)
    assert find_symmetry([Positional()], (1, 4, 4)) is None


def test_sectors_have_the_right_sizes_and_decompose_an_average():
    symmetry = Transposition()
    even, odd = symmetry.sectors((16, 16))
    assert (even.shape[1], odd.shape[1]) == (136, 120)
    basis = torch.cat([even, odd], dim=1)
    torch.testing.assert_close(basis.T @ basis, torch.eye(256, dtype=F64))
    a = torch.randn(256, 256, generator=stream(0, "a"), dtype=F64)
    averaged = symmetry.average(a @ a.T, (16, 16))
    assert float((even.T @ averaged @ odd).abs().max()) < 1e-10
    p = torch.eye(256, dtype=F64)[symmetry.permutation((16, 16))]
    torch.testing.assert_close(averaged, (a @ a.T + p @ a @ a.T @ p.T) / 2)
    image = torch.randn(16, 16, generator=stream(1, "x"), dtype=F64)
    torch.testing.assert_close(p @ image.flatten(), image.T.flatten())


def test_sectors_of_several_channels_act_in_every_channel():
    even, odd = Flip(-1).sectors((2, 3, 4))
    assert (even.shape[1], odd.shape[1]) == (12, 12)
    image = (odd @ torch.randn(12, generator=stream(0, "c"), dtype=F64)).reshape(2, 3, 4)
    torch.testing.assert_close(image.flip(-1), -image)


def test_a_kernel_that_is_the_same_in_all_networks_is_not_transposed():
    """A fixed Sobel filter is carried to its transpose by no law: only the flip that it has itself is left."""

    class Sobel(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.Conv2d(1, 1, 3, padding=1)
            self.first.weight.data = torch.tensor([[[[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]]]])

        def forward(self, x, t):
            return self.last(torch.tanh(self.first(x)))

    info = measure_geometry(NetworkFamily(Sobel, (1, 4, 4)), 32, probe=GaussianProbe((1, 4, 4))).info
    assert (info["draw"], info["symmetry"]) == ("in-place", "flip -1")
