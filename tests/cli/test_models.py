"""MODEL: presets, own networks, diffusers configurations, and what is refused."""

import json
import sys

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from scoregrain._errors import InvalidInputError
from scoregrain.cli.model import resolve_model
from scoregrain.geometry import Geometry
from scoregrain.models import preset_names
from scoregrain.schedules import cosine_schedule, linear_schedule
from tests.cli.command import TINY
from tests.configurations import DIT, UNET

SHAPE = ("--shape", "1", "6", "6")
FILE = """
import torch
from torch import nn

number = 3

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(36, 8), nn.Linear(8, 36)

    def forward(self, x, t):
        return self.last(torch.tanh(self.first(x.flatten(1)))).reshape(x.shape)

class Loud(Net):
    def forward(self, x, t):
        print("hello")
        return super().forward(x, t)

class Needs(Net):
    def __init__(self, width):
        super().__init__()

class OneArgument(Net):
    def forward(self, x):
        return super().forward(x, None)

class Swapped(Net):
    def forward(self, t, x):
        return self.first(t[:, None].float()) * x

class Half(Net):
    def __init__(self):
        super().__init__()
        self.half()

    def forward(self, x, t):
        return super().forward(x.float(), t)

class Flat(Net):
    def forward(self, x, t):
        return x[:, :, :, 0]

class Same(Net):
    def forward(self, x, t):
        return x[:, None]

class Variance(Net):
    def forward(self, x, t):
        return torch.cat([x, x], dim=1)

class Logarithm(Net):
    def forward(self, x, t):
        return super().forward(x, t) * t.log().reshape(-1, 1, 1, 1)

class Huge(Net):
    def __init__(self, scale=1e160):
        super().__init__()
        self.double()
        self.scale = scale

    def forward(self, x, t):
        return self.scale * super().forward(x, t)

class Minute(Huge):
    def __init__(self):
        super().__init__(1e-165)

class Nothing(Net):
    def forward(self, x, t):
        return None

class Leaves(Net):
    def forward(self, x, t):
        raise SystemExit(3)

def text():
    return "network"
"""


