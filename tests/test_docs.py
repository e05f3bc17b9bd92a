"""The documentation: links resolve, Python snippets of the pages run."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    for link in links:
        assert link.startswith("https://") or (page.parent / link).exists(), link


def snippets(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)


def test_extending_snippets_run():
    """Each is complete in itself."""
    blocks = snippets(ROOT / "docs" / "extending.md")
    assert len(blocks) == 7
    for block in blocks:
        exec(compile(block, "extending.md", "exec"), {})


def test_the_noise_snippets_run():
    """One after the other."""
    names = {}
    blocks = snippets(ROOT / "docs" / "noise.md")
    assert len(blocks) == 7
    for block in blocks:
        exec(compile(block, "noise.md", "exec"), names)
    variances = {"ddpm": 0.826, "ddim": 0.914, "heun": 1.001, "dpm-solver++": 1.066}  # as its table says
    assert names["variances"] == pytest.approx(variances, abs=0.01)


def test_the_training_snippets_run(tmp_path, monkeypatch):
    """One after the other."""
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = snippets(ROOT / "docs" / "training.md")
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "training.md", "exec"), names)
    assert torch.equal(names["again"].sample(16, steps=20), names["x"])
    assert (tmp_path / "judgement.html").stat().st_size > 10_000
    assert names["errors"].excess.value.shape == (10, 256)


def test_the_readme_snippet_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first, second, third = snippets(ROOT / "README.md")
    exec(compile(first.replace("networks=4000", "networks=512"), "README.md", "exec"), {})
    exec(compile(second, "README.md", "exec"), {})
    exec(compile(third, "README.md", "exec"), {})
    assert "these data run against the grain" in capsys.readouterr().out
    assert (tmp_path / "report.html").stat().st_size > 10_000
