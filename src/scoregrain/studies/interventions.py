"""Change a family's geometry and nothing else: fixed linear layers behind the networks, and rotations (MATH A1, C5).

A network o followed by a fixed matrix A has the geometry A G Aᵀ exactly, with the same parameters drawn from the same
initialisation. With A = U diag(√(λ'/λ)) Uᵀ its eigenvectors stay and its eigenvalues become λ'; with A orthogonal its
spectrum stays and moves to other directions; with A = U diag(±1) Uᵀ nothing changes in G, yet the network is another.

What A costs beside G: off the data ε* = x/σ, and to say so a network behind A must learn A⁻¹ where it had its skips.
With the input added, x + A o, nothing is to be undone off the data, and the geometry (at x = 0) is A G Aᵀ as before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.align import Rotation
from scoregrain.models import NetworkFamily, evaluate

SINGULAR = 1e-6
"""Below this share of the largest eigenvalue there is no spectrum to invert."""


class OutputLayer(nn.Module):
    """``A f(x, t)``, or ``x + A f(x, t)``, with A fixed: a buffer, so that no optimiser sees it.

    Args:
        network: f.
        matrix: A, (D, D), acting on arrays flattened row-major over (C, *space).
        skip: Add x.
    """

    matrix: Tensor

    def __init__(self, network: nn.Module, matrix: Tensor, skip: bool = False) -> None:
        super().__init__()
        self.network, self.skip = network, skip
        self.register_buffer("matrix", matrix.to(next(network.parameters()).dtype))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return A f(x, t), with x added or not, (N, C, *space)."""
        output = evaluate(self.network, x, t)
        output = (output.flatten(1) @ self.matrix.T).reshape(output.shape)
        return x + output if self.skip else output


def with_output(family: NetworkFamily, matrix: Tensor, name: str, skip: bool = False) -> NetworkFamily:
    """Return the family whose network i is A times network i of ``family``: its geometry is A G Aᵀ.

    Args:
        family: The networks.
        matrix: A, (D, D).
        name: Of the intervention, for messages.
        skip: Add x, which is zero where the geometry is measured.
    """

    def build() -> nn.Module:
        return OutputLayer(family.build(), matrix, skip)

    return NetworkFamily(build, family.shape, family.prediction, family.init, f"{family.name} | {name}")


def spectrum(geometry: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues (D,), descending, and eigenvectors, columns (D, D).

    Raises:
        InvalidInputError: The geometry (D, D) has a null space.
    """
    values, vectors = torch.linalg.eigh(geometry)
    if float(values[0]) <= SINGULAR * float(values[-1]):
        raise InvalidInputError("this geometry has directions of eigenvalue zero: no layer gives them another one")
    return values.flip(0), vectors.flip(1)


def whitening(geometry: Tensor) -> Tensor:
    """Return A such that A G Aᵀ is a multiple of the identity, of the trace of G."""
    values, _ = spectrum(geometry)
    return _replacing(geometry, values.mean().expand(len(values)))


def inverting(geometry: Tensor) -> Tensor:
    """Return A such that A G Aᵀ has the spectrum of G in the opposite order along the same eigenvectors."""
    return _replacing(geometry, spectrum(geometry)[0].flip(0))


def permuting(geometry: Tensor, seed: int) -> Tensor:
    """Return A such that A G Aᵀ has the spectrum of G in a random order along the same eigenvectors."""
    values, _ = spectrum(geometry)
    return _replacing(geometry, values[torch.randperm(len(values), generator=stream(seed, "permuted spectrum"))])


def flipping(geometry: Tensor, seed: int) -> Tensor:
    """Return A = U diag(±1) Uᵀ of random signs, so that A G Aᵀ = G."""
    values, vectors = spectrum(geometry)
    signs = 2 * torch.randint(2, (len(values),), generator=stream(seed, "signs of eigenvectors")) - 1
    return vectors * signs @ vectors.T


def exchanging(first: Tensor, second: Tensor) -> Tensor:
    """Return the reflection that exchanges two orthogonal unit directions (any shape, D entries), float64 (D, D)."""
    normal = (first - second).flatten() / math.sqrt(2)
    return torch.eye(len(normal), dtype=torch.float64) - 2 * torch.outer(normal, normal)


def _replacing(geometry: Tensor, wanted: Tensor) -> Tensor:
    """A = U diag(√(λ'/λ)) Uᵀ."""
    values, vectors = spectrum(geometry)
    return vectors * (wanted / values).sqrt() @ vectors.T


# arms of the study ----------------------------------------------------------------------------------------------

Layer = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""A of (G, top direction, bottom direction, seed)."""


def _scaling(factor: float, geometry: Tensor, *_: object) -> Tensor:
    return factor * torch.eye(len(geometry), dtype=torch.float64)


LAYERS: dict[str, Layer] = {
    "identity": partial(_scaling, 1.0),
    "whiten": lambda geometry, top, bottom, seed: whitening(geometry),
    "invert": lambda geometry, top, bottom, seed: inverting(geometry),
    "permute": lambda geometry, top, bottom, seed: permuting(geometry, seed),
    "exchange": lambda geometry, top, bottom, seed: exchanging(top, bottom),
    "signs": lambda geometry, top, bottom, seed: flipping(geometry, seed),
    "negate": partial(_scaling, -1.0),
    "scale=1/4": partial(_scaling, 0.25),
    "scale=4": partial(_scaling, 4.0),
}
"""Output layers by arm."""

SKIP = "+x"
"""Ends the name of an arm that adds x to the output."""


def layer_of(arm: str, geometry: Tensor, top: Tensor, bottom: Tensor, seed: int) -> Tensor:
    """Return A (D, D) of an arm; ``rotate`` has none, it turns input and output by :func:`rotation_of`."""
    name = "identity" if arm == "rotate" else arm.removesuffix(SKIP)
    return LAYERS[name](geometry, top, bottom, seed)


def rotation_of(first: Tensor, second: Tensor) -> Rotation:
    """The rotation of the data under which the network meets one direction (C, *space) in place of the other."""
    return Rotation(exchanging(first, second), tuple(first.shape), "exchange")


def moved(arm: str, geometry: Tensor, top: Tensor, bottom: Tensor, seed: int) -> Tensor:
    """Return the geometry (D, D) of an arm in the coordinates of the data: A G Aᵀ, or Wᵀ G W of ``rotate``."""
    layer = exchanging(top, bottom) if arm == "rotate" else layer_of(arm, geometry, top, bottom, seed)
    return layer @ geometry @ layer.T
