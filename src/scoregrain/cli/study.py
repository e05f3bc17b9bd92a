"""``scoregrain study NAME``: run a pre-declared experiment, or continue it, and say what it found."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from scoregrain._arguments import whole
from scoregrain._errors import InvalidInputError
from scoregrain.cli.ranks import own_device
from scoregrain.datasets.sources import open_source
from scoregrain.geometry.running import find_device
from scoregrain.studies import STUDIES, Study, find_study
from scoregrain.studies.page import compute, declared_claims, seconds, shown_command, verdict
from scoregrain.studies.runner import PAGE, Outcome, run_study

LIST = "list"


@dataclass
class RunStudy:
    """Run a study: claims declared before the first run, independent cells, controls that must fail, a verdict on each.

    Writes a folder with a line for each finished cell, and at the end a page with a table and a figure. The same
    command again continues what was stopped; a finished study is only shown. Several processes may work on one folder.
    """

    name: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(metavar="[NAME]", help=f"{', '.join(STUDIES)}; list, or nothing, says what each of them asks."),
    ] = LIST

    scale: Annotated[str, tyro.conf.arg(metavar="SCALE")] = "tiny"
    """tiny: a minute, to see that it works. small: up to some 45 minutes on two cores, seeds enough
    for a verdict. paper: as published, on a GPU."""

    data: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="DATA ...", help_behavior_hint="")] = None
    """Other data than the study's own, for studies that take data: .npz files, folders of images, digits."""

    seeds: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """How many seeds, by default what the scale says."""

    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...", help_behavior_hint="")] = ()
    """Other settings than the scale's, such as updates=800; VALUE as JSON. The page names them all."""

    workers: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Processes that run cells, of one thread each; results do not depend on it."""

    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE", help_behavior_hint="")] = None
    """Where networks are trained: cpu (the default) or cuda."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder to write or to continue; ./scoregrain-study-NAME-SCALE by default."""

    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print one JSON object on stdout and nothing else there."""

    command: tyro.conf.Suppress[str] = ""

    def run(self) -> str:
        """Run what is missing, return the verdicts and where the page is."""
        if self.name == LIST:
            return self._listed()
        study = self._study()
        whole(self.workers, "--workers", least=1)
        target = self.out or Path(f"scoregrain-study-{self.name}-{self.scale}")
        if not target.exists():
            self._check_data()
        command = shown_command(self.command)
        outcome = run_study(study, target, workers=self.workers, command=command, progress=True)
        return json.dumps(_summary(outcome)) if self.json else "\n".join(_said(outcome))

    def _study(self) -> Study:
        kind = find_study(self.name)
        device = None if self.device is None else str(find_device(own_device(self.device)))
        if self.seeds is not None:
            whole(self.seeds, "--seeds", least=1)
        given: dict[str, Any] = {"data": self._data(kind), "seeds": self.seeds, "device": device}
        return kind.at(self.scale, **self._settings(kind), **{k: v for k, v in given.items() if v is not None})

    def _settings(self, kind: type[Study]) -> dict[str, Any]:
        """The settings that are given by name, of the kinds that they have in the study."""
        found = {}
        for word in self.set:
            name, equals, text = word.partition("=")
            if not equals or name in ("scale", "device", "data", "seeds"):
                raise InvalidInputError(f"--set takes NAME=VALUE of another setting than options give, got '{word}'")
            found[name] = _of_kind(
                name, text, next((f.default for f in dataclasses.fields(kind) if f.name == name), None)
            )
        return found

    def _data(self, kind: type[Study]) -> str | tuple[str, ...] | None:
        """The data as the study takes them: one word or several."""
        default = next((each.default for each in dataclasses.fields(kind) if each.name == "data"), None)
        if self.data is None or isinstance(default, tuple):
            return self.data
        if len(self.data) > 1:
            raise InvalidInputError(f"the study '{self.name}' takes one DATA, got {len(self.data)}: run it on each")
        return self.data[0]

    def _check_data(self) -> None:
        """Refuse a file that is not there before it is declared for good."""
        for word in self.data or ():
            if word.endswith(".npz") or word.startswith((".", "/")):
                open_source(word, None, signals=False)

    def _listed(self) -> str:
        titles = {name: find_study(name).title for name in STUDIES}
        if self.json:
            return json.dumps(titles)
        width = max(map(len, titles))
        lines = [f"  {name:{width}}  {title}" for name, title in titles.items()]
        return "\n".join(["scoregrain study NAME --scale tiny|small|paper, where NAME is", *lines])


def _of_kind(name: str, text: str, default: Any) -> Any:
    """A setting's value from JSON, or a bare word; refused where it is of another kind than the default."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if isinstance(default, tuple):
        value = tuple(value) if isinstance(value, list) else (value,)
    kinds = {type(each) for each in (default if isinstance(default, tuple) else [default])}
    given = {type(each) for each in (value if isinstance(value, tuple) else [value])}
    if kinds and default is not None and not given <= kinds | ({int} if float in kinds else set()):
        raise InvalidInputError(f"--set {name} is '{text}', expected something like {json.dumps(default)}")
    return value


def _said(outcome: Outcome) -> list[str]:
    """A line for each claim, and where the page is."""
    study, done = outcome.study, len(outcome.rows)
    used = f"{done} cells, {compute(seconds(outcome.rows))} of one thread"
    if not outcome.complete:
        return [
            f"{study.name} at scale {study.scale}: {used}; {outcome.remaining} are being run by another process:"
            " the same command shows the result when they are done"
        ]
    again = "" if outcome.ran else " (finished before: nothing was run)"
    lines = [f"{study.name} at scale {study.scale}: {used}{again}"]
    for claim, finding in zip(declared_claims(outcome), outcome.findings or [], strict=True):
        control = "control: " if claim["control"] else ""
        note = f" ({finding.note})" if finding.note else ""
        lines.append(f"  {control}{finding.claim}: {verdict(finding)}{note}")
    return [*lines, f"written to {outcome.folder.path / PAGE}"]


def _summary(outcome: Outcome) -> dict[str, Any]:
    """The same as one JSON object."""
    claims = [
        claim | dataclasses.asdict(finding)
        for claim, finding in zip(declared_claims(outcome), outcome.findings or [], strict=False)
    ]
    return {
        "study": outcome.study.name,
        "scale": outcome.study.scale,
        "settings": outcome.study.declared(),
        "out": str(outcome.folder.path),
        "cells": len(outcome.rows) + outcome.remaining,
        "remaining": outcome.remaining,
        "ran": outcome.ran,
        "seconds": round(seconds(outcome.rows), 3),
        "claims": claims,
    }
