"""Named random streams: two names never share a seed (ARCHITECTURE 4, "Randomness")."""

from __future__ import annotations

import hashlib

import torch


def stream_seed(root_seed: int, name: str, index: int = 0) -> int:
    """Return a 63-bit seed that is a function of ``(root_seed, name, index)`` alone."""
    digest = hashlib.sha256(f"{root_seed}/{name}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def stream(root_seed: int, name: str, index: int = 0) -> torch.Generator:
    """Return a fresh CPU generator seeded by :func:`stream_seed`."""
    return torch.Generator().manual_seed(stream_seed(root_seed, name, index))
