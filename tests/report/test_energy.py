import pytest
import torch

from scoregrain.geometry import Cluster, data_geometry
from scoregrain.geometry.spectrum import jackknife
from scoregrain.report.energy import MAX_BINS, RUNS, bin_labels, energies
from tests.report import cases


@pytest.mark.parametrize("make", [cases.dense, cases.channels, cases.exact_tokens])
def test_energies_are_the_diagonal_of_the_data_in_the_directions_and_sum_to_the_trace(make):
    geometry = make()
    pixels = cases.images(geometry.shape).pixels
    for energy, centred in zip(energies(pixels, geometry), (False, True), strict=True):
        data = data_geometry(pixels, centred=centred)
        u = geometry.eigenvectors
        torch.testing.assert_close(energy.values, (u.T @ data.matrix() @ u).diagonal())
        assert float(energy.values.sum()) == pytest.approx(data.trace)
        assert float(energy.sizes @ energy.relative) == pytest.approx(geometry.size)


def test_energy_beyond_the_known_directions_is_one_last_bin():
    geometry = cases.leading()
    pixels = cases.images(geometry.shape).pixels
    data = data_geometry(pixels)
    energy, _ = energies(pixels, geometry)
    u = geometry.eigenvectors
    torch.testing.assert_close(energy.values, (u.T @ data.matrix() @ u).diagonal())
    assert energy.span[:, -1].tolist() == [4, 33.5, 63]
    rest = (data.trace - float(energy.values.sum())) / 60
    assert float(energy.relative[-1]) == pytest.approx(rest / (data.trace / 64))
    assert float(energy.sizes @ energy.relative) == pytest.approx(64)


def test_a_bin_holds_the_mean_of_its_cluster():
    geometry = cases.exact_tokens()
    energy, _ = energies(cases.images(geometry.shape).pixels, geometry)
    expected = energy.values.reshape(4, 4).mean(1) * 16 / energy.values.sum()
    torch.testing.assert_close(energy.relative, expected)
    assert energy.span.tolist() == [[0, 4, 8, 12], [1.5, 5.5, 9.5, 13.5], [3, 7, 11, 15]]


def test_errors_agree_with_the_jackknife_over_images():
    geometry = cases.dense()
    pixels = cases.images(geometry.shape, count=400).pixels
    energy, _ = energies(pixels, geometry)
    without = [energies(pixels[torch.arange(400) != i], geometry)[0].relative for i in range(400)]
    expected = jackknife(energy.relative, torch.stack(without), torch.ones(400))
    torch.testing.assert_close(energy.errors, expected, rtol=0.02, atol=0)


def test_equal_images_have_no_energy_without_their_mean():
    geometry = cases.dense()
    whole, centred = energies(torch.ones(20, *geometry.shape), geometry)
    assert centred is None
    assert float(whole.values.sum()) == pytest.approx(9)


def test_many_clusters_share_bins_and_an_unknown_partition_becomes_runs():
    single = [Cluster((k,), 1.0, 0.1, 0.9, 0.1, True) for k in range(3000)]
    labels = bin_labels(single, 3000, 3000)
    assert int(labels.max()) + 1 <= MAX_BINS
    assert (labels.diff() >= 0).all()
    unknown = [Cluster(tuple(range(100)), 1.0, None, None, 1.0, False)]
    assert int(bin_labels(unknown, 100, 100).max()) + 1 <= RUNS
