"""The order in which data run with the grain of several networks (MATH A5, C6); nobody has validated it yet."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from scoregrain._errors import InvalidInputError
from scoregrain.align.alignment import ROUNDING, SIGMAS, Alignment, measure_alignment, rounded, times_chance
from scoregrain.align.statistics import Deletions, image_deletions
from scoregrain.geometry import Geometry
from scoregrain.geometry.spectrum import jackknife

NOT_VALIDATED = "not validated: no study has yet shown that this order predicts the quality after training"
WHAT_ORDERS = "alignment over chance orders; what is possible differs between networks"


@dataclass(frozen=True, eq=False)
class Ranked:
    """One network in a :class:`Ranking`.

    Attributes:
        name: of the network family.
        alignment: of the data with its geometry.
        to_next: of chance of the next one minus this one's, not negative; None for the last.
        to_next_error: standard error of that difference; the images are the same for both, so that much of their
            part cancels. 0 when all is exact; None for the last, or when the networks or images are too few.
        to_next_least: the least that the difference can be, whatever the directions are that were not measured;
            ``to_next`` where all are known.
    """

    name: str
    alignment: Alignment
    to_next: float | None
    to_next_error: float | None
    to_next_least: float | None

    @property
    def possible_range(self) -> tuple[float, float]:
        """Least and largest alignment over chance that any rotation of these data has with this network."""
        return self.alignment.of_chance_minimum, self.alignment.of_chance_maximum

    @property
    def relative(self) -> float | None:
        """Place in the possible range, from 0 to 1; None when all rotations are alike."""
        return self.alignment.relative

    @property
    def tied_with_next(self) -> bool | None:
        """The difference can be below 2 of its standard errors; None for the last, or when the error is unknown."""
        if self.to_next_least is None or self.to_next_error is None:
            return None
        return self.to_next_least < max(SIGMAS * self.to_next_error, ROUNDING)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Networks of one shape in the order of alignment: those with whose grain the data run come first.

    Not validated: no study has yet shown that this order predicts the quality after training (``validated``). What
    orders is α over chance, not the place in the possible range, which differs between networks.

    Attributes:
        data: name of the data.
        entries: ascending in α over chance.
    """

    data: str
    entries: tuple[Ranked, ...]
    validated: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"Ranking({' < '.join(self.names)}; {NOT_VALIDATED})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(entry.name for entry in self.entries)

    @property
    def places(self) -> tuple[int, ...]:
        """Place of every entry, from 1; what is tied with the one before it shares its place."""
        places = [1]
        for i, entry in enumerate(self.entries[:-1], start=2):
            places.append(places[-1] if entry.tied_with_next else i)
        return tuple(places)

    def table(self) -> str:
        """The order for a person, one line each, with what it is and is not."""
        width = max(len(name) for name in self.names)
        lines = [f"order of alignment with {self.data} ({NOT_VALIDATED})"]
        for place, entry in zip(self.places, self.entries, strict=True):
            value = times_chance(entry.alignment.of_chance, entry.alignment.of_chance_error)
            lines.append(f"  {place:>2}. {entry.name:<{width}}  {value}   {_possible(entry)}{_tie(entry)}")
        lines.append(f"  {WHAT_ORDERS}")
        return "\n".join(lines)

    def summary(self) -> dict[str, Any]:
        """All numbers as JSON types."""
        return {
            "order": "alignment, ascending: the data run with the grain of the first",
            "what_orders": WHAT_ORDERS,
            "validated": self.validated,
            "note": NOT_VALIDATED,
            "data": self.data,
            "ranking": [
                {
                    "place": place,
                    "model": entry.name,
                    "of_chance": entry.alignment.of_chance,
                    "of_chance_error": entry.alignment.of_chance_error,
                    "possible_range": list(entry.possible_range),
                    "relative": entry.relative,
                    "to_next": entry.to_next,
                    "to_next_error": entry.to_next_error,
                    "to_next_least": entry.to_next_least,
                    "tied_with_next": entry.tied_with_next,
                    "alignment": {**asdict(entry.alignment), "verdict": entry.alignment.verdict},
                }
                for place, entry in zip(self.places, self.entries, strict=True)
            ],
        }


def rank_geometries(geometries: Mapping[str, Geometry], data: Geometry) -> Ranking:
    """Order networks of one shape by the alignment of data with them, the smallest first (MATH A5).

    Not validated: no study has yet shown that this order predicts the quality after training; it follows from
    Conjecture 1 of arXiv 2510.22899. α is taken over chance, ``tr(G W M Wᵀ) / (tr G tr M / D)``, so that the scale of
    the networks' outputs does not count.

    The error of a difference is that of independent networks and of the same images: for the images, the
    delete-one-group jackknife of the difference itself.

    Args:
        geometries: two or more, by name, all of one shape.
        data: M, of the same shape.

    Raises:
        InvalidInputError: fewer than two, or shapes that differ (both are named).
    """
    if len(geometries) < 2:
        raise InvalidInputError(f"a ranking needs at least two networks, got {len(geometries)}")
    check_same_shape({name: geometry.shape for name, geometry in geometries.items()})
    found = {name: measure_alignment(geometry, data) for name, geometry in geometries.items()}
    names = sorted(found, key=lambda name: found[name].of_chance)
    images = {name: image_deletions(geometries[name], data, None) for name in names} if data.has_errors else {}
    entries = [_before(one, other, found, images) for one, other in itertools.pairwise(names)]
    entries.append(Ranked(names[-1], found[names[-1]], None, None, None))
    return Ranking(str(data.info.get("data", "data")), tuple(entries))


def _before(one: str, other: str, found: Mapping[str, Alignment], images: Mapping[str, Deletions]) -> Ranked:
    """One network and what separates it from the next."""
    mine, theirs = found[one], found[other]
    (_, high), (low, _) = (a.of_chance_truncation or (a.of_chance, a.of_chance) for a in (mine, theirs))
    return Ranked(one, mine, theirs.of_chance - mine.of_chance, _error(one, other, found, images), low - high)


def check_same_shape(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Fail on networks of different shapes: alignment depends on the resolution."""
    (name, shape), *others = shapes.items()
    for other, its in others:
        if its != shape:
            raise InvalidInputError(
                f"only networks of one shape can be ranked: '{name}' has shape {shape}, '{other}' has {its}"
            )


def _error(one: str, other: str, found: Mapping[str, Alignment], images: Mapping[str, Deletions]) -> float | None:
    """Standard error of a difference of two alignments over chance."""
    networks = [found[name].error_networks for name in (one, other)]
    if not images or None in networks:
        return None
    (full, without), (other_full, other_without) = (images[name].statistics() for name in (one, other))
    paired = 0.0
    if len(without):
        paired = float(jackknife(other_full - full, other_without - without, images[one].counts)[3])
    return math.hypot(paired, *(error for error in networks if error is not None))


def _possible(entry: Ranked) -> str:
    """``possible 0.03 to 26, at 0.31 of that range``."""
    low, high = (rounded(bound, 2) for bound in entry.possible_range)
    place = "all rotations are alike" if entry.relative is None else f"at {rounded(entry.relative, 2)} of that range"
    return f"possible {low} to {high}, {place}"


def _tie(entry: Ranked) -> str:
    if entry.tied_with_next:
        return "   tied with the next"
    return "" if entry.tied_with_next is False or entry.to_next is None else "   order with the next unknown"
