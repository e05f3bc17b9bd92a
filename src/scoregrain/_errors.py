"""The library's exceptions and warnings; the command line turns them into one line and an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ScoregrainError(Exception):
    """Something could not be done; the message says what, what was expected and what to do (exit code 1)."""


class InvalidInputError(ScoregrainError, ValueError):
    """An argument, a file or a network is not what was expected (exit code 2)."""


class ZeroOutputError(ScoregrainError):
    """A network's output is exactly zero at initialisation, so its average geometry is zero too."""


class TimeBlindWarning(UserWarning):
    """The network ignores the noise level (MATH A11)."""


class IllConditionedNoiseWarning(UserWarning):
    """The variances of a noise span so many orders of magnitude that scores and likelihoods lose digits (MATH B6)."""


def nearest(word: object, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the first known word that starts so or the closest, or an empty string."""
    word, known = str(word), list(known)  # a caller may have given None or a number
    match = [other for other in known if len(word) > 2 and other.startswith(word)]
    match = match or difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""
