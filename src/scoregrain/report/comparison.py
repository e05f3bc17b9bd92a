"""Distances from a target, of samples and of the trivial baselines beside them (MATH A8)."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from scoregrain.metrics.baselines import GAUSSIAN, Measured, Verdict, decide, make_baselines
from scoregrain.metrics.frechet import GROUPS, frechet_distance
from scoregrain.metrics.gaussian import gaussian_w2
from scoregrain.metrics.sliced import sliced_wasserstein
from scoregrain.metrics.spectra import radial_spectrum
from scoregrain.report.material import Material

SAMPLES = "samples"
NO_FRECHET = "No Fréchet distance of features: torchmetrics is not installed (pip install 'scoregrain[eval]')."


@dataclass(frozen=True)
class Score:
    """A distance from the target.

    Attributes:
        value: The distance; infinite where it is not finite.
        error: Its standard error, None where none is known.
        count: Arrays that were compared with the target.
    """

    value: float
    error: float | None
    count: int

    @property
    def measured(self) -> Measured:
        """The distance with its error, 0 where none is known or the distance is infinite."""
        return self.value, 0.0 if self.error is None or math.isnan(self.error) else self.error


@dataclass(frozen=True)
class Comparison:
    """One distance from the target: of the samples, and of what needs no model.

    Attributes:
        name: What is measured; of a Fréchet distance with its features and counts.
        meaning: What that is, in a sentence.
        scores: By name: the samples first, then the baselines.
        target: Arrays of the target.
        decisive: Does it see more than means and covariances, so that a Gaussian is a bar to clear?
    """

    name: str
    meaning: str
    scores: dict[str, Score]
    target: int
    decisive: bool = False

    @property
    def samples(self) -> Score:
        """The distance of the samples."""
        return self.scores[SAMPLES]

    @property
    def baselines(self) -> dict[str, Score]:
        """All others."""
        return {name: score for name, score in self.scores.items() if name != SAMPLES}

    @property
    def bars(self) -> dict[str, Measured]:
        """What the samples are to be better than, and the resample."""
        return {name: s.measured for name, s in self.baselines.items() if self.decisive or name != GAUSSIAN}

    @property
    def verdict(self) -> Verdict | None:
        """What the samples' distance says beside those of the baselines; None where its error is not known."""
        return None if self.samples.error is None else decide(*self.samples.measured, self.bars)

    def summary(self) -> dict[str, Any]:
        """As JSON types."""
        scores = {name: {"value": s.value, "error": s.error, "count": s.count} for name, s in self.scores.items()}
        counted = {"target_count": self.target, "scores": scores}
        return {"name": self.name, "meaning": self.meaning, "verdict": self.verdict} | counted


Measure = Callable[[Tensor], tuple[float, float | None]]


def compared(name: str, meaning: str, measure: Measure, sets: Mapping[str, Tensor], target: int) -> Comparison:
    """Measure one distance of every set."""
    return Comparison(name, meaning, {key: Score(*measure(x), len(x)) for key, x in sets.items()}, target)


def judged_sets(material: Material, seed: int) -> dict[str, Tensor]:
    """The samples, and the baselines of the same number.

    The Gaussian has the moments of all reference arrays, not those of the target, which it would then fit too well.
    """
    n, reference = len(material.samples), material.reference
    made = make_baselines(material.target, n, seed, material.resample.to(material.target)).samples
    fitted = make_baselines(reference, n, seed, reference).samples[GAUSSIAN]
    dtype = material.target.dtype
    return {
        SAMPLES: material.samples.to(dtype),
        **{name: x.to(dtype) for name, x in (made | {GAUSSIAN: fitted}).items()},
    }


def sliced_comparisons(
    sets: Mapping[str, Tensor], target: Tensor, projections: int | Tensor | None, seed: int
) -> list[Comparison]:
    """Sliced and max-sliced Wasserstein distance, over the same projections."""
    found = {name: sliced_wasserstein(x, target, projections, seed) for name, x in sets.items()}
    count = next(iter(found.values())).projections
    sliced = {name: Score(s.sw2, s.error, s.counts[0]) for name, s in found.items()}
    largest = {name: Score(s.msw2, None, s.counts[0]) for name, s in found.items()}
    return [
        Comparison(
            "sliced Wasserstein",
            f"root mean square of W₂ over {count:,} projections",
            sliced,
            len(target),
            decisive=True,
        ),
        Comparison("max-sliced Wasserstein", f"largest W₂ of these {count:,} projections", largest, len(target)),
    ]


def gaussian_comparison(sets: Mapping[str, Tensor], target: Tensor) -> Comparison:
    """Distance of means and covariances, of one coordinate."""
    root = math.sqrt(target[0].numel())

    def measure(x: Tensor) -> tuple[float, float]:
        found = gaussian_w2(x, target)
        return found.w2 / root, found.error / root

    meaning = "W₂ of the Gaussians with the same means and covariances, over √D"
    return compared("Gaussian W₂", meaning, measure, sets, len(target))


def spectral_comparison(sets: Mapping[str, Tensor], target: Tensor) -> Comparison:
    """Distance of radial power spectra."""
    spectrum = radial_spectrum(target)

    def measure(x: Tensor) -> tuple[float, float]:
        found = radial_spectrum(x).log_ratio(spectrum)
        return found.distance, found.distance_error

    meaning = "root mean square of the logarithm of the ratio of the power, over all frequencies"
    return compared("log-spectral distance", meaning, measure, sets, len(target))


def frechet_comparison(sets: Mapping[str, Tensor], target: Tensor, features: Any) -> tuple[Comparison | None, str]:
    """Fréchet distance of features, named by them and the counts; or None and why not."""
    if importlib.util.find_spec("torchmetrics") is None:
        return None, NO_FRECHET
    if min(len(target), *map(len, sets.values())) < 2 * GROUPS:
        return None, f"No Fréchet distance of features: it takes at least {2 * GROUPS} arrays."
    found = {name: frechet_distance(x, target, features) for name, x in sets.items()}
    first = found[SAMPLES]
    meaning = f"squared Fréchet distance of {first.dimension} features, {first.features}"
    note = ""
    if first.singular:
        note = f"{first.name}: fewer arrays than its {first.dimension} features, so it is far too large."
    scores = {name: Score(f.value, f.standard_error, f.counts[0]) for name, f in found.items()}
    return Comparison(first.name, meaning, scores, len(target), decisive=True), note


def direction_comparisons(sets: Mapping[str, Tensor], target: Tensor, along: Mapping[str, Tensor]) -> list[Comparison]:
    """W₂ along single directions, and along the difference of the means."""

    def measure_along(vector: Tensor) -> Measure:
        def measure(x: Tensor) -> tuple[float, float]:
            found = sliced_wasserstein(x, target, vector.flatten()[None].to(x.dtype))
            return found.sw2, found.error

        return measure

    result = [compared(name, "W₂ along it", measure_along(v), sets, len(target)) for name, v in along.items()]

    def measure_difference(x: Tensor) -> tuple[float, float | None]:
        difference = (x.double().mean(0) - target.double().mean(0)).flatten()
        length = float(difference.norm())
        return measure_along(difference / length)(x) if length > 0 else (0.0, 0.0)

    meaning = "W₂ along the difference of each set's own mean and the target's"
    return [*result, compared("mean difference", meaning, measure_difference, sets, len(target))]
