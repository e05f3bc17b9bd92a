import dataclasses

import pytest
import torch

from scoregrain.datasets import Images, load_images
from scoregrain.geometry import DataProbe
from scoregrain.report.analysis import report_on
from tests.report import cases


def said(report):
    return "\n".join(report.warnings)


def test_nothing_is_said_but_the_notes_of_the_images_when_nothing_is_wrong():
    assert cases.report(cases.dense()).warnings == ()


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"timestep_sensitivity": 1e-8}, "'test' is time-blind"),
        ({"timestep_sensitivity": 1e-8, "one_channel_groups": True}, "one channel in each group"),
        (
            {"family": {"conditioning": {"class_labels": "class 3", "hint": "zeros"}}},
            "class_labels = class 3; hint = zero",
        ),
        ({"family": {"output": "the first 1 of 2 channels"}}, "only a part was used: the first 1 of 2 channels."),
        ({"probe": "data, 0123"}, "other images than those that are aligned here (data, 0123)"),
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


def test_group_norm_is_not_blamed_where_there_is_none():
    assert "GroupNorm" not in said(cases.report(cases.dense(timestep_sensitivity=1e-8)))


def test_images_that_served_as_inputs_too_are_pointed_out():
    images = cases.images((1, 3, 3))
    for prediction in ("epsilon", "flow"):
        info = {"probe": DataProbe(images, prediction).name, "prediction": prediction, "trained": True}
        assert "The images served twice" in said(report_on(cases.dense(**info), images))
        assert "given other images" in said(report_on(cases.dense(**info), cases.images((1, 3, 3), seed=2)))


def test_a_trained_network_is_not_blamed_for_its_weights():
    info = {"trained": True, "head_reason": "the network is trained", "draw_reason": "its parameters are given"}
    assert cases.report(cases.dense(**info)).warnings == ()


def test_a_range_that_was_assumed_is_to_be_read_with_care():
    pixels = torch.rand(40, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    for doubtful in (pixels, (16 * pixels).to(torch.uint8)):
        images = load_images(doubtful)
        assert len(images.notes) == 1
        assert report_on(cases.dense(), images).warnings == images.notes
    mapped = load_images(pixels, value_range=(0, 1))
    assert len(mapped.notes) == 1
    assert report_on(cases.dense(), mapped).warnings == ()


def test_one_direction_is_determined_and_two_are():
    report = cases.report(cases.given(torch.tensor([2.0, *[1.0] * 8])))
    assert "Only 1 of 9 directions is determined" in said(report)
    report = cases.report(cases.given(torch.tensor([3.0, 2.0, *[1.0] * 7])))
    assert "Only 2 of 9 directions are determined" in said(report)


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
