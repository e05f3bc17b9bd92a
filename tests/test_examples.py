"""The scripts of examples/ run, and say what their text claims."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested():
    tested = {
        "measure_a_preset",
        "one_noise_everywhere",
        "your_own_network",
        "with_or_against_the_grain",
        "patch_size",
        "train_and_judge",
    }
    assert {path.stem for path in EXAMPLES} == tested


def test_measure_a_preset(capsys):
    geometry = load("measure_a_preset").main(networks=512)
    assert geometry.count == 512
    assert "single directions are identifiable" in capsys.readouterr().out


def test_your_own_network():
    geometry = load("your_own_network").main(networks=512)
    assert geometry.info["draw"] == "in-place"
    assert geometry.info["head"] == "last"
    assert geometry.info["symmetry"] == "transposition"
    assert geometry.info["noise_levels"] == "importance sampled"


def test_with_or_against_the_grain(capsys):
    alignment = load("with_or_against_the_grain").main(networks=1024)
    assert alignment.verdict == "against"
    rotated = float(capsys.readouterr().out.split("minimum: ")[1].split()[0])
    assert rotated < 0.1 < 1 < alignment.of_chance


def test_patch_size(capsys):
    alignments = load("patch_size").main()
    assert all(value > 1 for value in alignments.values())
    out = capsys.readouterr().out
    assert "null space 196" in out
    assert "null space 144" in out
    assert "null space 64" in out


def test_train_and_judge():
    headline, along, off = load("train_and_judge").main(n=200)
    assert "worse than generating nothing" in headline
    assert max(along, off) < 0.5


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_say_how_to_run_them(path):
    assert f"python examples/{path.name}" in path.read_text()


def test_one_noise_everywhere():
    right, wrong = load("one_noise_everywhere").main(n=1000, steps=500)
    assert float((right - 1).abs().max()) < 0.1
    assert float((wrong - 1).abs().max()) > 0.3
