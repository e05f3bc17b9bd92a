"""The run folder as a stock pipeline: what it samples is what scoregrain samples, classes and all."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import diffusers
import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline, DDPMScheduler, UNet2DModel

import scoregrain as sg
from scoregrain._errors import ScoregrainError
from scoregrain.models import NetworkFamily
from scoregrain.schedules import named_schedule
from scoregrain.training import Run, train
from scoregrain.training.export import export
from scoregrain.training.setup import prepare
from tests.training.cases import PERCEPTRON, config, relative, rotation, unet

IMAGE = (1, 8, 8)
FAMILY = unet()
STEPS = 50
KINDS = {
    "white": {},
    "no mean, cosine, v": {"ema": 0, "schedule": "cosine", "prediction": "v_prediction"},
    "shaped": {"noise": "power-law:alpha=-0.5"},
    "rotated": {"rotation": rotation(IMAGE), "prediction": "sample"},
    "rotated, low rank, shaped": {"rotation": rotation(IMAGE, rank=5), "noise": "pink"},
    "a band left out, conditional": {"noise": "band-pass:low=0,high=0.3", "omission": "conditional"},
    "a band left out, marginal": {"noise": "band-pass:low=0,high=0.3", "omission": "marginal"},
}


def settings(folder, **changes):
    small = {"model": FAMILY, "data": "digits", "limit": 40, "timesteps": STEPS, "steps": 3, "checkpoint_every": 3}
    return config(out=folder, **(small | changes))


@pytest.fixture(scope="module", params=KINDS.items(), ids=KINDS)
def run(request, tmp_path_factory):
    """A run of each kind, trained just so much that its network is nobody's default."""
    name, changes = request.param
    return train(settings(tmp_path_factory.mktemp("runs") / name, **changes))


def load(run):
    pipeline = DDPMPipeline.from_pretrained(run.folder, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_the_pipeline_s_network_is_the_run_s(run):
    x = torch.randn(3, *IMAGE, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0, 20, 49])
    pipeline = load(run)
    with torch.no_grad():
        ours, theirs = (f(x, t).sample for f in (run.model, pipeline.unet))
    assert torch.equal(ours, theirs) if run.rotation is None else torch.allclose(ours, theirs, atol=1e-5)
    assert not pipeline.unet.training


def test_the_pipeline_samples_what_the_run_samples(run):
    """The same draws, one by one, up to the float32 of diffusers' coefficients; what it shows is cut to [-1, 1]."""
    pipeline, taken = load(run), []
    step = pipeline.scheduler.step

    def watched(*arguments, **options):
        taken.append(step(*arguments, **options).prev_sample)
        return SimpleNamespace(prev_sample=taken[-1])

    pipeline.scheduler.step = watched
    images = pipeline(3, torch.Generator().manual_seed(0), STEPS, output_type="np").images
    generator = torch.Generator().manual_seed(0)
    expected = sg.sample(run.model, run.process, 3, sampler="ddpm", steps=STEPS, generator=generator)
    assert relative(taken[-1], expected) < 1e-3
    assert torch.equal(torch.from_numpy(images).movedim(-1, 1), (taken[-1] / 2 + 0.5).clamp(0, 1))


def test_the_scheduler_is_of_the_run_s_process(run):
    scheduler = load(run).scheduler
    stock = str(run.process.noise) == "white"
    assert type(scheduler) is (DDPMScheduler if stock else sg.ShapedDDPMScheduler)
    if not stock:
        assert scheduler.forward_noise == run.process.noise
    assert scheduler.config.prediction_type == run.process.prediction
    assert not scheduler.config.clip_sample
    expected = named_schedule(run.config.schedule, STEPS).alpha_bar
    assert torch.allclose(scheduler.alphas_cumprod.double(), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [21, 1000])
def test_the_schedules_are_diffusers_own(name, steps):
    """To the rounding of its float32, also where next to nothing of the signal is left."""
    options = {"beta_start": 0.1 / steps, "beta_end": 20 / steps, "beta_schedule": "linear"}
    options = options if name == "linear" else {"beta_schedule": "squaredcos_cap_v2"}
    theirs = DDPMScheduler(steps, **options).alphas_cumprod.double()
    assert torch.allclose(theirs, named_schedule(name, steps).alpha_bar, rtol=2e-3 if name == "cosine" else 1e-4)


def test_nothing_in_the_folder_says_where_it_was_written(run):
    for file in [*run.folder.glob("*.json"), *run.folder.glob("*/*.json"), run.folder / "README.md"]:
        if file != run.folder / "config.json":
            assert str(run.folder.parent) not in file.read_text(), file


def test_the_folder_is_complete_and_readable(run):
    index = json.loads((run.folder / "model_index.json").read_text())
    ours = run.rotation is not None
    assert index["unet"] == (["scoregrain", "RotatedUNet2DModel"] if ours else ["diffusers", "UNet2DModel"])
    weights = run.folder / "unet" / "diffusion_pytorch_model.safetensors"
    assert weights.stat().st_mode & 0o777 == 0o644
    assert not list(run.folder.rglob("*.bin"))
    assert not list(run.folder.glob(".*"))


SCRIPT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "scoregrain":
            raise ImportError("scoregrain is not installed here")
