"""Ctrl-C and SIGTERM during a training: the update at work is finished, so that what is saved is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Stop:
    """Whether somebody asked for the end."""

    asked: bool = False


@contextmanager
def deferred_stop(active: bool = True) -> Iterator[Stop]:
    """Yield what says whether to stop; a second Ctrl-C interrupts at once.

    Args:
        active: Leave the signals alone when False; so they are outside the main thread, which alone gets them.
    """
    stop = Stop()
    if not active or threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt("interrupted again: nothing was saved since the last checkpoint")
        stop.asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
