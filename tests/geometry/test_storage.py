"""Geometries on disk: what is saved is loaded bit for bit, what is damaged is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.geometry import Geometry, data_geometry, measure_geometry
from scoregrain.geometry.moments import Group, Moments
from scoregrain.geometry.structure import TokenStructure
from scoregrain.models import NetworkFamily
from tests import networks

pytestmark = pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
F64 = torch.float64


def exact_token():
    return measure_geometry(NetworkFamily.from_preset("dit-16/8"))


def sampled_token():
    """Four patches of four pixels of a 4×4 image, 20 groups of random second moments."""
    draws = torch.randn(20, 32, 4, generator=torch.Generator().manual_seed(0), dtype=F64) * torch.arange(1.0, 5)
    groups = [Group(32 * i, 32 * i + 32, x.T @ x) for i, x in enumerate(draws)]
    permutation = torch.arange(16).reshape(2, 2, 2, 2).permute(0, 2, 1, 3).flatten()
    return Geometry("network", TokenStructure((1, 4, 4), 4, permutation), Moments(groups), info={"seed": 0})


def sampled_channel():
    return measure_geometry(NetworkFamily(lambda: networks.Tiny(3), (3, 4, 4)), 544)


def ragged_channel():
    return measure_geometry(NetworkFamily(networks.Tiny, (1, 4, 4)), 40, first=7)


def dense():
    return measure_geometry(NetworkFamily(networks.Tiny, (1, 4, 4)), 512, estimator="plain")


def data():
    return data_geometry(torch.rand(50, 1, 3, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1)


def leading():
    return measure_geometry(NetworkFamily(lambda: networks.Tiny(3), (3, 10, 10)), 544, rank=2)


def leading_data():
    return data_geometry(torch.randn(80, 1, 12, 12, generator=torch.Generator().manual_seed(0)), rank=3)


@pytest.mark.parametrize(
    "make", [exact_token, sampled_token, sampled_channel, ragged_channel, dense, data, leading, leading_data]
)
def test_a_saved_geometry_is_loaded_bit_for_bit(make, tmp_path):
    saved = make()
    loaded = Geometry.load(saved.save(tmp_path / "g"))
    for name in ("mean", "eigenvalues", "eigenvectors"):
        assert torch.equal(getattr(loaded, name), getattr(saved, name)), name
    for name in ("kind", "shape", "exact", "count", "info", "clusters", "relative_error", "trace_error"):
        assert getattr(loaded, name) == getattr(saved, name), name
    assert loaded.structure.kind == saved.structure.kind
    assert loaded.moments.ranges == saved.moments.ranges
    assert [(g.start, g.stop) for g in loaded.groups] == [(g.start, g.stop) for g in saved.groups]
    if saved.eigenvalue_errors is None:
        assert loaded.eigenvalue_errors is None
    else:
        assert torch.equal(loaded.eigenvalue_errors, saved.eigenvalue_errors)
    assert torch.equal(loaded.operator.to_dense(), saved.operator.to_dense())


def test_what_the_files_hold(tmp_path):
    geometry = sampled_channel()
    geometry.save(tmp_path / "g")
    assert sorted(path.name for path in (tmp_path / "g").iterdir()) == [
        "config.json",
        "geometry.safetensors",
        "groups.safetensors",
    ]
    tensors = load_file(tmp_path / "g" / "geometry.safetensors")
    values, vectors = tensors["eigenvalues"], tensors["eigenvectors"]
    assert (values.shape, vectors.shape) == ((48,), (48, 48))
    assert (values.dtype, vectors.dtype) == (F64, F64)
    assert (values.diff() <= 0).all()
    torch.testing.assert_close(vectors @ values.diag() @ vectors.T, geometry.matrix())
    config = json.loads((tmp_path / "g" / "config.json").read_text(), parse_constant=pytest.fail)
    assert (config["kind"], config["format"]) == ("network geometry", 1)
    assert config["summary"]["lambda_max"] == float(values[0])
    assert config["summary"]["identifiable"] == geometry.identifiable
    assert sum(len(cluster["indices"]) for cluster in config["clusters"]) == 48


def test_a_loaded_geometry_can_be_saved_and_merged_again(tmp_path):
    family = NetworkFamily(networks.Tiny, (1, 4, 4))
    first = Geometry.load(measure_geometry(family, 64).save(tmp_path / "first"))
    again = Geometry.load(first.save(tmp_path / "again"))
    assert torch.equal(first.reduced, again.reduced)
    assert first.info["fingerprint"] == measure_geometry(family, 32, first=64).info["fingerprint"]


# what is refused ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    return ragged_channel().save(tmp_path / "g")


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("where", ["nowhere", "empty", "file"])
def test_a_folder_without_a_configuration_is_no_geometry(tmp_path, where):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    with pytest.raises(InvalidInputError, match=f"{where}' is not a saved geometry: it has no config.json"):
        Geometry.load(tmp_path / where)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "rotation"}, "holds 'rotation' of format 1, expected a geometry of format 1"),
        ({"kind": "network"}, "holds 'network' of format 1"),
        ({"kind": None}, "holds no geometry"),
        ({"format": 2}, "of format 2, expected a geometry of format 1"),
    ],
)
def test_another_kind_or_format_is_named(folder, changes, message):
    edit(folder, **changes)
    (folder / "groups.safetensors").unlink()  # another kind has other files: its name comes first
    with pytest.raises(InvalidInputError, match=message):
        Geometry.load(folder)


@pytest.mark.parametrize("text", ["[]", '"text"', "3"])
def test_json_of_something_else_is_no_geometry(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(InvalidInputError, match="holds no geometry"):
        Geometry.load(folder)


def damaged(folder, *words):
    with pytest.raises(ScoregrainError, match="cannot be read, a file is missing or damaged") as caught:
        Geometry.load(folder)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in (str(folder), *words))


@pytest.mark.parametrize("content", [b"", b"{", b'{"kind": ', b"\xff\xfe"])
def test_an_invalid_configuration(folder, content):
    (folder / "config.json").write_bytes(content)
    damaged(folder)


@pytest.mark.parametrize("part", [0, 0.01, 0.5, 0.99])
def test_truncated_groups(folder, part):
    content = (folder / "groups.safetensors").read_bytes()
    (folder / "groups.safetensors").write_bytes(content[: int(part * len(content))])
    damaged(folder)


@pytest.mark.parametrize("place", [-1, -100, -1000])
def test_one_bit_changed_in_the_groups(folder, place):
    """Its numbers would be wrong, and silently."""
    content = bytearray((folder / "groups.safetensors").read_bytes())
    content[place] ^= 1
    (folder / "groups.safetensors").write_bytes(content)
    damaged(folder, "the content of groups.safetensors was changed")


def test_missing_groups(folder):
    (folder / "groups.safetensors").unlink()
    damaged(folder, "groups.safetensors")


@pytest.mark.parametrize("key", ["shape", "structure", "symmetry", "exact", "info"])
def test_a_missing_entry_is_named(folder, key):
    config = json.loads((folder / "config.json").read_text())
    del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    damaged(folder, key)


def test_a_missing_tensor_is_named(folder):
    groups = load_file(folder / "groups.safetensors")
    save_file({"ranges": groups["ranges"]}, folder / "groups.safetensors")
    damaged(folder, "totals")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"shape": [1, 5, 5]}, "do not fit a geometry of shape (1, 5, 5)"),
        ({"shape": 3}, "TypeError"),
        ({"structure": "sparse"}, "unknown structure 'sparse'"),
        ({"symmetry": "mirror"}, "damaged"),
    ],
)
def test_a_configuration_that_does_not_fit_the_groups(folder, changes, word):
    edit(folder, **changes)
    damaged(folder, word)


def test_an_empty_set_of_groups(folder):
    save_file({"ranges": torch.zeros(0, 2), "totals": torch.zeros(0, 16, 16)}, folder / "groups.safetensors")
    damaged(folder, "do not fit")
