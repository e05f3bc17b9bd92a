"""Fill the page of a judgement; every text is escaped here or in ``page``."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from string import Template

import torch
from torch import Tensor

from scoregrain.datasets import tile
from scoregrain.report.along_figures import denoising_figure, energy_figure
from scoregrain.report.comparison import Comparison
from scoregrain.report.drawing import data_uri
from scoregrain.report.evaluation import Evaluation
from scoregrain.report.evaluation_figures import distance_figure, loss_figure, spectrum_figure
from scoregrain.report.evaluation_words import ORDER, copied, denoising_line, judged, modes_line, scored, tells_modes
from scoregrain.report.page import cells, image, resource, rows, sentence, warning_section
from scoregrain.report.tables import Row
from scoregrain.report.wording import number, percent

COLUMNS = 8
"""Arrays in one line of a sheet."""

_BAYES = (
    "The Bayes error is the part that no network avoids; the excess, E (u·(ε̂ - ε*))² with ε* the exact answer, is the "
    "rest."
)


def render(evaluation: Evaluation, *, command: str = "") -> str:
    """The judgement as one self-contained HTML page."""
    first = evaluation.distances[0]
    texts = {
        "title": f"{evaluation.name}: judged by {evaluation.data}",
        "headline": sentence(evaluation.headline),
        "second": _second(evaluation),
        "data_notes": " ".join(evaluation.notes),
        "target_caption": evaluation.what.capitalize(),
        "counted": f"{first.target:,} {evaluation.what} of {evaluation.data}",
    }
    blocks = {
        "style": resource("style.css"),
        "warnings": warning_section(evaluation.warnings),
        "samples": _sheet(evaluation.pictures.samples, "Samples."),
        "target": _sheet(evaluation.pictures.target, "Data."),
        "distance_head": _head(["Distance", *_columns(first)]),
        "direction_head": _head(["Direction", *_columns(first)]),
        "distance_table": cells(_lines(evaluation.distances)),
        "direction_table": cells(_lines(evaluation.directions)),
        "method_table": rows(_method(evaluation, command)),
        "denoising": _denoising(evaluation),
        "modes": _modes(evaluation),
        "memorisation": _memorisation(evaluation),
        "loss": _loss(evaluation),
        **_figures(evaluation),
    }
    escaped = {name: html.escape(text) for name, text in texts.items()}
    return Template(resource("evaluation.html")).substitute(escaped | blocks)


def _second(evaluation: Evaluation) -> str:
    """What else must be said at once."""
    found, modes = evaluation.memorisation, evaluation.modes
    said = [sentence(f"{each.name}: {judged(each)}") for each in evaluation.distances[1:] if each.decisive]
    if found is not None and not found.memorised:
        said.append("No memorisation is found.")
    if modes is not None and evaluation.target_modes is not None:
        said.append(sentence(modes_line(modes, evaluation.target_modes, evaluation.what)))
    return " ".join(said)


def _figures(evaluation: Evaluation) -> dict[str, str]:
    """The pictures that are always there."""
    return {
        "distance_figure": image(
            distance_figure(evaluation.distances),
            "Distances of samples and baselines; the table below has the numbers.",
        ),
        "spectrum_figure": image(spectrum_figure(evaluation), "Radial power of samples and data, and its log-ratio."),
        "energy_figure": image(energy_figure(evaluation.along), "Energy of samples and data along the directions."),
    }


def _columns(comparison: Comparison) -> list[str]:
    return [f"{name} ({comparison.scores[name].count:,})" for name in ORDER]


def _head(names: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in names) + "</tr>"


def _lines(comparisons: Sequence[Comparison]) -> list[list[str]]:
    return [[c.name, *(scored(c.scores[name]) for name in ORDER)] for c in comparisons]


def _sheet(arrays: Tensor, text: str) -> str:
    """Arrays side by side, signals below one another."""
    signals = arrays.ndim == 3
    sheet = tile(arrays, columns=1 if signals else COLUMNS, side=192 if signals else 48)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return image(data_uri("image/png", buffer.getvalue()), text, "pixels")


def _section(title: str, *parts: str) -> str:
    """A part of the page that is not always there; the parts are escaped already."""
    return "\n".join(["<section>", f"<h2>{html.escape(title)}</h2>", *parts, "</section>"])


def _paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{html.escape(text)}</p>' if kind else f"<p>{html.escape(text)}</p>"


def _figure(uri: str, text: str) -> str:
    return f'<div class="figure">{image(uri, text)}</div>'


def _denoising(evaluation: Evaluation) -> str:
    """The error of the network itself, without a sampler."""
    drawn = denoising_figure(evaluation.along)
    if drawn is None:
        return ""
    return _section(
        "What the network has not learnt",
        _paragraph(
            "The network's error in the noise ε, along each direction u: E (u·(ε̂ - ε))², with no sampler between the "
            f"network and the verdict. {evaluation.along.note or _BAYES}"
        ),
        _paragraph(sentence(denoising_line(evaluation))),
        _figure(drawn, "Denoising error along the directions and over the noise levels."),
    )


def _modes(evaluation: Evaluation) -> str:
    """Which modes the samples hold, beside the target."""
    modes, target = evaluation.modes, evaluation.target_modes
    if modes is None or target is None:
        return ""
    columns = (modes.labels, modes.counts, modes.shares, target.shares, modes.expected, modes.covered)
    told = tells_modes(modes)
    answers = ("no", "yes") if told else ("–", "–")
    lines = [
        (f"{label}", f"{int(count):,}", *map(percent, map(float, shares)), answers[bool(covered)])
        for label, count, *shares, covered in zip(*columns, strict=True)
    ]
    head = _head(["Mode", "Samples", "Share", f"Share of {evaluation.what}", "Expected", "Covered"])
    text = sentence(modes_line(modes, target, evaluation.what))
    text += " A mode counts as covered from a tenth of its share on." if told else ""
    table = f'<div class="figure"><table class="grid"><thead>{head}</thead><tbody>{cells(lines)}</tbody></table></div>'
    return _section("Modes", _paragraph(text), table)


def _memorisation(evaluation: Evaluation) -> str:
    """The samples nearest to a training array."""
    found, pictures = evaluation.memorisation, evaluation.pictures
    if found is None or pictures.copied is None or pictures.nearest is None:
        return ""
    verdict = "The samples are memorised." if found.memorised else "No memorisation is found."
    distances = (
        f"Median distance to the nearest training array: {number(found.median_distance)} from a sample, "
        f"{number(found.median_held_out)} from a held-out array."
    )
    pairs = torch.cat([pictures.copied, pictures.nearest])
    if pairs.ndim == 3:  # signals stand below one another
        pairs = torch.stack([pictures.copied, pictures.nearest], 1).flatten(0, 1)
    caption = "The samples nearest to a training array, and below each that array"
    sheet = f"<figure>{_sheet(pairs, caption)}<figcaption>{caption}</figcaption></figure>"
    return _section("Nearest training arrays", _paragraph(f"{verdict} {sentence(copied(found))} {distances}"), sheet)


def _loss(evaluation: Evaluation) -> str:
    drawn = loss_figure(evaluation.history)
    return "" if drawn is None else _section("Training", _figure(drawn, "Loss while training."))


def _method(evaluation: Evaluation, command: str) -> list[Row]:
    from scoregrain import __version__

    lines = [Row(name.capitalize(), str(value)) for name, value in evaluation.method.items()]
    meanings = [Row(c.name, c.meaning) for c in evaluation.distances]
    versions = Row("Versions", f"scoregrain {__version__}, torch {torch.__version__}")
    return [*([Row("Command", command)] if command else []), *lines, *meanings, versions]
