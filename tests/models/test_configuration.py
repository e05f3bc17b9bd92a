"""Where configurations are read: dictionaries, JSON files, model folders, pipeline folders."""

import json

import pytest

from scoregrain._errors import InvalidInputError
from scoregrain.models import NetworkFamily
from scoregrain.models.configuration import read_configuration
from tests.configurations import DIT, UNET


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.fixture
def pipeline(tmp_path):
    """A pipeline folder with a U-Net and a scheduler."""
    folder = tmp_path / "pipeline"
    write(folder / "model_index.json", {"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"]})
    write(folder / "unet" / "config.json", UNET)
    write(folder / "scheduler" / "scheduler_config.json", {"_class_name": "DDPMScheduler"})
    return folder


def test_one_network_described_in_four_ways(tmp_path, pipeline):
    file = write(tmp_path / "small.json", UNET)
    ways = [UNET, file, str(pipeline / "unet"), pipeline]
    found = [read_configuration(way) for way in ways]
    assert all(one.arguments == found[0].arguments for one in found)
    assert [one.name for one in found] == ["UNet2DModel", "small", "unet", "pipeline"]
    assert [one.folder for one in found] == [None, None, pipeline / "unet", pipeline / "unet"]
    assert len({NetworkFamily.from_config(way).fingerprint() for way in ways}) == 1


def test_diffusers_notes_are_no_arguments():
    assert read_configuration(UNET | {"_name_or_path": "/somewhere"}).arguments == {
        key: value for key, value in UNET.items() if key != "_class_name"
    }


def test_a_transformer_is_found_beside_other_parts(tmp_path):
    write(tmp_path / "dit" / "model_index.json", {})
    write(tmp_path / "dit" / "vae" / "config.json", {"_class_name": "AutoencoderKL"})
    write(tmp_path / "dit" / "transformer" / "config.json", DIT)
    assert read_configuration(tmp_path / "dit").class_name == "DiTTransformer2DModel"


@pytest.mark.parametrize(
    ("scheduler", "prediction"),
    [
        ({"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"}, "v_prediction"),
        ({"_class_name": "DDIMScheduler", "prediction_type": "sample"}, "sample"),
        ({"_class_name": "DDIMScheduler"}, "epsilon"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}, "flow"),
        ({"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "flow_prediction"}, "flow"),
        ({"_class_name": "IPNDMScheduler"}, "v_prediction"),
    ],
)
def test_the_scheduler_says_what_is_predicted(pipeline, scheduler, prediction):
    write(pipeline / "scheduler" / "scheduler_config.json", scheduler)
    assert NetworkFamily.from_config(pipeline).prediction == prediction
    assert NetworkFamily.from_config(pipeline, prediction="edm").prediction == "edm"
    assert NetworkFamily.from_config(pipeline / "unet").prediction == "epsilon"


def test_a_pipeline_may_be_one_flat_folder(tmp_path):
    """The first pipelines, google/ddpm-cifar10-32 among them, have no sub-folders; diffusers reads them, too."""
    write(tmp_path / "model_index.json", {"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"]})
    write(tmp_path / "config.json", UNET)
    write(tmp_path / "scheduler_config.json", {"_class_name": "DDPMScheduler", "prediction_type": "sample"})
    found = read_configuration(tmp_path)
    assert (found.class_name, found.prediction, found.name) == ("UNet2DModel", "sample", tmp_path.name)
    assert found.folder is not None
    assert found.folder.samefile(tmp_path)


@pytest.mark.parametrize("scheduler", ["EDMEulerScheduler", "CMStochasticIterativeScheduler", "ScoreSdeVeScheduler"])
def test_an_unknown_prediction_can_be_overruled(pipeline, scheduler):
    file = write(pipeline / "scheduler" / "scheduler_config.json", {"_class_name": scheduler})
    with pytest.raises(InvalidInputError, match=rf"{scheduler} preconditions the network.*with prediction="):
        NetworkFamily.from_config(pipeline)
    assert NetworkFamily.from_config(pipeline, prediction="sample").prediction == "sample"
    write(file, {"prediction_type": "sampel"})
    with pytest.raises(InvalidInputError, match="prediction_type 'sampel' \\(did you mean 'sample'\\?\\)"):
        NetworkFamily.from_config(pipeline)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON: Expecting property name"),
        ("", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[1, 2]", "holds a JSON list, expected an object"),
        ("3", "holds a JSON int"),
        ("{}", "does not say '_class_name'"),
        ('{"_class_name": 3}', "does not say '_class_name'"),
        ('{"_class_name": "UNet2DModel"}', "says no sample_size"),
        ('{"scoregrain": "0.1.0", "kind": "network geometry"}', "a result of scoregrain \\(network geometry\\)"),
    ],
)
@pytest.mark.parametrize("name", ["model.json", "folder/config.json"])
def test_broken_files_are_named(tmp_path, text, message, name):
    path = write(tmp_path / name, text)
    with pytest.raises(InvalidInputError, match=message) as caught:
        NetworkFamily.from_config(path if name == "model.json" else path.parent)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "model.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(InvalidInputError, match="cannot be read as JSON"):
        read_configuration(tmp_path / "model.json")


def test_places_without_a_configuration_are_refused(tmp_path, pipeline):
    with pytest.raises(InvalidInputError, match=r"no such file or folder: .*nowhere"):
        read_configuration(tmp_path / "nowhere")
    with pytest.raises(InvalidInputError, match=r"holds neither config.json .* nor model_index.json"):
        read_configuration(write(tmp_path / "empty" / "file", "x").parent)
    with pytest.raises(InvalidInputError, match=r"is no .json file"):
        read_configuration(write(tmp_path / "weights.bin", "x"))
    (pipeline / "transformer").mkdir()
    with pytest.raises(InvalidInputError, match="holds unet and transformer"):
        read_configuration(pipeline)
    with pytest.raises(InvalidInputError, match="has neither: expected one network in unet/ or transformer/"):
        read_configuration(write(tmp_path / "other" / "model_index.json", {}).parent)
