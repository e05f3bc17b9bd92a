"""What a study is: settings, independent cells, claims declared before the first run (ARCHITECTURE 3)."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from scoregrain._errors import InvalidInputError, nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALES = ("tiny", "small", "paper")

Cell = dict[str, str | int | float]
"""What distinguishes one piece of work from the others of a study: plain words and numbers."""

Material = dict[str, Tensor]
"""What is measured once, before the first cell, and used by many: directions, rotations."""

Word = Literal["holds", "refuted", "undecided", "fails, as it must", "does not fail"]


@dataclass(frozen=True)
class Claim:
    """A statement and how it will be judged, written down before anything is run.

    Attributes:
        key: A short name, unique in its study.
        text: What is claimed, one sentence.
        source: Who claims it: a paper and its figure or theorem, or ``here``.
        statistic: What is computed from the rows, and of what the claim holds or is refuted.
        control: A claim that must fail; where it does not, the study shows nothing.
    """

    key: str
    text: str
    source: str
    statistic: str
    control: bool = False


@dataclass(frozen=True)
class Finding:
    """What the rows say about a claim.

    Attributes:
        claim: Its key.
        value: The statistic; None where the rows do not give one.
        interval: Of the value; None where there is none, such as for an exact number.
        n: Independent units that it rests on: seeds, or cells.
        word: The verdict.
        note: What a reader must know with it, one sentence or none.
    """

    claim: str
    value: float | None
    interval: tuple[float, float] | None
    n: int
    word: Word
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Numbers for a page.

    Attributes:
        title: Of the table.
        columns: Names.
        rows: As many entries as columns each, written out.
        note: Below the table.

    Raises:
        ValueError: A row has another number of entries: a mistake of the study's author.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"the table '{self.title}' has rows of another length than its columns")


@dataclass(frozen=True, eq=False)
class Row:
    """The outcome of a cell.

    Attributes:
        cell: Which.
        values: Numbers, words and lists of numbers by name, JSON types; None for what is not finite.
        seconds: It took, by the clock.
        provenance: Versions, device, command, when; the seconds of processor time, which other work does not change.
    """

    cell: Cell
    values: dict[str, Any]
    seconds: float = 0.0
    provenance: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.cell[name] if name in self.cell else self.values[name]


class Rows(Sequence[Row]):
    """Rows of a study, selected and arranged."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Row | Rows:
        return Rows(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def where(self, **cell: str | int | float) -> Rows:
        """Rows whose cells have these entries."""
        return Rows([row for row in self if all(row.cell.get(key) == value for key, value in cell.items())])

    def levels(self, axis: str) -> list[Any]:
        """The different entries of the cells under one name, in order of appearance."""
        return list(dict.fromkeys(row.cell[axis] for row in self if axis in row.cell))

    def array(self, name: str, *axes: str) -> NDArray[np.float64]:
        """A value of every cell arranged by axes, such as ``array("sw2", "seed", "direction")``; NaN where missing.

        Raises:
            InvalidInputError: Two rows fall on one place: an axis is missing.
        """
        levels = [self.levels(axis) for axis in axes]
        found = np.full([len(each) for each in levels], np.nan)
        seen = set()
        for row in self:
            place = tuple(each.index(row.cell[axis]) for axis, each in zip(axes, levels, strict=True))
            if place in seen:
                raise InvalidInputError(f"several rows have the same {', '.join(axes)}: name another axis")
            seen.add(place)
            value = row[name]
            found[place] = np.nan if value is None else value
        return found


@dataclass(frozen=True, kw_only=True)
class Study(ABC):
    """A pre-declared experiment; the fields of its dataclass are its settings.

    A sub-class sets ``name``, ``title``, ``settings`` (by scale, what differs from the fields' defaults) and writes
    ``cells``, ``claims``, ``run``, ``findings``, ``tables`` and ``figure``.

    Attributes:
        scale: ``tiny``, ``small`` or ``paper``.
        device: Where networks are trained; not a setting of the experiment.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    settings: ClassVar[Mapping[str, Mapping[str, Any]]]

    scale: str = "tiny"
    device: str = "cpu"

    @classmethod
    def at(cls, scale: str, **given: Any) -> Self:
        """The study at a scale, with settings of one's own over those of the scale; None leaves a setting as it is.

        Raises:
            InvalidInputError: There is no such scale or setting.
        """
        if scale not in cls.settings:
            raise InvalidInputError(
                f"unknown scale '{scale}'{nearest(scale, cls.settings)}; '{cls.name}' has: {', '.join(cls.settings)}"
            )
        known = [each.name for each in dataclasses.fields(cls)]
        given = {key: value for key, value in given.items() if value is not None}
        for key in given:
            if key not in known:
                raise InvalidInputError(f"the study '{cls.name}' has no setting '{key}'{nearest(key, known)}")
        return cls(scale=scale, **{**cls.settings[scale], **given})

    def declared(self) -> dict[str, Any]:
        """All settings as JSON types, but for the device."""
        found = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "device"}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}

    def command(self) -> str:
        """The command that runs this study: the scale, and the settings that are not the scale's."""
        usual = type(self).at(self.scale).declared()
        own = {key: value for key, value in self.declared().items() if value != usual[key]}
        words = ["scoregrain", "study", self.name, "--scale", self.scale]
        if "data" in own:
            data = own.pop("data")
            words += ["--data", *(data if isinstance(data, list) else [data])]
        if "seeds" in own:
            words += ["--seeds", str(own.pop("seeds"))]
        if own:
            words += ["--set", *(f"{key}={json.dumps(value)}" for key, value in own.items())]
        return shlex.join(words)

    @abstractmethod
    def cells(self) -> list[Cell]:
        """All cells, in the order in which they are best run."""

    @abstractmethod
    def claims(self) -> list[Claim]:
        """What is tested, and how, one control at least."""

    def material(self) -> Material:
        """What is measured before the first cell."""
        return {}

    @property
    def needs_material(self) -> bool:
        """Is something measured before the first cell?"""
        return type(self).material is not Study.material

    @abstractmethod
    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Run a cell; its values by name, a function of the settings, the cell and the material alone."""

    @abstractmethod
    def findings(self, rows: Rows) -> list[Finding]:
        """One finding for each claim, in their order, from the rows of all cells."""

    @abstractmethod
    def tables(self, rows: Rows) -> list[Table]:
        """What a reader wants to see, trivial baselines beside the outcomes."""

    @abstractmethod
    def figure(self, rows: Rows) -> Figure:
        """The picture of the study, with error bars."""


def cell_key(cell: Cell) -> str:
    """A cell as one word: ``network=unet-8,seed=0``."""
    return ",".join(f"{key}={value}" for key, value in cell.items())


def judged(
    claim: Claim, value: float, interval: tuple[float, float], n: int, *, at: float = 0.0, note: str = ""
) -> Finding:
    """A claim that its statistic is above a number, judged by an interval that lies on one side of it or does not.

    Args:
        claim: Its statistic is written such that above ``at`` means what is claimed.
        value: The statistic.
        interval: Of the value, at the level that the claim declares.
        n: Independent units.
        at: The number.
        note: As of :class:`Finding`.
    """
    low, high = interval
    if not (math.isfinite(value) and math.isfinite(low) and math.isfinite(high)):
        return Finding(claim.key, None, None, n, "undecided", note or "the statistic is not finite")
    above, below = low > at, high < at
    return Finding(claim.key, float(value), (float(low), float(high)), n, word_for(claim, above, below), note)


def word_for(claim: Claim, holds: bool, refuted: bool) -> Word:
    """The verdict in a word; a control is only asked whether it holds, which it must not."""
    if claim.control:
        return "does not fail" if holds else "fails, as it must"
    return "holds" if holds else "refuted" if refuted else "undecided"
