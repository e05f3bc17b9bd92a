"""What a noise looks like on arrays of one shape: its law, and whether draws follow it (MATH B1, B2, B4)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scoregrain._arguments import whole
from scoregrain._errors import InvalidInputError
from scoregrain._folders import new_folder
from scoregrain._random import stream
from scoregrain.noise import EqualSNR, ForwardNoise, Weight, draw_white
from scoregrain.noise.weights import factors_of
from scoregrain.operators import FourierOperator, FrequencyGrid, Operator, Rings
from scoregrain.operators.base import check_shape
from scoregrain.report.rings import measured_power, power_of

FORMAT = 1
FEWEST = 16
"""Samples below which their spread gives no error bars."""

LARGEST = 2**22
"""Numbers in one array: the law takes a dozen planes of that size."""

STRAIGHT = 0.05
"""How far log power may lie from a line in log radius, rms, for its slope to be reported."""

_NULL = 1e-14  # of the mean power: rounding of the transforms


@dataclass(frozen=True, eq=False)
class Slope:
    """The exponent p of power ∝ r^p, fitted over the rings without the constant; 2α for a power law (MATH B4)."""

    measured: float
    error: float
    law: float


@dataclass(frozen=True, eq=False)
class NoisePreview:
    """The law of a noise for one shape, and a measurement of draws against it.

    Attributes:
        noise: What was previewed.
        shape: (C, *space).
        samples: How many arrays were drawn.
        seed: Of the draws.
        power: E|F ε|² at every frequency, float64 (*space), FFT layout, mean over channels; w² for a weight. Exact.
        rings: The radii it is averaged over.
        law: Mean of ``power`` over each ring, float64 (R,). Exact.
        measured: The same of the draws, float64 (R,).
        error: Standard errors of ``measured`` from the spread of the draws, float64 (R,).
        white: One white ξ, (C, *space).
        shaped: T ξ of that one, (C, *space).
    """

    noise: ForwardNoise
    shape: tuple[int, ...]
    samples: int
    seed: int
    power: Tensor
    rings: Rings
    law: Tensor
    measured: Tensor
    error: Tensor
    white: Tensor
    shaped: Tensor

    def __repr__(self) -> str:
        return f"NoisePreview({str(self.noise)!r}, shape={self.shape}, deviation={self.deviation:.3g})"

    @property
    def pixel_std(self) -> float:
        """Root mean square of a pixel's standard deviation; that of every pixel where the noise is stationary."""
        return math.sqrt(self.power.mean().item())

    @property
    def stationary(self) -> bool:
        """Is the noise diagonal in Fourier space, so that all pixels are alike?"""
        return isinstance(self.noise.operator(self.shape), FourierOperator)

    @property
    def floored_share(self) -> float | None:
        """Share of the frequencies that equal-snr holds at its floor; None where the noise has no such factor."""
        weight = self.noise.weight
        factors = () if isinstance(weight, Operator) else factors_of(weight)
        return max((factor.floored_share for factor in factors if isinstance(factor, EqualSNR)), default=None)

    @property
    def low_share(self) -> float:
        """Share of the power below half the corner's radius (MATH B3)."""
        return (self.power[self._low].sum() / self.power.sum()).item()

    @property
    def white_low_share(self) -> float:
        """The same for white noise."""
        return self._low.double().mean().item()

    @property
    def noised(self) -> Tensor:
        """The rings that have any power, bool (R,)."""
        return self.law > _NULL * self.power.mean()

    @property
    def deviation(self) -> float:
        """The largest distance of a ring's measured power from the law, in standard errors."""
        shown = self.noised
        return ((self.measured - self.law)[shown] / self.error[shown]).abs().max().item()

    @property
    def usual_deviation(self) -> float:
        """The median of ``deviation`` for draws that follow the law: so many independent Gaussian rings."""
        each = 0.5 ** (1 / int(self.noised.sum()))
        return float(torch.special.ndtri(torch.tensor((1 + each) / 2, dtype=torch.float64)))

    @property
    def slope(self) -> Slope | None:
        """The exponent of the radial spectrum; None where the law is no power law or has fewer than three rings."""
        shown = self.rings.radius > 0
        if int(shown.sum()) < 3 or not bool(self.noised[shown].all()):
            return None
        x, law, measured = (v[shown].log() for v in (self.rings.radius, self.law, self.measured))
        weight = (self.measured / self.error)[shown] ** 2
        centred = x - (weight * x).sum() / weight.sum()
        information = (weight * centred**2).sum()
        fit = [(weight * centred * y).sum() / information for y in (measured, law)]
        residual = law - law.mean() - fit[1] * (x - x.mean())
        if residual.square().mean().sqrt() > STRAIGHT:
            return None
        return Slope(fit[0].item(), information.rsqrt().item(), fit[1].item())

    @property
    def correlation(self) -> Tensor:
        """Correlation of two pixels by their lag, float64 (*space), lag 0 first; mean over all places. Exact."""
        covariance: Tensor = torch.fft.ifftn(self.power).real
        return covariance / self.power.mean()

    def numbers(self) -> dict[str, Any]:
        """Everything but arrays of pixels as JSON types."""
        slope, noise, shape = self.slope, self.noise, self.shape
        return {
            "noise": str(noise),
            "normalize": noise.normalize,
            "shape": list(shape),
            "samples": self.samples,
            "seed": self.seed,
            "pixel_std": self.pixel_std,
            "stationary": self.stationary,
            "condition_number": noise.condition_number(shape),
            "dimension": math.prod(shape),
            "rank": noise.rank(shape),
            "log_det": noise.log_det(shape),
            "floored_share": self.floored_share,
            "low_share": self.low_share,
            "white_low_share": self.white_low_share,
            "slope": None if slope is None else slope.measured,
            "slope_error": None if slope is None else slope.error,
            "slope_law": None if slope is None else slope.law,
            "deviation": self.deviation,
            "usual_deviation": self.usual_deviation,
            "radial_spectrum": {
                "radius": self.rings.radius.tolist(),
                "count": self.rings.count.tolist(),
                "law": self.law.tolist(),
                "measured": self.measured.tolist(),
                "error": self.error.tolist(),
            },
        }

    def figure(self) -> bytes:
        """Return a PNG of four panels: gain, correlation, a draw, radial spectrum against the law."""
        from scoregrain.report.noise_figure import noise_figure

        return noise_figure(self)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write ``config.json``, ``preview.json`` (the numbers) and ``preview.png``; all of them or nothing.

        Raises:
            InvalidInputError: When the folder exists and ``overwrite`` is false.
            ScoregrainError: When it cannot be written.
        """
        with new_folder(folder, overwrite=overwrite) as temporary:
            self.write(temporary)
        return Path(folder)

    def write(self, folder: Path) -> None:
        """Write the files of a preview into an existing folder."""
        from scoregrain import __version__

        numbers = self.numbers()
        asked = {name: numbers[name] for name in ("noise", "shape", "samples", "seed")}
        versions = {"scoregrain": __version__, "torch": torch.__version__}
        _write_json(folder / "config.json", {"kind": "noise preview", "format": FORMAT} | versions | asked)
        _write_json(folder / "preview.json", numbers)
        (folder / "preview.png").write_bytes(self.figure())

    @property
    def _low(self) -> Tensor:
        return FrequencyGrid(self.shape[1:]).band(0, 0.5, "corner")


def preview_noise(
    noise: ForwardNoise | Weight | Operator | str,
    shape: Sequence[int] = (1, 32, 32),
    samples: int = 256,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> NoisePreview:
    """Compute the law of a noise for one shape and measure draws against it.

    Args:
        noise: What to look at, or what makes it (``ForwardNoise.of``).
        shape: (C, *space), at most 2²² numbers.
        samples: Arrays to draw, at least 16.
        seed: Of the draws, which are float64.
        progress: Called with the arrays drawn and their number.

    Raises:
        InvalidInputError: When an argument is not as above, or the noise does not fit the shape.

    Example:
        >>> import scoregrain as sg
        >>> preview = sg.preview_noise(sg.PowerLaw(alpha=-0.5), shape=(1, 16, 16))
        >>> abs(preview.slope.measured + 1) < 0.05
        True
    """
    noise, shape = ForwardNoise.of(noise), check_preview(shape, samples)
    grid = FrequencyGrid(shape[1:])
    rings, power = Rings.of(grid), power_of(noise, shape)
    generator = stream(seed, "noise/preview")
    white = draw_white((1, *shape), generator, torch.float64)
    measured, error = measured_power(noise, rings, shape, samples, generator, progress)
    return NoisePreview(
        noise, shape, samples, seed, power, rings, rings.mean(power), measured, error, white[0], noise.colour(white)[0]
    )


def check_preview(shape: Sequence[int], samples: int) -> tuple[int, ...]:
    """Return the shape of a preview after checking it and the number of samples.

    Raises:
        InvalidInputError: When an array is too large or not of (C, *space), or samples are too few.
    """
    shape = check_shape(shape)
    if math.prod(shape) > LARGEST:
        raise InvalidInputError(
            f"a noise is previewed on at most {LARGEST} numbers such as 2048×2048, got {'×'.join(map(str, shape))}"
        )
    if whole(samples, "samples") < FEWEST:
        raise InvalidInputError(f"samples is {samples}, expected at least {FEWEST}: error bars come from their spread")
    return shape


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