@pytest.fixture
def file(folder, monkeypatch):
    """A file of networks, mine.py, in the working directory."""
    for name in ("mine", "broken"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    (folder / "mine.py").write_text(FILE)
    return folder / "mine.py"


# own networks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["mine.py", "./mine.py", "mine"])
def test_own_networks_of_a_file_or_a_module(command, file, where):
    """A module is found in the working directory whether or not Python was told to look there."""
    sys.path[:] = [path for path in sys.path if path]
    numbers = command.runs("measure", f"{where}:Net", *SHAPE, "--networks", "32", "--json").json
    geometry = Geometry.load(numbers["out"])
    assert geometry.info["model"] == f"{where}:Net"
    assert geometry.info["family"] == {"build": f"{where}:Net"}
    assert geometry.shape == (1, 6, 6)


def test_a_file_may_import_its_neighbours(command, file, folder):
    (folder / "below").mkdir()
    (folder / "below" / "broken.py").write_text("from neighbour import Net")
    file.rename(folder / "below" / "neighbour.py")
    command.runs("measure", "below/broken.py:Net", *SHAPE, "--networks", "32")


def test_what_a_network_prints_does_not_reach_the_json(command, file):
    outcome = command.runs("measure", "mine.py:Loud", *SHAPE, "--networks", "32", "--json")
    assert outcome.json["networks"] == 32
    assert "hello" in outcome.err


def test_a_zero_head_can_be_redrawn(command):
    words = ("measure", "tests.networks:ZeroHead", *SHAPE, "--networks", "32")
    line = command.refuses(*words, code=1, saying=("exactly zero", "last layer 'last'", "--init unzero-head"))
    assert "tests.networks:ZeroHead" in line
    numbers = command.runs(*words, "--init", "unzero-head", "--json").json
    assert numbers["lambda_max"] > 0
    assert Geometry.load(numbers["out"]).info["init"] == "unzero-head"


def test_what_the_networks_predict_is_kept(command):
    numbers = command.runs("measure", *TINY, "--networks", "32", "--prediction", "v_prediction", "--json").json
    assert Geometry.load(numbers["out"]).info["prediction"] == "v_prediction"


# diffusers configurations ------------------------------------------------------------------------------------------


@pytest.fixture
def unet(folder):
    """A diffusers model folder with its weights, unet/, and its configuration as a file, unet.json."""
    UNet2DModel.from_config({key: value for key, value in UNET.items() if key != "_class_name"}).save_pretrained("unet")
    (folder / "unet.json").write_text(json.dumps(UNET))
    return folder / "unet"


@pytest.mark.parametrize("word", ["unet.json", "./unet.json", "unet", "unet/", "./unet"])
def test_a_configuration_is_a_file_or_a_folder(command, unet, word):
    numbers = command.runs("measure", word, "--networks", "32", "--json").json
    info = Geometry.load(numbers["out"]).info
    assert (info["model"], info["prediction"]) == ("unet", "epsilon")
    assert info["family"]["class"] == "diffusers.UNet2DModel"
    assert info["fingerprint"] == resolve_model("unet.json").fingerprint()


def test_options_reach_a_configuration(command, folder):
    (folder / "dit.json").write_text(json.dumps(DIT))
    words = ("--shape", "1", "8", "8", "--prediction", "v_prediction", "--init", "unzero-all")
    numbers = command.runs("measure", "dit.json", *words, "--networks", "32", "--json").json
    geometry = Geometry.load(numbers["out"])
    assert geometry.shape == (1, 8, 8)
    assert (geometry.info["prediction"], geometry.info["init"]) == ("v_prediction", "unzero-all")
    assert geometry.info["family"]["conditioning"] == {"class_labels": "class 3: the null class"}
    assert geometry.info["family"]["output"] == "the first 1 of 2 channels (learned variance)"


def test_a_pipelines_scheduler_says_what_is_predicted(unet, folder):
    (folder / "pipe" / "scheduler").mkdir(parents=True)
    unet.rename(folder / "pipe" / "unet")
    (folder / "pipe" / "model_index.json").write_text("{}")
    (folder / "pipe" / "scheduler" / "scheduler_config.json").write_text('{"prediction_type": "v_prediction"}')
    assert resolve_model("pipe").prediction == "v_prediction"
    assert resolve_model("pipe", prediction="epsilon").prediction == "epsilon"
    assert resolve_model("pipe", trained=True).prediction == "v_prediction"


@pytest.fixture
def pipeline(unet, folder):
    """A pipeline folder pipe/ whose scheduler is written by ``pipeline(beta_schedule=...)``."""
    (folder / "pipe" / "scheduler").mkdir(parents=True)
    unet.rename(folder / "pipe" / "unet")
    (folder / "pipe" / "model_index.json").write_text("{}")

    def write(**scheduler):
        (folder / "pipe" / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))

    return write


WEIGHTS_NOTE = "note: '{}' holds trained weights, which are not read; --trained reads them"


def test_weights_that_are_not_read_are_noted(command, unet, images):
    np.savez("small.npz", train=images[:, :, :4, :4])
    said = WEIGHTS_NOTE.format("unet")
    assert command.runs("measure", "unet", "--networks", "32").err.splitlines().count(said) == 1
    assert command.runs("align", "unet", "small.npz", "--networks", "32").err.splitlines().count(said) == 1
    words = ("measure", "unet", "--trained", "--data", "small.npz", "--networks", "32")
    assert "note: 'unet'" not in command.runs(*words).err
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    assert "note:" not in command.runs("measure", "unet", "--networks", "32").err


COSINE = {"beta_schedule": "squaredcos_cap_v2"}


