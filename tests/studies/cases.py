"""A study of coins that takes no time, for tests of the folder and the runner."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from scoregrain._errors import ScoregrainError
from scoregrain.studies import Claim, Finding, Study, Table


@dataclass(frozen=True, kw_only=True)
class Coins(Study):
    name: ClassVar[str] = "coins"
    title: ClassVar[str] = "Do coins fall?"
    settings: ClassVar = {"tiny": {}, "small": {"seeds": 5}}

    seeds: int = 3
    sides: tuple[str, ...] = ("head", "tail")
    diary: str = ""  # a file that gets a line when a cell begins, and another when it ends
    wait: float = 0.0
    broken: str = ""  # the side whose cells fail

    def cells(self):
        return [{"seed": seed, "side": side} for seed in range(self.seeds) for side in self.sides]

    def claims(self):
        return [Claim("fall", "Coins fall.", "here", "mean of the values"), Claim("rise", "x", "y", "z", control=True)]

    def material(self):
        return {"weight": torch.tensor([2.0, 3.0], dtype=torch.float64)}

    def run(self, cell, material):
        self._note(f"begin {cell['seed']} {cell['side']} {os.getpid()} {torch.get_num_threads()}")
        time.sleep(self.wait)
        if cell["side"] == self.broken:
            raise ScoregrainError("it rolled away")
        self._note(f"end {cell['seed']} {cell['side']}")
        weight = float(material["weight"][self.sides.index(cell["side"])])
        return {"value": weight + cell["seed"], "nothing": float("nan"), "list": [1.0, float("inf")]}

    def findings(self, rows):
        value = float(rows.array("value", "seed", "side").mean())
        return [
            Finding("fall", value, (value - 1, value + 1), self.seeds, "holds"),
            Finding("rise", None, None, self.seeds, "fails, as it must"),
        ]

    def tables(self, rows):
        return [Table("Coins", ("seed", "value"), tuple((str(r["seed"]), f"{r['value']:g}") for r in rows))]

    def figure(self, rows):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(2, 2))
        figure.subplots().plot(rows.array("value", "seed", "side"))
        return figure

    def _note(self, text):
        if self.diary:
            with Path(self.diary).open("a") as file:
                file.write(text + "\n")


def diary(study):
    """What happened: (word, seed, side) in order."""
    path = Path(study.diary)
    return [tuple(line.split()[:3]) for line in path.read_text().splitlines()] if path.exists() else []
