"""Parse the command line, run the command, turn errors into one message and an exit code (ARCHITECTURE 6)."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from scoregrain import __version__
from scoregrain._errors import InvalidInputError, ScoregrainError, TimeBlindWarning, nearest

COMMANDS = ("measure", "analyze")


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
        with _plain_warnings():
            command = _parse(arguments)
            if command is not None:
                command.command = shlex.join(["scoregrain", *arguments])
            return 0 if command is None else int(command.run())
    except ScoregrainError as error:
        print(f"scoregrain: {error}", file=sys.stderr)
        return 2 if isinstance(error, InvalidInputError) else 1
    except KeyboardInterrupt:
        print("scoregrain: interrupted; nothing was written", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get("SCOREGRAIN_DEBUG"):
            raise
        text = " ".join(str(error).split())
        print(
            f"scoregrain: unexpected {type(error).__name__}: {text} (SCOREGRAIN_DEBUG=1 shows where)", file=sys.stderr
        )
        return 1


def _parse(arguments: list[str]) -> Any:
    """The command object, or None after its help was printed; imports only what parsing needs."""
    if not arguments or (arguments[0] not in COMMANDS and arguments[0] not in ("-h", "--help")):
        word = arguments[0] if arguments else ""
        said = f"unknown command '{word}'{nearest(word, COMMANDS)}" if arguments else "no command given"
        raise InvalidInputError(f"{said}; commands: {', '.join(COMMANDS)} (scoregrain --help explains them)")
    import tyro

    from scoregrain.cli.analyze import Analyze
    from scoregrain.cli.measure import Measure

    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.extras.subcommand_cli_from_dict(
                {"measure": Measure, "analyze": Analyze},
                prog="scoregrain",
                description="Measure the grain of score networks before training, and how data run with it.",
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            return None
        raise InvalidInputError(_one_line(errors.getvalue(), arguments[0])) from None


def _one_line(box: str, command: str) -> str:
    """The first paragraph of the parser's boxed message, as one line."""
    words: list[str] = []
    for line in box.splitlines()[1:]:
        text = line.strip("│╭╮╰╯─ \t")
        if not text:
            if words:
                break
            continue
        words.append(text)
    message = " ".join(words).replace("{None}|", "")
    return f"{message} (scoregrain {command} --help explains the arguments)"


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print the library's own warnings as one plain line each."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def plain(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if issubclass(category, TimeBlindWarning):
                print(f"warning: {message}", file=sys.stderr)
            else:
                show(message, category, *rest)

        warnings.simplefilter("always", TimeBlindWarning)
        warnings.showwarning = plain  # type: ignore[assignment]
        yield
