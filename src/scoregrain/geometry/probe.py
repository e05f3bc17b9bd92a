"""Probing distributions: where an untrained network is evaluated (MATH A2)."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError
from scoregrain.models import tensor_bytes
from scoregrain.schedules import Schedule, noising_coefficients, score_coefficients


def score_from_output(output: Tensor, x: Tensor, t: Tensor, schedule: Schedule, prediction: str) -> Tensor:
    """The score ``F = a(t) x + b(t) o`` of network outputs (MATH A2), float64.

    Args:
        output: ``(*batch, *shape)``.
        x: what the network was given, of the same shape.
        t: steps ``(*batch)``.
        schedule: the noise schedule.
        prediction: what the output stands for.
    """
    a, b = score_coefficients(schedule, prediction)
    column = (*t.shape, *[1] * (x.ndim - t.ndim))
    return a[t].reshape(column) * x.double() + b[t].reshape(column) * output.double()


class Probe(ABC):
    """A law of network inputs ``x`` at a noise level ``t``, bound to a shape.

    The noise level itself is uniform over the schedule; :meth:`moment_weight` only tells the estimator which
    levels matter, so that it can sample them in that proportion and weight them back (MATH C1.3).

    Attributes:
        name: what artefacts record.
        shape: ``(C, *space)`` of one input.
        zero: the input is always zero.
        time_free: the input's law does not depend on t.
        isotropic: the input's law is invariant under permutations of pixels.
    """

    name: str
    zero = False
    time_free = True
    isotropic = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    @abstractmethod
    def sample(self, t: Tensor, schedule: Schedule, generator: torch.Generator) -> Tensor:
        """Inputs ``(len(t), *shape)`` at noise levels ``t``."""

    def input_moment(self, weight: Tensor, schedule: Schedule) -> Tensor | None:
        """Mean over levels of ``weight(t) E[x xᵀ | t]``, float64 ``(D, D)``; None where it is not known.

        Args:
            weight: float64 ``(T,)``.
            schedule: the noise schedule.
        """
        return None

    @abstractmethod
    def moment_weight(self, schedule: Schedule, prediction: str) -> Tensor:
        """Expected size ``E‖F‖²`` up to a factor at every step, float64 ``(T,)``, for ``‖o‖²`` of order D.

        It may be anything that is positive wherever the score is not zero.
        """


class ZeroProbe(Probe):
    """P0: ``x = 0`` (the first paper's choice). The score's second moment is ``ω(t) E[o oᵀ]``."""

    name = "zero"
    zero = True

    def sample(self, t: Tensor, schedule: Schedule, generator: torch.Generator) -> Tensor:
        """All zeros."""
        return torch.zeros(len(t), *self.shape)

    def moment_weight(self, schedule: Schedule, prediction: str) -> Tensor:
        """``ω(t) = b(t)²`` of ``F = a x + b o``."""
        return score_coefficients(schedule, prediction)[1].square()


class GaussianProbe(Probe):
    """P1: ``x = s·z`` with ``z ~ N(0, I)``."""

    def __init__(self, shape: tuple[int, ...], scale: float = 1.0) -> None:
        super().__init__(shape)
        self.scale = scale
        self.name = f"gaussian, scale {scale:g}"

    def sample(self, t: Tensor, schedule: Schedule, generator: torch.Generator) -> Tensor:
        """White noise of standard deviation ``scale``."""
        return self.scale * torch.randn(len(t), *self.shape, generator=generator)

    def input_moment(self, weight: Tensor, schedule: Schedule) -> Tensor:
        """``s² I`` at every level."""
        return float(weight.mean()) * self.scale**2 * torch.eye(math.prod(self.shape), dtype=torch.float64)

    def moment_weight(self, schedule: Schedule, prediction: str) -> Tensor:
        """``s² a² + b²``."""
        a, b = score_coefficients(schedule, prediction)
        return self.scale**2 * a.square() + b.square()


class DataProbe(Probe):
    """P2: data at the noise level t, ``x = √ᾱ x0 + σ z`` with ``x0`` drawn from images ``(N, *shape)``.

    Args:
        images: ``(N, C, *space)``, or an object with such a tensor as ``.pixels``.
        prediction: what the networks predict: flows and EDM networks are trained on other noisings,
            ``x = (1-t) x0 + t z`` and ``x = x0 + s z``.
    """

    time_free = False
    isotropic = False

    def __init__(self, images: Any, prediction: str = "epsilon") -> None:
        images = torch.as_tensor(getattr(images, "pixels", images))
        super().__init__(tuple(images.shape[1:]))
        if len(images) == 0 or not torch.isfinite(images).all():
            raise InvalidInputError("a data probe needs at least one image, all finite")
        self.images, self.noising = images, _noising(prediction)
        self._prediction = prediction
        self.name = f"data, {hashlib.sha256(tensor_bytes(images)).hexdigest()[:16]}"
        if self.noising != VARIANCE_PRESERVING:
            self.name += f", {self.noising}"

    def sample(self, t: Tensor, schedule: Schedule, generator: torch.Generator) -> Tensor:
        """Images at noise level t of the forward process."""
        x0 = self.images[torch.randint(len(self.images), (len(t),), generator=generator)]
        z = torch.randn(len(t), *self.shape, generator=generator)
        column = (len(t),) + (1,) * len(self.shape)
        signal, noise = (c[t].reshape(column) for c in noising_coefficients(schedule, self._prediction))
        x: Tensor = signal * x0 + noise * z
        return x.to(torch.get_default_dtype())

    def input_moment(self, weight: Tensor, schedule: Schedule) -> Tensor:
        """``c² M + s² I`` with the second moment M of the images."""
        signal, noise = noising_coefficients(schedule, self._prediction)
        rows = self.images.flatten(1).double()
        eye = torch.eye(rows.shape[1], dtype=torch.float64)
        of_images, of_noise = float((weight * signal.square()).mean()), float((weight * noise.square()).mean())
        m: Tensor = (rows.T @ rows) / len(rows)
        return of_images * m + of_noise * eye

    def moment_weight(self, schedule: Schedule, prediction: str) -> Tensor:
        """``a² (c² + s²) + b²``: images and outputs have unit order of magnitude at every level.

        Raises:
            InvalidInputError: the prediction belongs to another noising.
        """
        if _noising(prediction) != self.noising:
            raise InvalidInputError(
                f"the data probe noises its images for {self.noising} networks, '{prediction}' needs "
                f"{_noising(prediction)}: DataProbe(images, prediction='{prediction}')"
            )
        a, b = score_coefficients(schedule, prediction)
        signal, noise = noising_coefficients(schedule, prediction)
        return a.square() * (signal.square() + noise.square()) + b.square()


VARIANCE_PRESERVING = "variance-preserving"


def _noising(prediction: str) -> str:
    """Which forward process networks of a prediction are trained on."""
    return prediction if prediction in ("flow", "edm") else VARIANCE_PRESERVING
