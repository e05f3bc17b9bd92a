"""The result of ``evaluate``: JSON, folder, page."""

import base64
import json
import re

import pytest
import torch

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.datasets import Images, Split
from scoregrain.report import evaluate
from scoregrain.report.evaluation_figures import distance_figure
from scoregrain.report.evaluation_html import render
from scoregrain.report.evaluation_words import ORDER
from tests.report.judged import QUICK, draws, judged, law, split


@pytest.fixture(scope="module")
def found():
    """Judged with everything that a page can show but a run."""
    pixels = draws(law(), 400)
    return judged(pixels[:120], split(pixels, 300))


@pytest.fixture(scope="module")
def page(found):
    return render(found, command="scoregrain evaluate <run>")


@pytest.fixture
def _plain(monkeypatch):
    """A page takes a second: only the tests that are about it draw one."""
    monkeypatch.setattr("scoregrain.report.evaluation_html.render", lambda evaluation, command="": "page")


def test_the_summary_is_strict_json_with_baselines_beside_every_distance(found):
    read = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert read["headline"] == found.headline
    for distance in read["distances"] + read["directions"]:
        assert set(distance["scores"]) == set(ORDER)
    infinite = next(each for each in read["distances"] if each["name"] == "log-spectral distance")
    assert infinite["scores"]["zeros"]["value"] is None
    assert read["memorisation"]["share_copies"] == 1


@pytest.mark.usefixtures("_plain")
def test_the_folder_holds_the_page_and_the_numbers(found, tmp_path):
    folder = found.save(tmp_path / "judged", command="scoregrain evaluate run")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "evaluation.json", "report.html"]
    config = json.loads((folder / "config.json").read_text())
    assert (config["kind"], config["format"], config["command"]) == ("evaluation", 1, "scoregrain evaluate run")
    assert json.loads((folder / "evaluation.json").read_text()) == json.loads(json.dumps(found.summary()))
    with pytest.raises(InvalidInputError, match="exists; choose another --out"):
        found.save(folder)
    found.save(folder, overwrite=True)


@pytest.mark.usefixtures("_plain")
def test_a_failed_save_leaves_nothing(found, tmp_path, monkeypatch):
    def fails(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scoregrain.report.page._write", fails)
    with pytest.raises(ScoregrainError, match="No space left on device"):
        found.save(tmp_path / "judged")
    with pytest.raises(ScoregrainError, match="No space left on device"):
        found.save_html(tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_the_page_is_one_file_that_loads_nothing(page):
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert not re.search(r"\$[a-z_]+", page)


def test_the_page_says_the_verdict_first_and_shows_every_baseline(found, page):
    assert page.index(found.headline[1:40]) < page.index("Samples next to data")
    assert "Memorised: 100 % of the samples are near copies of training arrays" in page
    for name in ORDER:
        assert page.count(f"<th>{name} (120)</th>") == 2
    assert "Nearest training arrays" in page
    assert "scoregrain evaluate &lt;run&gt;" in page


def test_a_frechet_distance_is_named_with_its_counts_wherever_it_stands():
    pixels = draws(law(), 400)
    found = judged(pixels[:120] + 3, split(pixels, 300), features="pixels")
    name, page = "FD-pixels (120 vs 100)", render(found)
    assert f"<td>{name}</td>" in page  # the table
    assert f"{name}: " in page  # the sentence
    assert page.count("FD-pixels") == page.count(name) >= 3
    assert name in [each["name"] for each in found.summary()["distances"]]
    assert any(line.startswith(f"{name}  ") for line in found.lines)
    assert all(name in line for line in found.lines if "FD-" in line)
    drawn = base64.b64decode(distance_figure(found.distances).partition("base64,")[2]).decode()
    assert drawn.count("FD-pixels") == drawn.count(name)
    assert f"{name}, against" not in drawn


def modes_section(outside):
    pixels, labels = draws(law(), 200), torch.arange(200) % 2
    data = Split(Images(pixels[:150], "set", labels=labels[:150]), Images(pixels[150:], "set", labels=labels[150:]))
    found = judged(pixels[:50] + 9 * outside, data)
    return found.summary()["modes"]["covered"], render(found).partition("<h2>Modes</h2>")[2].partition("</section>")[0]


def test_no_mode_is_covered_or_not_where_nothing_can_be_said_of_them():
    covered, section = modes_section(outside=True)
    assert "so that nothing can be said of their modes" in section
    assert covered is None
    assert section.count("<td>–</td>") == 2
    assert "<td>yes</td>" not in section
    covered, section = modes_section(outside=False)
    assert covered == [True, True]
    assert section.count("<td>yes</td>") == 2


def test_every_picture_has_a_text(page):
    pictures = re.findall(r"<img[^>]*>", page)
    assert len(pictures) == 6  # samples, data, distances, spectrum, energy, neighbours
    assert all(re.search(r'alt="[^"]{5,}"', each) for each in pictures)


def test_names_are_escaped(tmp_path):
    data = Split(*(Images(draws(law(), 60, seed=k), "<script>alert(1)</script>") for k in range(2)))
    assert "<script" not in render(judged(draws(law(), 30), data))


def test_what_was_not_judged_is_said_and_not_shown():
    page = render(judged(draws(law(), 30), Images(draws(law(), 80, seed=1), "set")))
    assert "Memorisation is not judged" in page
    for title in ("Nearest training arrays", "Modes", "Training", "What the network has not learnt"):
        assert f"<h2>{title}</h2>" not in page


def test_signals_are_judged_and_drawn_as_strips():
    waves = law((1, 16))
    found = judged(draws(waves, 60), split(draws(waves, 120, seed=1), 60))
    assert found.pictures.samples.shape == (32, 1, 16)
    assert render(found).count('class="pixels"') == 3


@pytest.mark.parametrize("samples", [torch.zeros(40, 1, 4, 4), torch.full((40, 1, 4, 4), 1e6)])
def test_a_page_of_samples_that_are_nothing_or_huge(samples):
    found = judged(samples, split(draws(law(), 100), 60))
    json.dumps(found.summary(), allow_nan=False)
    assert "generating nothing" in render(found)


def test_a_constant_target_has_a_page():
    """All that is measured is a shift: no covariance, no direction is told apart."""
    flat = Split(*(Images(torch.full((40, 1, 4, 4), 0.5), "flat") for _ in range(2)))
    found = evaluate(samples=torch.zeros(40, 1, 4, 4), data=flat, **QUICK)
    assert found.distances[0].samples.value == pytest.approx(0.5, rel=0.05)
    assert "no better than generating nothing" in render(found)


def test_its_repr_is_the_verdict(found):
    assert repr(found) == f"Evaluation('samples', {found.headline!r})"
