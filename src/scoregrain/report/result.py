"""The result of an analysis: numbers, sentences and a page of HTML."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from scoregrain.align import Alignment
from scoregrain.geometry import Geometry, summary
from scoregrain.report.energy import Energy
from scoregrain.report.page import finite, save_page
from scoregrain.report.wording import percent


@dataclass(frozen=True, eq=False)
class ImagesSummary:
    """What a report keeps of the images.

    Attributes:
        name: short name of the data.
        notes: sentences on what was done to them.
        examples: a few of them, ``(n, C, H, W)``.
        mean: their mean, ``(C, H, W)``.
    """

    name: str
    notes: tuple[str, ...]
    examples: Tensor
    mean: Tensor


@dataclass(frozen=True, eq=False)
class Report:
    """How data lie to the grain of a network (MATH A5), with everything it was computed from.

    Attributes:
        geometry: G of the networks.
        data: M of the images, as they are.
        images: name, notes and examples of the images.
        alignment: of the data as they are.
        centred: the same with the mean image removed; None when all images are equal.
        mean_share: ``μᵀGμ / tr(GM)``, the mean image's share of the alignment, in [0, 1]; nan when that is zero.
        mean_share_error: its standard error; None below 16 groups of networks or fewer than 16 images.
        energy: the data's energy along the directions of G.
        centred_energy: the same with the mean image removed.
        warnings: what to know before believing the numbers, plain sentences.
    """

    geometry: Geometry
    data: Geometry
    images: ImagesSummary
    alignment: Alignment
    centred: Alignment | None
    mean_share: float
    mean_share_error: float | None
    energy: Energy
    centred_energy: Energy | None
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Report(model={self.model!r}, data={self.images.name!r}, {self.headline!r})"

    @property
    def model(self) -> str:
        """Name of the network family."""
        return str(self.geometry.info.get("model", "network"))

    @property
    def headline(self) -> str:
        """The result as one sentence."""
        return self.alignment.headline()

    @property
    def second_line(self) -> str:
        """The result with the mean image removed, and the mean image's share."""
        if math.isfinite(self.mean_share):
            carried = f"the mean image carries {percent(self.mean_share, self.mean_share_error)} of the alignment"
        else:
            carried = "the alignment is zero"
        if self.centred is None:
            return f"all images are equal: {carried}"
        return f"with the mean image removed: {self.centred.headline()}; {carried}"

    def summary(self) -> dict[str, Any]:
        """All numbers and sentences as JSON types; what is not determined is None."""
        result = {
            "model": self.model,
            "data": self.images.name,
            "headline": self.headline,
            "second_line": self.second_line,
            "warnings": list(self.warnings),
            "notes": list(self.images.notes),
            "geometry": summary(self.geometry),
            "images": summary(self.data),
            "alignment": _alignment(self.alignment),
            "alignment_mean_removed": None if self.centred is None else _alignment(self.centred),
            "mean_image_share": self.mean_share,
            "mean_image_share_error": self.mean_share_error,
            "measured": self.geometry.info,
        }
        cleaned: dict[str, Any] = finite(result)
        return cleaned

    def save_html(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, command: str = "", examples: bool = True
    ) -> Path:
        """Write the report as one self-contained page, all of it or nothing.

        Args:
            path: the file to write.
            overwrite: replace an existing file.
            command: the command line that made the report, shown in it.
            examples: show some of the images; their mean is shown in any case.

        Raises:
            InvalidInputError: the file exists and ``overwrite`` is false, or it is a folder.
            ScoregrainError: it cannot be written; nothing is left behind.
        """
        from scoregrain.report.html import render

        return save_page(path, lambda: render(self, command=command, examples=examples), overwrite=overwrite)


def _alignment(alignment: Alignment) -> dict[str, Any]:
    return {**dataclasses.asdict(alignment), "verdict": alignment.verdict}
