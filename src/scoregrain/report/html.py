"""Fill the page of an analysis; every text is escaped here or in ``page``."""

from __future__ import annotations

import html
import json
from string import Template

from scoregrain.align import Alignment
from scoregrain.geometry import Geometry
from scoregrain.report.drawing import contact_sheet
from scoregrain.report.figures import Place, alignment_figure, energy_figure, spectrum_figure
from scoregrain.report.gallery import gallery_data, strip_figure, strip_note
from scoregrain.report.page import cells, image, resource, rows, sentence, warning_section
from scoregrain.report.result import Report
from scoregrain.report.subject import subject
from scoregrain.report.tables import alignment_rows, cluster_rows, method_rows, network_rows


def render(report: Report, *, command: str = "", examples: bool = True) -> str:
    """The report as one self-contained HTML page."""
    geometry, words = report.geometry, subject(report.geometry)
    gallery = gallery_data(geometry)
    texts = {
        **{name: getattr(words, name) for name in ("finding", "mean", "comparison", "conjecture", "caption", "units")},
        "title": f"{report.model} and {report.images.name}",
        "headline": sentence(report.headline),
        "second_line": sentence(report.second_line),
        "data_line": _data_line(report, examples),
        "gallery_line": _gallery_line(geometry, gallery["total"], len(gallery["index"])),
        "strip_note": strip_note(geometry),
        "cluster_note": cluster_rows(geometry)[1],
    }
    blocks = {
        "style": resource("style.css"),
        "script": resource("gallery.js"),
        "warnings": warning_section(report.warnings),
        "network_table": rows(network_rows(geometry)),
        "alignment_table": rows(alignment_rows(report)),
        "cluster_table": cells(cluster_rows(geometry)[0]),
        "method_table": rows(method_rows(geometry, command)),
        "gallery_json": json.dumps(gallery, ensure_ascii=True).replace("<", "\\u003c"),
        "examples": _examples(report) if examples else "",
        **_figures(report),
    }
    escaped = {name: html.escape(text) for name, text in texts.items()}
    return Template(resource("template.html")).substitute(escaped | blocks)


def _figures(report: Report) -> dict[str, str]:
    """All pictures as ``img`` elements with a text that says what is seen."""
    geometry, a, c = report.geometry, report.alignment, report.centred
    places = [_place("data as they are", a)] + ([_place("mean image removed", c)] if c is not None else [])
    return {
        "alignment_figure": image(
            alignment_figure(places),
            f"Alignment {a.of_chance:.3g} times chance; possible are {a.of_chance_minimum:.2g} "
            f"to {a.of_chance_maximum:.3g}.",
        ),
        "energy_figure": image(
            energy_figure(report.energy, report.centred_energy),
            "Energy of the data along the directions of the network, as they are and with the mean image removed.",
        ),
        "spectrum_figure": image(
            spectrum_figure(geometry),
            f"{geometry.known} eigenvalues from {float(geometry.eigenvalues[0]):.3g} "
            f"to {float(geometry.eigenvalues[-1]):.2g} on a logarithmic axis.",
        ),
        "strip_figure": image(
            strip_figure(geometry),
            "One direction of each eigenspace or cluster with the largest and the smallest eigenvalues, as images.",
        ),
        "mean_image": image(contact_sheet(report.images.mean[None].float()), "The mean image.", "pixels"),
    }


def _place(label: str, a: Alignment) -> Place:
    return Place(label, a.of_chance, a.of_chance_error, a.of_chance_minimum, a.of_chance_maximum)


def _examples(report: Report) -> str:
    picture = image(contact_sheet(report.images.examples), "Examples of the images.", "pixels")
    return f"<figure>{picture}<figcaption>Examples</figcaption></figure>"


def _data_line(report: Report, examples: bool) -> str:
    shape = "×".join(map(str, report.geometry.shape))
    notes = " ".join([*report.images.notes, *([] if examples else ["No examples are shown."])])
    return f"{report.images.name}: {report.data.count} images of {shape} (channels×height×width). {notes}".rstrip()


def _gallery_line(geometry: Geometry, total: int, shown: int) -> str:
    """What the gallery holds."""
    lines, channels = [], geometry.known // total
    if channels > 1:
        lines.append(
            f"All {channels} channels share their directions, so each of the {total} pictures stands for "
            f"{channels} directions, one in each channel."
        )
    elif geometry.structure.kind == "token":
        lines.append(
            f"Each eigenspace has {geometry.structure.multiplicity} directions, which differ only in the pixel of a "
            "patch that they use."
        )
    if geometry.shape[0] > 1 and channels == 1:
        lines.append(f"The {geometry.shape[0]} channels are drawn side by side.")
    if shown < total:
        lines.append(f"To keep this file small, the first {shown // 2} and the last {shown // 2} of {total} are here.")
    return " ".join(lines)
