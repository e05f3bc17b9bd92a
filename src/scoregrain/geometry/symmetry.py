"""Symmetries of untrained networks: declared, verified on a network, used to block-diagonalise G (MATH C2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from scoregrain.models import evaluate, random_input

TOLERANCE = 1e-4


class Symmetry(ABC):
    """An involution of the pixels that also acts on kernels.

    If acting on every kernel of a network acts on its output, and kernels are iid over their entries, then the
    law of the output is invariant and G commutes with the action.
    """

    name: str

    @abstractmethod
    def act(self, x: Tensor) -> Tensor:
        """Act on the space dimensions of ``(..., *space)``."""

    @abstractmethod
    def applies(self, shape: tuple[int, ...]) -> bool:
        """Is the action defined on arrays ``(C, *space)``?"""

    def verify(self, network: nn.Module, shape: tuple[int, ...], constant: Collection[str] = ()) -> float:
        """Relative error of ``f_acted(act x) = act f(x)``, random kernels of convolutions acted on; 0 is exact.

        Refuse the symmetry above 1e-4 (MATH C2). Returns infinity where the action is not defined.

        Args:
            network: one network of the family.
            shape: ``(C, *space)`` of one input.
            constant: names of parameters that are the same in all networks: no law carries them to their image.
        """
        convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        kernels = {
            f"{name}.weight": module.weight
            for name, module in network.named_modules()
            if isinstance(module, convolutions) and f"{name}.weight" not in constant
        }
        if not self.applies(shape) or not all(self.applies(tuple(k.shape[1:])) for k in kernels.values()):
            return float("inf")
        x, t = random_input(network, shape, "symmetry-check", count=2)
        x[0] = 0
        with torch.no_grad():
            acted = {name: self.act(kernel).contiguous() for name, kernel in kernels.items()}
            expected = self.act(evaluate(network, x, t))
            found = evaluate(lambda x, t: functional_call(network, acted, (x, t)), self.act(x).contiguous(), t)
        # each input by its own size: the output for zero may be far smaller than the other
        error = (found - expected).flatten(1).abs().amax(1) / expected.flatten(1).abs().amax(1)
        return float(error.nan_to_num(nan=0.0).max())  # 0 / 0: both outputs are zero

    def permutation(self, layout: tuple[int, ...]) -> Tensor:
        """``P`` as indices: ``act(x).flatten() = x.flatten()[P]`` for arrays ``(*space)`` or ``(C, *space)``."""
        index = torch.arange(int(torch.Size(layout).numel())).reshape(layout)
        return self.act(index).flatten()

    def average(self, matrix: Tensor, layout: tuple[int, ...]) -> Tensor:
        """``(A + P A Pᵀ) / 2``: unbiased, and never further from the truth (MATH C2)."""
        p = self.permutation(layout).to(matrix.device)
        return (matrix + matrix[p][:, p]) / 2

    def sectors(self, layout: tuple[int, ...]) -> list[Tensor]:
        """Orthonormal bases of the even and the odd arrays: float64 ``(n, n_s)`` matrices, empty ones left out."""
        p = self.permutation(layout)
        i = torch.arange(len(p))
        eye = torch.eye(len(p), dtype=torch.float64)
        fixed, first = i[p == i], i[p > i]
        even = torch.cat([eye[:, fixed], (eye[:, first] + eye[:, p[first]]) * 0.5**0.5], dim=1)
        odd = (eye[:, first] - eye[:, p[first]]) * 0.5**0.5
        return [basis for basis in (even, odd) if basis.shape[1]]


class Transposition(Symmetry):
    """Exchange of rows and columns of a square image."""

    name = "transposition"

    def act(self, x: Tensor) -> Tensor:
        """Transpose the last two dimensions."""
        return x.transpose(-1, -2)

    def applies(self, shape: tuple[int, ...]) -> bool:
        """Two equal space dimensions."""
        return len(shape) == 3 and shape[1] == shape[2]


class Flip(Symmetry):
    """Mirror image along one space axis (-1: left-right, -2: up-down)."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis
        self.name = f"flip {axis}"

    def act(self, x: Tensor) -> Tensor:
        """Reverse one axis."""
        return x.flip(self.axis)

    def applies(self, shape: tuple[int, ...]) -> bool:
        """The axis is a space dimension."""
        return len(shape) > -self.axis


CANDIDATES: tuple[Symmetry, ...] = (Transposition(), Flip(-1), Flip(-2))


def symmetry_by_name(name: str) -> Symmetry:
    """The candidate of that name."""
    return next(symmetry for symmetry in CANDIDATES if symmetry.name == name)


def find_symmetry(
    networks: Sequence[nn.Module], shape: tuple[int, ...], constant: Collection[str] = ()
) -> Symmetry | None:
    """The first candidate that all networks verify to 1e-4; ``constant`` is that of :meth:`Symmetry.verify`."""
    for symmetry in CANDIDATES:
        if all(symmetry.verify(network, shape, constant) <= TOLERANCE for network in networks):
            return symmetry
    return None
