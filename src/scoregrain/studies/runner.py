"""Run what a study lacks, in this process or in several, and conclude when nothing is lacking."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import scoregrain
from scoregrain._arguments import whole
from scoregrain._errors import InvalidInputError, ScoregrainError, TimeBlindWarning
from scoregrain.studies.drawing import png
from scoregrain.studies.page import page
from scoregrain.studies.store import StudyFolder, now, write_whole
from scoregrain.studies.study import Cell, Finding, Row, Rows, Study, Table, cell_key
from scoregrain.studies.unfinished import kept_in

RESULT, PAGE, FIGURE = "result.json", "README.md", "figure.png"


@dataclass(frozen=True, eq=False)
class Outcome:
    """Where a study stands.

    Attributes:
        folder: Its folder and declaration.
        rows: Of the finished cells.
        remaining: How many cells are not.
        ran: How many were run by this call.
        findings: What the rows say about each claim; None while cells remain.
        tables: Numbers for the page; None likewise.
    """

    folder: StudyFolder
    rows: Rows
    remaining: int
    ran: int
    findings: list[Finding] | None
    tables: list[Table] | None

    @property
    def study(self) -> Study:
        """With the settings that were declared."""
        return self.folder.study

    @property
    def complete(self) -> bool:
        """Are all cells finished?"""
        return self.remaining == 0


def run_study(study: Study, path: Path, *, workers: int = 1, command: str = "", progress: bool = False) -> Outcome:
    """Run the cells that have no row yet; write the page, the findings and the figure when all have one.

    A finished study is left as it is. Several processes may call this on one folder: a cell is run by one of them.

    Args:
        study: The settings.
        path: The folder, new or of the same study.
        workers: Processes, of one thread each.
        command: What is recorded as having run the cells.
        progress: Show a bar, on a terminal only.

    Raises:
        InvalidInputError: The folder holds something else.
        ScoregrainError: A cell failed; what was run is kept.
        KeyboardInterrupt: After Ctrl-C; what was run is kept.
    """
    workers = whole(workers, "workers", least=1)
    source_hash()  # of the files as they are now, which may be edited while cells run
    with _quiet():
        with _one_thread():
            folder = StudyFolder.open(study, path, command)
        todo = folder.remaining()
        try:
            ran = sum(_run_all(folder, todo, workers, command, progress))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; {_kept(folder)}: run the same command again") from None
        except ScoregrainError as error:
            raise type(error)(f"{error}; {_kept(folder)}") from error
        found = outcome(folder, ran)
        if found.complete and not all((path / name).exists() for name in (RESULT, PAGE, FIGURE)):
            conclude(found)
        if found.complete:
            folder.clear()
    return found


def load_study(path: Path) -> Outcome:
    """Return where the study in a folder stands; nothing is run or written.

    Raises:
        InvalidInputError: The folder holds no study.
        ScoregrainError: It is damaged.
    """
    return outcome(StudyFolder.load(path), 0)


def outcome(folder: StudyFolder, ran: int) -> Outcome:
    """Read the rows, and judge the claims if they are all there."""
    rows = folder.rows()  # read once: another process may finish the last cell meanwhile
    remaining = len(folder.study.cells()) - len(rows)
    if remaining:
        return Outcome(folder, rows, remaining, ran, None, None)
    study = folder.study
    findings = study.findings(rows)
    if [each.claim for each in findings] != [claim.key for claim in study.claims()]:
        raise ScoregrainError(f"the study '{study.name}' judges other claims than it declares: a mistake of its author")
    return Outcome(folder, rows, 0, ran, findings, study.tables(rows))


def conclude(found: Outcome) -> None:
    """Write the figure, the page and, last, the findings of a complete study."""
    path = found.folder.path
    assert found.findings is not None
    assert found.tables is not None
    write_whole(path / FIGURE, png(found.study.figure(found.rows)))
    write_whole(path / PAGE, page(found).encode())
    result = {"findings": [asdict(each) for each in found.findings], "tables": [asdict(each) for each in found.tables]}
    write_whole(path / RESULT, (json.dumps(result, indent=1) + "\n").encode())


# cells ---------------------------------------------------------------------------------------------------------------


def _run_all(folder: StudyFolder, todo: list[int], workers: int, command: str, progress: bool) -> Iterator[int]:
    """Run cells; yield 1 for each that was run here, 0 for one that another process has."""
    from tqdm import tqdm

    total = len(folder.study.cells())
    with tqdm(
        total=total, initial=total - len(todo), unit=" cell", disable=None if progress else True, leave=False
    ) as bar:
        run = _in_turn if min(workers, len(todo)) <= 1 else _in_processes
        for done in run(folder, todo, workers, command):
            bar.update(done)
            yield done


def _in_turn(folder: StudyFolder, todo: list[int], workers: int, command: str) -> Iterator[int]:
    with _one_thread():
        for index in todo:
            yield run_cell(folder, index, command)


def _in_processes(folder: StudyFolder, todo: list[int], workers: int, command: str) -> Iterator[int]:
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(min(workers, len(todo)), context, _begin, (folder.study, folder.path)) as pool:
        waiting = [pool.submit(_run_in_worker, index, command) for index in todo]
        try:
            for future in as_completed(waiting):
                yield _result(future)
        except ScoregrainError:
            pool.shutdown(cancel_futures=True)  # after the cells that run now
            raise
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _result(future: Future[int]) -> int:
    try:
        return future.result()
    except BrokenProcessPool:
        raise ScoregrainError(
            "a worker process was killed, perhaps for lack of memory: run the same command again, with fewer --workers"
        ) from None


_FOLDER: list[StudyFolder] = []
"""The study of a worker process."""


def _begin(study: Study, path: Path) -> None:
    """Prepare a worker process: one thread, no Ctrl-C of its own, an end when its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source_hash()
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _FOLDER[:] = [StudyFolder(path, study)]


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """Leave when the parent process has gone, however it went: nobody else would stop this one."""
    parent.join()
    os._exit(1)


