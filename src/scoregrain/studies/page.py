"""What a study found as a Markdown page, and the overview of all studies: everything from stored rows."""

from __future__ import annotations

import inspect
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from scoregrain.studies.registry import STUDIES, find_study
from scoregrain.studies.study import SCALES, Finding, Row, Rows, Study, Table

if TYPE_CHECKING:
    from scoregrain.studies.runner import Outcome

VERSIONS = ("scoregrain", "source", "torch", "diffusers", "python", "device")
"""What of a row's provenance says by which code it was run, and where."""


def page(outcome: Outcome) -> str:
    """Return the page of a complete study: claims with verdicts, how each is judged, tables, figure, provenance.

    Claims and settings are those that were declared, the numbers are what the rows give. Of paths only the last part
    is told.
    """
    study = outcome.study
    assert outcome.findings is not None
    assert outcome.tables is not None
    parts = [
        f"# {study.title}",
        question(type(study)),
        f"Study `{study.name}` at scale `{study.scale}`, declared before its first run.",
        "## Claims",
        _claims(outcome),
        "![Figure](figure.png)",
        "## How each claim is judged",
        "\n".join(f"- **{_flat(claim['key'])}**: {_flat(claim['statistic'])}" for claim in declared_claims(outcome)),
        "## Numbers",
        *(_table(each) for each in outcome.tables),
        "## Settings",
        _settings(outcome.folder.config["settings"]),
        "## Provenance",
        _provenance(outcome),
    ]
    return _public("\n\n".join(parts) + "\n", outcome)


def overview(outcomes: Sequence[Outcome]) -> str:
    """Return the table of all claims, what was run at which scale, and what it cost; links lead to ``studies/``.

    Args:
        outcomes: Of all folders, complete or not.
    """
    order = list(STUDIES)
    found = sorted(outcomes, key=lambda each: (order.index(each.study.name), SCALES.index(each.study.scale)))
    shown = [each for each in found if each.complete and each.study.scale != "tiny"]
    times = Counter(each.study.name for each in shown)
    sections = [_overview_section(each, alone=times[each.study.name] == 1) for each in shown]
    total = compute(sum(seconds(each.rows) for each in found))
    cells = sum(len(each.rows) for each in found)
    parts = [
        *(sections or ["No study is complete."]),
        "A control is a claim that must fail; where it does not, the study shows nothing.",
        "### What was run",
        grid(("study", *SCALES), [_run_line(name, found) for name in order]),
        f"Compute used: {total} of one thread in {cells} cells.",
    ]
    return "\n\n".join(parts) + "\n"


def question(study: type[Study]) -> str:
    """What a study asks: the first paragraph of its class's docstring."""
    text = _flat((inspect.getdoc(study) or "").partition("\n\n")[0])
    return re.sub(r" \(MATH [^)]*\)", "", text)


def verdict(finding: Finding) -> str:
    """A finding in a line: the word, the value, its interval and what it rests on."""
    return f"{finding.word}: {number(finding.value)} {interval(finding.interval)}, n = {finding.n}".replace(" ,", ",")


def number(value: float | None) -> str:
    """A statistic to three digits; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value + 0.0:.3g}"


def interval(value: tuple[float, float] | None) -> str:
    """An interval to three digits; nothing where there is none."""
    return "" if value is None else f"[{number(value[0])}, {number(value[1])}]"


def seconds(rows: Rows) -> float:
    """What the cells took, added up: processor time, on an accelerator time by the clock."""
    return sum(_cost(row) for row in rows)


def _cost(row: Row) -> float:
    on_cpu = row.provenance.get("device", "cpu") == "cpu"
    return float(row.provenance.get("cpu_seconds", row.seconds)) if on_cpu else row.seconds


def compute(total: float) -> str:
    """A number of seconds in words."""
    return f"{total:.0f} s" if total < 120 else f"{total / 60:.0f} minutes" if total < 7200 else f"{total / 3600:.1f} h"


def shown_command(command: str) -> str:
    """A command without the folders of the files that it names: where a user keeps them is nobody's business."""
    try:
        words = shlex.split(command)
    except ValueError:
        return _flat(command)
    return shlex.join([_file_name(word) for word in words])


def declared_claims(outcome: Outcome) -> list[dict[str, Any]]:
    """The claims as they stand in the folder."""
    claims: list[dict[str, Any]] = outcome.folder.config["claims"]
    return claims


