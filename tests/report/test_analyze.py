from functools import partial

import pytest
import torch

from scoregrain import InvalidInputError, NetworkFamily, load_images, measure_geometry
from scoregrain.datasets import Images
from scoregrain.geometry import MeasurementInterruptedError
from scoregrain.report import analyze
from tests.networks import Tiny
from tests.report import cases

SHAPE = (1, 6, 6)


def family(timed=True):
    return NetworkFamily(partial(Tiny, timed=timed), SHAPE, name="tiny")


def test_analyze_measures_and_aligns():
    calls = []
    report = analyze(family(), cases.images(SHAPE), networks=512, seed=3, progress=lambda *at: calls.append(at))
    assert report.geometry.count == 512
    assert report.geometry.info["seed"] == 3
    assert calls[-1] == (512, 512)
    assert report.alignment.of_chance_error > 0
    assert report.model == "tiny"
    assert report.images.notes == ("Drawn for a test.",)
    assert 2 <= len(report.images.examples) <= 16


def test_time_blindness_becomes_a_sentence():
    report = analyze(family(timed=False), cases.images(SHAPE), networks=32)  # warnings are errors in these tests
    assert any("time-blind" in warning for warning in report.warnings)


def test_a_measured_geometry_is_used_as_it_is():
    geometry = measure_geometry(family(), 64)
    report = analyze(family(), cases.images(SHAPE), geometry=geometry)
    assert report.geometry is geometry
    with pytest.raises(InvalidInputError, match="no effect"):
        analyze(family(), cases.images(SHAPE), geometry=geometry, networks=32)
    with pytest.raises(InvalidInputError, match="other parameters than 'tiny'"):
        analyze(
            NetworkFamily(partial(Tiny, width=4, timed=True), SHAPE, name="tiny"),
            cases.images(SHAPE),
            geometry=geometry,
        )
    with pytest.raises(InvalidInputError, match=r"\(1, 3, 3\), expected a network geometry of shape"):
        analyze(family(), cases.images(SHAPE), geometry=cases.dense())


def test_images_that_do_not_fit_are_refused_before_anything_is_measured():
    with pytest.raises(InvalidInputError, match=r"shape \(1, 5, 5\), 'tiny' needs \(1, 6, 6\)"):
        analyze(family(), cases.images((1, 5, 5)))
    with pytest.raises(InvalidInputError, match="all zero"):
        analyze(family(), Images(torch.zeros(20, *SHAPE), "grey"))


def test_an_exact_geometry_of_a_transformer():
    transformer = NetworkFamily.from_preset("dit-16/4")
    report = analyze(transformer, load_images("digits", shape=transformer.shape))
    assert report.geometry.exact
    assert report.alignment.error_networks == 0
    assert report.mean_share_error > 0
    assert (report.alignment.verdict, report.centred.verdict) == ("against", "with")


def test_an_interruption_after_measuring_keeps_the_geometry(monkeypatch):
    """Ctrl-C while the report is made: what was measured comes with the exception."""
    family = NetworkFamily.from_preset("dit-16/8")
    images = load_images("digits", shape=family.shape, limit=64)

    def interrupt(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("scoregrain.report.analysis.report_on", interrupt)
    with pytest.raises(MeasurementInterruptedError) as caught:
        analyze(family, images)
    assert caught.value.geometry is not None
    assert caught.value.geometry.exact
