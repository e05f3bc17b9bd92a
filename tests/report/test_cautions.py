import dataclasses

import pytest
import torch

from scoregrain.datasets import Images
from scoregrain.report.analysis import report_on
from tests.report import cases


def said(report):
    return "\n".join(report.warnings)


def test_nothing_is_said_but_the_notes_of_the_images_when_nothing_is_wrong():
    assert cases.report(cases.dense()).warnings == ()


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"timestep_sensitivity": 1e-8}, "time-blind"),
        ({"init": "unzero-head"}, "re-drawn (init 'unzero-head')"),
        ({"head_reason": "plain outer products were asked for"}, "(plain outer products were asked for)"),
        ({"draw": "constructor", "draw_reason": "the law of x is unknown"}, "(the law of x is unknown)"),
        ({"execution": "loop (vmap: no rule)"}, "one by one, loop (vmap: no rule)"),
    ],
)
def test_how_the_networks_were_measured(info, words):
    assert words in said(cases.report(cases.dense(**info)))


def test_how_networks_are_drawn_does_not_matter_for_an_exact_geometry():
    geometry = cases.exact_tokens()
    geometry.info.update(draw="constructor", execution="loop", head_reason="none")
    assert cases.report(geometry).warnings == ()


def test_too_few_networks():
    assert "96 networks are too few for error bars" in said(cases.report(cases.dense(groups=3)))


def test_large_error_and_few_directions():
    generator = torch.Generator().manual_seed(0)
    geometry = cases.dense(side=6, groups=16)
    for group in geometry.groups:  # white: nothing can be told apart
        draws = torch.randn(32, 36, dtype=torch.float64, generator=generator)
        group.total.copy_(draws.T @ draws)
    text = said(cases.report(geometry))
    assert "relative error is 26." in text
    assert "Only 0 of 36 directions are determined by 512 networks" in text


def test_noise_as_large_as_the_geometry():
    geometry = cases.dense(side=5, groups=16)
    for j, group in enumerate(geometry.groups):  # every group has a direction of its own
        group.total.zero_()[j, j] = 32
    report = cases.report(geometry)
    assert "spread between networks" in said(report)
    assert report.summary()["geometry"]["relative_error"] is None


def test_few_images():
    text = said(cases.report(cases.dense(), count=8))
    assert "8 images are too few for error bars" in text
    assert "fewer images (8) than dimensions (9)" in text


def test_equal_images():
    images = Images(torch.ones(20, 1, 3, 3), "white")
    report = report_on(cases.dense(), images)
    assert "All images are equal" in said(report)
    assert report.second_line == "all images are equal: the mean image carries 100 % of the alignment"
    assert report.mean_share == pytest.approx(1)


def test_opposite_verdicts_are_pointed_out():
    values = torch.tensor([10.0, *[1.0] * 7, 0.1])
    x = 0.1 * torch.randn(200, 9, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, *[1.0] * 8])
    x[:, 0] += 0.9
    report = report_on(cases.given(values), Images(x.reshape(-1, 1, 3, 3), "x"))
    assert (report.alignment.verdict, report.centred.verdict) == ("against", "with")
    assert "the verdict is the opposite one" in said(report)
    assert "opposite" not in said(dataclasses.replace(report, warnings=()))
