"""``--trained``: every command measures a trained network on the data it is given."""

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from scoregrain.datasets import load_images
from scoregrain.geometry import DataProbe, Geometry, measure_geometry
from scoregrain.models import NetworkFamily
from tests.configurations import UNET

SETTINGS = {key: value for key, value in UNET.items() if key != "_class_name"}
WORDS = ("--trained", "--networks", "64", "--images", "12", "--json")


@pytest.fixture(autouse=True)
def trained(folder):
    """Two trained networks of 4×4 pixels, and images of which --images leaves some out."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 1, 4, 4), dtype=np.uint8)
    np.savez(folder / "images.npz", train=pixels)
    for name in ("first", "second"):
        UNet2DModel(**SETTINGS).save_pretrained(folder / name)


def expected(name):
    """The library's measurement on the images that are compared with, not on others of the file."""
    images = load_images("images.npz", shape=(1, 4, 4), limit=12, seed=0)
    return measure_geometry(NetworkFamily.from_pretrained(name), 64, probe=DataProbe(images))


def same(folder, name):
    found, measured = Geometry.load(folder), expected(name)
    assert torch.equal(found.eigenvalues, measured.eigenvalues)
    assert found.info["probe"] == measured.info["probe"]


@pytest.mark.parametrize("command_name", ["align", "analyze"])
def test_a_trained_network_is_measured_on_the_data_it_is_compared_with(command, command_name):
    numbers = command.runs(command_name, "first", "images.npz", *WORDS).json
    same(numbers["out"], "first")


def test_a_saved_trained_geometry_is_analyzed_as_what_it_is(command, folder):
    command.runs("measure", "first", "--trained", "--data", "images.npz", "--networks", "64", "--out", "g")
    for limit, words in (("20", "The images served twice"), ("12", "was given other images")):
        outcome = command.runs("analyze", "g", "images.npz", "--images", limit, "--out", f"r{limit}")
        assert words in outcome.err
        page = (folder / f"r{limit}" / "report.html").read_text()
        assert "The trained network" in page
        assert "Conjecture" not in page


def test_trained_networks_are_ranked_on_the_data(command):
    numbers = command.runs("rank", "first", "second", "--data", "images.npz", *WORDS).json
    for i, name in enumerate(("first", "second"), start=1):
        same(f"{numbers['out']}/{i}-{name}", name)


def test_parts_of_a_trained_measurement_merge(command):
    words = ("measure", "first", "--trained", "--data", "images.npz", "--networks", "96")
    for i in ("1", "2"):
        command.runs(*words, "--shard", f"{i}/2", "--out", f"part{i}")
    command.runs(*words, "--out", "whole")
    merged = command.runs("merge", "part1", "part2", "--out", "merged")
    assert "96 draws of data and noise level" in merged.out
    assert torch.equal(Geometry.load("merged").eigenvectors, Geometry.load("whole").eigenvectors)


def test_a_trained_network_without_data_says_what_it_needs(command):
    command.refuses("measure", "first", "--trained", "--networks", "32", code=2, saying=("is trained", "--data"))
