import pytest
import torch

from scoregrain.align import mean_image_share, measure_alignment
from scoregrain.geometry import Geometry, data_geometry
from scoregrain.geometry.moments import Moments
from scoregrain.geometry.spectrum import jackknife
from scoregrain.geometry.structure import DenseStructure
from scoregrain.report.uncertainty import effective_rank_error, mean_share_error
from tests.report import cases


def share(geometry, pixels):
    data = data_geometry(pixels)
    return mean_image_share(geometry, pixels.double().mean(0)) / measure_alignment(geometry, data).natural


def share_error(geometry, pixels):
    data = data_geometry(pixels)
    natural = measure_alignment(geometry, data).natural
    return mean_share_error(share(geometry, pixels), natural, geometry, data, pixels)


def without(geometry, j):
    groups = [group for i, group in enumerate(geometry.moments.groups) if i != j]
    return Geometry("network", geometry.structure, Moments(groups), info=geometry.info)


def test_share_error_of_images_agrees_with_the_jackknife():
    geometry = cases.given(torch.arange(1.0, 10.0))
    pixels = cases.images(geometry.shape, count=300).pixels
    leave_out = torch.tensor([[share(geometry, pixels[torch.arange(300) != i])] for i in range(300)])
    expected = jackknife(torch.tensor([share(geometry, pixels)]), leave_out, torch.ones(300))
    assert share_error(geometry, pixels) == pytest.approx(float(expected), rel=0.02)


def test_share_error_of_networks_agrees_with_the_jackknife():
    geometry = cases.dense()
    pixels = cases.images(geometry.shape, count=40).pixels
    exact = Geometry("network", geometry.structure, geometry.moments, exact=True)
    networks = (share_error(geometry, pixels) ** 2 - share_error(exact, pixels) ** 2) ** 0.5
    leave_out = torch.tensor([[share(without(geometry, j), pixels)] for j in range(20)])
    expected = jackknife(torch.tensor([share(geometry, pixels)]), leave_out, geometry.counts)
    assert networks == pytest.approx(float(expected), rel=0.05)


def test_effective_rank_error_agrees_with_the_jackknife():
    geometry = cases.dense()
    leave_out = torch.tensor([[without(geometry, j).effective_rank] for j in range(20)])
    expected = jackknife(torch.tensor([geometry.effective_rank]), leave_out, geometry.counts)
    assert effective_rank_error(geometry) == pytest.approx(float(expected), rel=0.05)


def test_errors_of_leading_directions_are_those_of_the_whole():
    """The spectrum falls so fast that four directions are nearly all of it."""
    whole, leading = cases.dense(8), cases.leading()
    pixels = cases.images(whole.shape, count=100).pixels
    assert effective_rank_error(leading) == pytest.approx(effective_rank_error(whole), rel=0.1)
    assert share_error(leading, pixels) == pytest.approx(share_error(whole, pixels), rel=0.1)


def test_no_errors_below_sixteen_groups_and_none_needed_when_exact():
    few = cases.sampled(DenseStructure((1, 3, 3)), groups=3)
    assert effective_rank_error(few) is None
    assert share_error(few, cases.images(few.shape).pixels) is None
    assert effective_rank_error(cases.exact_tokens()) == 0