def _run_in_worker(index: int, command: str) -> int:
    with _quiet():
        return run_cell(_FOLDER[0], index, command)


def run_cell(folder: StudyFolder, index: int, command: str) -> int:
    """Run a cell and keep its row; 0 where another process has run it or is at it.

    Raises:
        ScoregrainError: It failed; names the cell.
    """
    cell = folder.study.cells()[index]
    if index not in folder.remaining():  # where all are done nothing is made any more to lock them by
        return 0
    with folder.claimed(index) as alone:
        if alone is False or index not in folder.remaining():
            return 0
        began, worked = time.perf_counter(), time.process_time()
        told = provenance(folder.study, command)
        place = folder.unfinished(index, told) if alone else None
        if place is not None and place.exists():
            told["resumed"] = "a kill cut this cell short: its seconds are those since"
        with kept_in(place):
            values = _values(folder, cell)
            told |= {"finished": now(), "cpu_seconds": round(time.process_time() - worked, 3)}
            folder.append(Row(cell, values, round(time.perf_counter() - began, 3), told))
    return 1


def _values(folder: StudyFolder, cell: Cell) -> dict[str, Any]:
    try:
        return folder.study.run(cell, folder.material)
    except Exception as error:
        kind = InvalidInputError if isinstance(error, InvalidInputError) else ScoregrainError
        text = " ".join(str(error).split()) or type(error).__name__
        raise kind(f"the cell {cell_key(cell)} failed: {text}") from error


def provenance(study: Study, command: str) -> dict[str, Any]:
    """Versions, device and command of a row."""
    return {
        "command": command,
        "scoregrain": scoregrain.__version__,
        "source": source_hash(),
        "torch": torch.__version__,
        "diffusers": version("diffusers"),
        "python": platform.python_version(),
        "device": study.device if study.device == "cpu" else torch.cuda.get_device_name(study.device),
    }


@cache
def source_hash() -> str:
    """Hash of the library's source: rows of one hash were run by one code."""
    root = Path(scoregrain.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _kept(folder: StudyFolder) -> str:
    cells = len(folder.study.cells())
    return f"{cells - len(folder.remaining())} of {cells} cells are kept in '{folder.path}'"


@contextmanager
def _one_thread() -> Iterator[None]:
    """What a cell gives must not depend on the number of threads, nor on how many workers there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _quiet() -> Iterator[None]:
    """Studies use time-blind networks on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TimeBlindWarning)
        yield
