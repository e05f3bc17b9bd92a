"""What a law as DATA on the command line stands for; the ones along measured directions need a geometry."""

from __future__ import annotations

import os

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import Law, RankOne, is_law, parse_law
from scoregrain.geometry import Geometry

GEOMETRY = "rank-one:geometry="


def find_law(word: str, shape: tuple[int, ...]) -> Law | None:
    """Return the law that a word names; None where it names none.

    ``rank-one:geometry=DIR,index=K`` lies along direction K of a measured geometry, in descending order of the
    eigenvalues; where that is identified only together with others, along a random one in the span of its cluster
    (ARCHITECTURE 7, rule 2). It is called by these words, of the path DIR by the folder's name alone: model cards,
    which are published, name it.

    Raises:
        InvalidInputError: A law that is spelt wrongly, a geometry of another shape, or an index it has not.
    """
    if word.startswith(GEOMETRY):
        return _along_geometry(word, shape)
    return parse_law(word, shape) if is_law(word) else None


def _along_geometry(word: str, shape: tuple[int, ...]) -> Law:
    folder, found, index = word.removeprefix(GEOMETRY).partition(",index=")
    if not (folder and found and index.isdecimal()):
        raise InvalidInputError(f"'{word}' is not a law along a direction: expected {GEOMETRY}DIR,index=K")
    geometry, k = Geometry.load(folder), int(index)
    if geometry.shape != shape:
        raise InvalidInputError(f"'{folder}' is the geometry of arrays {geometry.shape}, the network takes {shape}")
    if k >= geometry.known:
        raise InvalidInputError(f"'{folder}' knows the directions 0 to {geometry.known - 1}, not {k}")
    name = f"{GEOMETRY}{os.path.basename(os.path.abspath(folder))},index={k}"
    cluster = next((c for c in geometry.clusters if k in c.indices), None)
    if cluster is None or len(cluster.indices) == 1:
        return RankOne(geometry.direction(k), name=name)
    return RankOne.in_span(geometry.eigenvectors[:, list(cluster.indices)], shape, seed=k, name=name)
