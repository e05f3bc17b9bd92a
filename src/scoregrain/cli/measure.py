"""``scoregrain measure MODEL``: the geometry of an untrained network, written to a folder."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from scoregrain._errors import InvalidInputError
from scoregrain._folders import check_target
from scoregrain.cli.model import resolve_device, resolve_model
from scoregrain.geometry import Geometry, MeasurementInterruptedError, measure_geometry, summary
from scoregrain.models import NetworkFamily


@dataclass
class MeasureOptions:
    """What measuring a geometry needs; shared by the commands that do."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A preset such as unet-16, iddpm-16, dit-16/4, or your own network as module:function or file.py:function."""

    networks: int | None = None
    """Untrained networks to draw (4000 by default); with --tolerance, at most so many."""

    tolerance: float | None = None
    """Draw networks until the relative error is at most this, e.g. 0.02."""

    seed: int = 0
    """Network i is a function of this and of i."""

    device: str | None = None
    """Where the networks run, e.g. cpu or cuda."""

    init: str = "as-is"
    """as-is, or unzero-head / unzero-all: re-draw the last layer / all layers that start at zero."""

    shape: tuple[int, ...] | None = None
    """Input shape C H W of your own network."""

    prediction: str = "epsilon"
    """What your own network predicts: epsilon, v_prediction, sample, flow or edm."""

    out: Path | None = None
    """Folder to write; ./scoregrain-COMMAND-MODEL-...-N by default."""

    overwrite: bool = False
    """Replace the folder if scoregrain wrote it."""

    json: bool = False
    """Print one JSON object on stdout and nothing else there."""

    command: tyro.conf.Suppress[str] = ""

    def family(self) -> NetworkFamily:
        """The networks that are asked for."""
        return resolve_model(self.model, shape=self.shape, prediction=self.prediction, init=self.init)

    def target(self, *names: str) -> Path:
        """The folder to write, checked before anything is measured."""
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
            "progress": progress_bar("networks"),
        }


@dataclass
class Measure(MeasureOptions):
    """Measure the average geometry of an untrained score network: its directions and how certain each is."""

    def run(self) -> int:
        """Measure, write the folder, print the numbers."""
        family = self.family()
        target = self.target("measure", family.name)
        try:
            geometry = measure_geometry(family, **self.options())
        except MeasurementInterruptedError as interrupt:
            return keep_interrupted(interrupt, target, self.overwrite)
        geometry.save(target, overwrite=self.overwrite)
        numbers = summary(geometry) | {"seconds": geometry.info["seconds"], "out": str(target)}
        print(json.dumps(numbers) if self.json else describe(geometry, target))
        return 0


def keep_interrupted(interrupt: MeasurementInterruptedError, target: Path, overwrite: bool) -> int:
    """Save what was measured before Ctrl-C and say so; return the exit code 130."""
    geometry = interrupt.geometry
    if geometry is None:
        print("scoregrain: interrupted before the first 32 networks; nothing was written", file=sys.stderr)
        return 130
    geometry.info["interrupted"] = True
    geometry.save(target, overwrite=overwrite)
    print(f"scoregrain: interrupted; the {geometry.count} networks measured are kept in '{target}'", file=sys.stderr)
    return 130


def describe(geometry: Geometry, target: Path) -> str:
    """The numbers of a geometry for a person."""
    numbers = summary(geometry)

    def value(key: str) -> str:
        error = numbers[f"{key}_error"]
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
            f"  identifiable         {geometry.identifiable} of {geometry.size} single directions, "
            f"{geometry.eigenspaces} eigenspaces, {len(geometry.clusters)} clusters",
            f"  written to           {target}",
        ]
    )


def free_folder(stem: str) -> Path:
    """``./scoregrain-STEM-N`` with the first N that is not taken."""
    stem = re.sub(r"[^\w.=-]+", "-", stem).strip("-")
    n = 1
    while (folder := Path(f"scoregrain-{stem}-{n}")).exists():
        n += 1
        if n > 9999:
            raise InvalidInputError(f"too many folders named scoregrain-{stem}-N; choose another with --out")
    return folder


def progress_bar(unit: str) -> Callable[[int, int], None]:
    """A progress callback that draws a bar on stderr, nothing where that is no terminal."""
    from tqdm import tqdm

    bar: Any = None

    def update(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(total=total, unit=f" {unit}", disable=None, leave=False, delay=1.0)
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return update
