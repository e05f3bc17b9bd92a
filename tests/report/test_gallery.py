import base64

import numpy as np
import pytest
import torch

from scoregrain.geometry.structure import DenseStructure
from scoregrain.report import gallery
from tests.report import cases


def decoded(data):
    raw = np.frombuffer(base64.b64decode(data["pixels"]), dtype=np.int8)
    return torch.from_numpy(raw.copy()).reshape(len(data["index"]), *data["shape"]).double() / 127


@pytest.mark.parametrize("geometry", [cases.dense(), cases.dense(channels=3), cases.exact_tokens()])
def test_payload_decodes_to_the_eigenvectors(geometry):
    data = gallery.gallery_data(geometry)
    assert data["index"] == list(range(geometry.size))
    assert (data["total"], data["repeat"]) == (geometry.size, 1)
    for k, picture in enumerate(decoded(data)):
        direction = geometry.direction(k)
        assert float((picture - direction / direction.abs().max()).abs().max()) <= 1 / 127


def test_channels_that_share_directions_show_each_once():
    geometry = cases.channels()
    data = gallery.gallery_data(geometry)
    assert (data["shape"], data["total"], data["repeat"]) == ([1, 3, 3], 9, 3)
    assert data["label"][1] == "3–5"
    assert data["note"][0].endswith("×3 channels")
    for k, picture in enumerate(decoded(data)):
        for channel in range(3):
            direction = geometry.direction(3 * k + channel)
            assert float((picture[0] - direction[channel] / direction.abs().max()).abs().max()) <= 1 / 127


def test_captions_say_what_is_known():
    known = gallery.gallery_data(cases.dense())
    assert known["note"][0] == "identifiable"
    assert "±" in known["value"][0]
    exact = gallery.gallery_data(cases.exact_tokens())
    assert exact["value"][0] == "8.000 (exact)"
    assert (exact["value"][-1], exact["note"][-1]) == ("0 (exact)", "zero, one of 4")
    few = gallery.gallery_data(cases.dense(groups=2))
    assert few["note"][0] == "identifiable: unknown"
    mixed = gallery.gallery_data(cases.given(torch.tensor([2.0, 2.0, 1.0, 0.5])))
    assert mixed["note"][0] == "one of 2 mixed, halves overlap 1.00 (chance 0.50)"


def test_a_large_gallery_keeps_both_ends(monkeypatch):
    monkeypatch.setattr(gallery, "MAX_DIRECTIONS", 4)
    data = gallery.gallery_data(cases.dense())
    assert data["index"] == [0, 1, 7, 8]
    assert data["total"] == 9
    assert len(decoded(data)) == 4


def test_payload_stays_below_three_megabytes():
    room = min(gallery.MAX_DIRECTIONS, gallery.MAX_BYTES // 4096)
    assert 4 / 3 * max(room * 4096, gallery.MAX_DIRECTIONS**2) < 3e6


@pytest.mark.parametrize(
    "geometry",
    [cases.dense(), cases.channels(), cases.exact_tokens(), cases.sampled(DenseStructure((3, 3, 3)), groups=2)],
)
def test_strip_is_drawn(geometry):
    assert gallery.strip_figure(geometry).startswith("data:image/svg+xml;base64,")
