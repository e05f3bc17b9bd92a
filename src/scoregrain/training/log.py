"""``metrics.jsonl``: one line for every few updates, cut back to its checkpoint when a run is resumed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from scoregrain._folders import explained
from scoregrain.training.checkpoint import write_atomically

NAME = "metrics.jsonl"


def append(run: Path, line: dict[str, Any]) -> None:
    """Add a line; what JSON does not hold, NaN and infinities, becomes null.

    Raises:
        ScoregrainError: The disk is full or the folder gone.
    """
    finite = {k: v if not isinstance(v, float) or math.isfinite(v) else None for k, v in line.items()}
    with explained(run / NAME), (run / NAME).open("a") as file:
        file.write(json.dumps(finite) + "\n")


def read(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run, oldest first; one that a kill left half-written is dropped."""
    file = run / NAME
    if not file.is_file():
        return []
    lines = []
    for text in file.read_text(errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines


def cut(run: Path, step: int) -> None:
    """Drop the lines after ``step``, which are made again."""
    kept = [line for line in read(run) if line["step"] <= step]
    write_atomically(run / NAME, "".join(json.dumps(line) + "\n" for line in kept))
