"""Probing bases: orthonormal directions that no data and no network chose (MATH A7)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from scoregrain._arguments import whole
from scoregrain._errors import InvalidInputError, nearest
from scoregrain.operators.base import check_shape

Place = tuple[int, ...]
"""The frequencies (f_y, f_x) of a vector, or the sizes (H, W) of the space they live in."""


def probing_basis(name: str, shape: Sequence[int]) -> Tensor:
    """Return the orthonormal columns of a probing basis, float64 (D, K): K = H·W vectors of length D = C·H·W.

    A vector is the outer product of one row for each axis, repeated over the channels. So for C > 1 the columns span
    the arrays whose channels are equal, K of all D directions, and ``canonical`` is one pixel in all channels at once.
    Column k = f_y·W + f_x has the frequencies of row k of :func:`frequencies`; k = 0 is the constant (``dct-ii``,
    ``hadamard``, ``haar``), the half wave (``dst-ii``) or the first pixel (``canonical``).

    Args:
        name: ``canonical``, ``dct-ii``, ``dst-ii``, ``hadamard`` (in sequency order: f counts the sign changes) or
            ``haar`` (2-D non-standard, a quad-tree). There 2^j ≤ max(f_y, f_x) < 2^(j+1) says that a vector is a detail
            of a block of side N/2^j, the one that f_y and f_x modulo 2^j count: top minus bottom where f_y ≥ 2^j alone,
            left minus right where f_x ≥ 2^j alone, the main diagonal minus the other where both are. MATH's scale s
            is log2(N) - j - 1.
        shape: (C, *space): images (C, H, W), signals (C, L), volumes. Hadamard needs sizes that are powers of two, Haar
            equal ones too.

    Raises:
        InvalidInputError: When the name or the shape is none of these.

    Example:
        >>> probing_basis("hadamard", (1, 4))[:, 1]
        tensor([ 0.5000,  0.5000, -0.5000, -0.5000], dtype=torch.float64)
    """
    space = check_shape(shape)[1:]
    return torch.stack([probing_vector(name, shape, index).flatten() for index in range(math.prod(space))], 1)


def probing_vector(name: str, shape: Sequence[int], index: int) -> Tensor:
    """Return column ``index`` of :func:`probing_basis` as an array, float64 (C, *space) of unit norm.

    Raises:
        InvalidInputError: As :func:`probing_basis`, and when there is no such index.
    """
    channels, *space = check_shape(shape)
    sizes, rows = tuple(space), _rows(name)
    number, count = whole(index, "index"), math.prod(sizes)
    if not 0 <= number < count:
        raise InvalidInputError(f"index must lie in 0..{count - 1}, a vector of a basis of {sizes}, got {number}")
    with torch.device("cpu"):
        plane = torch.ones((), dtype=torch.float64)
        for row in rows(_place(number, sizes), sizes):
            plane = plane[..., None] * row
        return (plane / math.sqrt(channels)).expand(channels, *sizes).clone()


def frequencies(shape: Sequence[int]) -> Tensor:
    """Return where the columns of a probing basis lie, int64 (K, d): row f_y·W + f_x of images holds (f_y, f_x).

    Raises:
        InvalidInputError: When ``shape`` is not (C, *space).
    """
    space = check_shape(shape)[1:]
    return torch.tensor([_place(index, space) for index in range(math.prod(space))])


def _place(index: int, sizes: Place) -> Place:
    place: list[int] = []
    for size in reversed(sizes):
        index, f = divmod(index, size)
        place.insert(0, f)
    return tuple(place)


def _canonical(f: int, size: int) -> Tensor:
    return (torch.arange(size) == f).double()


def _dct(f: int, size: int) -> Tensor:
    wave = torch.cos(math.pi * (2 * torch.arange(size, dtype=torch.float64) + 1) * f / (2 * size))
    return wave * math.sqrt((1 if f == 0 else 2) / size)


def _dst(f: int, size: int) -> Tensor:
    wave = torch.sin(math.pi * (2 * torch.arange(size, dtype=torch.float64) + 1) * (f + 1) / (2 * size))
    return wave * math.sqrt((1 if f == size - 1 else 2) / size)


def _hadamard(f: int, size: int) -> Tensor:
    """Row bitreverse(f XOR f>>1) of the Sylvester matrix, which has f sign changes."""
    bits = _power_of_two("hadamard", size)
    gray = f ^ (f >> 1)
    natural = sum((gray >> bit & 1) << (bits - 1 - bit) for bit in range(bits))
    signs = [(-1) ** (natural & place).bit_count() for place in range(size)]
    return torch.tensor(signs, dtype=torch.float64) / math.sqrt(size)


def _haar(place: Place, sizes: Place) -> list[Tensor]:
    if len(set(sizes)) > 1:
        raise InvalidInputError(f"a haar basis needs equal sizes, got {sizes}")
    size = sizes[0]
    bits = _power_of_two("haar", size)
    top = max(place).bit_length()
    if not top:
        return [torch.full((size,), 1 / math.sqrt(size), dtype=torch.float64) for _ in sizes]
    blocks = 2 ** (top - 1)
    side = 2 ** (bits - top + 1)
    return [_haar_row(f, size, blocks, side) for f in place]


def _haar_row(f: int, size: int, blocks: int, side: int) -> Tensor:
    """One of the blocks, in two halves of opposite sign where f is as high as the number of blocks."""
    row = torch.zeros(size, dtype=torch.float64)
    start = f % blocks * side
    row[start : start + side] = 1 / math.sqrt(side)
    if f >= blocks:
        row[start + side // 2 : start + side] *= -1
    return row


def _power_of_two(name: str, size: int) -> int:
    """Return log2 of a size."""
    if size & (size - 1):
        raise InvalidInputError(f"a {name} basis needs sizes that are powers of two, got {size}: dct-ii takes any")
    return size.bit_length() - 1


def _separable(row: Callable[[int, int], Tensor]) -> Callable[[Place, Place], list[Tensor]]:
    return lambda place, sizes: [row(f, size) for f, size in zip(place, sizes, strict=True)]


_ROWS: dict[str, Callable[[Place, Place], list[Tensor]]] = {
    "canonical": _separable(_canonical),
    "dct-ii": _separable(_dct),
    "dst-ii": _separable(_dst),
    "hadamard": _separable(_hadamard),
    "haar": _haar,
}

PROBING_BASES = tuple(_ROWS)
"""The names that :func:`probing_basis` knows."""


def _rows(name: str) -> Callable[[Place, Place], list[Tensor]]:
    if name not in PROBING_BASES:
        raise InvalidInputError(
            f"unknown basis '{name}'{nearest(name, PROBING_BASES)}; known: {', '.join(PROBING_BASES)}"
        )
    return _ROWS[name]
