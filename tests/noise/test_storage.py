"""Noises on disk: the same law comes back, and what is damaged or changed is refused."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.noise.equal_snr import EqualSNR
from scoregrain.noise.forward import ForwardNoise
from scoregrain.noise.storage import CONFIG, TENSORS, load_noise, read_noise, save_noise, write_noise
from scoregrain.noise.weight import Weight
from scoregrain.noise.weights import Custom, PowerLaw, White
from scoregrain.operators import DenseOperator, DiagonalOperator, FourierOperator, FrequencyGrid, LowRankOperator

SHAPE = (2, 4, 3)
GRID = FrequencyGrid(SHAPE[1:])
PLANE = torch.exp(-3 * GRID.radius())


def orthonormal(size, columns):
    generator = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(size, columns, dtype=torch.float64, generator=generator)).Q


NOISES = {
    "white": ForwardNoise(White()),
    "named": ForwardNoise(PowerLaw(-1 / 3), "none"),
    "custom": ForwardNoise(Custom(PLANE)),
    "equal-snr": ForwardNoise(EqualSNR(PLANE, gamma=0.5, eps=0.01), "none"),
    "product": ForwardNoise(Custom(PLANE) * PowerLaw(0.3) * EqualSNR(1 / PLANE) * Custom(PLANE.sqrt())),
    "dense": ForwardNoise(DenseOperator(SHAPE, torch.linspace(0, 1, 24), orthonormal(24, 24)), "none"),
    "in-basis": ForwardNoise.in_basis(LowRankOperator(SHAPE, torch.tensor([4.0, 1.0]), orthonormal(24, 2)), 1.0),
    "fourier": ForwardNoise(FourierOperator(SHAPE, PLANE)),
}


@pytest.mark.parametrize("name", NOISES)
def test_a_saved_noise_is_the_same_law(name, tmp_path):
    """Named factors and tensors in one product, operators of several kinds, both normalisations."""
    noise = NOISES[name]
    assert save_noise(noise, tmp_path / "noise") == tmp_path / "noise"
    loaded = load_noise(tmp_path / "noise")
    assert loaded == noise
    assert loaded.normalize == noise.normalize
    x = torch.randn(3, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loaded.colour(x), noise.colour(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loaded.project(x), noise.project(x), rtol=1e-10, atol=1e-10)
    assert ForwardNoise.parse(str(tmp_path / "noise")) == noise


@pytest.mark.parametrize("name", NOISES)
def test_files_lie_beside_others(name, tmp_path):
    """As in a scheduler's folder; writing again leaves nothing of the noise before."""
    (tmp_path / "scheduler_config.json").write_text("{}")
    write_noise(NOISES["dense"], tmp_path)
    write_noise(NOISES[name], tmp_path)
    assert read_noise(tmp_path) == NOISES[name]
    tensors = set() if name in ("white", "named") else {TENSORS}
    assert {file.name for file in tmp_path.iterdir()} == {"scheduler_config.json", CONFIG} | tensors


def test_the_configuration_says_what_it_is(tmp_path):
    noise = ForwardNoise(PowerLaw(-0.06), "none")
    config = json.loads((noise.save(tmp_path / "a") / "config.json").read_text())
    assert {key: config[key] for key in ("kind", "format", "noise", "shape")} == {
        "kind": "noise",
        "format": 1,
        "noise": "power-law:alpha=-0.06,normalize=none",
        "shape": None,
    }
    assert {"scoregrain", "torch"} <= set(config)


def test_nothing_is_overwritten_unasked(tmp_path):
    folder = NOISES["custom"].save(tmp_path / "a")
    with pytest.raises(InvalidInputError, match="exists"):
        NOISES["white"].save(folder)
    assert ForwardNoise.load(folder) == NOISES["custom"]
    NOISES["white"].save(folder, overwrite=True)
    assert ForwardNoise.load(folder) == NOISES["white"]
    assert [file.name for file in folder.iterdir()] == ["config.json"]


@pytest.mark.parametrize("name", ["white", "custom"])
def test_a_folder_that_cannot_be_written_to_is_named(name, tmp_path):
    with pytest.raises(ScoregrainError, match=r"cannot write '.*nowhere'") as caught:
        write_noise(NOISES[name], tmp_path / "nowhere")
    assert "\n" not in str(caught.value)


