"""From the words of a command line to a command object, or to one line that says which word is wrong."""

from __future__ import annotations

import contextlib
import io
import re
import typing
from pathlib import Path
from types import NoneType
from typing import Any

import tyro

from scoregrain._errors import InvalidInputError, nearest
from scoregrain.cli.align import Align
from scoregrain.cli.analyze import Analyze
from scoregrain.cli.evaluate import Evaluate
from scoregrain.cli.measure import Measure
from scoregrain.cli.merge import Merge
from scoregrain.cli.noise import Noise, check_action
from scoregrain.cli.rank import Rank
from scoregrain.cli.sample import Sample
from scoregrain.cli.study import RunStudy
from scoregrain.cli.train import Train

COMMANDS: dict[str, Any] = {
    "measure": Measure,
    "analyze": Analyze,
    "merge": Merge,
    "align": Align,
    "rank": Rank,
    "noise": Noise,
    "train": Train,
    "sample": Sample,
    "evaluate": Evaluate,
    "study": RunStudy,
}
_USAGE = {
    "measure": "scoregrain measure MODEL [options]",
    "align": "scoregrain align MODEL [DATA] [options]",
    "analyze": "scoregrain analyze MODEL [DATA] [options]",
    "rank": "scoregrain rank MODEL MODEL ... [--data DATA] [options]",
    "merge": "scoregrain merge DIR DIR ... [options]",
    "noise": "scoregrain noise preview NOISE [options]",
    "train": "scoregrain train MODEL [DATA] [options]",
    "sample": "scoregrain sample RUN [options]",
    "evaluate": "scoregrain evaluate RUN [options]",
    "study": "scoregrain study NAME [options]",
}
_EXPECTED: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    str: "a word",
    Path: "a folder",
    tuple[float, float]: "two numbers such as 0 1",
    tuple[int, ...]: "integers such as 1 16 16",
    tuple[str, ...]: "words",
}


def parse(arguments: list[str]) -> Any:
    """Return the command object, or None after help was printed.

    Raises:
        InvalidInputError: the arguments do not fit the command, which is ``arguments[0]``.
    """
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.extras.subcommand_cli_from_dict(
                COMMANDS,
                prog="scoregrain",
                description="The grain of score networks before training, and the noise they are trained with.",
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            return None
        command = arguments[0]
        words = [_in_full(word, command) for word in arguments[1:]]
        said = _explain(_flat(errors.getvalue()), command, words)
        raise InvalidInputError(f"{said} (scoregrain {command} --help explains the arguments)") from None


def _in_full(word: str, command: str) -> str:
    """The one short option, ``-n``, as the long one that it stands for where the command has it."""
    return re.sub("^-n(?==|$)", "--n", word) if "--n" in _options(command) else word


def _flat(box: str) -> str:
    """The parser's message as one line, without its frame and its pointers to help."""
    words = re.sub(r"[│╭╮╰╯─]|-{3,}", " ", box).split()
    return re.split(r" Argument helptext:| Perhaps you meant:| For full helptext", " ".join(words))[0]


def _explain(said: str, command: str, words: list[str]) -> str:
    """Which word is wrong, and what was expected in its place."""
    if match := re.search(r"Missing from scoregrain \w+: (\S+)", said):
        if command == "noise" and words and not words[0].startswith("-"):
            check_action(words[0])
        return f"{match[1]} is missing: {_USAGE[command]}"
    if match := re.search(r"(?:Error parsing|Missing value for argument) '?(?:-n/)?(--[\w-]+)", said):
        return _explain_value(match[1], command, words)
    names = [word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]
    if unknown := [name for name in names if name not in _options(command)]:
        return _explain_option(unknown[0], command)
    if match := re.search(r"Unrecognized options: (.*)", said):
        return f"unexpected argument '{match[1]}': {_USAGE[command]}"
    return said


def _explain_value(option: str, command: str, words: list[str]) -> str:
    """An option whose value is missing or of another kind."""
    values = _values(option, words)
    given = f"is '{' '.join(values)}'" if values else "has no value"
    return f"{option} {given}, expected {_EXPECTED.get(_options(command).get(option), 'another one')}"


def _values(option: str, words: list[str]) -> list[str]:
    """The words after the last mention of an option, up to the next option."""
    values: list[str] = []
    inside = False
    for word in words:
        if word.startswith("--"):
            name, _, value = word.partition("=")
            inside = name == option
            values = ([value] if value else []) if inside else values
        elif inside:
            values.append(word)
    return values


def _explain_option(option: str, command: str) -> str:
    """An option that the command does not have."""
    if others := [other for other in COMMANDS if option in _options(other)]:
        return f"scoregrain {command} has no option {option}; these have: {', '.join(others)}"
    hint = nearest(option, _options(command)) if option.startswith("--") else ""
    return f"unknown option '{option}'{hint}"


def _options(command: str) -> dict[str, Any]:
    """Kind of value by option."""
    kinds = {}
    for name, hint in typing.get_type_hints(COMMANDS[command]).items():
        kinds[f"--{name.replace('_', '-')}"] = next(
            (kind for kind in typing.get_args(hint) if NoneType in typing.get_args(hint)), hint
        )
    return kinds
