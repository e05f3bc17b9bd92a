"""The processes that torchrun started, as its environment variables say; light to import."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scoregrain.geometry.distributed import Team


def world_size() -> int:
    """How many processes run this command together; 1 without torchrun."""
    text = os.environ.get("WORLD_SIZE", "")
    return int(text) if text.isdecimal() else 1


def is_leading() -> bool:
    """Does this process print and write? The others only measure."""
    return world_size() == 1 or os.environ.get("RANK", "0") == "0"


def own_device(device: str | None) -> str | None:
    """The device of this process where ``cuda`` stands for one card each."""
    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if device == "cuda" and world_size() > 1 and local else device


@contextmanager
def launched_team() -> Iterator[Team]:
    """All processes that torchrun started, or this one alone."""
    from scoregrain.geometry.distributed import Team, process_group, team

    if world_size() == 1:
        yield Team()
        return
    with process_group(), team() as ranks:
        yield ranks
