"""A study that costs nothing: is the outcome of a cell above zero?"""

import sys
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure

from scoregrain._errors import InvalidInputError
from scoregrain.studies import STUDIES, Claim, Finding, Study, Table
from scoregrain.studies.summaries import above_zero


@dataclass(frozen=True, kw_only=True)
class ToyStudy(Study):
    """Is a number above zero (MATH A1), and is the opposite below?

    Attributes:
        seeds: How many.
    """

    name: ClassVar[str] = "toy"
    title: ClassVar[str] = "Is it above zero?"
    settings: ClassVar = {"tiny": {}, "small": {"seeds": 5, "offset": -1.0}}

    seeds: int = 3
    offset: float = 1.0
    data: str = "digits"
    fail_at: int = -1

    def cells(self):
        return [{"seed": seed} for seed in range(self.seeds)]

    def claims(self):
        return [
            Claim("above", "The value | is above zero.", "here", "mean over seeds, 95 % t interval"),
            Claim("reversed", "Its opposite is above zero.", "here", "the same of the opposite", control=True),
        ]

    def run(self, cell, material):
        if cell["seed"] == self.fail_at:
            raise InvalidInputError("the seed is unlucky")
        return {"value": self.offset + 0.1 * cell["seed"]}

    def findings(self, rows) -> list[Finding]:
        values = rows.array("value", "seed")
        above, opposite = self.claims()
        return [above_zero(above, values, note=f"data {self.data}"), above_zero(opposite, -values)]

    def tables(self, rows):
        told = tuple((str(row["seed"]), f"{row['value']:.2f}") for row in rows)
        return [Table("Values", ("seed", "value"), told, "Of nothing.")]

    def figure(self, rows):
        figure = Figure(figsize=(2, 2))
        figure.subplots().plot(rows.array("value", "seed"))
        return figure


@dataclass(frozen=True, kw_only=True)
class SeveralStudy(ToyStudy):
    """The same of several data sets."""

    name: ClassVar[str] = "several"
    title: ClassVar[str] = "Are they above zero?"
    settings: ClassVar = {"tiny": {}}

    data: tuple[str, ...] = ("digits",)


def only_toys(monkeypatch) -> None:
    """Let the toys be all studies there are."""
    monkeypatch.setitem(sys.modules, "scoregrain.studies.toy", sys.modules[__name__])
    monkeypatch.setitem(sys.modules, "scoregrain.studies.several", sys.modules[__name__])
    for name in list(STUDIES):
        monkeypatch.delitem(STUDIES, name)
    monkeypatch.setitem(STUDIES, "toy", "ToyStudy")
    monkeypatch.setitem(STUDIES, "several", "SeveralStudy")
