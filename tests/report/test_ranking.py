"""``rank(families, images)``: measures each family once and orders them."""

from functools import partial

import pytest

from scoregrain import InvalidInputError, NetworkFamily, data_geometry, load_images, measure_geometry, rank
from scoregrain.align import measure_alignment
from scoregrain.geometry import DataProbe, MeasurementInterruptedError
from tests.networks import Tiny
from tests.report import cases

SHAPE = (1, 6, 6)


def family(name, width=6, shape=SHAPE):
    return NetworkFamily(partial(Tiny, channels=shape[0], width=width, timed=True), shape, name=name)


def test_transformers_are_ranked_exactly():
    names = ["dit-16/4", "dit-16/8"]
    images = load_images("digits", shape=(1, 16, 16))
    ranking = rank([NetworkFamily.from_preset(name) for name in names], images)
    assert sorted(ranking.names) == names
    values = [entry.alignment.of_chance for entry in ranking.entries]
    assert values == sorted(values)
    assert ranking.data == "digits"
    assert not ranking.validated
    assert all(entry.alignment.error_networks == 0 for entry in ranking.entries)
    data = data_geometry(images)
    for entry in ranking.entries:
        geometry = measure_geometry(NetworkFamily.from_preset(entry.name))
        assert entry.alignment == measure_alignment(geometry, data)


def test_the_measurement_is_that_of_measure_geometry():
    """Time-blind networks warn elsewhere."""
    calls = []
    blind = NetworkFamily(Tiny, SHAPE, name="blind")
    ranking = rank(
        [family("six"), blind], cases.images(SHAPE), networks=64, seed=3, progress=lambda *at: calls.append(at)
    )
    assert calls == [(32, 64), (64, 64)] * 2
    six = next(entry for entry in ranking.entries if entry.name == "six")
    geometry = measure_geometry(family("six"), 64, seed=3)
    assert six.alignment == measure_alignment(geometry, data_geometry(cases.images(SHAPE)))


def test_a_trained_network_is_measured_on_the_images():
    network, images = Tiny(timed=True), cases.images(SHAPE)
    trained = NetworkFamily(lambda: network, SHAPE, name="trained", trained=True)
    ranking = rank([family("six"), trained], images, networks=64)
    entry = next(entry for entry in ranking.entries if entry.name == "trained")
    geometry = measure_geometry(trained, 64, probe=DataProbe(images))
    assert entry.alignment == measure_alignment(geometry, data_geometry(images))


def test_an_interruption_carries_what_was_measured():
    def stop(done, planned):
        if done == 64:
            raise KeyboardInterrupt

    with pytest.raises(MeasurementInterruptedError) as caught:
        rank([family("six"), family("four", 4)], cases.images(SHAPE), networks=128, progress=stop)
    assert caught.value.geometry.count == 64


def test_families_that_have_no_order():
    images = cases.images(SHAPE)
    with pytest.raises(InvalidInputError, match="at least two families, got 1"):
        rank([family("six")], images)
    with pytest.raises(InvalidInputError, match="two families are called 'six'"):
        rank([family("six"), family("six", 4)], images)
    with pytest.raises(InvalidInputError, match="'six' and 'again' are the same family"):
        rank([family("six"), family("four", 4), family("again")], images)
    with pytest.raises(InvalidInputError, match=r"'six' has shape \(1, 6, 6\), 'rgb' has \(3, 6, 6\)"):
        rank([family("six"), family("rgb", shape=(3, 6, 6))], images)
    with pytest.raises(InvalidInputError, match=r"shape \(1, 5, 5\), 'six' needs \(1, 6, 6\)"):
        rank([family("six"), family("four", 4)], cases.images((1, 5, 5)))
