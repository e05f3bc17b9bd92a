import json
import re

import pytest
import torch

from scoregrain.datasets import Images
from scoregrain.geometry import summary
from scoregrain.geometry.structure import ChannelStructure
from scoregrain.report.analysis import report_on
from tests.report import cases


def along(index, scale=1.0, count=300):
    """Images along one pixel, a little of all others, mean zero."""
    x = 0.01 * torch.randn(count, 9, generator=torch.Generator().manual_seed(2))
    x[:, index] += scale * torch.where(torch.arange(count) % 2 == 0, 0.5, -0.5)
    return Images(x.reshape(count, 1, 3, 3), "one pixel")


GRAIN = torch.tensor([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("geometry", "images", "verdict"),
    [
        (cases.given(GRAIN), along(0), "these data run against the grain"),
        (cases.given(GRAIN), along(8), "these data run with the grain"),
        (cases.given(torch.ones(9)), along(0), "these data run neither with nor against the grain"),
        (cases.dense(groups=3), along(0), "whether these data run with or against the grain is undecided"),
    ],
)
def test_headline_and_second_line_end_in_the_verdict(geometry, images, verdict):
    report = report_on(geometry, images)
    assert report.headline.endswith(verdict)
    assert f"{report.centred.headline()}; the mean image carries" in report.second_line
    assert report.centred.headline().endswith(verdict)


def test_the_share_of_the_mean_image_by_brute_force():
    geometry = cases.dense()
    images = cases.images(geometry.shape)
    report = report_on(geometry, images)
    g, x = geometry.matrix(), images.pixels.flatten(1).double()
    alpha = torch.stack([row @ g @ row for row in x]).mean()
    mu = x.mean(0)
    assert report.mean_share == pytest.approx(float(mu @ g @ mu / alpha))
    percent = float(re.search(r"carries \(?([\d.]+)", report.second_line)[1])
    assert percent == pytest.approx(100 * report.mean_share, abs=0.5)
    # M = Cov + μμᵀ, with the covariance over N-1
    rest = report.centred.natural * (len(x) - 1) / len(x)
    assert rest + float(mu @ g @ mu) == pytest.approx(report.alignment.natural)


@pytest.mark.parametrize("geometry", [cases.dense(), cases.exact_tokens(), cases.dense(groups=2)])
def test_summary_is_json_and_holds_the_numbers(geometry):
    report = cases.report(geometry)
    result = json.loads(json.dumps(report.summary(), allow_nan=False))
    assert result["geometry"] == summary(geometry)
    assert result["alignment"]["of_chance"] == report.alignment.of_chance
    assert result["alignment_mean_removed"]["verdict"] == report.centred.verdict
    assert result["mean_image_share"] == report.mean_share
    assert (result["headline"], result["data"], result["model"]) == (report.headline, "noise", "test")


def test_what_is_not_finite_becomes_none_in_the_summary():
    geometry = cases.dense(timestep_sensitivity=float("nan"))
    assert cases.report(geometry).summary()["measured"]["timestep_sensitivity"] is None


def test_a_report_on_leading_directions_says_what_is_left_out(tmp_path):
    report = cases.report(cases.leading())
    assert any("Of 64 directions the 4 with the largest eigenvalues were measured" in text for text in report.warnings)
    page = report.save_html(tmp_path / "report.html").read_text()
    assert "Eigenvalue 3" in page
    assert "the last of the leading ones" in page


def test_pictures_of_leading_directions_say_how_many_channels_they_stand_for(tmp_path):
    geometry = cases.leading(structure=ChannelStructure((3, 8, 8)))
    page = cases.report(geometry).save_html(tmp_path / "report.html").read_text()
    assert "All 3 channels share their directions, so each of the 4 pictures stands for 3 directions" in page
    assert "12 eigenvalues from" in page