sys.meta_path.insert(0, Refuse())
import torch
from diffusers import DDPMPipeline
pipeline = DDPMPipeline.from_pretrained(sys.argv[1], use_safetensors=True)
pipeline.set_progress_bar_config(disable=True)
images = pipeline(2, torch.Generator().manual_seed(0), 50, output_type="np").images
print(float(images.mean()), float(images.std()))
"""


def test_white_and_unrotated_it_is_stock_where_scoregrain_is_not_installed(tmp_path):
    run = train(settings(tmp_path / "run"))
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(run.folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    images = load(run)(2, torch.Generator().manual_seed(0), STEPS, output_type="np").images
    assert [float(word) for word in process.stdout.split()] == pytest.approx([images.mean(), images.std()], rel=1e-4)


def test_a_shaped_folder_is_no_stock_ddim_pipeline(tmp_path):
    """That one would make its scheduler white."""
    run = train(settings(tmp_path / "run", noise="pink"))
    with pytest.raises(sg.InvalidInputError, match="white noise where"):
        DDIMPipeline.from_pretrained(run.folder, use_safetensors=True)


def test_the_pipeline_folder_is_a_trained_network_to_measure(tmp_path):
    run = train(settings(tmp_path / "run"))
    family = NetworkFamily.from_pretrained(run.folder)
    x, t = torch.randn(2, *IMAGE), torch.tensor([1, 30])
    with torch.no_grad():
        assert torch.equal(family.construct(0, 0)(x, t).sample, run.model(x, t).sample)


def test_the_weights_are_those_whose_samples_count(tmp_path):
    run = train(settings(tmp_path / "run", ema=0.9))
    last = UNet2DModel.from_pretrained(run.folder / "unet")
    raw = train(settings(tmp_path / "raw", ema=0)).model
    assert all(torch.equal(a, b) for a, b in zip(last.parameters(), run.model.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(last.parameters(), raw.parameters(), strict=True))


def test_sizes_that_are_not_square_and_several_channels(tmp_path):
    pixels = torch.rand(20, 2, 8, 12, generator=torch.Generator().manual_seed(0))
    family = unet(in_channels=2, out_channels=2, sample_size=[8, 12])
    run = train(settings(tmp_path / "run", model=family, data=pixels, rotation=rotation((2, 8, 12))))
    images = load(run)(3, num_inference_steps=5, output_type="np").images
    assert images.shape == (3, 8, 12, 2)


def test_a_trained_network_that_goes_on_tells_not_where_it_lay(tmp_path):
    """Nor the size it once had."""
    first = train(settings(tmp_path / "first"))
    family = NetworkFamily.from_pretrained(first.folder / "unet", shape=(1, 16, 16))
    run = train(settings(tmp_path / "second", model=family))
    said = json.loads((run.folder / "unet" / "config.json").read_text())
    assert said["sample_size"] == 16
    assert str(tmp_path) not in json.dumps(said)
    assert load(run)(1, num_inference_steps=2, output_type="np").images.shape == (1, 16, 16, 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prediction": "flow"}, "DDPMScheduler does not know the prediction flow"),
        ({"prediction": "edm"}, "DDPMScheduler does not know the prediction edm"),
        ({"model": unet(num_class_embeds=3)}, "its network is no diffusers UNet2DModel"),
        ({"model": PERCEPTRON, "data": torch.rand(20, 1, 4, 4)}, "its network is no diffusers UNet2DModel"),
    ],
)
def test_what_no_stock_pipeline_can_sample_has_a_card_that_says_why(changes, said, tmp_path):
    run = train(settings(tmp_path / "run", **changes))
    assert said in (run.folder / "README.md").read_text()
    assert not {"unet", "scheduler", "model_index.json"} & {path.name for path in run.folder.iterdir()}


def test_a_resumed_run_replaces_its_pipeline(tmp_path):
    train(settings(tmp_path / "run"))
    (tmp_path / "run" / "unet" / "stale").write_text("")
    run = train(settings(tmp_path / "run", steps=6), resume=True)
    assert not (run.folder / "unet" / "stale").exists()
    weights = load(run).unet.parameters()
    assert all(torch.equal(a, b) for a, b in zip(weights, run.model.parameters(), strict=True))
    assert "| updates | 6 of 6" in (run.folder / "README.md").read_text()


def test_half_replaced_it_is_no_pipeline_and_the_next_export_mends_it(tmp_path, monkeypatch):
    run = train(settings(tmp_path / "run"))
    setup, replace = prepare(settings(tmp_path / "run")), type(run.folder).replace

    def fail(path, target):
        if path.name == "unet" and target == run.folder / "unet":
            raise OSError(28, "No space left on device")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(type(run.folder), "replace", fail)
        with pytest.raises(ScoregrainError, match=r"cannot write '.*run': No space left on device"):
            export(run.folder, setup, run.model, 3)
    with pytest.raises(OSError, match=r"model_index\.json"):
        DDPMPipeline.from_pretrained(run.folder)
    assert Run.load(run.folder).step == 3
    (run.folder / ".export").mkdir()  # as a kill leaves it
    (run.folder / ".export" / "half").write_text("")
    export(run.folder, setup, run.model, 3)
    assert load(run).unet is not None
    assert not (run.folder / ".export").exists()


def test_diffusers_finds_the_class_in_scoregrain():
    assert sg.RotatedUNet2DModel.__module__ == "scoregrain"
    assert issubclass(sg.RotatedUNet2DModel, diffusers.ModelMixin)
