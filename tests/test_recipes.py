"""The recipe pages: every line a diff adds is run, and the law is lost when one of them is left out."""

import re
from pathlib import Path

import diffusers
import pytest
import torch

RECIPES = Path(__file__).parents[1] / "docs" / "recipes"
PAGES = sorted(RECIPES.glob("*.md"))


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def execute(code, name):
    names = {}
    exec(compile(code, name, "exec"), names)
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_python_block_of_a_page_runs_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    diffusers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    for code in blocks(page, "python"):
        execute(code, page.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_line_a_diff_adds_is_a_line_that_runs(page):
    run = {line.strip() for code in blocks(page, "python") for line in code.splitlines()}
    added = [line[1:].strip() for diff in blocks(page, "diff") for line in diff.splitlines() if line.startswith("+")]
    assert len(added) >= 4
    assert set(added) <= run


@pytest.mark.parametrize(
    ("page", "right", "white"),
    [
        ("k-diffusion", "noise_sampler(sigma, sigma_next) * up", "torch.randn_like(x) * up"),
        ("bare-pytorch", "* noise.sample(x.shape, device=x.device)", "* torch.randn_like(x)"),
    ],
)
def test_white_steps_lose_the_law_of_the_page(page, right, white):
    code = blocks(RECIPES / f"{page}.md", "python")[-1]
    assert code.count(right) == 1
    torch.manual_seed(0)
    with pytest.raises(AssertionError):
        execute(code.replace(right, white), page)


def test_forgetting_the_second_line_of_the_training_script_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = blocks(RECIPES / "diffusers-training.md", "python")[0]
    forgotten = code.replace("noise_scheduler.forward_noise.sample(", "torch.randn(")
    assert forgotten.count("torch.randn(") == 1
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"this noise is white, the scheduler's is power-law:alpha=-0\.06"):
        execute(forgotten, "diffusers-training.md")


def test_the_line_for_a_noise_that_leaves_a_band_out_empties_it_in_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = RECIPES / "diffusers-training.md"
    line = "noisy_images = noise_scheduler.forward_noise.project(noisy_images)"
    assert f"`{line}` behind `add_noise`" in page.read_text()
    code = blocks(page, "python")[0].replace("    loss =", f"    {line}\n    loss =")
    names = execute(code.replace('"power-law:alpha=-0.06"', '"band-pass:low=0.3,high=1", clip_sample=False'), page.name)
    noise, shown = names["noise_scheduler"].forward_noise, names["noisy_images"].double()
    assert (shown - noise.project(shown)).abs().max() < 1e-5 < noise.project(shown).std()
