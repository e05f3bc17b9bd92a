"""``scoregrain measure MODEL``: the geometry of an untrained network, written to a folder."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from scoregrain._errors import InvalidInputError
from scoregrain._folders import check_target
from scoregrain.cli.model import resolve_device, resolve_model
from scoregrain.geometry import Geometry, MeasurementInterruptedError, measure_geometry, summary
from scoregrain.models import NetworkFamily

ROUNDING = 1e-13  # of the largest eigenvalue; eigenvalues below it are shown as 0


@dataclass
class MeasureOptions:
    """What measuring a geometry needs; shared by the commands that do."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A preset such as unet-16, iddpm-16, dit-16/4, or your own network as module:function or file.py:function."""

    networks: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Untrained networks to draw (4000 by default); with --tolerance, at most so many."""

    tolerance: Annotated[float | None, tyro.conf.arg(metavar="R", help_behavior_hint="")] = None
    """Draw networks until the relative error is at most this, e.g. 0.02."""

    seed: int = 0
    """Network i is a function of this and of i."""

    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE", help_behavior_hint="")] = None
    """Where the networks run: cpu (the default), cuda, cuda:1, ..."""

    init: Annotated[str, tyro.conf.arg(metavar="POLICY")] = "as-is"
    """as-is, or unzero-head / unzero-all: re-draw the last layer / all layers that start at zero."""

    shape: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="C H W", help_behavior_hint="")] = None
    """Input shape of your own network."""

    prediction: Annotated[str, tyro.conf.arg(metavar="KIND")] = "epsilon"
    """What your own network predicts: epsilon, v_prediction, sample, flow or edm."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder to write; ./scoregrain-COMMAND-MODEL-...-N by default."""

    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the folder if scoregrain wrote it."""

    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print one JSON object on stdout and nothing else there."""

    command: tyro.conf.Suppress[str] = ""

    def family(self) -> NetworkFamily:
        """The networks that are asked for."""
        return resolve_model(self.model, shape=self.shape, prediction=self.prediction, init=self.init)

    def target(self, *names: str) -> Path:
        """The folder to write, checked; asked for before measuring and again when there is something to write."""
        target = self.out or free_folder("-".join(names))
        check_target(target, overwrite=self.overwrite)
        return target

    def options(self) -> dict[str, Any]:
        """Arguments of :func:`measure_geometry`."""
        return {
            "networks": self.networks,
            "tolerance": self.tolerance,
            "seed": self.seed,
            "device": resolve_device(self.device),
        }

    def keep(self, geometry: Geometry | None, *names: str) -> KeyboardInterrupt:
        """Save what was measured before Ctrl-C, never over an old result; return the interruption that says so."""
        if geometry is None:
            return KeyboardInterrupt("interrupted before the first 32 networks; nothing was written")
        geometry.info["interrupted"] = True
        folder = free_folder("-".join(names)) if self.out is None or self.out.exists() else self.out
        geometry.save(folder)
        what = "exact geometry is" if geometry.exact else f"{geometry.count} networks measured are"
        return KeyboardInterrupt(f"interrupted; the {what} kept in '{folder}'")

    def warn_of_tolerance(self, geometry: Geometry) -> None:
        """Say when --networks ended a measurement before --tolerance was reached."""
        error = geometry.relative_error
        if self.tolerance is not None and (error is None or error > self.tolerance):
            reached = "not known below 512 networks" if error is None else f"{error:.2g}"
            print(
                f"warning: --networks {self.networks} ended the measurement before --tolerance {self.tolerance:g} "
                f"was reached; the relative error is {reached}",
                file=sys.stderr,
            )


@dataclass
class Measure(MeasureOptions):
    """Measure the average geometry of an untrained score network: its directions and how certain each is."""

    def run(self) -> str:
        """Measure, write the folder, return the numbers."""
        family = self.family()
        names = ("measure", family.name)
        self.target(*names)
        try:
            with progress_bar("networks") as progress:
                geometry = measure_geometry(family, **self.options(), progress=progress)
        except MeasurementInterruptedError as interrupt:
            raise self.keep(interrupt.geometry, *names) from None
        try:
            target = geometry.save(self.target(*names), overwrite=self.overwrite)
        except KeyboardInterrupt:
            raise self.keep(geometry, *names) from None
        self.warn_of_tolerance(geometry)
        numbers = summary(geometry) | {"seconds": geometry.info["seconds"], "out": str(target)}
        return json.dumps(numbers) if self.json else describe(geometry, target)


def describe(geometry: Geometry, target: Path) -> str:
    """The numbers of a geometry for a person."""
    numbers = summary(geometry)

    def value(key: str) -> str:
        error = numbers[f"{key}_error"]
        if abs(numbers[key]) < ROUNDING * numbers["lambda_max"]:
            return "0 (to rounding)"
        if geometry.exact:
            return f"{numbers[key]:.6g} (exact)"
        return f"{numbers[key]:.5g}" + ("" if error is None else f" ± {error:.2g}")

    if geometry.exact:
        how = "closed form, no sampling error"
    elif geometry.relative_error is None:
        how = f"{geometry.count} networks; no error bars: they need 512 networks or more"
    else:
        how = f"{geometry.count} networks, relative error {geometry.relative_error:.2%}"
    return "\n".join(
        [
            f"{geometry.info['model']}: {how}, {geometry.info['seconds']:.1f} s",
            f"  largest eigenvalue   {value('lambda_max')}",
            f"  smallest eigenvalue  {value('lambda_min')}",
            f"  trace                {value('trace')}   effective rank {geometry.effective_rank:.3g}",
            f"  identifiable         {_identifiable(geometry)}",
            f"  written to           {target}",
        ]
    )


def _identifiable(geometry: Geometry) -> str:
    """What the measurement tells apart; where eigenvalues are multiple by structure, only eigenspaces can be."""
    if not geometry.has_errors:
        return "unknown: it needs 512 networks or more"
    spaces = f"{geometry.eigenspaces} eigenspaces of {geometry.structure.reduced}"
    if geometry.structure.multiplicity > 1:
        return f"{spaces}, each of {geometry.structure.multiplicity} directions"
    return f"{geometry.identifiable} of {geometry.size} directions, {len(geometry.clusters)} clusters"


def free_folder(stem: str) -> Path:
    """``./scoregrain-STEM-N`` with the first N that is not taken."""
    stem = re.sub(r"[^\w.=-]+", "-", stem).strip("-")
    n = 1
    while (folder := Path(f"scoregrain-{stem}-{n}")).exists():
        n += 1
        if n > 9999:
            raise InvalidInputError(f"too many folders named scoregrain-{stem}-N; choose another with --out")
    return folder


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a progress callback that draws a bar on stderr, nothing where that is no terminal."""
    from tqdm import tqdm

    with tqdm(unit=f" {unit}", disable=None, leave=False, delay=1.0) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
