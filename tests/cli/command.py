"""Running ``scoregrain`` inside the test process, and what every refusal must look like."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scoregrain.cli import main

# an own network: four convolutions on 6×6 pixels, time-blind, a few milliseconds
TINY = ("tests.networks:Tiny", "--shape", "1", "6", "6")


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be one line of strict JSON."""
        assert self.out.count("\n") == 1
        return json.loads(self.out, parse_constant=lambda name: 1 / 0)


class Command:
    """``command("measure", "dit-16/8")`` in the test's folder."""

    def __init__(self, capsys, folder: Path) -> None:
        self._capsys, self._folder = capsys, folder

    def __call__(self, *words: str) -> Outcome:
        self._capsys.readouterr()
        code = main([str(word) for word in words])
        return Outcome(code, *self._capsys.readouterr())

    def files(self) -> list[Path]:
        """Everything below the test's folder, hidden files too."""
        return sorted(self._folder.rglob("*"))

    def runs(self, *words: str) -> Outcome:
        """The command succeeds."""
        outcome = self(*words)
        assert outcome.code == 0, outcome.err
        return outcome

    def refuses(self, *words: str, code: int, saying: tuple[str, ...] | str) -> str:
        """Exit code, one line on stderr beside warnings, nothing on stdout, nothing written; return the line."""
        before = {path: path.read_bytes() for path in self.files() if path.is_file()}
        folders = [path for path in self.files() if path.is_dir()]
        outcome = self(*words)
        lines = [line for line in outcome.err.splitlines() if not line.startswith(("warning: ", "note: "))]
        assert len(lines) == 1, outcome.err
        assert lines[0].startswith("scoregrain: ")
        assert "unexpected" not in lines[0] or "unexpected argument" in lines[0]
        for part in (saying,) if isinstance(saying, str) else saying:
            assert part in lines[0]
        assert (outcome.code, outcome.out) == (code, "")
        assert {path: path.read_bytes() for path in self.files() if path.is_file()} == before
        assert [path for path in self.files() if path.is_dir()] == folders
        return lines[0]
