"""Rotations on disk: the same after loading, and one clear message for what is no rotation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.align import Rotation, find_rotation
from tests.align.cases import pair, random_psd

RANKS = pytest.mark.parametrize("rank", [None, 3], ids=["dense", "low rank"])


def rotation(rank: int | None = None) -> Rotation:
    return find_rotation(*pair(random_psd(8, 0), random_psd(8, 1)), "maximize", rank=rank)


@RANKS
def test_a_rotation_is_the_same_after_loading(tmp_path: Path, rank: int | None) -> None:
    before = rotation(rank)
    assert before.save(tmp_path / "w") == tmp_path / "w"
    after = Rotation.load(tmp_path / "w")
    assert (after.shape, after.mode, after.rank) == ((1, 8), "maximize", rank)
    assert torch.equal(after.core, before.core)
    assert (after.basis is None) == (before.basis is None)
    x = torch.randn(3, 1, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(after(x), before(x))


def test_the_folder_says_what_it_holds(tmp_path: Path) -> None:
    rotation(3).save(tmp_path / "w")
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == ["config.json", "rotation.safetensors"]
    config = json.loads((tmp_path / "w" / "config.json").read_text())
    assert {"scoregrain", "torch"} < set(config)
    assert (config["kind"], config["format"], config["shape"], config["mode"], config["rank"]) == (
        "rotation",
        1,
        [1, 8],
        "maximize",
        3,
    )


def test_nothing_is_overwritten_by_accident(tmp_path: Path) -> None:
    rotation().save(tmp_path / "w")
    with pytest.raises(InvalidInputError, match="exists"):
        rotation(3).save(tmp_path / "w")
    rotation(3).save(tmp_path / "w", overwrite=True)
    assert Rotation.load(tmp_path / "w").rank == 3


def test_the_rotation_inside_a_result_is_named(tmp_path: Path) -> None:
    """What scoregrain align writes holds a geometry, and the rotation in a folder of its own."""
    rotation(3).save(tmp_path / "al" / "rotation")
    (tmp_path / "al" / "config.json").write_text('{"kind": "network geometry", "format": 1}')
    with pytest.raises(InvalidInputError, match=r"expected a rotation of format 1; its rotation is '.*al/rotation'"):
        Rotation.load(tmp_path / "al")


@pytest.mark.parametrize(
    ("config", "saying"),
    [
        (None, "is not a saved rotation: it has no config.json"),
        ('{"kind": "network geometry", "format": 1}', "holds 'network geometry' of format 1, expected a rotation"),
        ('{"kind": "rotation", "format": 2}', "holds 'rotation' of format 2, expected a rotation of format 1"),
        ('{"_class_name": "UNet2DModel"}', "holds no rotation"),
        ("[]", "holds no rotation"),
    ],
)
def test_what_is_no_rotation_is_said(tmp_path: Path, config: str | None, saying: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(InvalidInputError, match=saying):
        Rotation.load(tmp_path)


@RANKS
def test_every_damage_is_one_message(tmp_path: Path, rank: int | None) -> None:
    rotation(rank).save(tmp_path / "w")
    config, tensors = tmp_path / "w" / "config.json", tmp_path / "w" / "rotation.safetensors"
    whole, good = json.loads(config.read_text()), load_file(tensors)

    def refused(saying: str) -> None:
        with pytest.raises(ScoregrainError, match=f"^'{tmp_path}/w' cannot be read.*{saying}") as caught:
            Rotation.load(tmp_path / "w")
        assert "\n" not in str(caught.value)

    config.write_text(json.dumps(whole)[:-5])
    refused("JSONDecodeError")
    for key in ("shape", "mode", "rank"):
        config.write_text(json.dumps({k: v for k, v in whole.items() if k != key}))
        refused(f"KeyError: '{key}'")
    config.write_text(json.dumps(whole | {"mode": "sideways"}))
    refused("unknown mode 'sideways'")
    config.write_text(json.dumps(whole | {"shape": [2, 8]}))
    refused("needs a")
    config.write_text(json.dumps(whole))
    save_file(good | {"core": 1.001 * good["core"]}, tensors)
    refused("core of the rotation is not orthogonal, WᵀW - I reaches 0.002")
    save_file({name: tensor.float() for name, tensor in good.items()}, tensors)
    refused("torch.float32, expected float64")
    save_file(good | {"core": torch.full_like(good["core"], torch.nan)}, tensors)
    refused("not orthogonal")
    tensors.write_bytes(tensors.read_bytes()[:-8])
    refused("SafetensorError")
    tensors.unlink()
    refused("FileNotFoundError")
