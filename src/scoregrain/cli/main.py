"""Run a command; turn errors into one message and an exit code (ARCHITECTURE 6)."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from scoregrain import __version__
from scoregrain._errors import (
    IllConditionedNoiseWarning,
    InvalidInputError,
    ScoregrainError,
    TimeBlindWarning,
    nearest,
)
from scoregrain.cli.ranks import is_leading, world_size

OWN_WARNINGS = (TimeBlindWarning, IllConditionedNoiseWarning)
COMMANDS = ("measure", "analyze", "merge", "align", "rank", "noise", "train", "sample", "evaluate", "study")
JOINT = ("measure", "train")  # commands that several processes can run together


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``scoregrain`` and return its exit code.

    Returns:
        0; 1 for a failure, 2 for bad arguments, each with one message on stderr; 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        print(f"scoregrain {__version__}")
        return 0
    try:
        _run(arguments)
        return 0
    except ScoregrainError as error:
        _say(str(error))
        return 2 if isinstance(error, InvalidInputError) else 1
    except KeyboardInterrupt as error:
        _say(str(error) or "interrupted; nothing was written")
        return 130
    except (Exception, SystemExit) as error:
        if os.environ.get("SCOREGRAIN_DEBUG"):
            raise
        text = " ".join(str(error).split())
        print(
            f"scoregrain: unexpected {type(error).__name__}: {text} (SCOREGRAIN_DEBUG=1 shows where)", file=sys.stderr
        )
        return 1


def _say(message: str) -> None:
    """Print a message once, not on every rank."""
    if is_leading():
        print(f"scoregrain: {message}", file=sys.stderr)


def _run(arguments: list[str]) -> None:
    """Parse and run a command, and print its result."""
    if not arguments or (arguments[0] not in COMMANDS and arguments[0] not in ("-h", "--help")):
        word = arguments[0] if arguments else ""
        said = f"unknown command '{word}'{nearest(word, COMMANDS)}" if arguments else "no command given"
        raise InvalidInputError(f"{said}; commands: {', '.join(COMMANDS)} (scoregrain --help explains them)")
    if world_size() > 1 and arguments[0] in COMMANDS and arguments[0] not in JOINT:
        raise InvalidInputError(
            f"scoregrain {arguments[0]} runs in one process: only {' and '.join(JOINT)} can use torchrun"
        )
    from scoregrain.cli.parsing import parse  # imports what takes seconds

    command = parse(arguments)
    if command is None:
        return
    command.command = shlex.join(["scoregrain", *arguments])
    with _plain_warnings(), contextlib.redirect_stdout(sys.stderr):  # networks may print too
        result = command.run()
    if not is_leading():
        return
    try:
        print(result, flush=True)
    except BrokenPipeError:  # the reader has seen enough, as in `scoregrain ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print the library's own warnings as one plain line each."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def plain(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if issubclass(category, OWN_WARNINGS):
                if is_leading():
                    print(f"warning: {message}", file=sys.stderr)
            else:
                show(message, category, *rest)

        for own in OWN_WARNINGS:
            warnings.simplefilter("always", own)
        warnings.showwarning = plain  # type: ignore[assignment]
        yield