@pytest.mark.parametrize(
    ("scheduler", "words", "note"),
    [
        ({}, (), None),
        ({"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02}, (), None),
        (COSINE, (), "cosine, used is linear; --schedule cosine is that one"),
        (COSINE, ("--schedule", "cosine"), None),
        ({}, ("--schedule", "cosine"), "linear, used is cosine; --schedule linear is that one"),
        (
            {"beta_schedule": "scaled_linear", "beta_end": 0.012},
            (),
            "scaled_linear from 0.0001 to 0.012, used is linear",
        ),
        ({"beta_end": 0.012}, (), "linear from 0.0001 to 0.012, used is linear"),
        ({"beta_schedule": "shaped:linear"}, (), None),
        ({"num_train_timesteps": 500}, (), "linear of 500 steps, used is linear"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, (), None),
        ({"_class_name": "EDMEulerScheduler"}, ("--prediction", "edm"), "of EDMEulerScheduler, used is linear"),
    ],
)
def test_another_noise_schedule_of_a_pipeline_is_noted(command, pipeline, scheduler, words, note):
    pipeline(**scheduler)
    outcome = command.runs("measure", "pipe", "--networks", "32", *words, "--json")
    notes = [line for line in outcome.err.splitlines() if line.startswith("note: ")]
    said = [] if note is None else [f"note: the scheduler of 'pipe' has the noise schedule {note}"]
    assert notes == [WEIGHTS_NOTE.format("pipe"), *said]


def test_the_noise_schedule_can_be_chosen(command):
    """The zero probe weights the output with 1/σ²: the traces of a time-blind network go with its mean."""
    traces = {}
    for name, schedule in (("linear", linear_schedule()), ("cosine", cosine_schedule())):
        out = command.runs("measure", *TINY, "--networks", "32", "--schedule", name, "--json").json["out"]
        geometry = Geometry.load(out)
        assert geometry.info["schedule"] == schedule.name
        traces[name] = geometry.trace / float(schedule.sigma.double().pow(-2).mean())
    assert traces["cosine"] == pytest.approx(traces["linear"], rel=1e-9)


@pytest.mark.parametrize("name", ["analyze", "align"])
def test_every_command_that_measures_takes_the_schedule(command, name):
    command.runs(name, "dit-16/8", "--schedule", "cosine", "--out", "g")
    assert Geometry.load("g").info["schedule"] == "cosine"


def test_diffusers_cosine_schedule_is_ours():
    betas = DDPMScheduler(beta_schedule="squaredcos_cap_v2").betas.double()
    torch.testing.assert_close(betas, cosine_schedule().betas, rtol=2e-5, atol=0)


def test_what_the_adapter_held_fixed_is_said(command, folder):
    (folder / "dit.json").write_text(json.dumps(DIT))
    lines = command.runs("measure", "dit.json", "--init", "unzero-all", "--networks", "32").out.splitlines()
    assert "  conditioning         class_labels: class 3: the null class" in lines
    assert "  output               the first 1 of 2 channels (learned variance)" in lines
    assert "conditioning" not in command.runs("measure", "dit-16/8").out


def test_trained_weights_are_read_when_asked_for(unet):
    trained, fresh = resolve_model("unet", trained=True), resolve_model("unet")
    assert (trained.trained, fresh.trained) == (True, False)
    expected = UNet2DModel.from_pretrained(unet, use_safetensors=True, low_cpu_mem_usage=False).conv_in.weight
    assert torch.equal(trained.construct(0, 0).conv_in.weight, expected)
    assert not torch.equal(fresh.construct(0, 0).conv_in.weight, expected)


def test_presets_win_over_paths(folder, monkeypatch):
    (folder / "unet-16").mkdir()
    (folder / "unet-16" / "config.json").write_text(json.dumps(UNET))
    assert resolve_model("unet-16").shape == (1, 16, 16)
    assert resolve_model("./unet-16").shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("words", "code", "saying"),
    [
        (["missing.json"], 2, "no such file or folder: 'missing.json'"),
        (["./missing"], 2, "no such file or folder: 'missing'"),
        (["/missing/unet"], 2, "no such file or folder: '/missing/unet'"),
        (["broken.json"], 2, "'broken.json' cannot be read as JSON"),
        (["unknown.json"], 2, ("unknown class 'UNet2D'", "did you mean 'UNet2DModel'?")),
        (["unet.json", "--shape", "3", "4", "4"], 2, ("shape (3, 4, 4) does not fit", "C = 1")),
        (["sizeless.json"], 2, ("no sample_size", "--shape C H W")),
        (["misfit.json"], 2, ("UNet2DModel cannot be built", "must be divisible")),
        (["notes.txt"], 2, "'notes.txt' is no .json file"),
        (["photos"], 2, ("'photos' is a folder, not a model (it has no config.json", "the model comes first")),
        (["."], 2, ("'.' is a folder, not a model", "a configuration in it is named itself", "./misfit.json")),
        (["flux.json"], 2, "unknown class 'FluxTransformer2DModel'; known: "),
        (["measured"], 2, ("'measured/config.json' is a result of scoregrain (network geometry)", "not a network")),
        (["unet-16", "--trained"], 2, "'unet-16' is a preset without trained weights"),
        (["unet.json", "--trained"], 2, "'unet.json' is a file; expected the local folder"),
        (["mine:Net", "--trained"], 2, "'mine:Net' does not exist (models on a hub are not looked up)"),
        (["unet", "--trained", "--init", "unzero-head"], 2, "--init re-draws layers of untrained networks"),
        (["pickled", "--trained"], 2, ("'pickled/diffusion_pytorch_model.bin' holds pickled weights", "safetensors")),
        (["weightless", "--trained"], 2, "found no weights"),
    ],
)
def test_configurations_that_cannot_be_used_say_why(command, unet, folder, words, code, saying):
    geometry = {"scoregrain": "0.1.0", "kind": "network geometry", "format": 1}
    files = {
        "broken.json": "{",
        "unknown.json": json.dumps(UNET | {"_class_name": "UNet2D"}),
        "flux.json": json.dumps({"_class_name": "FluxTransformer2DModel"}),
        "sizeless.json": json.dumps(UNET | {"sample_size": None}),
        "misfit.json": json.dumps(UNET | {"norm_num_groups": 3}),
        "notes.txt": "notes",
        "photos/one.png": "",
        "measured/config.json": json.dumps(geometry),
        "pickled/config.json": json.dumps(UNET),
        "pickled/diffusion_pytorch_model.bin": "",
        "weightless/config.json": json.dumps(UNET),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    command.refuses("measure", *words, "--networks", "32", code=code, saying=saying)


def test_a_function_predicts_epsilon_unless_told(file):
    assert resolve_model("mine.py:Net", shape=(1, 6, 6)).prediction == "epsilon"
    assert resolve_model("mine.py:Net", shape=(1, 6, 6), prediction="edm").prediction == "edm"
    with pytest.raises(InvalidInputError, match="is a preset"):
        resolve_model("unet-16", prediction="edm")
    assert resolve_model("unet-16", prediction="epsilon").prediction == "epsilon"


# what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("unet-17", "unet-16"), ("Unet16", "unet-16"), ("dit-16-2", "dit-16/2"), ("iddpm-cifar10", "iddpm-cifar")],
)
def test_the_nearest_preset_is_named(command, word, nearest):
    command.refuses(
        "measure", word, code=2, saying=(f"unknown model '{word}' (did you mean '{nearest}'?)", "expected a preset")
    )


@pytest.mark.parametrize("word", ["", " ", ":", ":Net", "resnet", "x" * 5000])
def test_an_unknown_model_lists_what_there_is(command, word):
    line = command.refuses("measure", word, code=2, saying=("unknown model", "file.py:function"))
    assert all(name in line for name in preset_names())


@pytest.mark.parametrize(
    ("words", "code", "saying"),
    [
        (["nowhere:Net", *SHAPE], 2, ("unknown model 'nowhere'", "module:function")),
        (["nowhere.py:Net", *SHAPE], 2, "no such file: 'nowhere.py'"),
        (["mine.py"], 2, ("'mine.py' is a Python file", "mine.py:build")),
        (["mine.py:"], 2, "'mine.py' is a Python file"),
        (["mine.py:net", *SHAPE], 2, ("'mine.py' has no function 'net'", "did you mean 'Net'?")),
        (["mine.py:number", *SHAPE], 2, "'number' in 'mine.py' exists but is not callable (it is a int)"),
        (["mine.py:Net"], 2, ("'mine.py:Net' needs the shape of its input", "--shape C H W")),
        (["mine.py:Net", "--shape", "6"], 2, "shape (6,) is not (channels, *space)"),
        (["mine.py:Net", "--shape", "1", "0", "6"], 2, "shape (1, 0, 6)"),
        (["mine.py:Net", "--shape", "1", "-6", "6"], 2, "shape (1, -6, 6)"),
        (["mine.py:Net", "--shape", "1", "1", "1", "1", "1"], 2, "one to three space dimensions"),
        (["mine.py:Net", "--shape", "1", "5", "5"], 1, ("the network failed on an input of shape", "RuntimeError")),
        (["mine.py:Net", *SHAPE, "--prediction", "eps"], 2, ("unknown prediction 'eps'", "did you mean 'epsilon'?")),
        (["mine.py:Needs", *SHAPE], 1, ("building a network by 'mine.py:Needs' failed", "'width'")),
        (
            ["mine.py:OneArgument", *SHAPE],
            1,
            ("the network failed", "takes 2 positional", "network(x, t)", "takes (x)"),
        ),
        (["mine.py:Swapped", *SHAPE], 1, ("the network failed", "network(x, t) with t an integer", "takes (t, x)")),
        (["mine.py:Half", *SHAPE], 1, ("the network failed", "shape (1, 1, 6, 6) and dtype float16")),
        (["mine.py:Flat", "--shape", "6", "6"], 1, ("the network failed", "for grey images --shape 1 6 6")),
        (["mine.py:Same", "--shape", "16", "16"], 2, ("returned shape", "for grey images --shape 1 16 16")),
        (["mine.py:Variance", *SHAPE], 2, ("(1, 2, 6, 6)", "return only the first 1 channels")),
        (["mine.py:Logarithm", *SHAPE], 1, ("non-finite outputs", "at t = 0: t = 0 is", "scoregrain.SigmaNetwork")),
        (["mine.py:Huge", *SHAPE], 1, ("the outputs of 'mine.py:Huge' are as large as", "e+1", "rescale")),
        (["mine.py:Minute", *SHAPE], 1, ("the outputs of 'mine.py:Minute' are as large as", "e-1", "rescale")),
        (["google/ddpm-cifar10-32"], 2, ("'google/ddpm-cifar10-32'", "hub are not looked up", "local folder")),
        (["mine.py:Nothing", *SHAPE], 2, "the network returned NoneType, expected a tensor"),
        (["mine.py:text", *SHAPE], 2, ("'mine.py:text' returned str", "nn.Module")),
        (["tests.networks:WrongShape", *SHAPE], 2, ("returned shape", "2, 6, 6)", "1, 6, 6)")),
        (["tests.networks:NoParameters", *SHAPE], 2, "no parameters"),
        (["tests.networks:NotFinite", *SHAPE], 1, "non-finite"),
        (["tests.networks:Raises", *SHAPE], 1, "RuntimeError: expected 3 channels"),
        (["tests.networks:same_again", *SHAPE], 1, "build() must return a new, randomly initialised network"),
        (["tests.networks:fails_to_build", *SHAPE], 1, ("'tests.networks:fails_to_build' failed", "KeyError: 'width'")),
        (["unet-16", *SHAPE], 2, "'unet-16' is a preset"),
        (["unet-16", "--prediction", "sample"], 2, "'unet-16' is a preset"),
        (["unet-16:c=x"], 2, ("unknown option 'c=x'", "c=1")),
        (["unet-16:c=0"], 2, "unknown option 'c=0'"),
    ],
)
def test_networks_that_cannot_be_measured_say_why(command, file, words, code, saying):
    command.refuses("measure", *words, "--networks", "32", code=code, saying=saying)


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        ("raise ValueError('of two\\nlines')", "ValueError: of two lines"),
        ("def net(:", "SyntaxError: invalid syntax"),
        ("import not_installed", "No module named 'not_installed'"),
        ("raise SystemExit(2)", "SystemExit: 2"),
    ],
)
@pytest.mark.parametrize("where", ["broken.py", "broken"])
def test_code_that_cannot_be_imported(command, file, folder, where, text, saying):
    (folder / "broken.py").write_text(text)
    command.refuses("measure", f"{where}:Net", *SHAPE, code=1, saying=(f"importing '{where}' failed", saying))


def test_a_network_that_leaves_the_program(command, file):
    outcome = command("measure", "mine.py:Leaves", *SHAPE)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("scoregrain: unexpected SystemExit: 3")


def test_analyze_refuses_the_same_networks(command, images):
    command.refuses("analyze", "tests.networks:ZeroHead", "images.npz", *SHAPE, code=1, saying="--init unzero-head")
    command.refuses("analyze", "tests.networks:WrongShape", "images.npz", *SHAPE, code=2, saying="returned shape")
    command.refuses("analyze", "unet-17", "images.npz", code=2, saying="did you mean 'unet-16'?")
    command.refuses("analyze", "tests.networks:Tiny", "--shape", "1", "6", code=2, saying="(C, H, W)")
