"""What the pages share: escaped sentences, tables and pictures, and a file that is written whole or not at all."""

from __future__ import annotations

import html
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.report.tables import Row


def resource(name: str) -> str:
    """A file that lies beside this one."""
    return files("scoregrain.report").joinpath(name).read_text(encoding="utf-8")


def sentence(text: str) -> str:
    """Capitalised, with a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def warning_section(warnings: Sequence[str]) -> str:
    """What to read before the numbers; nothing where there is nothing."""
    if not warnings:
        return ""
    items = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
    return f'<section class="warnings"><h2>Read with care</h2><ul>{items}</ul></section>'


def rows(lines: Iterable[Row]) -> str:
    """Table lines: label with its meaning, value."""
    return "\n".join(_row(line) for line in lines)


def _row(row: Row) -> str:
    meaning = f"<small>{html.escape(row.meaning)}</small>" if row.meaning else ""
    label, value = html.escape(row.label), html.escape(row.value)
    return f'<tr><th scope="row">{label}{meaning}</th><td>{value}</td></tr>'


def cells(lines: Iterable[Sequence[str]]) -> str:
    """Plain table lines."""
    return "\n".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)


def image(uri: str, text: str, kind: str = "plot") -> str:
    """A picture with a text that says what is seen."""
    return f'<img class="{kind}" src="{uri}" alt="{html.escape(text)}">'


def save_page(path: str | os.PathLike[str], render: Callable[[], str], *, overwrite: bool) -> Path:
    """Write what ``render`` returns, all of it or nothing.

    Raises:
        InvalidInputError: the file exists and ``overwrite`` is false, or it is a folder.
        ScoregrainError: it cannot be written; nothing is left behind.
    """
    target = Path(path)
    if target.is_dir():
        raise InvalidInputError(f"'{target}' is a folder, expected the name of a file")
    if target.exists() and not overwrite:
        raise InvalidInputError(f"'{target}' exists; choose another file or replace it with overwrite=True")
    text = render()
    try:
        _write(target, text)
    except OSError as error:
        raise ScoregrainError(f"cannot write '{target}': {error.strerror or error}") from error
    return target


def _write(target: Path, text: str) -> None:
    """Write under a temporary name beside the target, then rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.chmod(0o644)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def finite(value: Any) -> Any:
    """Replace what JSON cannot hold, nan and infinities, by None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
