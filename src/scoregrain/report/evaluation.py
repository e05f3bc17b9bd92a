"""The result of a judgement: a sentence that cannot flatter, numbers with errors beside baselines, a page of HTML."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from scoregrain._folders import new_folder
from scoregrain.metrics.copying import Memorisation
from scoregrain.metrics.modes import ModeCoverage
from scoregrain.metrics.spectra import RadialSpectrum, SpectralDistance
from scoregrain.report.along import Along
from scoregrain.report.comparison import SAMPLES, Comparison
from scoregrain.report.evaluation_words import headline, lines, tells_modes
from scoregrain.report.page import finite, save_page


@dataclass(frozen=True, eq=False)
class Pictures:
    """What a page shows of the arrays, (k, C, *space) each.

    Attributes:
        samples: Some samples.
        target: Some arrays of the target.
        copied: The samples nearest to a training array, the nearest first; None where memorisation is not judged.
        nearest: The training arrays they are nearest to.
    """

    samples: Tensor
    target: Tensor
    copied: Tensor | None = None
    nearest: Tensor | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """How good samples are, with the trivial baselines beside every distance (MATH A8; ARCHITECTURE 7).

    Attributes:
        name: What was judged.
        data: What it was judged by.
        what: ``held-out arrays`` or ``fresh draws``.
        distances: Of all arrays; the first, the sliced Wasserstein distance, decides the headline.
        directions: W₂ along single directions.
        spectra: Radial spectra of ``samples``, ``target`` and ``resample``.
        ratios: Log-ratio of the spectra of ``samples`` and ``resample`` to that of the target.
        along: Energy and denoising error along many directions.
        modes: Coverage of the modes of a mixture or of labels; None where there are none.
        target_modes: That of the target, which is the floor.
        memorisation: None where it is not known what was trained on.
        history: The lines of the run's log.
        pictures: What the page shows.
        notes: What was done to the data.
        warnings: What to know before believing the numbers.
        method: How it was done, by name.
    """

    name: str
    data: str
    what: str
    distances: tuple[Comparison, ...]
    directions: tuple[Comparison, ...]
    spectra: dict[str, RadialSpectrum]
    ratios: dict[str, SpectralDistance]
    along: Along
    modes: ModeCoverage | None
    target_modes: ModeCoverage | None
    memorisation: Memorisation | None
    history: list[dict[str, Any]]
    pictures: Pictures
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    method: dict[str, Any]

    def __repr__(self) -> str:
        return f"Evaluation({self.name!r}, {self.headline!r})"

    @property
    def headline(self) -> str:
        """The verdict as one sentence; memorisation first where it is found."""
        return headline(self)

    @property
    def lines(self) -> list[str]:
        """Distances with their baselines, and what else there is, for a person to read."""
        return lines(self)

    def summary(self) -> dict[str, Any]:
        """All numbers and sentences as JSON types; what is not determined, or infinite, is None.

        ``verdict``, of each distance and of the first one for the whole, is one of the words of
        :data:`scoregrain.metrics.baselines.Verdict`: ``worse than nothing``, ``further than resample``, ...
        """
        spectra = {name: {"power": s.power.tolist(), "error": s.error.tolist()} for name, s in self.spectra.items()}
        radius = self.spectra[SAMPLES].radius.tolist()
        result: dict[str, Any] = finite(
            {
                "name": self.name,
                "data": self.data,
                "target": self.what,
                "headline": self.headline,
                "verdict": self.distances[0].verdict,
                "memorised": None if self.memorisation is None else self.memorisation.memorised,
                "distances": [each.summary() for each in self.distances],
                "directions": [each.summary() for each in self.directions],
                "spectra": {"radius": radius, **spectra},
                "along": self.along.summary(),
                "modes": None if self.modes is None else _modes(self.modes),
                "target_modes": None if self.target_modes is None else _modes(self.target_modes),
                "memorisation": None if self.memorisation is None else _memorisation(self.memorisation),
                "notes": list(self.notes),
                "warnings": list(self.warnings),
                "method": self.method,
            }
        )
        return result

    def save_html(self, path: str | os.PathLike[str], *, overwrite: bool = False, command: str = "") -> Path:
        """Write the page, all of it or nothing.

        Args:
            path: The file to write.
            overwrite: Replace an existing file.
            command: The command line that made it, shown in it.

        Raises:
            InvalidInputError: The file exists and ``overwrite`` is false, or it is a folder.
            ScoregrainError: It cannot be written; nothing is left behind.
        """
        from scoregrain.report.evaluation_html import render

        return save_page(path, lambda: render(self, command=command), overwrite=overwrite)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False, command: str = "") -> Path:
        """Write a folder with ``evaluation.json``, ``report.html`` and ``config.json``, all of it or nothing.

        Args:
            folder: The folder to write.
            overwrite: Replace a folder that scoregrain wrote.
            command: The command line that made it.

        Raises:
            InvalidInputError: The folder exists and may not be replaced.
            ScoregrainError: It cannot be written; nothing is left behind.
        """
        from scoregrain import __version__

        config = {"kind": "evaluation", "format": 1, "scoregrain": __version__, "command": command}
        with new_folder(folder, overwrite=overwrite) as temporary:
            self.save_html(temporary / "report.html", command=command)
            for name, content in (("config.json", config), ("evaluation.json", self.summary())):
                (temporary / name).write_text(json.dumps(content, indent=2) + "\n")
        return Path(folder)


def _modes(modes: ModeCoverage) -> dict[str, Any]:
    """Numbers of the mode coverage."""
    return {
        "labels": list(modes.labels),
        "counts": modes.counts.tolist(),
        "shares": modes.shares.tolist(),
        "expected": modes.expected.tolist(),
        "standard_error": modes.standard_error.tolist(),
        "covered": modes.covered.tolist() if tells_modes(modes) else None,
        "total_variation": modes.total_variation,
        "total_variation_by_chance": modes.total_variation_by_chance,
        "outliers": modes.outliers,
    }


def _memorisation(found: Memorisation) -> dict[str, Any]:
    """Numbers of the memorisation, without those of every sample."""
    closer = ("memorised", "share_closer_to_train", "expected_closer", "closer_error", "z")
    copies = ("share_copies", "expected_copies", "copies_error", "median_distance", "median_held_out", "ratio")
    return {name: getattr(found, name) for name in closer + copies}