def change(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def test_changed_tensors_are_refused(tmp_path):
    folder = NOISES["product"].save(tmp_path / "a")
    tensors = load_file(folder / TENSORS)
    save_file(tensors | {"2.power": tensors["2.power"] * (1 + 1e-15)}, folder / TENSORS)
    with pytest.raises(ScoregrainError, match=r"damaged or changed: its files make the noise 'custom@.*expected"):
        load_noise(folder)


def test_tensors_of_another_noise_are_refused(tmp_path):
    folder = NOISES["dense"].save(tmp_path / "a")
    other = DenseOperator(SHAPE, torch.linspace(0.1, 1, 24), orthonormal(24, 24))
    ForwardNoise(other).save(tmp_path / "b")
    (tmp_path / "b" / TENSORS).rename(folder / TENSORS)
    with pytest.raises(ScoregrainError, match="damaged or changed"):
        load_noise(folder)


def test_damaged_files_are_named(tmp_path):
    folder = NOISES["custom"].save(tmp_path / "a")
    content = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(content[:-9])
    with pytest.raises(ScoregrainError, match="a file is missing or damaged"):
        load_noise(folder)
    (folder / TENSORS).unlink()
    with pytest.raises(ScoregrainError, match="a file is missing or damaged: FileNotFoundError"):
        load_noise(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ScoregrainError, match="a file is missing or damaged: JSONDecodeError"):
        load_noise(folder)
    (folder / "config.json").write_text("[" * 100_000)  # deeper than the reader goes
    with pytest.raises(ScoregrainError, match="a file is missing or damaged"):
        load_noise(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise": "pwer-law:alpha=1"}, "unknown noise 'pwer-law'"),
        ({"noise": "power-law:alpha=-0.060"}, "expected 'power-law:alpha=-0.060'"),
        ({"noise": "power-law:alpha=x"}, "alpha of power-law must be a number"),
        ({"noise": "../elsewhere"}, "missing or damaged"),
        ({"noise": None}, "missing or damaged"),
        ({"noise": "custom@123456123456"}, "FileNotFoundError"),
    ],
)
def test_a_changed_configuration_is_refused(values, message, tmp_path):
    """A path in it is never followed."""
    folder = ForwardNoise(PowerLaw(-0.06)).save(tmp_path / "a")
    ForwardNoise(White()).save(tmp_path / "elsewhere")
    change(folder, **values)
    with pytest.raises(ScoregrainError, match=message) as caught:
        load_noise(folder)
    assert not isinstance(caught.value, InvalidInputError)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "rotation"}, "holds 'rotation' of format 1, expected a noise of format 1"),
        ({"format": 2}, "holds 'noise' of format 2, expected a noise of format 1"),
        ({"kind": None}, "holds no noise"),
    ],
)
def test_other_artefacts_are_refused(values, message, tmp_path):
    folder = ForwardNoise(White()).save(tmp_path / "a")
    change(folder, **values)
    with pytest.raises(InvalidInputError, match=message):
        load_noise(folder)
    with pytest.raises(InvalidInputError, match=r"is not a saved noise: it has no config.json"):
        load_noise(tmp_path)


def test_a_preview_says_which_noise_it_shows(tmp_path, monkeypatch):
    """The path in the message is one that can be parsed."""
    monkeypatch.chdir(tmp_path)
    Path("seen").mkdir()
    Path("seen/config.json").write_text(json.dumps({"kind": "noise preview", "format": 1, "noise": "pink"}))
    with pytest.raises(InvalidInputError, match=r"holds 'noise preview' .*: it shows the noise pink"):
        load_noise("./seen")
    NOISES["custom"].save("seen/noise")
    with pytest.raises(InvalidInputError, match=r"load the noise in it, ./seen/noise$"):
        load_noise("./seen")
    with pytest.raises(InvalidInputError, match=f"load the noise in it, {tmp_path}/seen/noise$"):
        load_noise(tmp_path / "seen")


@dataclasses.dataclass(frozen=True)
class Comb(Weight):
    spacing: float

    def __call__(self, grid):
        return (grid.wavenumbers[-1] % self.spacing == 0).double().expand(grid.size)


def test_a_weight_of_ones_own_is_saved_as_custom_gains(tmp_path):
    """The error says how; the way out gives the same law."""
    noise = ForwardNoise(Comb(2) * White())
    with pytest.raises(InvalidInputError, match=r"comb is of your own class Comb, .* Custom.weight.FrequencyGrid"):
        noise.save(tmp_path / "a")
    assert not list(tmp_path.iterdir())
    custom = ForwardNoise(Custom(noise.weight(GRID)))
    loaded = ForwardNoise.load(custom.save(tmp_path / "a"))
    x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.colour(x), noise.colour(x))


def test_an_operator_beyond_4096_dimensions_is_not_saved(tmp_path):
    noise = ForwardNoise(DiagonalOperator((1, 4097), torch.ones(4097)))
    with pytest.raises(InvalidInputError, match="up to 4096 dimensions; this one has 4097"):
        noise.save(tmp_path / "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::scoregrain._errors.IllConditionedNoiseWarning")
def test_variances_that_would_be_lost_are_not_saved(tmp_path):
    """A Fourier operator keeps them in its support, eigenvalues and eigenvectors by themselves do not."""
    power = torch.tensor([1.0, 1e-11, 1.0, 1e-11], dtype=torch.float64)
    with pytest.raises(InvalidInputError, match=r"span more than 1e.10"):
        ForwardNoise(FourierOperator((1, 4), power)).save(tmp_path / "a")
    assert not list(tmp_path.iterdir())