def grid(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [[_flat(entry) for entry in row] for row in (header, *rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(entry.replace('|', chr(92) + '|') for entry in line)} |" for line in lines)


# parts of a page -----------------------------------------------------------------------------------------------------


def _claims(outcome: Outcome) -> str:
    lines = []
    for claim, finding in zip(declared_claims(outcome), outcome.findings or [], strict=True):
        told = (number(finding.value), interval(finding.interval), str(finding.n), finding.note)
        lines.append((_claim(claim), _source(claim["source"]), f"**{finding.word}**", *told))
    return grid(("claim", "source", "verdict", "value", "interval", "n", "note"), lines)


def _claim(claim: dict[str, Any]) -> str:
    control = "*control:* " if claim["control"] else ""
    return f"{control}**{claim['key']}**: {claim['text']}"


def _source(source: str) -> str:
    """Who claims something, for readers who do not have this project's specification."""
    told = re.sub(r"\bMATH [A-E]\d+(\.\d+)?", "here", source)
    return "here" if told == "here, here" else told


def _table(table: Table) -> str:
    note = [table.note] if table.note else []
    return "\n\n".join([f"### {table.title}", grid(table.columns, table.rows), *note])


def _settings(settings: dict[str, Any]) -> str:
    return grid(("setting", "value"), [(f"`{key}`", _written(value)) for key, value in settings.items()])


def _written(value: Any) -> str:
    return ", ".join(map(_written, value)) if isinstance(value, list) else str(value)


def _provenance(outcome: Outcome) -> str:
    rows, config = outcome.rows, outcome.folder.config
    told = [row.provenance for row in rows]
    dates = sorted(each["finished"] for each in told if "finished" in each)
    when = f", finished between {dates[0]} and {dates[-1]}" if dates else ""
    codes = Counter(", ".join(f"{key} {each[key]}" for key in VERSIONS if key in each) for each in told)
    parts = [
        f"Declared {config['declared']} with scoregrain {config['scoregrain']}. {len(rows)} cells, each in one"
        f" thread, {compute(seconds(rows))} together{when}.",
        grid(("cells", "run with"), [(str(count), code) for code, count in codes.items()]),
    ]
    parts.append(f"```console\n$ {shown_command(outcome.study.command())}\n```")
    parts.append("`rows.jsonl` has a line for each cell, with what it gave, its seconds, versions and command.")
    return "\n\n".join(parts)


# parts of the overview -----------------------------------------------------------------------------------------------


def _overview_section(outcome: Outcome, alone: bool) -> str:
    """The verdicts of a study, below its question; where it was run several times, the folder tells which run."""
    lines = [
        (_claim(claim), finding.word, number(finding.value), interval(finding.interval), str(finding.n))
        for claim, finding in zip(declared_claims(outcome), outcome.findings or [], strict=True)
    ]
    title = f"### {outcome.study.title}" + ("" if alone else f" ({outcome.folder.path.name})")
    command = shown_command(outcome.study.command())
    where = f"Statistics, tables and figure: {_link(outcome, outcome.folder.path.name)}, by `{command}`."
    table = grid(("claim", "verdict", "value", "interval", "n"), lines)
    return _public("\n\n".join([title, where, table]), outcome)


def _run_line(name: str, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """What was done of a study at each scale."""
    words = [name]
    for scale in SCALES:
        mine = [each for each in outcomes if each.study.name == name and each.study.scale == scale]
        known = find_study(name).settings
        lacking = "not planned" if scale not in known else "by the slow tests" if scale == "tiny" else "not run"
        words.append("; ".join(map(_run_word, mine)) or lacking)
    return tuple(words)


def _run_word(outcome: Outcome) -> str:
    done, used = len(outcome.rows), compute(seconds(outcome.rows))
    if outcome.complete:
        return _link(outcome, f"{done} cells, {used}")
    return f"not finished: {done} of {done + outcome.remaining} cells, {used}"


def _link(outcome: Outcome, text: str) -> str:
    return f"[{text}](studies/{outcome.folder.path.name}/README.md)"


# words ---------------------------------------------------------------------------------------------------------------


def _flat(text: str) -> str:
    return " ".join(str(text).split())


def _file_name(word: str) -> str:
    """The last part of a path; other words, such as ``dit-8/2`` and names on the Hugging Face hub, as they are."""
    option, equals, value = word.rpartition("=") if word.startswith("-") else ("", "", word)
    is_path = value.startswith(("/", "./", "../", "~")) or value.endswith(".npz")
    return option + equals + (PurePath(value).name if is_path else value)


def _public(text: str, outcome: Outcome) -> str:
    """Text in which the data's paths are their file names."""
    for path in _words(list(outcome.folder.config["settings"].values())):
        if _file_name(path) != path:
            text = text.replace(path, _file_name(path))
    return text


def _words(values: list[Any]) -> list[str]:
    inside = [_words(value) if isinstance(value, list) else [value] for value in values]
    return [word for words in inside for word in words if isinstance(word, str)]
