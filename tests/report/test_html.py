import dataclasses
import html
import json
import re

import pytest
import torch

import scoregrain.report.html
from scoregrain import InvalidInputError, ScoregrainError
from scoregrain.datasets import Images
from scoregrain.report.analysis import report_on
from scoregrain.report.drawing import contact_sheet
from scoregrain.report.html import render
from scoregrain.report.wording import measured, percent
from tests.report import cases

EVIL = "<script>alert('x')</script>&\"'$style"
GEOMETRIES = {
    "dense": cases.dense(),
    "three channels": cases.dense(side=2, channels=3),
    "shared channels": cases.channels(),
    "exact tokens": cases.exact_tokens(),
    "two groups": cases.dense(groups=2),
    "six images": cases.dense(side=2),
}


@pytest.fixture(scope="module", params=GEOMETRIES)
def case(request):
    report = cases.report(GEOMETRIES[request.param], count=6 if request.param == "six images" else 60)
    return report, render(report, command="scoregrain analyze test")


def test_every_kind_of_report_renders_whole(case):
    report, page = case
    text = html.unescape(page)
    for sentence in (report.headline[1:], report.second_line[1:], *report.warnings, "scoregrain analyze test"):
        assert sentence in text
    assert page.count("<img ") == page.count(" alt=") == 6
    assert not re.search(
        r"\$\w+|>None<|\bnan\b|\binf\b", re.sub(r"<(script|style)[\s\S]*?</\1>|base64,[^\"]*", "", page)
    )


def test_the_page_holds_the_numbers(case):
    report, page = case
    g, a, c = report.geometry, report.alignment, report.centred
    errors = g.eigenvalue_errors
    expected = [
        measured(float(g.eigenvalues[0]), None if errors is None else float(errors[0])),
        measured(g.trace, g.trace_error),
        measured(a.natural, a.error),
        measured(a.of_chance, a.of_chance_error),
        measured(c.of_chance, c.of_chance_error),
        percent(report.mean_share, report.mean_share_error),
        f"{report.data.count}",
        "none: closed form (exact)" if g.exact else f"{g.count}",
    ]
    for text in expected:
        assert f"<td>{text}</td>" in page


def test_nothing_is_loaded(case):
    _, page = case
    assert "default-src 'none'" in page
    for target in re.findall(r"(?:src|href|action|data|poster|srcset)\s*=\s*[\"']([^\"']*)", page):
        assert target.startswith("data:")
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r"\b(fetch|XMLHttpRequest|import|eval)\s*\(", page[page.rindex("<script>") :])


def test_gallery_data_is_json(case):
    report, page = case
    text = re.search(r'<script type="application/json" id="gallery-data">(.*?)</script>', page)[1]
    assert json.loads(text)["total"] * json.loads(text)["repeat"] == report.geometry.size


def test_whatever_users_name_is_escaped():
    info = {"model": EVIL, "head_reason": EVIL, "draw": "constructor", "draw_reason": EVIL, "execution": f"loop {EVIL}"}
    report = cases.report(cases.dense(**info), name=EVIL)
    report = dataclasses.replace(
        report, warnings=(*report.warnings, EVIL), images=dataclasses.replace(report.images, notes=(EVIL,))
    )
    page = render(report, command=EVIL)
    assert "alert('x')" not in page
    assert page.count("<script") == 2
    assert page.count(html.escape(EVIL)) >= 6


def test_data_in_the_null_space_of_an_exact_geometry():
    pixels = torch.zeros(40, 1, 4, 4)
    pixels[:, :, 3] = torch.rand(40, 1, 4, generator=torch.Generator().manual_seed(0))
    report = report_on(cases.exact_tokens(), Images(pixels, "last token"))
    assert report.alignment.of_chance == 0
    assert "the mean image carries not determined" not in report.second_line
    assert report.summary()["mean_image_share"] is None
    assert "<td>not determined</td>" in render(report)


def test_the_examples_can_be_left_out(tmp_path):
    report = cases.report(cases.dense())
    picture = contact_sheet(report.images.examples)
    assert picture in report.save_html(tmp_path / "with.html").read_text()
    page = report.save_html(tmp_path / "without.html", examples=False).read_text()
    assert picture not in page
    assert page.count("<img ") == 5
    assert "No examples are shown." in page


def test_the_strip_says_of_what_it_shows_one_picture():
    assert "One picture of each eigenspace or cluster is shown" in render(cases.report(cases.dense()))
    assert "The pictures are single directions" in render(cases.report(cases.dense(groups=2)))


def test_same_report_same_page():
    report = cases.report(cases.dense())
    assert render(report) == render(report)


def test_save_html_writes_one_file_and_overwrites_only_on_request(tmp_path):
    report = cases.report(cases.dense())
    target = tmp_path / "new" / "report.html"
    assert report.save_html(target) == target
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]
    with pytest.raises(InvalidInputError, match="exists"):
        report.save_html(target)
    report.save_html(target, overwrite=True)
    with pytest.raises(InvalidInputError, match="folder"):
        report.save_html(tmp_path, overwrite=True)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    report = cases.report(cases.dense())
    target = tmp_path / "report.html"
    target.write_text("old")

    def fails(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fails)
    with pytest.raises(ScoregrainError, match=r"cannot write .*report.html': No space left on device"):
        report.save_html(target, overwrite=True)
    assert target.read_text() == "old"
    monkeypatch.undo()

    def broken(_name):
        raise RuntimeError("template")

    monkeypatch.setattr(scoregrain.report.html, "resource", broken)
    with pytest.raises(RuntimeError, match="template"):
        report.save_html(tmp_path / "other.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ScoregrainError, match="cannot write"):
        cases.report(cases.dense()).save_html(tmp_path / "file" / "report.html")


def test_the_cluster_table_is_capped(monkeypatch):
    monkeypatch.setattr("scoregrain.report.tables.MAX_CLUSTERS", 4)
    page = render(cases.report(cases.dense()))
    count = len(cases.dense().clusters)
    assert f"Shown are the first 2 and the last 2 of {count}." in page
    assert page[page.index("<thead>") :].split("</table>")[0].count("<tr>") == 5
